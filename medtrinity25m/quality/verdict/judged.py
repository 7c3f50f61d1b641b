"""What checking one statement came to."""

from __future__ import annotations

from typing import NamedTuple

from medtrinity25m.triplet import Verdict


class Judged(NamedTuple):
    """A verdict, where it comes from, and what the row holds, in words."""

    verdict: Verdict
    evidence: str = "model"
    expected: str | None = None

    def turned(self) -> Judged:
        """Return the verdict on the opposite statement."""
        if self.verdict == "unsupported":
            return self
        return self._replace(verdict="contradicted" if self.verdict == "supported" else "supported")


UNKNOWN = Judged("unsupported")
"""The row holds nothing that speaks about it."""


def judged(holds: bool | None, evidence: str, expected: str | None = None) -> Judged:
    """Return the verdict for a statement that holds, does not, or cannot be decided (None)."""
    if holds is None:
        return Judged("unsupported", "model", None)
    return Judged("supported" if holds else "contradicted", evidence, expected)
