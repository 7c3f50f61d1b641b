"""Takes the readers' sheets back: accuracy per attribute, agreement, what to settle, and the verdicts as an overlay.

Written to the folder `verdicts` beside the pack's key, or wherever said, never into the release:

* `verdicts.jsonl`, the overlay: one line a row and attribute, sorted: `{"id": "6914…", "attribute": "roi",
  "verdict": "correct", "readers": {"1": "correct", "2": "correct"}}`. `verdict` is `correct`, `partly`, `wrong` or
  `na` where all readers agree or somebody settled it, else `disputed`.
* `adjudication.csv`: what the readers disagree on, with an empty column `decision`; filled in, it is handed over
  next time.
* `report.json`: the numbers below.

Accuracy counts `correct` among the verdicts that are not `na`, per reader with a Wilson interval, and over all
readers and attributes with a bootstrap over items, because the verdicts on one item go together. `points` is the
same on the paper's scale of 0 to 2.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medtrinity25m.errors import ConfigError, one_line
from medtrinity25m.quality.agreement import Agreement, agreement
from medtrinity25m.quality.bootstrap import Interval, Numbers, bootstrap, wilson
from medtrinity25m.quality.review.pack import KEY
from medtrinity25m.quality.review.verdicts import POINTS, VERDICTS, Sheet, read_csv, read_sheet, write_csv
from medtrinity25m.quality.scores import ATTRIBUTES
from medtrinity25m.release.manifest import read_manifest
from medtrinity25m.release.workspace import write_committed

DISPUTED = "disputed"
OVERLAY = "verdicts.jsonl"
ADJUDICATION = "adjudication.csv"
REPORT = "report.json"
DECISION_COLUMNS = ("item", "attribute", "decision")


@dataclass(frozen=True)
class AttributeReport:
    """What the readers say of one attribute; `attribute` `all` is all five together."""

    attribute: str
    readers: dict[str, Interval]
    """Reader → share of correct among what they judged."""
    accuracy: Interval
    points: Interval
    agreement: Agreement | None
    """None with one reader, and for all attributes together."""

    def as_json(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "attribute": self.attribute,
            "readers": {name: found.as_json() for name, found in self.readers.items()},
            "accuracy": self.accuracy.as_json(),
            "points": self.points.as_json(),
            "agreement": None if self.agreement is None else self.agreement.as_json(),
        }


@dataclass(frozen=True)
class Review:
    """What a review came to."""

    build: str
    items: int
    readers: tuple[str, ...]
    judged: dict[str, int]
    """Reader → verdicts given, of five an item."""
    attributes: tuple[AttributeReport, ...]
    disputed: int
    overlay: tuple[dict[str, Any], ...]
    open: tuple[dict[str, str], ...]
    """Rows of `adjudication.csv`."""

    def as_json(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {
            "build": self.build,
            "items": self.items,
            "readers": list(self.readers),
            "judged": self.judged,
            "disputed": self.disputed,
            "attributes": [one.as_json() for one in self.attributes],
        }


def collect(
    sources: Sequence[Path], release: Path, *, key: Path | None = None, decisions: Path | None = None
) -> Review:
    """Return what the sheets of one pack come to.

    Args:
        sources: the pack's folder, where the sheets lie in `reader-1/` and `reader-2/`, or the sheets themselves.
        release: the release the pack was made from.
        key: the pack's `key.json`; looked for in the sheets' folders and above unless said.
        decisions: a filled-in `adjudication.csv`.

    Raises:
        ConfigError: no key, a key of another release, no sheet, or a sheet that is not of this pack.
    """
    known = read_key(find_key(sources) if key is None else key, read_manifest(release)["build"], release)
    items: dict[str, str] = known["items"]
    sheets = _sheets(sources, items)
    settled = {} if decisions is None else _decisions(decisions, items)
    overlay = tuple(_overlay(sheets, items, settled))
    open_rows = tuple(_open(sheets, settled))
    return Review(
        build=known["build"],
        items=len(items),
        readers=tuple(sheet.reader for sheet in sheets),
        judged={sheet.reader: sum(map(len, sheet.verdicts.values())) for sheet in sheets},
        attributes=tuple(_report(sheets, name) for name in (*ATTRIBUTES, "all")),
        disputed=len(open_rows),
        overlay=overlay,
        open=open_rows,
    )


def write(review: Review, out: Path, release: Path) -> None:
    """Write overlay, adjudication list and report to the folder `out`.

    Raises:
        ConfigError: `out` lies in the release.
    """
    if out.resolve().is_relative_to(release.resolve()):
        raise ConfigError(f"{out} lies in the release, where it would be published; choose another folder")
    readers = [f"reader {reader}" for reader in review.readers]
    comments = [f"comment {reader}" for reader in review.readers]
    columns = ("item", "attribute", *readers, *comments, "decision")
    lines = (json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in review.overlay)
    write_committed(out / OVERLAY, "".join(lines))
    write_committed(out / ADJUDICATION, write_csv(columns, review.open))
    write_committed(out / REPORT, json.dumps(review.as_json(), indent=1, sort_keys=True) + "\n")


def find_key(sources: Sequence[Path]) -> Path:
    """Return the `key.json` in one of the folders, or beside or above one of the sheets."""
    places = [place for path in sources for place in ((path,) if path.is_dir() else (path.parent, path.parent.parent))]
    for place in places:
        if (place / KEY).is_file():
            return place / KEY
    looked = ", ".join(dict.fromkeys(map(str, places)))
    raise ConfigError(f"no {KEY} in {looked}; say where the pack's key lies with --key")


def read_key(path: Path, build: str, release: Path) -> dict[str, Any]:
    """Return a pack's key, checked to be of this release."""
    try:
        key: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(one_line(f"{path} is no key of a review pack: {error}")) from error
    items = key.get("items") if isinstance(key, dict) else None
    if not isinstance(items, dict) or not all(isinstance(row_id, str) for row_id in items.values()):
        raise ConfigError(f"{path} is no key of a review pack; `review export` writes {KEY}")
    if key.get("build") != build:
        said = f"{path} is of build {key.get('build')!r}, {release} is build {build}"
        raise ConfigError(one_line(f"{said}; give the release that the pack was made from"))
    return {"build": build, "items": items}


def _sheets(sources: Sequence[Path], items: Mapping[str, str]) -> list[Sheet]:
    """Read the sheets, in the order of their readers' names."""
    paths: list[Path] = []
    for path in sources:
        paths += sorted(path.glob("reader-*/*.csv")) if path.is_dir() else [path]
    sheets: dict[str, tuple[Path, Sheet]] = {}
    for path in paths:
        sheet = read_sheet(path, items)
        if not any(sheet.verdicts.values()):
            continue  # the template beside the sheet that was sent back
        if sheet.reader in sheets:
            said = f"{sheets[sheet.reader][0]} and {path} are both of reader {sheet.reader}"
            raise ConfigError(one_line(f"{said}; leave one of them out"))
        sheets[sheet.reader] = path, sheet
    if not sheets:
        where = ", ".join(map(str, sources))
        raise ConfigError(f"{where}: no sheet with a verdict; put the readers' CSV files into reader-1/ and reader-2/")
    return [sheets[reader][1] for reader in sorted(sheets)]


def _decisions(path: Path, items: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return what somebody settled: (item, attribute) → verdict."""
    settled: dict[tuple[str, str], str] = {}
    for where, row in read_csv(path, DECISION_COLUMNS):
        verdict = row["decision"].casefold()
        if row["item"] not in items or row["attribute"] not in ATTRIBUTES or verdict not in (*VERDICTS, ""):
            said = f"{where}: {row['item']!r}, {row['attribute']!r}, {row['decision']!r} is no decision on this pack"
            raise ConfigError(one_line(f"{said}; write {', '.join(VERDICTS)}, or leave it empty"))
        if verdict:
            settled[row["item"], row["attribute"]] = verdict
    return settled


def _said(sheets: Sequence[Sheet], item: str, attribute: str) -> dict[str, str]:
    """Return each reader's verdict on one attribute of an item, where they gave one."""
    given = ((sheet.reader, sheet.verdicts.get(item, {}).get(attribute)) for sheet in sheets)
    return {reader: verdict for reader, verdict in given if verdict is not None}


def _overlay(
    sheets: Sequence[Sheet], items: Mapping[str, str], settled: Mapping[tuple[str, str], str]
) -> Iterable[dict[str, Any]]:
    for item, row_id in sorted(items.items(), key=lambda pair: pair[1]):
        for attribute in ATTRIBUTES:
            said = _said(sheets, item, attribute)
            if said:
                agreed = next(iter(said.values())) if len(set(said.values())) == 1 else DISPUTED
                verdict = settled.get((item, attribute), agreed)
                yield {"id": row_id, "attribute": attribute, "verdict": verdict, "readers": said}


def _open(sheets: Sequence[Sheet], settled: Mapping[tuple[str, str], str]) -> Iterable[dict[str, str]]:
    for item in sorted({item for sheet in sheets for item in sheet.verdicts}):
        for attribute in ATTRIBUTES:
            said = _said(sheets, item, attribute)
            if len(set(said.values())) > 1 and (item, attribute) not in settled:
                readers = {f"reader {reader}": verdict for reader, verdict in said.items()}
                comments = {f"comment {sheet.reader}": sheet.comments.get(item, "") for sheet in sheets}
                yield {"item": item, "attribute": attribute, **readers, **comments, "decision": ""}


def _report(sheets: Sequence[Sheet], name: str) -> AttributeReport:
    """Return accuracy, points and agreement of one attribute, or of all together."""
    attributes = ATTRIBUTES if name == "all" else (name,)
    per_item: dict[str, list[str]] = {}
    readers = {}
    for sheet in sheets:
        mine = [
            (item, verdicts[attribute])
            for item, verdicts in sheet.verdicts.items()
            for attribute in attributes
            if verdicts.get(attribute, "na") != "na"
        ]
        readers[sheet.reader] = wilson(sum(verdict == "correct" for _, verdict in mine), len(mine))
        for item, verdict in mine:
            per_item.setdefault(item, []).append(verdict)
    hits = Counter[Numbers]((float(v.count("correct")), float(len(v))) for v in per_item.values())
    points = Counter[Numbers]((sum(POINTS[one] for one in v), float(len(v))) for v in per_item.values())
    agreed = _agreement(sheets, name) if name != "all" and len(sheets) > 1 else None
    return AttributeReport(name, readers, bootstrap(hits), bootstrap(points), agreed)


def _agreement(sheets: Sequence[Sheet], attribute: str) -> Agreement:
    """Return how far the first two readers agree on an attribute, over the items both judged."""
    both = [_said(sheets[:2], item, attribute) for item in sorted(sheets[0].verdicts)]
    return agreement([(first, second) for first, second in (s.values() for s in both if len(s) == 2)], VERDICTS)
