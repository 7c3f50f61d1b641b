"""The table layout: a table with columns for image, label, box, patient, split, and tables joined to it.

Several lines may speak of one image (a line a box, a line a question): their labels, boxes and texts are joined.
A line that cannot be used is refused by number and the others go on.

**Why** lines about one image that name different patients or studies are refused after the first: the image would
stand in two groups, of which one may be tested on.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import tabular
from medtrinity25m.readers.columns import box_of, is_true, labels_of, optional, templates_of, text_of, word
from medtrinity25m.readers.entry import Entry, Listing, Refusal, joined, mask_mark
from medtrinity25m.readers.file_index import FileIndex
from medtrinity25m.readers.layout_options import Table
from medtrinity25m.readers.modality_words import modalities_in
from medtrinity25m.readers.pattern import cell_of, columns_of, empty, fields_of, fill_wild, match_path
from medtrinity25m.readers.record import BoxMark, Mark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.tabular import Line, Row
from medtrinity25m.registry import Source

_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
IMAGE_KEYS = ("image", "mask", "boxes_file", "patient", "study", "modality", "modality_words", "organ")


def list_table(source: Source, layout: Table, jail: Jail, files: list[str]) -> Listing:
    """Return one entry per image the table names.

    Raises:
        ConfigError: a table or a column of it is not there, or `mask` fits no file.
    """
    listing = Listing(used=tabular.used_tables(files, layout.file))
    for other in layout.join:
        listing.used |= tabular.used_tables(files, other.file)
    reader = RowReader(source, layout, jail, FileIndex([*files, *_members(layout, jail, files, listing)]))
    found = Found()
    try:
        for where, row in _lines(layout, jail, files):
            try:
                if isinstance(row, RefusedError):
                    raise row
                found.add(reader.entry(row, where), where)
            except RefusedError as refusal:
                listing.refusals.append(Refusal.of(where, refusal))
            finally:
                listing.used |= reader.used
                reader.used = set()
    except ConfigError as error:
        raise ConfigError(f"{source.id}: {error}") from error
    if reader.masks_sought and not reader.masks_found:
        raise ConfigError(f"{source.id}: no file fits mask = {layout.mask!r}; without masks leave the key out")
    listing.entries.extend(found.entries())
    return listing


class Found:
    """The entries found so far, with the further lines about them."""

    def __init__(self) -> None:
        self._first: dict[str, Entry] = {}
        self._further: dict[str, list[Entry]] = defaultdict(list)

    def add(self, entry: Entry, where: str) -> None:
        """Add what one line says; refuses `table.conflict` for another patient or study than before."""
        first = self._first.setdefault(entry.path, entry)
        if first is entry:
            return
        for what, before, now in (
            ("patient", first.patient, entry.patient),
            ("study", first.study, entry.study),
        ):
            if before is not None and now is not None and before != now:
                why = f"{where}: {what} {now!r} of {entry.path} is {before!r} in an earlier line; mend the table"
                raise RefusedError("table.conflict", why)
        self._first[entry.path] = replace(
            first, patient=first.patient or entry.patient, study=first.study or entry.study
        )
        self._further[entry.path].append(entry)

    def entries(self) -> Iterator[Entry]:
        """Yield one entry an image."""
        for path, first in self._first.items():
            further = self._further.get(path)
            yield first if further is None else joined([first, *further])


def _lines(layout: Table, jail: Jail, files: list[str]) -> Iterator[Line]:
    embedded = layout.image if layout.embedded else None
    lines = tabular.read_tables(jail, files, layout.file, layout.records, embedded)
    for other in layout.join:
        lines = tabular.join(lines, jail, files, other)
    lines = tabular.split_up(lines, layout.parse)
    named = [template for key in IMAGE_KEYS if (template := getattr(layout, key)) is not None]
    asked = [*named, *templates_of(layout), *layout.modality_columns, *layout.parse]
    return tabular.Known(asked, layout.file).watched(lines)


def _members(layout: Table, jail: Jail, files: list[str], listing: Listing) -> list[str]:
    """Return the images in the layout's archives; what an archive may not hold is refused."""
    members: list[str] = []
    for path in files:
        if layout.archives is None or match_path(layout.archives, path) is None:
            continue
        try:
            held = jail.members(path)
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(path, refusal))
            continue
        listing.used.add(path)
        members += held.addresses
        listing.refusals += [Refusal.of(address, refusal) for address, refusal in held.refused]
        listing.members += held.addresses
    return members


class RowReader:
    """Turns the rows of one table into entries; `used` are the files that rows named."""

    def __init__(self, source: Source, layout: Table, jail: Jail, index: FileIndex) -> None:
        self.source, self.layout, self.jail, self.index = source, layout, jail, index
        self.used: set[str] = set()
        self.masks_sought = self.masks_found = False
        self._split = layout.split or ("split" if "split" in fields_of(layout.file) else None)
        self._boxes: dict[str, list[Mark]] = {}

    def entry(self, row: Row, where: str) -> Entry:
        """Return what one row says; raises `RefusedError`."""
        layout = self.layout
        path = self._one(layout.image, row, where)
        self.used.add(path)
        labels = labels_of(layout, row, where)
        marks = tuple(self._marks(row, where, path, labels))
        if path not in self.index:
            self.jail.locate(path)
        organ = word(layout.organ, row, where)
        return Entry(
            path=path,
            labels=labels,
            organs=() if organ is None else (organ,),
            modality=self._modality(row),
            patient=optional(layout.patient, row),
            study=optional(layout.study, row),
            split=optional(self._split, row),
            view=optional(layout.view, row),
            laterality=optional(layout.laterality, row),
            text=text_of(layout, row),
            marks=marks,
        )

    def _one(self, template: str, row: Row, where: str) -> str:
        """Return the one file that a filled template fits."""
        found = self.index.fitting(template, row, where)
        if not found:
            name = str(fill_wild(template, row, where))
            raise RefusedError("file.missing", f"{where}: no file fits {name}; fetch it, or leave the line out")
        if len(found) > 1:
            self.used |= set(found)
            several = ", ".join(found[:3])
            raise RefusedError("layout.ambiguous", f"{where}: {len(found)} files fit ({several}); keep one")
        return found[0]

    def _marks(self, row: Row, where: str, path: str, labels: tuple[str, ...]) -> list[Mark]:
        layout = self.layout
        region = layout.mask_label or (labels[0] if labels else None)
        box = box_of(layout, row, where, region)
        marks: list[Mark] = [] if box is None else [box]
        if layout.mask is not None and not any(empty(cell_of(row, name)) for name in columns_of(layout.mask)):
            found = self.index.fitting(layout.mask, row, where)
            self.masks_sought, self.masks_found = True, self.masks_found or bool(found)
            self.used.update(found)
            marks += [mask_mark(self.source, layout, mask, region) for mask in found]
        if layout.boxes_file is not None:
            marks += self._boxes_from(self._one(layout.boxes_file, row, where))
        name = path.rpartition("/")[2]
        named = (_named_box(fields, region) for pattern in layout.box_names if (fields := match_path(pattern, name)))
        return [*marks, *([first] if (first := next(filter(None, named), None)) else [])]

    def _boxes_from(self, path: str) -> list[Mark]:
        """Return the boxes of a JSON file: a list of `{"label": [x, y, width, height]}`."""
        self.used.add(path)
        if path not in self._boxes:
            try:
                content = json.loads(self.jail.read_bytes(path))
                self._boxes[path] = [_box(label, box) for item in content for label, box in item.items()]
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                why = f"{path} holds no list of labeled boxes: {error}"
                raise RefusedError("table.boxes_file", why) from None
        return self._boxes[path]

    def _modality(self, row: Row) -> str | None:
        """Return the modality, by the column that says it best; the raw word for one that is none."""
        layout = self.layout
        said = optional(layout.modality, row)
        if said is not None and (known := self.source.modality_of(said)) is not None:
            return known
        flagged = [name for column, name in layout.modality_columns.items() if is_true(cell_of(row, column) or "")]
        if not flagged and layout.modality_words is not None:
            return " and ".join(modalities_in(optional(layout.modality_words, row) or "")) or None
        return " and ".join(dict.fromkeys(flagged)) or said


def _box(label: str, box: Any) -> BoxMark:
    """Return a labeled box; raises `ValueError` or `TypeError` for what is no list of four numbers."""
    if not isinstance(box, list):
        raise TypeError(f"{str(box)[:80]!r} is no list of numbers")
    x, y, w, h = map(float, box)
    if w < 0 or h < 0:
        raise ValueError(f"{box} has a negative side")
    return BoxMark(label=label, xyxy=(x, y, x + w, y + h))


def _named_box(fields: dict[str, str], region: str | None) -> BoxMark | None:
    """Return the box a file's name holds, None where its parts only look like one."""
    sides = [fields.get(key, "") for key in ("x", "y", "w", "h")]
    if not all(_NUMBER.fullmatch(side) for side in sides):
        return None
    x, y, w, h = map(float, sides)
    return BoxMark(label=region or "", xyxy=(x, y, x + w, y + h))
