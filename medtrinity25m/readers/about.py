"""Tables about images that another rule lists: reports of a DICOM tree, labels of slides, boxes by SOP Instance UID.

**Why** a box by a file's name is refused where the file has several planes: the line does not say on which it was
drawn, and the first is as wrong as any.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import tabular
from medtrinity25m.readers.columns import box_of, labels_of, optional, templates_of, text_of
from medtrinity25m.readers.entry import Entry, Listing, Refusal, joined
from medtrinity25m.readers.layout_options import About
from medtrinity25m.readers.pattern import fill
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.tabular import Row
from medtrinity25m.registry import Source

_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{0,7}(?:\.(?:gz|bz2|zst))?$")  # the last number of a UID is none


@dataclass(frozen=True)
class Keys:
    """The names under which tables know an entry."""

    entry: Entry

    def name(self, by: str) -> str | None:
        """Return the entry's name of one kind."""
        match by:
            case "sop_uid":
                return self.entry.uid
            case "series_uid":
                return self.entry.container
            case "study_uid":
                return self.entry.study
            case "patient":
                return self.entry.patient
            case "path":
                return self.entry.path
            case _:
                return _SUFFIX.sub("", self.entry.path.rpartition("/")[2])


def add_tables(source: Source, tables: tuple[About, ...], listing: Listing, jail: Jail, files: list[str]) -> None:
    """Add to the listing's entries what the tables say of them; a line about no entry is refused.

    Raises:
        ConfigError: a table or a column of it is not there; boxes on slides or videos, which have many planes.
    """
    further: dict[int, list[Entry]] = defaultdict(list)
    for about in tables:
        if about.box and source.layout.kind in ("wsi", "video", "nifti_pairs"):
            why = f"a table about a {source.layout.kind} cannot say on which of its planes a box is; take box out"
            raise ConfigError(f"{source.id}: {why}")
        listing.used |= tabular.used_tables(files, about.file)
        try:
            _add(about, listing, further, jail, files)
        except ConfigError as error:
            raise ConfigError(f"{source.id}: {error}") from error
    for at, said in further.items():
        listing.entries[at] = joined([listing.entries[at], *said])


def _add(about: About, listing: Listing, further: dict[int, list[Entry]], jail: Jail, files: list[str]) -> None:
    """Collect in `further` what the lines of one table say of which entry."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, entry in enumerate(listing.entries):
        if (name := Keys(entry).name(about.by)) is not None:
            places[name].append(at)
    lines = tabular.read_tables(jail, files, about.file, about.records, None)
    for where, row in tabular.Known([about.key, *templates_of(about)], about.file).watched(lines):
        try:
            key, said = _said(about, row, where)
            for at in _places_of(key, said, [(at, listing.entries[at]) for at in places.get(key, ())], about, where):
                further[at].append(said)
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(where, refusal))


def _places_of(key: str, said: Entry, found: list[tuple[int, Entry]], about: About, where: str) -> Iterator[int]:
    """Yield the places of the entries with a key; refuses a key of none, and a box on one of many planes."""
    if not found:
        raise RefusedError("table.image_missing", f"{where}: no image of the folder has {about.by} {key}")
    for at, entry in found:
        if said.marks and len(entry.places) > 1:
            raise RefusedError("table.box_plane", f"{where}: {entry.path} has many planes; on which is the box?")
        yield at


def _said(about: About, row: Row | RefusedError, where: str) -> tuple[str, Entry]:
    """Return the key of a line, and what it says of the image with that key."""
    if isinstance(row, RefusedError):
        raise row
    labels = labels_of(about, row, where)
    box = box_of(about, row, where, labels[0] if labels else None)
    key = fill(about.key, row, where).strip()
    return key, Entry(
        path=key,
        labels=labels,
        marks=() if box is None else (box,),
        text=text_of(about, row),
        split=optional(about.split, row),
        view=optional(about.view, row),
        laterality=optional(about.laterality, row),
    )
