"""One function a dataset layout: source and folder in, listing out. No dataset is named here.

Nothing is lost: a file below the root that is neither an image of the layout nor one of its annotation files
is listed as a refusal, `layout.unclaimed`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import PurePosixPath
from typing import assert_never

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers import layout_options as options
from medtrinity25m.readers.about import Keys, add_tables
from medtrinity25m.readers.array_stacks import list_arrays
from medtrinity25m.readers.coco import list_coco
from medtrinity25m.readers.dicom_tree import list_dicom_tree
from medtrinity25m.readers.entry import Entry, Listing, Mapper, Refusal, mask_mark
from medtrinity25m.readers.pattern import fields_of, literals, match_path
from medtrinity25m.readers.record import FileMark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.table import list_table
from medtrinity25m.readers.tabular import used_tables
from medtrinity25m.registry import EVALUATION_FIRST, Source, Split


def list_source(source: Source, jail: Jail, mapper: Mapper = map) -> Listing:
    """Return the entries of a source, sorted by path, with a refusal for every file nothing claims.

    `mapper` is like `map`: a pool's, for files that have to be opened to be listed (DICOM headers).
    """
    files = jail.files()
    layout = source.layout
    tables = layout.tables if isinstance(layout, options.Told) else ()
    spoken = {path for about in tables for path in used_tables(files, about.file)}
    listing = _list(source, jail, [path for path in files if path not in spoken], mapper)
    add_tables(source, tables, listing, jail, files)
    _add_splits(source, jail, listing)
    if not listing.entries and not listing.refusals:
        example = f"; the folder holds for example {files[0]!r}" if files else "; the folder is empty"
        raise ConfigError(f"{source.id}: no file fits images = {_images(source)!r}{example}")
    opened = {entry.path.partition("!/")[0] for entry in listing.entries} | {entry.path for entry in listing.entries}
    known = opened | {refusal.path for refusal in listing.refusals} | listing.used
    for path in [*files, *listing.members]:
        if path not in known and not _may_lie_unused(source, path):
            why = f"{path}: layout {source.layout.kind} of source {source.id} names no such image or annotation file"
            listing.refusals.append(Refusal(path, "layout.unclaimed", why))
    listing.refusals = [
        refusal
        for refusal in listing.refusals
        if refusal.code != "layout.mask_without_image" or not _may_lie_unused(source, refusal.path)
    ]
    listing.entries.sort(key=lambda entry: (entry.path, entry.uid or ""))
    listing.refusals.sort(key=lambda refusal: (refusal.path, refusal.code))
    return listing


def _may_lie_unused(source: Source, path: str) -> bool:
    return any(match_path(pattern, path) is not None for pattern in source.ignore)


def _images(source: Source) -> str:
    layout = source.layout
    return (
        "**"
        if isinstance(layout, options.DicomTree)
        else layout.image
        if isinstance(layout, options.Table)
        else layout.file
        if isinstance(layout, options.Arrays)
        else layout.images
    )


def _list(source: Source, jail: Jail, files: list[str], mapper: Mapper) -> Listing:
    layout = source.layout
    match layout:
        case options.FolderPerClass() | options.Wsi() | options.Video():
            return _list_folders(layout, files)
        case options.ImageMask() | options.NiftiPairs():
            return _list_image_masks(source, layout, files)
        case options.Table():
            return list_table(source, layout, jail, files)
        case options.Coco():
            return list_coco(source, layout, jail, files)
        case options.DicomTree():
            images = [path for path in files if path not in source.split_files and not _may_lie_unused(source, path)]
            return list_dicom_tree(layout, jail, images, mapper)
        case options.Arrays():
            return list_arrays(source, layout, jail, files)
        case _:
            assert_never(layout)


def _list_folders(layout: options.FolderPerClass | options.Wsi | options.Video, files: list[str]) -> Listing:
    listing = Listing()
    for path in files:
        fields = match_path(layout.images, path)
        if fields is not None:
            listing.entries.append(_entry(path, fields))
    return listing


def _list_image_masks(source: Source, layout: options.ImageMask | options.NiftiPairs, files: list[str]) -> Listing:
    listing = Listing()
    joint = fields_of(layout.images) & fields_of(layout.masks or "")
    if layout.masks is not None and not joint:
        why = f"images = {layout.images!r} and masks = {layout.masks!r} share no field"
        raise ConfigError(f"{source.id}: {why}: every mask would be every image's; give both a {{case}}")
    masks: dict[tuple[str, ...], list[tuple[str, str | None]]] = defaultdict(list)
    images: list[tuple[str, dict[str, str]]] = []
    for path in files:
        as_mask = None if layout.masks is None else match_path(layout.masks, path)
        as_image = match_path(layout.images, path)
        if as_mask is not None and (as_image is None or _more_a_mask(layout, as_mask, as_image)):
            region = layout.mask_label or as_mask.get("label")
            masks[tuple(as_mask[name] for name in sorted(joint))].append((path, region))
        elif as_image is not None:
            images.append((path, as_image))
    for path, fields in images:
        paired = masks.get(tuple(fields[name] for name in sorted(joint)), [])
        marks = [mask_mark(source, layout, mask, region or fields.get("label")) for mask, region in sorted(paired)]
        listing.entries.append(_entry(path, fields, *marks))
        listing.used.update(mask for mask, _ in paired)
    if layout.masks is not None and not masks:
        raise ConfigError(f"{source.id}: no file fits masks = {layout.masks!r}; without masks leave the key out")
    for path in (path for unpaired in masks.values() for path, _ in unpaired if path not in listing.used):
        listing.refusals.append(Refusal(path, "layout.mask_without_image", f"{path}: no image of that case was found"))
    return listing


def _entry(path: str, fields: dict[str, str], *marks: FileMark) -> Entry:
    """Return the entry of a file, with what its path says about it."""
    label, organ = fields.get("label"), fields.get("organ")
    return Entry(
        path=path,
        labels=() if label is None else (label,),
        organs=() if organ is None else (organ,),
        modality=fields.get("modality"),
        patient=fields.get("patient"),
        study=fields.get("study"),
        split=fields.get("split"),
        view=fields.get("view"),
        laterality=fields.get("laterality"),
        marks=marks,
    )


def _more_a_mask(
    layout: options.ImageMask | options.NiftiPairs, as_mask: dict[str, str], as_image: dict[str, str]
) -> bool:
    """Say whether a path that fits both patterns is a mask: the pattern that takes less of it for the case knows it."""
    mine, other = len(as_mask.get("case", "")), len(as_image.get("case", ""))
    return mine < other or (mine == other and literals(layout.masks or "") > literals(layout.images))


def _add_splits(source: Source, jail: Jail, listing: Listing) -> None:
    """Give entries the split whose list names them, by path, name, stem or patient; of two, the most guarded counts.

    Raises:
        ConfigError: a list cannot be read, or no list names any image: they are written in another way.
    """
    named: dict[str, set[Split]] = defaultdict(set)
    for path, split in source.split_files.items():
        listing.used.add(path)
        try:
            text = jail.read_bytes(path).decode("utf-8-sig")
        except RefusedError as refusal:
            raise ConfigError(f"{source.id}: split list {path}: {refusal.detail}") from refusal
        except UnicodeDecodeError as error:
            raise ConfigError(f"{source.id}: split list {path} is not UTF-8; save it as such") from error
        for line in text.split("\n"):
            named[line.strip()].add(split)
    named.pop("", None)
    hits = 0
    for at, entry in enumerate(listing.entries if named else ()):
        path = entry.path.partition("!/")[2] or entry.path
        names = (path, PurePosixPath(path).name, Keys(entry).name("stem"), entry.patient)
        found = {split for name in names if name in named for split in named[name]}
        hits += bool(found)
        ranked = [split for split in EVALUATION_FIRST if split in found]
        if ranked:
            own, *more = [split for split in (entry.split, *entry.more_splits, *ranked) if split is not None]
            listing.entries[at] = replace(entry, split=own, more_splits=tuple(more))
    if named and listing.entries and not hits:
        example = f"{next(iter(named))!r}; an image is for example {listing.entries[0].path!r}"
        raise ConfigError(f"{source.id}: the split lists name none of the images, but for example {example}")
