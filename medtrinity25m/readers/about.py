"""Tables about images that another rule lists: reports of a DICOM tree, labels of slides, boxes by SOP Instance UID."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import tabular
from medtrinity25m.readers.columns import box_of, labels_of, optional, templates_of
from medtrinity25m.readers.entry import Entry, Listing, Refusal
from medtrinity25m.readers.layout_options import About
from medtrinity25m.readers.pattern import fill
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.tabular import Row
from medtrinity25m.registry import Source


@dataclass(frozen=True)
class Keys:
    """The names under which tables know an entry."""

    entry: Entry

    def name(self, by: str) -> str | None:
        """Return the entry's name of one kind."""
        path = PurePosixPath(self.entry.path)
        names = {
            "sop_uid": self.entry.uid,
            "series_uid": self.entry.container,
            "study_uid": self.entry.study,
            "patient": self.entry.patient,
            "path": self.entry.path,
            "stem": path.name.removesuffix("".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])),
        }
        return names[by]


def add_tables(source: Source, tables: tuple[About, ...], listing: Listing, jail: Jail, files: list[str]) -> None:
    """Add to the listing's entries what the tables say of them; a line about no entry is refused."""
    for about in tables:
        listing.used |= tabular.used_tables(files, about.file)
        try:
            _add(about, listing, jail, files)
        except ConfigError as error:
            raise ConfigError(f"{source.id}: {error}") from error


def _add(about: About, listing: Listing, jail: Jail, files: list[str]) -> None:
    lines = tabular.read_tables(jail, files, about.file, about.records, None)
    tabular.check_columns(lines, [about.key, *templates_of(about)], about.file)
    places: dict[str | None, list[int]] = defaultdict(list)
    for at, entry in enumerate(listing.entries):
        places[Keys(entry).name(about.by)].append(at)
    for where, row in lines:
        try:
            key, said = _said(about, row, where)
            if key not in places:
                listing.refusals.append(_of_no_image(about, where, key))
            for at in places.get(key, ()):
                entry = listing.entries[at]
                listing.entries[at] = replace(entry, **said).joined_to(entry)
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(where, refusal))


def _said(about: About, row: Row | RefusedError, where: str) -> tuple[str, dict[str, Any]]:
    """Return the key of a line, and what it says of the image with that key."""
    if isinstance(row, RefusedError):
        raise row
    labels = labels_of(about, row)
    box = box_of(about, row, where, labels[0] if labels else None)
    return fill(about.key, row, where).strip(), {
        "labels": labels,
        "marks": () if box is None else (box,),
        "text": optional(about.text, row),
        "split": optional(about.split, row),
        "view": optional(about.view, row),
        "laterality": optional(about.laterality, row),
    }


def _of_no_image(about: About, where: str, key: str) -> Refusal:
    return Refusal(where, "table.image_missing", f"{where}: no image of the folder has {about.by} {key}")
