"""The quarantine: what was refused, where, by which code and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

QUARANTINE_SCHEMA = pa.schema(dict.fromkeys(("source", "path", "locator", "code", "detail", "stage"), pa.string()))


@dataclass(frozen=True)
class Rejected:
    """A line of the quarantine table; `stage` is `plan` or `build`."""

    source: str
    path: str
    locator: str
    code: str
    detail: str
    stage: str


def funnel(rejected: Iterable[Rejected]) -> dict[str, int]:
    """Return how many were refused, by reason code."""
    return dict(sorted(Counter(row.code for row in rejected).items()))
