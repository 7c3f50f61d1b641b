"""True texts for the claims checker: hand-written ones beside this file, and measured ones of the same rows.

The rows are in rows.toml. A hand-written text of a made row is checked without pixels, as a reader of `metadata/`
would; one of a drawn case of `cases.py`, and every measured text, with them.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import cases
from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.quality.error_rates import Clean
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.registry import ROIRule
from medtrinity25m.roi import geometry
from medtrinity25m.roi.annotations import Locate
from medtrinity25m.triplet import Annotation, Sample

HERE = Path(__file__).parent
OTHER_HANDS, BLIND = "other_hands.jsonl", "blind.jsonl"
Row = dict[str, Any]


@cache
def rows() -> dict[str, Row]:
    """Return the made rows by name, with what follows from their boxes filled in."""
    facts = tomllib.loads((HERE / "rows.toml").read_text(encoding="utf-8"))
    return {name: _shipped(row) for name, row in facts.items()}


def _shipped(row: Row) -> Row:
    """Return a row as `metadata/` has it."""
    spacing = row.get("spacing_mm")
    rois = []
    for roi in row.get("rois", []):
        x, y, width, height = roi["bbox"]
        box = (x, y, x + width, y + height)
        share = roi["share"] / 100 if "share" in roi else width * height / (row["width"] * row["height"])
        rois.append(
            {
                "bbox": roi["bbox"],
                "label": roi["label"],
                "origin": roi.get("origin", "mask" if "share" in roi else "box"),
                "count": roi.get("count", 1),
                "area_fraction": share,
                "position": geometry.position(box, row["height"], row["width"]),
                "size_mm": geometry.size_mm(box, None if spacing is None else (spacing[0], spacing[1])),
            }
        )
    return row | {"rois": rois}


@cache
def hand_written() -> tuple[tuple[str, Clean], ...]:
    """Return (name of the row, text) of every hand-written text of the made rows, file after file."""
    return _read([path for path in sorted(HERE.glob("*.toml")) if path.name != "rows.toml"])


@cache
def other_hands() -> tuple[Clean, ...]:
    """Return texts of three more writers, each about rows of their own; rules were mended after each was measured."""
    return _lines(OTHER_HANDS)


@cache
def blind() -> tuple[Clean, ...]:
    """Return the texts of a last writer, measured once: nobody may look at them who writes a rule.

    They say what to expect of texts the checker has not met; all others are what it is developed with.
    """
    return _lines(BLIND)


def _lines(name: str) -> tuple[Clean, ...]:
    """Return the texts of a file of JSON lines, `row` and `text` each; the rows have no pixels."""
    lines = map(json.loads, (HERE / name).read_text(encoding="utf-8").splitlines())
    return tuple(Clean(line["text"], line["row"], Evidence.of_row(line["row"])) for line in lines)


def _read(files: list[Path]) -> tuple[tuple[str, Clean], ...]:
    """Return (name of the row, text) of the texts in these files."""
    texts = [text for path in files for text in tomllib.loads(path.read_text(encoding="utf-8"))["text"]]
    return tuple((text["row"], _case(text["row"], text["text"].strip())) for text in texts)


def _case(name: str, text: str) -> Clean:
    """Return a text with its row."""
    kind, _, maker = name.rpartition(":")
    if kind == "drawn":
        return Clean.of_sample(_drawn(maker), text)[0]
    row = rows()[name]
    return Clean(text, row, Evidence.of_row(row))


@cache
def _drawn(maker: str) -> Sample:
    """Return a drawn case."""
    found = next(make for make in cases.MAKERS if make.__name__ == maker)
    return found()


@cache
def measured() -> tuple[Clean, ...]:
    """Return the texts of the measured describer on the drawn cases and on pictures drawn for the made rows."""
    samples = [_drawn(make.__name__) for make in cases.MAKERS]
    samples += [_pictured(name, row) for name, row in rows().items()]
    return tuple(case for sample in samples for case in Clean.of_sample(sample))


def _pictured(name: str, row: Row) -> Sample:
    """Return a described sample with a made row's facts: noise, lighter where the regions are, 400 pixels at most.

    Measuring takes time by the pixel, and a larger picture says nothing that a smaller one does not.
    """
    by = -(-max(row["height"], row["width"]) // 400)
    height, width = row["height"] // by, row["width"] // by
    levels = np.random.default_rng(3).normal(90, 6, (height, width))
    marks = []
    for roi in row["rois"]:
        if roi["origin"] == "whole_image":
            continue
        x, y, across, down = box = [side // by for side in roi["bbox"]]
        levels[y : y + down, x : x + across] += 40
        marks.append(_mark(roi, box, height, width))
    whole = any(roi["origin"] == "whole_image" for roi in row["rois"])
    rule = "whole_image" if whole else "classes" if any(roi["count"] > 1 for roi in row["rois"]) else "components"
    known = {key: row[key] for key in ("modality", "view", "laterality", "image_left", "organs", "disease", "diseases")
             if key in row}  # fmt: skip
    sample = Sample(
        id=name,
        locator=f"{name}.png",
        source="made",
        license="CC0-1.0",
        pixels=np.clip(np.round(levels), 0, 255).astype(np.uint8),
        annotations=tuple(marks),
        spacing_mm=tuple(by * step for step in row["spacing_mm"]) if "spacing_mm" in row else None,
        **known,
    )
    return MeasuredDescriber()(Locate({"made": ROIRule(rule=rule)})(sample))  # type: ignore[arg-type]


def _mark(roi: Row, box: list[int], height: int, width: int) -> Annotation:
    """Return the annotation of a region: its box, an ellipse in it, or as many squares in it as it counts."""
    x, y, across, down = box
    if roi["origin"] == "box":
        return Annotation(label=roi["label"], box=(x, y, x + across, y + down))
    rows_, columns = np.mgrid[:height, :width]
    if roi["count"] == 1:
        inside = ((columns - x + 0.5) / across - 0.5) ** 2 + ((rows_ - y + 0.5) / down - 0.5) ** 2 <= 0.25
        return Annotation(label=roi["label"], mask=inside)
    side = int(np.ceil(np.sqrt(roi["count"])))
    cell = (rows_ - y) * side // down * side + (columns - x) * side // across + 1
    within = (rows_ >= y) & (rows_ < y + down) & (columns >= x) & (columns < x + across) & (cell <= roi["count"])
    return Annotation(label=roi["label"], instances=np.where(within, cell, 0).astype(np.int32))
