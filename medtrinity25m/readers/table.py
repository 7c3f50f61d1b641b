"""The table layout: a table with columns for image, label, box, patient, split, and tables joined to it.

Several lines may speak of one image (a line a box, a line a question): their labels, boxes and texts are joined.
A line that cannot be used is refused by number and the others go on.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import PurePosixPath

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import tabular
from medtrinity25m.readers.columns import box_of, is_true, labels_of, optional, templates_of
from medtrinity25m.readers.entry import Entry, Listing, Refusal, mask_mark
from medtrinity25m.readers.layout_options import Table
from medtrinity25m.readers.modality_words import modality_in
from medtrinity25m.readers.pattern import cell_of, fields_of, fill_pattern, match_path
from medtrinity25m.readers.record import BoxMark, Mark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.tabular import Line, Row
from medtrinity25m.registry import Source

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
IMAGE_KEYS = ("image", "mask", "boxes_file", "patient", "study", "modality", "modality_words", "organ")


def list_table(source: Source, layout: Table, jail: Jail, files: list[str]) -> Listing:
    """Return one entry per image the table names."""
    listing = Listing(used=tabular.used_tables(files, layout.file))
    try:
        lines = _lines(layout, jail, files)
    except ConfigError as error:
        raise ConfigError(f"{source.id}: {error}") from error
    for joined in layout.join:
        listing.used |= tabular.used_tables(files, joined.file)
    reader = RowReader(source, layout, jail, FileIndex([*files, *_members(layout, jail, files, listing)]))
    found: dict[str, Entry] = {}
    for where, row in lines:
        try:
            if isinstance(row, RefusedError):
                raise row
            entry = reader.entry(row, where)
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(where, refusal))
            continue
        finally:
            listing.used |= reader.used
        found[entry.path] = entry if entry.path not in found else entry.joined_to(found[entry.path])
    listing.entries.extend(found.values())
    return listing


def _lines(layout: Table, jail: Jail, files: list[str]) -> list[Line]:
    embedded = layout.image if layout.embedded else None
    lines = tabular.read_tables(jail, files, layout.file, layout.records, embedded)
    for joined in layout.join:
        lines = tabular.join(lines, jail, files, joined)
    lines = tabular.split_up(lines, layout.parse)
    named = [template for key in IMAGE_KEYS if (template := getattr(layout, key)) is not None]
    tabular.check_columns(lines, [*named, *templates_of(layout), *layout.modality_columns], layout.file)
    return lines


def _members(layout: Table, jail: Jail, files: list[str], listing: Listing) -> list[str]:
    """Return the images in the layout's archives; what an archive may not hold is refused."""
    members: list[str] = []
    for path in files:
        if layout.archives is not None and match_path(layout.archives, path) is not None:
            listing.used.add(path)
            held = jail.members(path)
            members += held.addresses
            listing.refusals += [Refusal.of(address, refusal) for address, refusal in held.refused]
            listing.members += held.addresses
    return members


class FileIndex:
    """Files by name and by folder, so that a template with `*` finds its file without walking through all."""

    def __init__(self, paths: list[str]) -> None:
        self._all = set(paths)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_folder: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            folder, _, name = path.rpartition("/")
            self._by_name[name].append(path)
            self._by_folder[folder].append(path)

    def fitting(self, template: str, row: Row, where: str) -> list[str]:
        """Return the files a filled template fits, sorted; the one it names where it holds no `*`."""
        filled, expression = fill_pattern(template, row, where)
        if "*" not in template:
            return [str(PurePosixPath(filled))]
        folder, _, name = filled.rpartition("/")
        if "*" not in name:
            near = self._by_name.get(name, [])
        elif "*" not in folder:
            near = self._by_folder.get(folder, [])
        else:
            near = list(self._all)
        return sorted(path for path in near if expression.fullmatch(path))


class RowReader:
    """Turns the rows of one table into entries; `used` are the files the last row named."""

    def __init__(self, source: Source, layout: Table, jail: Jail, index: FileIndex) -> None:
        self.source, self.layout, self.jail, self.index = source, layout, jail, index
        self.used: set[str] = set()
        self._split = layout.split or ("split" if "split" in fields_of(layout.file) else None)

    def entry(self, row: Row, where: str) -> Entry:
        """Return what one row says; raises `RefusedError`."""
        layout, self.used = self.layout, set()
        path = self._image(row, where)
        self.used.add(path)
        labels = labels_of(layout, row)
        marks = tuple(self._marks(row, where, path, labels))
        self.jail.locate(path)
        organ, text = optional(layout.organ, row), optional(layout.text, row)
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
            text=text,
            marks=marks,
        )

    def _image(self, row: Row, where: str) -> str:
        template = self.layout.image
        found = self.index.fitting(template, row, where)
        if not found:
            name = fill_pattern(template, row, where)[0]
            raise RefusedError("file.missing", f"{where}: no file fits {name}; fetch it, or leave the line out")
        if len(found) > 1:
            self.used |= set(found)
            several = ", ".join(found[:3])
            raise RefusedError("layout.ambiguous", f"{where}: {len(found)} files fit ({several}); keep one")
        return found[0]

    def _marks(self, row: Row, where: str, path: str, labels: tuple[str, ...]) -> list[Mark]:
        layout = self.layout
        region = layout.mask_label or (labels[0] if labels else None)
        marks: list[Mark] = []
        if (box := box_of(layout, row, where, region)) is not None:
            marks.append(box)
        if layout.mask is not None and optional(layout.mask.replace("*", ""), row):
            for mask in self.index.fitting(layout.mask, row, where):
                self.used.add(mask)
                marks.append(mask_mark(self.source, layout, mask, region))
        if layout.boxes_file is not None:
            marks += self._boxes_from(self.index.fitting(layout.boxes_file, row, where)[0])
        name = PurePosixPath(path).name
        named = (_named_box(fields, region) for pattern in layout.box_names if (fields := match_path(pattern, name)))
        return [*marks, *([first] if (first := next(filter(None, named), None)) else [])]

    def _boxes_from(self, path: str) -> list[Mark]:
        """Return the boxes of a JSON file: a list of `{"label": [x, y, width, height]}`."""
        self.used.add(path)
        try:
            content = json.loads(self.jail.read_bytes(path))
            pairs = [(str(label), box) for item in content for label, box in item.items()]
            sides = [(label, tuple(float(side) for side in box)) for label, box in pairs]
            return [BoxMark(label=label, xyxy=(x, y, x + w, y + h)) for label, (x, y, w, h) in sides]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RefusedError("table.boxes_file", f"{path} holds no list of labeled boxes: {error}") from None

    def _modality(self, row: Row) -> str | None:
        """Return the raw word for the modality, by the column that says it best."""
        layout = self.layout
        said = optional(layout.modality, row)
        if said is not None and self.source.modality_of(said) is not None:
            return said
        flagged = [name for column, name in layout.modality_columns.items() if is_true(cell_of(row, column) or "")]
        if flagged:
            return flagged[0] if len(set(flagged)) == 1 else " and ".join(flagged)
        words = optional(layout.modality_words, row)
        return said if words is None else modality_in(words)


def _named_box(fields: dict[str, str], region: str | None) -> BoxMark | None:
    """Return the box a file's name holds, None where its parts only look like one."""
    sides = [fields.get(key, "") for key in ("x", "y", "w", "h")]
    if not all(_NUMBER.fullmatch(side) for side in sides):
        return None
    x, y, w, h = map(float, sides)
    return BoxMark(label=region or "", xyxy=(x, y, x + w, y + h))
