"""The arrays layout: stacks of images in `.npz` and `.npy` files, with their labels and instance maps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.arrays import array_members, small_array
from medtrinity25m.readers.entry import Entry, Listing, Refusal
from medtrinity25m.readers.layout_options import Arrays
from medtrinity25m.readers.pattern import match_path
from medtrinity25m.readers.record import FileMark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Source

NO_LABEL = "none"  # what comes after the prefix where no column of a 0/1 array is 1


def list_arrays(source: Source, layout: Arrays, jail: Jail, files: list[str]) -> Listing:
    """Return one entry per stack of images."""
    listing = Listing()
    for path in files:
        fields = match_path(layout.file, path)
        if fields is None:
            continue
        listing.used.add(path)
        try:
            stacks = _members(layout, jail, path, fields) if path.casefold().endswith(".npz") else {path: fields}
            for address, own in stacks.items():
                listing.entries.append(_entry(source, layout, jail, address, own, listing))
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(path, refusal))
    return listing


def _members(layout: Arrays, jail: Jail, path: str, fields: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the address of each image stack of an `.npz`, with the fields of its name."""
    names = array_members(jail, path)
    found = {name: match_path(layout.images or "*", name) for name in names}
    stacks = {f"{path}!/{name}": {**fields, **own} for name, own in found.items() if own is not None}
    if not stacks:
        why = f"{path} has no array that fits images = {layout.images!r}; it has {', '.join(names)}"
        raise RefusedError("arrays.member_missing", why)
    return stacks


def _entry(source: Source, layout: Arrays, jail: Jail, address: str, fields: dict[str, str], listing: Listing) -> Entry:
    said: dict[int, tuple[str, ...]] = {}
    if layout.labels is not None:
        place = _beside(address, layout.labels, fields)
        listing.used.add(place)
        values = small_array(jail, place)
        said = dict(enumerate(_labels(source, values, _filled(layout.label_prefix, fields))))
    marks: tuple[FileMark, ...] = ()
    if layout.masks is not None:
        masks = _beside(address, layout.masks, fields)
        listing.used.add(masks)
        marks = tuple(
            FileMark(path=masks, mask_kind="instances", label=label, channel=channel)
            for channel, label in enumerate(layout.mask_labels)
        )
    return Entry(
        path=address,
        frame_labels=said,
        modality=fields.get("modality"),
        organs=() if (organ := fields.get("organ")) is None else (organ,),
        split=fields.get("split"),
        marks=marks,
    )


def _beside(address: str, template: str, fields: Mapping[str, str]) -> str:
    """Return the address of an array that belongs to a stack: a member of the same `.npz`, or a path of its own."""
    container, inside, _ = address.partition("!/")
    name = _filled(template, fields)
    return f"{container}!/{name}" if inside else name


def _filled(template: str, fields: Mapping[str, str]) -> str:
    for name, value in fields.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _labels(source: Source, values: NDArray[np.generic], prefix: str) -> list[tuple[str, ...]]:
    """Return the raw labels of every image: its value, or the columns of a 0/1 row that are 1."""
    if values.ndim == 2 and values.shape[1] > 1:
        nothing = prefix + NO_LABEL
        none = (nothing,) if source.meaning(nothing) is not None else ()
        return [tuple(f"{prefix}{at}" for at in np.flatnonzero(row)) or none for row in values]
    return [(f"{prefix}{value}",) for value in values.reshape(-1).tolist()]
