"""The arrays layout: stacks of images in `.npz` and `.npy` files, with their labels and instance maps.

**Why** labels are as many as the images: a shorter list would leave the last images without a word, a longer one shows
that the two do not belong together, and then none of its labels is the right image's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.arrays import ArrayHeader, array_members, small_array
from medtrinity25m.readers.entry import Entry, Listing, Refusal
from medtrinity25m.readers.layout_options import Arrays
from medtrinity25m.readers.pattern import match_path
from medtrinity25m.readers.record import FileMark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Source

NO_LABEL = "none"  # what comes after the prefix where no column of a 0/1 array is 1


_FIELD = re.compile(r"\{(\w+)(?::[^{}]*)?\}")


def list_arrays(source: Source, layout: Arrays, jail: Jail, files: list[str]) -> Listing:
    """Return one entry per stack of images; arrays of an `.npz` that nothing names are told of as `members`."""
    listing = Listing()
    for path in files:
        fields = match_path(layout.file, path)
        if fields is None:
            continue
        listing.used.add(path)
        try:
            headers = array_members(jail, path)
            addresses = {f"{path}!/{name}" if name else path: header for name, header in headers.items()}
            stacks = _stacks(layout, path, fields, addresses)
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(path, refusal))
            continue
        listing.members += [address for address in addresses if address != path]
        for address, own in stacks.items():
            try:
                listing.entries.append(_entry(source, layout, jail, address, own, addresses[address], listing))
            except RefusedError as refusal:
                listing.refusals.append(Refusal.of(address, refusal))
    return listing


def _stacks(
    layout: Arrays, path: str, fields: dict[str, str], addresses: Mapping[str, ArrayHeader]
) -> dict[str, dict[str, str]]:
    """Return the address of each image stack of a file, with the fields of its name."""
    if path in addresses:
        return {path: fields}
    names = {address: address.removeprefix(f"{path}!/") for address in addresses}
    found = {address: match_path(layout.images or "*", name) for address, name in names.items()}
    stacks = {address: {**fields, **own} for address, own in found.items() if own is not None}
    if not stacks:
        why = f"{path} has no array that fits images = {layout.images!r}; it has {', '.join(names.values())}"
        raise RefusedError("arrays.member_missing", why)
    return stacks


def _entry(
    source: Source,
    layout: Arrays,
    jail: Jail,
    address: str,
    fields: dict[str, str],
    header: ArrayHeader,
    listing: Listing,
) -> Entry:
    said: dict[int, tuple[str, ...]] = {}
    count = header.shape[0] if header.shape else 0
    if layout.labels is not None:
        place = _beside(address, layout.labels, fields)
        listing.used.add(place)
        labels = _labels(source, small_array(jail, place), _filled(layout.label_prefix, fields), place)
        _check_count(place, len(labels), address, count)
        said = {index: own for index, own in enumerate(labels) if own}
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
    return _FIELD.sub(lambda found: fields.get(found[1], found[0]), template)


def _check_count(place: str, found: int, address: str, due: int) -> None:
    if found != due:
        why = f"{place} has labels for {found:,} images, {address} has {due:,}; they do not belong together"
        raise RefusedError("arrays.label_count", why)


def _labels(source: Source, values: NDArray[np.generic], prefix: str, place: str) -> list[tuple[str, ...]]:
    """Return the raw labels of every image: its value, or the columns of a 0/1 row that are 1.

    Raises:
        RefusedError: `arrays.labels` for a shape or a value that says neither.
    """
    if values.ndim == 0 or math.prod(values.shape[2:]) != 1:
        raise RefusedError("arrays.labels", f"{place} has the shape {values.shape}; expected (images,) or (images, k)")
    columns = values.reshape(len(values), -1) if values.size else values
    if values.ndim > 1 and columns.shape[1] != 1:
        if values.dtype.kind not in "biu" or not np.isin(columns, (0, 1)).all():
            raise RefusedError("arrays.labels", f"{place} has a column a label, which holds 0 or 1 and nothing else")
        nothing = prefix + NO_LABEL
        none = (nothing,) if source.meaning(nothing) is not None else ()
        return [tuple(f"{prefix}{at}" for at in np.flatnonzero(row)) or none for row in columns]
    words = [str(value).strip() for value in values.reshape(-1).tolist()]
    known = {word: (f"{prefix}{word}",) if word else () for word in words}
    return [known[word] for word in words]
