"""Adds up scores: how often each was given, by attribute, and what that comes to with intervals.

Counts are all that is kept, so a release of any size is tallied in one pass and the intervals cost the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from medtrinity25m.quality.bootstrap import Interval, Numbers, bootstrap, difference, ratio
from medtrinity25m.quality.judge import JudgeReport
from medtrinity25m.quality.scores import ATTRIBUTES, Described, held, score
from medtrinity25m.triplet import Quality

SCORED = (*ATTRIBUTES, "total")


@dataclass
class Tally:
    """Scores of rows: `every` of all rows, `holding` of those that hold something about the attribute."""

    rows: int = 0
    every: dict[str, Counter[Numbers]] = field(default_factory=lambda: {name: Counter() for name in SCORED})
    holding: dict[str, Counter[Numbers]] = field(default_factory=lambda: {name: Counter() for name in SCORED})
    verdicts: Counter[str] = field(default_factory=Counter)
    """How many claims have each verdict."""

    def add(self, row: Mapping[str, Any]) -> Quality:
        """Score a shipped row, count it, and return its scores."""
        described = Described.of_row(row)
        quality = score(described)
        holds = held(described)
        self.rows += 1
        for name in SCORED:
            numbers = (getattr(quality, name), 1.0)
            self.every[name][numbers] += 1
            if name in holds:
                self.holding[name][numbers] += 1
        self.verdicts.update(claim.verdict for claim in described.claims)
        return quality


@dataclass(frozen=True)
class Means:
    """The means of one attribute; the last three only where a judge was asked, over the rows it scored."""

    name: str
    every: Interval
    holding: Interval
    same_rows: Interval | None = None
    judge: Interval | None = None
    apart: Interval | None = None
    """Judge minus program, paired."""

    def as_json(self) -> dict[str, Any]:
        """Return it for JSON, histograms left to `Tally`."""
        fields = ("every", "holding", "same_rows", "judge", "apart")
        found = ((name, getattr(self, name)) for name in fields)
        return {"attribute": self.name} | {name: None if i is None else i.as_json() for name, i in found}


def tally(rows: Iterable[Mapping[str, Any]]) -> Tally:
    """Score and count rows of `data/` or `metadata/`."""
    counts = Tally()
    for row in rows:
        counts.add(row)
    return counts


def means(
    counts: Tally, judged: JudgeReport | None = None, own: Mapping[str, Quality] | None = None, seed: int = 0
) -> list[Means]:
    """Return the means of each attribute and of the total.

    Args:
        counts: the program's scores.
        judged: the judge's, where one was asked.
        own: the program's scores of the rows that were judged, by id.
        seed: of the bootstrap.
    """
    found = []
    for name in SCORED:
        every, holding = (bootstrap(part[name], seed=seed) for part in (counts.every, counts.holding))
        if judged is None or own is None:
            found.append(Means(name, every, holding))
            continue
        both = Counter[Numbers](
            (getattr(one.quality, name), 1.0, getattr(own[one.id], name), 1.0) for one in judged.judged
        )
        theirs, mine = Counter[Numbers](), Counter[Numbers]()
        for numbers, count in both.items():
            theirs[numbers[:2]] += count
            mine[numbers[2:]] += count
        apart = bootstrap(both, difference(ratio), seed=seed)
        found.append(Means(name, every, holding, bootstrap(mine, seed=seed), bootstrap(theirs, seed=seed), apart))
    return found
