"""Verdicts on appearance: only against a measured opposite, and only where the row holds the pixels."""

from __future__ import annotations

from medtrinity25m.description import appearance, outline
from medtrinity25m.description.scene import Surroundings
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract.said import Said
from medtrinity25m.quality.verdict.judged import UNKNOWN, Judged, judged

_OPPOSITES = (
    {"lower", "higher"}, {"homogeneous", "heterogeneous"}, {"sharp", "ill-defined"}, {"round", "irregular"},
    {"oval", "irregular"},
)  # fmt: skip


def look(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge brightness, texture, margin or shape of a region."""
    scene, name = evidence.scene, item.statement.attribute
    if scene is None or index is None or evidence.rois[index].origin == "whole_image":
        return UNKNOWN
    measured: str | None = evidence.once((name, str(index)), lambda: _measured(name, evidence, index))
    if measured is None:
        return UNKNOWN
    if measured == item.statement.value:
        return Judged("supported", f"measured:{name}")
    holds = False if {measured, item.statement.value} in _OPPOSITES else None
    return judged(holds, f"measured:{name}", f"measured: {measured}")


def _measured(name: str, evidence: Evidence, index: int) -> str | None:
    """Return what the picture says, by the rules of the measured description."""
    scene, roi = evidence.scene, evidence.rois[index]
    if scene is None:
        return None
    masked = evidence.mask(index) is not None and roi.count == 1
    if name == "shape":
        x0, y0, x1, y1 = roi.xyxy
        cut = x0 == 0 or y0 == 0 or x1 == evidence.width or y1 == evidence.height
        return outline.shape(scene.mask(index), evidence.spacing_mm) if masked and not cut else None
    view: Surroundings = evidence.once(("ring", str(index)), lambda: scene.surroundings(index))
    if name == "intensity":
        return appearance.brightness(view)
    if not masked:
        return None
    return appearance.texture(view, scene.unit_px) if name == "texture" else outline.margin(view, scene.unit_px)
