"""The COCO layout: detection JSON with boxes, polygons or run-length masks.

COCO coordinates count from the image's upper-left edge, so the centre of the first pixel is (0.5, 0.5);
a `PolygonMark` has it at (0, 0). Categories are labels by name. The parts of a polygon are united, as the COCO
tools do; a region with a hole is a run-length mask.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import PurePosixPath
from typing import Any

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.entry import Entry, Listing, Refusal
from medtrinity25m.readers.layout_options import Coco
from medtrinity25m.readers.marks import decode_coco_rle
from medtrinity25m.readers.pattern import fill, match_path
from medtrinity25m.readers.record import BoxMark, PolygonMark, RleMark
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Source

Json = dict[str, Any]


def list_coco(source: Source, layout: Coco, jail: Jail, files: list[str]) -> Listing:
    """Return one entry per image entry of every annotation file that matches the pattern."""
    listing = Listing()
    for path in files:
        fields = match_path(layout.annotations, path)
        if fields is None:
            continue
        listing.used.add(path)
        try:
            _read_file(layout, jail, path, fields.get("split"), listing)
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(path, refusal))
    if not listing.used:
        raise ConfigError(f"{source.id}: no file matches layout.annotations = {layout.annotations!r}")
    return listing


def _read_file(layout: Coco, jail: Jail, path: str, split: str | None, listing: Listing) -> None:
    try:
        content = json.loads(jail.read_bytes(path))
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        images = list(content["images"])
        by_image: dict[Any, list[Json]] = defaultdict(list)
        for annotation in content.get("annotations", ()):
            by_image[annotation["image_id"]].append(annotation)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RefusedError("coco.json", f"{path} is not COCO JSON: {type(error).__name__} {error}") from None
    for image in images:
        where = f"{path}#image={image.get('id') if isinstance(image, dict) else image}"
        try:
            found = _path(layout, image, split)
            listing.used.add(found)
            listing.entries.append(_entry(layout, jail, found, image, by_image.pop(image["id"], []), names, split))
        except RefusedError as refusal:
            listing.refusals.append(Refusal.of(where, refusal))
        except (KeyError, TypeError, ValueError) as error:
            why = f"{where}: an image needs id and file_name, an annotation category_id and numbers ({error!r})"
            listing.refusals.append(Refusal(where, "coco.entry", why))
    for image_id, orphans in by_image.items():
        why = f"{path}: {len(orphans)} annotations name image {image_id}, which the file does not list"
        listing.refusals.append(Refusal(f"{path}#image={image_id}", "coco.image_missing", why))


def _row(image: Json, split: str | None) -> Json:
    return image | ({"split": split} if split is not None else {})


def _path(layout: Coco, image: Json, split: str | None) -> str:
    return str(PurePosixPath(fill(layout.images, _row(image, split), f"image {image['id']}")))


def _entry(
    layout: Coco, jail: Jail, path: str, image: Json, annotations: list[Json], names: dict[Any, str], split: str | None
) -> Entry:
    jail.locate(path)
    marks = [_mark(annotation, _name(annotation, names)) for annotation in annotations]
    return Entry(
        path=path,
        labels=tuple(dict.fromkeys(mark.label for mark in marks)),
        patient=None if layout.patient is None else fill(layout.patient, _row(image, split), f"image {image['id']}"),
        split=split,
        marks=tuple(marks),
        drawn_size=(int(image["height"]), int(image["width"])) if "height" in image and "width" in image else None,
    )


def _name(annotation: Json, names: dict[Any, str]) -> str:
    if annotation["category_id"] not in names:
        why = f"category {annotation['category_id']} is not among the file's categories ({', '.join(names.values())})"
        raise RefusedError("coco.category", why)
    return names[annotation["category_id"]]


def _mark(annotation: Json, label: str) -> BoxMark | PolygonMark | RleMark:
    """Return the most exact mark an annotation holds: run-length mask, polygon, else box."""
    drawn = annotation.get("segmentation")
    if isinstance(drawn, dict):
        height, width = (int(side) for side in drawn["size"])
        return RleMark(label=label, size=(height, width), counts=decode_coco_rle(drawn["counts"], (height, width)))
    if drawn:
        rings = tuple(tuple(float(number) - 0.5 for number in ring) for ring in drawn)
        return PolygonMark(label=label, rings=rings, rule="union")
    x, y, width_, height_ = (float(number) for number in annotation["bbox"])
    return BoxMark(label=label, xyxy=(x, y, x + width_, y + height_))
