"""One function a dataset layout: source and folder in, listing out. No dataset is named here.

Nothing is lost: a file below the root that is neither an image of the layout nor one of its annotation files
is listed as a refusal, `layout.unclaimed`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import assert_never

from medtrinity25m.errors import ConfigError
from medtrinity25m.readers import layout_options as options
from medtrinity25m.readers.coco import list_coco
from medtrinity25m.readers.dicom_tree import list_dicom_tree
from medtrinity25m.readers.entry import Entry, Listing, Mapper, Refusal, mask_mark
from medtrinity25m.readers.pattern import fields_of, match_path
from medtrinity25m.readers.record import FileMark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.table import list_table
from medtrinity25m.registry import Source


def list_source(source: Source, jail: Jail, mapper: Mapper = map) -> Listing:
    """Return the entries of a source, sorted by path, with a refusal for every file nothing claims.

    `mapper` is like `map`: a pool's, for files that have to be opened to be listed (DICOM headers).
    """
    files = jail.files()
    listing = _list(source, jail, files, mapper)
    if not listing.entries and not listing.refusals:
        example = f"; the folder holds for example {files[0]!r}" if files else "; the folder is empty"
        raise ConfigError(f"{source.id}: no file fits images = {_images(source)!r}{example}")
    known = {entry.path for entry in listing.entries} | {refusal.path for refusal in listing.refusals} | listing.used
    for path in files:
        if path not in known:
            why = f"{path}: layout {source.layout.kind} of source {source.id} names no such image or annotation file"
            listing.refusals.append(Refusal(path, "layout.unclaimed", why))
    listing.entries.sort(key=lambda entry: (entry.path, entry.uid or ""))
    listing.refusals.sort(key=lambda refusal: (refusal.path, refusal.code))
    return listing


def _images(source: Source) -> str:
    layout = source.layout
    return (
        "**"
        if isinstance(layout, options.DicomTree)
        else layout.image
        if isinstance(layout, options.Table)
        else layout.images
    )


def _list(source: Source, jail: Jail, files: list[str], mapper: Mapper) -> Listing:
    layout = source.layout
    match layout:
        case options.FolderPerClass():
            return _list_folders(layout, files)
        case options.ImageMask() | options.NiftiPairs():
            return _list_image_masks(source, layout, files)
        case options.Table():
            return list_table(source, layout, jail)
        case options.Coco():
            return list_coco(source, layout, jail, files)
        case options.DicomTree():
            return list_dicom_tree(layout, jail, files, mapper)
        case _:
            assert_never(layout)


def _list_folders(layout: options.FolderPerClass, files: list[str]) -> Listing:
    listing = Listing()
    for path in files:
        fields = match_path(layout.images, path)
        if fields is not None:
            listing.entries.append(_entry(path, fields))
    return listing


def _list_image_masks(source: Source, layout: options.ImageMask | options.NiftiPairs, files: list[str]) -> Listing:
    listing = Listing()
    joint = fields_of(layout.images) & fields_of(layout.masks or "")
    masks: dict[tuple[str, ...], list[str]] = defaultdict(list)
    images: list[tuple[str, dict[str, str]]] = []
    for path in files:
        as_mask = None if layout.masks is None else match_path(layout.masks, path)
        as_image = match_path(layout.images, path)
        if as_mask is not None and (as_image is None or len(as_mask["case"]) < len(as_image["case"])):
            masks[tuple(as_mask[name] for name in sorted(joint))].append(path)
        elif as_image is not None:
            images.append((path, as_image))
    for path, fields in images:
        paired = masks.pop(tuple(fields[name] for name in sorted(joint)), [])
        region = layout.mask_label or fields.get("label")
        listing.entries.append(
            _entry(path, fields, *(mask_mark(source, layout, mask, region) for mask in sorted(paired)))
        )
        listing.used.update(paired)
    if layout.masks is not None and not masks and not listing.used:
        raise ConfigError(f"{source.id}: no file fits masks = {layout.masks!r}; without masks leave the key out")
    for path in (path for unpaired in masks.values() for path in unpaired):
        listing.refusals.append(Refusal(path, "layout.mask_without_image", f"{path}: no image of that case was found"))
    return listing


def _entry(path: str, fields: dict[str, str], *marks: FileMark) -> Entry:
    """Return the entry of a file, with what its path says about it."""
    label = fields.get("label")
    return Entry(
        path=path,
        labels=() if label is None else (label,),
        patient=fields.get("patient"),
        study=fields.get("study"),
        split=fields.get("split"),
        view=fields.get("view"),
        laterality=fields.get("laterality"),
        marks=marks,
    )
