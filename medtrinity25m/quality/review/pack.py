"""Makes a blind review pack: for each reader a page with images, texts and a form, and a CSV to fill in instead.

::

    DEST/reader-1/review.html   the page: open it in a browser, judge, download the CSV
    DEST/reader-1/images/       what it shows
    DEST/reader-1/review.csv    the same form for a spreadsheet
    DEST/reader-2/…             the same items in another order
    DEST/key.json               item → id; stays with whoever collects the sheets

A reader gets their folder and nothing else. Nothing in it says which row, source, describer or model an item is of,
or how it was scored; images are encoded anew, so that no name or comment of a file travels along. What a text says
of itself (an expert's name) is part of what is judged. The page fetches nothing and runs no script but its own.

**Why** items have codes and not numbers: two readers who talk would otherwise compare "item 12", which is not the
same one.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError
from medtrinity25m.quality.release_rows import Row, draw, rows_with_id
from medtrinity25m.quality.review.verdicts import COLUMNS, VERDICTS, write_csv
from medtrinity25m.quality.scores import ATTRIBUTES, RUBRIC
from medtrinity25m.release.manifest import read_manifest
from medtrinity25m.release.png import decode_mask, encode_image
from medtrinity25m.release.workspace import committed, disk_errors, write_committed

READERS = ("1", "2")
KEY = "key.json"
COLORS = ((255, 214, 0), (0, 229, 255), (255, 109, 0), (118, 255, 3), (255, 64, 255))
"""Outlines of the regions in turn: light colors that gray images and stains do not have."""

_OUTLINE_SHARE = 400  # an outline is so many times thinner than the image: two or three pixels on a screen
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


def export(
    folder: Path, dest: Path, *, count: int = 200, seed: int = 0, stratify: Literal["modality"] | None = None
) -> int:
    """Write a pack of `count` rows of a release to `dest` and return how many items it has.

    Raises:
        ConfigError: `dest` holds files already or lies in the release, or no row has a caption.
        GateFailedError: the folder is not a finished release.
    """
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise ConfigError(f"{dest} is not empty; verdicts may lie there: choose another folder")
    if dest.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{dest} lies in the release, where it would be published; choose another folder")
    build = read_manifest(folder)["build"]
    ids = draw(folder, count, seed, stratify)
    rows = rows_with_id(folder, ids, pixels=True)
    codes = {row_id: _code(build, seed, row_id) for row_id in ids}
    if len(set(codes.values())) != len(codes):
        raise ConfigError(f"two items came to the same code; take another seed than {seed}")
    items = {code: _item(rows[row_id], code) for row_id, code in codes.items()}
    pack = hashlib.sha256(json.dumps([build, seed, sorted(codes.items())]).encode()).hexdigest()[:16]
    with disk_errors(dest):
        for row_id, code in codes.items():
            _write_pictures(rows[row_id], code, [dest / f"reader-{reader}" / "images" for reader in READERS])
    for reader in READERS:
        order = sorted(items, key=lambda code: hashlib.sha256(f"{seed}:{reader}:{code}".encode()).hexdigest())
        home = dest / f"reader-{reader}"
        write_committed(home / "review.html", page([items[code] for code in order], pack, reader))
        write_committed(home / "review.csv", write_csv(COLUMNS, [{"item": c, "reader": reader} for c in order]))
    key = {"format": 1, "build": build, "pack": pack, "seed": seed, "items": {codes[one]: one for one in ids}}
    write_committed(dest / KEY, json.dumps(key, indent=1, sort_keys=True) + "\n")
    return len(items)


def _code(build: str, seed: int, row_id: str) -> str:
    """Return an item's code; it begins with a letter, so that no spreadsheet takes it for a number."""
    return "r" + hashlib.sha256(f"{build}:{seed}:{row_id}".encode()).hexdigest()[:9]


def _item(row: Row, code: str) -> dict[str, Any]:
    """Return what the page shows of a row."""
    marked = [roi for roi in row["rois"] if roi["origin"] != "whole_image"]
    regions = [
        {"bbox": list(roi["bbox"]), "boxed": roi["mask"] is None, "color": _css(index)}
        for index, roi in enumerate(marked)
    ]
    parts = {"About the image": "global_text", "About the regions": "local_text", "How they lie": "relation_text"}
    return {
        "item": code,
        "image": f"images/{code}.png",
        "outlines": f"images/{code}-regions.png" if any(roi["mask"] is not None for roi in marked) else None,
        "width": row["width"],
        "height": row["height"],
        "regions": regions,
        "sentences": _SENTENCE_END.split(row["caption"]),
        "parts": [[title, row[name]] for title, name in parts.items() if row[name]],
    }


def _css(index: int) -> str:
    return "rgb({}, {}, {})".format(*COLORS[index % len(COLORS)])


def _write_pictures(row: Row, code: str, folders: Sequence[Path]) -> None:
    """Write the image and, where there are masks, their outlines on nothing, into every reader's folder."""
    from PIL import Image

    with Image.open(io.BytesIO(row["image"]["bytes"])) as opened:
        pixels = np.asarray(opened.convert("L" if opened.mode in ("1", "L") else "RGB"))
    pictures = {f"{code}.png": encode_image(pixels)}
    masks = [roi["mask"] for roi in row["rois"] if roi["origin"] != "whole_image"]
    if any(mask is not None for mask in masks):
        buffer = io.BytesIO()
        Image.fromarray(outlines(masks, pixels.shape[:2]), mode="RGBA").save(buffer, format="PNG")
        pictures[f"{code}-regions.png"] = buffer.getvalue()
    for home in folders:
        for name, data in pictures.items():
            with committed(home / name) as part:
                part.write_bytes(data)


def outlines(masks: Sequence[Mapping[str, Any] | None], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return (H, W, 4) uint8: the edge of every mask in its region's color, all else transparent."""
    from scipy import ndimage

    picture = np.zeros((*shape, 4), dtype=np.uint8)
    thick = max(1, round(max(shape) / _OUTLINE_SHARE))
    for index, encoded in enumerate(masks):
        if encoded is not None:
            mask = decode_mask(encoded["bytes"])
            # the edge lies outside the mask: inside it would hide a small lesion
            edge = ndimage.binary_dilation(mask, iterations=thick) & ~mask
            picture[edge] = (*COLORS[index % len(COLORS)], 255)
    return picture


def page(items: Sequence[Mapping[str, Any]], pack: str, reader: str) -> str:
    """Return a reader's page: one HTML file with style, script and data, and images beside it."""
    template = (files("medtrinity25m.quality.review") / "page.html").read_text(encoding="utf-8")
    data = {
        "pack": pack,
        "reader": reader,
        "columns": COLUMNS,
        "verdicts": VERDICTS,
        "attributes": [{"name": name, "about": RUBRIC[name]} for name in ATTRIBUTES],
        "items": items,
    }
    return template.replace("{{policy}}", _policy(template)).replace("{{data}}", _embedded(data))


def _policy(template: str) -> str:
    """Return a Content-Security-Policy that lets this page's own style and script run, and nothing else."""
    allowed = {name: _hash(template, name) for name in ("style", "script")}
    return (
        f"default-src 'none'; img-src 'self' file:; style-src '{allowed['style']}'; script-src '{allowed['script']}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(template: str, tag: str) -> str:
    content = template.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _embedded(data: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=True)  # ASCII: no line separator that a script would stumble over
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
