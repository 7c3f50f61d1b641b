"""Holds descriptions against what people say of the same images: labels, reports and boxes by id.

* *Agreement*: for each attribute a person labeled, whether the texts say the same set of values; silence is
  disagreement and counted apart (`silent`). Beside it Cohen's kappa and Gwet's AC1 for the attributes with one
  value. What is compared is what the claims say, not the columns: columns come from the source, and are the same
  whoever describes.
* *Claims*: the statements of a report and of our `caption`, taken out by the same rules (`quality.extract`).
  Precision is the share of ours that the report makes too, recall the share of the report's that we make. A report
  is no complete list of what is true, so what it does not mention is not wrong: precision is a lower bound.
* *Boxes*: boxes paired one to one; mean IoU over the person's boxes (0 for a missed one), recall and precision at
  0.5.
* *Scores*: the program's own, over the same rows, so that two describers can be compared on them.

With a second release the same is done there, on the ids that all three have, and every line gets the difference with
its paired bootstrap interval and a p-value: exact McNemar for yes or no, a paired permutation test for everything
else, and Holm's adjustment for the number of lines. Rows of one patient are
drawn together; McNemar's test, kappa and AC1 take lines as independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medtrinity25m.errors import ConfigError
from medtrinity25m.quality.agreement import Agreement, agreement
from medtrinity25m.quality.bootstrap import (
    Interval,
    Numbers,
    Statistic,
    bootstrap,
    difference,
    f1,
    holm,
    mcnemar,
    ratio,
    swap_test,
)
from medtrinity25m.quality.matching import overlap, same_statements
from medtrinity25m.quality.reference import Reference, read_references
from medtrinity25m.quality.release_rows import Row, metadata_rows, rows_with_id
from medtrinity25m.quality.scores import ATTRIBUTES, Described, score
from medtrinity25m.release.manifest import read_manifest

ONE_VALUE = ("modality", "view", "disease", "laterality", "count")
"""Attributes with one value, as a rule, so that agreement beyond chance means something."""
SILENT = "(not said)"
SHOWN_IDS = 20  # ids of rows without reference that are named; a release has millions
_CLAIMED = {"modality": "modality", "view": "view", "organs": "organ", "disease": "disease", "laterality": "laterality"}

Table = dict[str, Numbers]
"""Reference line (`id`, rater) → the numbers it contributes to one metric."""


@dataclass(frozen=True)
class Metric:
    """A line of the report: what is measured, and how the numbers of the lines become one."""

    group: str
    name: str
    statistic: Statistic = ratio
    binary: bool = False


@dataclass(frozen=True)
class Line:
    """One metric's result, and against the other release where there is one."""

    metric: Metric
    ours: Interval
    against: Interval | None = None
    apart: Interval | None = None
    p: float | None = None
    p_holm: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        intervals = {"ours": self.ours, "against": self.against, "difference": self.apart}
        said = {name: None if value is None else value.as_json() for name, value in intervals.items()}
        test = None if self.p is None else ("mcnemar_exact" if self.metric.binary else "paired_permutation")
        about = {"group": self.metric.group, "metric": self.metric.name}
        return about | said | {"test": test, "p": self.p, "p_holm": self.p_holm}


@dataclass(frozen=True)
class Validation:
    """What validation came to."""

    builds: tuple[str, ...]
    """Of the release, and of the one it is compared with."""
    references: int
    rows: int
    """Rows that somebody speaks about and that every release has."""
    lines: tuple[Line, ...]
    beyond_chance: dict[str, Agreement]
    silent: dict[str, int]
    """Attribute → lines where a person says something and our texts nothing."""
    not_in_release: tuple[str, ...]
    not_in_reference: int
    not_in_reference_first: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "builds": list(self.builds),
            "references": self.references,
            "rows": self.rows,
            "lines": [line.as_json() for line in self.lines],
            "beyond_chance": {name: found.as_json() for name, found in self.beyond_chance.items()},
            "silent": self.silent,
            "not_in_release": list(self.not_in_release),
            "not_in_reference": {"count": self.not_in_reference, "first": list(self.not_in_reference_first)},
        }


@dataclass
class _System:
    """What one release says, measured against the reference lines: metric → line → numbers."""

    tables: dict[Metric, Table] = field(default_factory=dict)
    pairs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    silent: Counter[str] = field(default_factory=Counter)

    def add(self, metric: Metric, line: str, numbers: Numbers) -> None:
        self.tables.setdefault(metric, {})[line] = numbers


def validate(folder: Path, reference: Path, *, against: Path | None = None, seed: int = 0) -> Validation:
    """Compare a release, or two, with what people say.

    Args:
        folder: the release.
        reference: a JSON Lines file, see `quality.reference`.
        against: a second release of the same images by another describer.
        seed: of bootstrap and permutation.

    Raises:
        ConfigError: the reference is not as it must be, or speaks about no row of the release.
        GateFailedError: a folder is not a finished release.
    """
    references = read_references(reference)
    folders = [folder] if against is None else [folder, against]
    rows = [rows_with_id(one, (said.id for said in references)) for one in folders]
    common = set.intersection(*(set(found) for found in rows))
    if not common:
        where = " and ".join(map(str, folders))
        raise ConfigError(f"{reference}: none of its {len(references)} lines has an id of a row of {where}")
    used = [said for said in references if said.id in common]
    systems = [_measure(used, found) for found in rows]
    patients = {row_id: rows[0][row_id]["patient"] or row_id for row_id in common}
    lines = [_line(metric, systems, patients, seed) for metric in sorted(systems[0].tables, key=_order)]
    adjusted = holm([line.p for line in lines if line.p is not None])
    named = {said.id for said in references}
    others = sorted(row["id"] for row in metadata_rows(folder, ("id",)) if row["id"] not in named)
    return Validation(
        builds=tuple(read_manifest(one)["build"] for one in folders),
        references=len(references),
        rows=len(common),
        lines=tuple(_adjusted(lines, adjusted)),
        beyond_chance={name: _beyond_chance(pairs, seed) for name, pairs in sorted(systems[0].pairs.items())},
        silent=dict(sorted(systems[0].silent.items())),
        not_in_release=tuple(sorted(named - common)),
        not_in_reference=len(others),
        not_in_reference_first=tuple(others[:SHOWN_IDS]),
    )


def _order(metric: Metric) -> tuple[int, int, str]:
    groups = ("agreement", "claims", "boxes", "score")
    names = (*_CLAIMED, "count", "position", "mean IoU", "precision", "recall", "F1", *ATTRIBUTES, "total")
    return (
        groups.index(metric.group),
        next((i for i, n in enumerate(names) if metric.name.startswith(n)), 99),
        metric.name,
    )


def _measure(references: Sequence[Reference], rows: Mapping[str, Row]) -> _System:
    """Measure one release against every reference line."""
    system = _System()
    for said in references:
        row, line = rows[said.id], f"{said.id}\x1f{said.rater or ''}"
        if said.attributes is not None:
            _measure_attributes(system, line, said.attributes.values(), said_values(row))
        if said.report is not None:
            _measure_report(system, line, said, row)
        if said.boxes is not None:
            _measure_boxes(system, line, said, row)
    for row_id in dict.fromkeys(said.id for said in references):
        quality = score(Described.of_row(rows[row_id]))
        for name in (*ATTRIBUTES, "total"):
            system.add(Metric("score", name), f"{row_id}\x1f", (getattr(quality, name), 1.0))
    return system


def said_values(row: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Return what the claims of a row say, each attribute as a set of values, empty where they are silent."""
    said: dict[str, set[str]] = {name: set() for name in (*_CLAIMED, "count", "position")}
    places: dict[int | None, dict[str, str]] = {}
    numbers: dict[str, str] = {}
    regions: set[int] = set()
    by_claim = {claim: name for name, claim in _CLAIMED.items()}
    for claim in row["claims"]:
        attribute, value = claim["attribute"], claim["value"]
        if value.startswith("not "):
            continue
        if attribute in by_claim:
            said[by_claim[attribute]].add(value)
        elif attribute.startswith("position_"):
            places.setdefault(claim["roi"], {})[attribute] = value
        elif attribute in ("roi_count", "count"):
            numbers.setdefault(attribute, value)
        if claim["roi"] is not None:
            regions.add(claim["roi"])
    said["position"] = {
        f"{place['position_horizontal']}, {place['position_vertical']}" for place in places.values() if len(place) == 2
    }
    # "the region of interest, …" says that there is one without a claim of its own
    count = numbers.get("roi_count", numbers.get("count", str(len(regions)) if regions else None))
    said["count"] = set() if count is None else {count}
    return {name: frozenset(values) for name, values in said.items()}


def _measure_attributes(
    system: _System, line: str, theirs: Mapping[str, frozenset[str]], ours: Mapping[str, frozenset[str]]
) -> None:
    for name, value in theirs.items():
        system.add(Metric("agreement", name, binary=True), line, (float(ours[name] == value), 1.0))
        system.silent[name] += not ours[name]
        if name in ONE_VALUE:
            label = " + ".join(sorted(ours[name])) or SILENT
            system.pairs.setdefault(name, []).append((label, " + ".join(sorted(value))))


def _measure_report(system: _System, line: str, said: Reference, row: Row) -> None:
    from medtrinity25m.quality.evidence import Evidence
    from medtrinity25m.quality.extract import statements

    evidence = Evidence.of_row(row)
    ours = statements(row["caption"] or "", "caption", evidence)
    theirs = statements(said.report or "", "caption", evidence)
    found = same_statements(ours, theirs)
    system.add(Metric("claims", "precision"), line, (found.hits, found.ours))
    system.add(Metric("claims", "recall"), line, (found.hits, found.theirs))
    system.add(Metric("claims", "F1", f1), line, tuple(found))


def _measure_boxes(system: _System, line: str, said: Reference, row: Row) -> None:
    for x, y, width, height in said.boxes or ():
        if x + width > row["width"] or y + height > row["height"]:
            raise ConfigError(
                f"{said.where}: box {[x, y, width, height]} leaves the {row['width']} x {row['height']} pixels of its "
                "image; boxes are [x, y, width, height] in pixels of the shipped image"
            )
    found = overlap([roi["bbox"] for roi in row["rois"]], said.boxes or ())
    system.add(Metric("boxes", "mean IoU"), line, (round(found.iou, 6), found.theirs))
    system.add(Metric("boxes", "precision at IoU 0.5"), line, (found.hits, found.ours))
    system.add(Metric("boxes", "recall at IoU 0.5"), line, (found.hits, found.theirs))


def _line(metric: Metric, systems: Sequence[_System], patients: Mapping[str, str], seed: int) -> Line:
    """Return a metric's estimate, and the paired difference to the second system."""
    tables = [system.tables[metric] for system in systems]

    def of(table: Table) -> Interval:
        found = bootstrap(_by_patient([table], patients), metric.statistic, seed=seed)
        return found._replace(n=len(table))

    if len(tables) == 1:
        return Line(metric, of(tables[0]))
    pairs = _by_patient(tables, patients)
    return Line(
        metric,
        of(tables[0]),
        of(tables[1]),
        bootstrap(pairs, difference(metric.statistic), seed=seed)._replace(n=len(tables[0])),
        _mcnemar(*tables) if metric.binary else swap_test(pairs, metric.statistic, seed=seed),
    )


def _mcnemar(ours: Table, others: Table) -> float:
    right = [(ours[line][0], others[line][0]) for line in ours]
    return mcnemar(right.count((1.0, 0.0)), right.count((0.0, 1.0)))


def _by_patient(tables: Sequence[Table], patients: Mapping[str, str]) -> Counter[Numbers]:
    """Count patients by what their lines sum up to, the tables' numbers one after the other."""
    sums: dict[str, list[float]] = {}
    for line in tables[0]:
        numbers = [number for table in tables for number in table[line]]
        known = sums.setdefault(patients[line.partition("\x1f")[0]], [0.0] * len(numbers))
        known[:] = [a + b for a, b in zip(known, numbers, strict=True)]
    return Counter(tuple(round(number, 6) for number in numbers) for numbers in sums.values())


def _adjusted(lines: Sequence[Line], adjusted: list[float]) -> Iterable[Line]:
    rest = iter(adjusted)
    return [line if line.p is None else replace(line, p_holm=next(rest)) for line in lines]


def _beyond_chance(pairs: Sequence[tuple[str, str]], seed: int) -> Agreement:
    return agreement(pairs, sorted({value for pair in pairs for value in pair}), seed=seed)
