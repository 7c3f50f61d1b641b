"""How often the checker is wrong: contradictions it misses, and true statements it calls contradicted.

The checker (`quality.check`) is given true texts and false ones made from them (`quality.seeding`). A seed is *caught*
when the checker contradicts a statement in the sentence that was made false which it does not contradict in the clean
text; a contradiction elsewhere does not count, so a checker that contradicts everything has no recall here, and all of
the false alarms.

**Why** the rates of a release are measured on its own rows: what a checker catches depends on how the texts are
written. Texts of the `measured` describer are the easy case, which is why the card says whose texts it were, and why
`benchmarks/checker.md` has hand-written ones beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast, get_args

from medtrinity25m.quality.bootstrap import wilson
from medtrinity25m.quality.check import check
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.release_rows import draw, rows_with_id
from medtrinity25m.quality.seeding import KINDS, Kind, Seeded, seed_contradictions
from medtrinity25m.quality.statement import Checked
from medtrinity25m.release.manifest import Manifest
from medtrinity25m.triplet import Frozen, Sample, TextField

ROWS = 200
"""Rows of a release that are looked at: some 800 texts, more than a thousand seeds are made of."""

SEEDS_A_TEXT = 2
"""At most so many seeds a text: more of them repeat one another."""

_FIELDS: tuple[TextField, ...] = get_args(TextField)
_COLUMNS = ("modality", "view", "laterality", "image_left", "organs", "disease", "diseases", "spacing_mm")


@dataclass(frozen=True)
class Clean:
    """A text that is true of its row: where it stands, the row as a mapping, and the evidence the checker gets."""

    text: str
    row: Mapping[str, Any]
    evidence: Evidence
    field: TextField = "caption"

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> list[Self]:
        """Return the texts of a shipped row."""
        evidence = Evidence.of_row(row)
        return [cls(row[field], row, evidence, field) for field in _FIELDS if row.get(field)]

    @classmethod
    def of_sample(cls, sample: Sample, text: str | None = None) -> list[Self]:
        """Return the texts of a sample in the making, or one text about it as its caption."""
        row = _row(sample)
        evidence = Evidence.of_sample(sample)
        if text is not None:
            return [cls(text, row, evidence)]
        return [cls(getattr(sample, field), row, evidence, field) for field in _FIELDS if getattr(sample, field)]


def _row(sample: Sample) -> dict[str, Any]:
    """Return what seeds need of a sample, as a shipped row has it."""
    rois = [
        {
            "bbox": roi.coco(),
            "label": roi.label,
            "origin": roi.origin,
            "count": roi.count,
            "area_fraction": roi.area_fraction,
            "size_mm": roi.size_mm,
        }
        for roi in sample.rois
    ]
    known = {name: getattr(sample, name) for name in _COLUMNS}
    return known | {"width": sample.width, "height": sample.height, "rois": rois}


class Rate(Frozen):
    """So many of so many, with the ends of the 95 % interval by Wilson's score; all None where there is nothing."""

    hits: int
    n: int
    rate: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, hits: int, n: int) -> Self:
        """Return a rate, rounded to four decimals."""
        if n == 0:
            return cls(hits=0, n=0, rate=None, low=None, high=None)
        interval = wilson(hits, n)
        rate, low, high = (round(share, 4) for share in interval[:3])
        return cls(hits=hits, n=n, rate=rate, low=low, high=high)


class ErrorRates(Frozen):
    """The checker's errors on some texts: recall of seeded contradictions by kind, and false alarms on the clean texts.

    `flagged_texts` counts clean texts with at least one contradicted statement, `flagged_statements` the statements.
    """

    seed: int
    recall: Rate
    kinds: dict[Kind, Rate]
    flagged_texts: Rate
    flagged_statements: Rate


@dataclass(frozen=True)
class Outcome:
    """A seed, and whether it was caught."""

    seeded: Seeded
    caught: bool


def error_rates(cases: Sequence[Clean], n: int = 1000, seed: int = 0) -> ErrorRates:
    """Measure the checker on clean texts and `n` false ones made from them; equal arguments give equal rates."""
    return rates(clean_checks(cases), outcomes(cases, n, seed), seed)


def clean_checks(cases: Sequence[Clean]) -> list[list[Checked]]:
    """Return what the checker says of each clean text."""
    return [_checked(case, case.text) for case in cases]


def outcomes(cases: Sequence[Clean], n: int = 1000, seed: int = 0, kinds: Sequence[Kind] = KINDS) -> list[Outcome]:
    """Return `n` seeds (fewer where the texts give no more) and whether the checker catches each."""
    before: dict[int, set[tuple[str, str, bool]]] = {}
    found = []
    for seeded in seed_contradictions([(case.text, case.row) for case in cases], n, seed, kinds):
        case = cases[seeded.origin]
        if seeded.origin not in before:
            before[seeded.origin] = {_said(one) for one in _contradicted(_checked(case, case.text))}
        start, end = seeded.sentence
        caught = any(
            one.start < end and one.end > start and _said(one) not in before[seeded.origin]
            for one in _contradicted(_checked(case, seeded.text))
        )
        found.append(Outcome(seeded, caught))
    return found


def rates(clean: Sequence[Sequence[Checked]], seeded: Sequence[Outcome], seed: int) -> ErrorRates:
    """Count."""
    by_kind = {kind: [one.caught for one in seeded if one.seeded.kind == kind] for kind in KINDS}
    alarms = [len(_contradicted(checked)) for checked in clean]
    return ErrorRates(
        seed=seed,
        recall=Rate.of(sum(one.caught for one in seeded), len(seeded)),
        kinds={kind: Rate.of(sum(caught), len(caught)) for kind, caught in by_kind.items() if caught},
        flagged_texts=Rate.of(sum(alarm > 0 for alarm in alarms), len(alarms)),
        flagged_statements=Rate.of(sum(alarms), sum(map(len, clean))),
    )


def release_cases(folder: Path, rows: int = ROWS, seed: int = 0, manifest: Manifest | None = None) -> list[Clean]:
    """Return the texts of up to `rows` rows of a release, of every modality alike.

    `manifest` is given while the release is being finished.

    Raises:
        GateFailedError: the folder is not a finished release.
        ConfigError: no row has a caption.
    """
    ids = draw(folder, rows, seed, stratify="modality", manifest=manifest)
    drawn = rows_with_id(folder, ids, pixels=True, manifest=manifest)
    return [case for row_id in sorted(drawn) for case in Clean.of_row(drawn[row_id])]


def release_error_rates(
    folder: Path, n: int = 1000, seed: int = 0, rows: int = ROWS, manifest: Manifest | None = None
) -> ErrorRates:
    """Measure the checker on the texts of a release (see `release_cases` for what it raises)."""
    cases = release_cases(folder, rows, seed, manifest)
    return error_rates(cases, min(n, SEEDS_A_TEXT * len(cases)), seed)


def _checked(case: Clean, text: str) -> list[Checked]:
    """Return the checker's statements about a text in the place of a case's."""
    return check(case.evidence, cast("Mapping[TextField, str]", {case.field: text}))


def _contradicted(checked: Sequence[Checked]) -> list[Checked]:
    """Return the contradicted statements."""
    return [one for one in checked if one.verdict == "contradicted"]


def _said(statement: Checked) -> tuple[str, str, bool]:
    """Return what a statement says, wherever it stands."""
    return statement.attribute, statement.value, statement.negated
