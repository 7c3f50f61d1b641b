"""Verdicts on sides and positions: by the bins of a region's box, the halves of the image, and the patient's sides.

**Why** a plain "left" is held against the middle of the image and "left-center" against the five bins: the first is how
people speak of halves, the second is the vocabulary of the published captions. One bin off is a matter of words; the
opposite side is not.
"""

from __future__ import annotations

from medtrinity25m.caption import SLIDES
from medtrinity25m.description.relation import PairFacts, pair
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract.said import Said
from medtrinity25m.quality.verdict.judged import UNKNOWN, Judged, judged
from medtrinity25m.roi.geometry import HORIZONTAL, VERTICAL

CENTRAL = 0.05
"""Share of the image's side around its middle in which a plain `left` or `right` is a matter of words."""

LARGE, LARGE_CENTRAL = 0.5, 0.15
"""A region over half of the side reaches into both halves; then its center must be farther off."""

SCANS = ("ct", "mri", "xray", "pet")
"""Modalities in which `on the left` is commonly the patient's left."""


def position(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge a place in the image."""
    if index is None or evidence.width == 0 or evidence.rois[index].origin == "whole_image":
        return UNKNOWN
    across = item.statement.attribute == "position_horizontal"
    words = HORIZONTAL if across else VERTICAL
    actual = evidence.bins(index)[0 if across else 1]
    expected = f"its center lies {words[actual]}"
    if item.statement.value in ("left", "right", "upper", "lower"):
        holds = _on_side(item, evidence, index, across=across)
    else:
        off = abs(words.index(item.statement.value) - actual)
        if item.statement.value in ("center", "middle") and item.role == "side" and off > 1:
            holds = None if _reaches_middle(evidence, index, across=across) else False
        else:
            holds = off == 0 if off != 1 else None
    return judged(holds, "measured:box", expected)


def _center(evidence: Evidence, index: int, *, across: bool) -> tuple[float, float]:
    """Return where a box's center lies, from -0.5 (left, upper) to 0.5, and how much of the side it takes."""
    x0, y0, x1, y1 = evidence.rois[index].xyxy
    low, high, side = (x0, x1, evidence.width) if across else (y0, y1, evidence.height)
    return (low + high) / (2 * side) - 0.5, (high - low) / side


def _on_side(item: Said, evidence: Evidence, index: int, *, across: bool) -> bool | None:
    """Say whether a region lies on a side of the image, None near the middle."""
    value = item.statement.value
    off, extent = _center(evidence, index, across=across)
    if item.role == "entirely":
        return evidence.half(index) == value
    toward = off if value in ("right", "lower") else -off
    if toward > 0:
        return True
    spared = LARGE_CENTRAL if extent > LARGE else CENTRAL
    return None if -toward <= (0.02 if item.role == "off" else spared) else False


def _reaches_middle(evidence: Evidence, index: int, *, across: bool) -> bool:
    """Say whether a region's box holds the middle of the image."""
    off, extent = _center(evidence, index, across=across)
    return abs(off) <= extent / 2


def patient_side(evidence: Evidence, index: int) -> str | None:
    """Return the patient's side a region lies on, None where the row does not say or it lies in the middle."""
    left = evidence.image_left
    if (
        left is None
        or evidence.width == 0
        or evidence.modality in SLIDES
        or evidence.rois[index].origin == "whole_image"
    ):
        return None
    half, across = evidence.half(index), evidence.bins(index)[0]
    if half == "both":
        half = "left" if across <= 1 else "right" if across >= 3 else "both"
    if half == "both":
        return None
    return left if half == "left" else _other(left)


def _other(side: str) -> str:
    """Return the other side."""
    return "left" if side == "right" else "right"


def laterality(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge a side of the patient, or one of which the text does not say whose it is."""
    value = item.statement.value
    if value in ("both", "one"):
        return _both(value, evidence, index)
    if item.role == "found" and evidence.modality in SCANS and evidence.image_left is not None:
        return _patient(value, evidence, index)  # a report's "effusion on the left" is the patient's left
    if item.role in ("open", "found"):
        return _open(item, evidence, index)
    return _patient(value, evidence, index)


def _patient(value: str, evidence: Evidence, index: int | None) -> Judged:
    """Judge a side of the patient: by the side the image shows, else by where the region lies."""
    if evidence.laterality is not None:
        return judged(
            evidence.laterality == value, "metadata:laterality", f"the image shows the {evidence.laterality} side"
        )
    side = None if index is None else patient_side(evidence, index)
    if side is None:
        return UNKNOWN
    return judged(side == value, "metadata:image_left", f"the region lies on the patient's {side} side")


def _open(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge `on the left`: contradicted only where it is wrong of the patient and of the image."""
    value = item.statement.value
    readings = [_patient(value, evidence, index)]
    if index is not None and evidence.width and evidence.rois[index].origin != "whole_image":
        off, _ = _center(evidence, index, across=True)
        toward = off if value == "right" else -off
        holds = True if toward > 0 else None if -toward <= CENTRAL else False
        if not (evidence.modality in SCANS and evidence.image_left is None and holds is False):
            words = HORIZONTAL[evidence.bins(index)[0]]
            readings.append(judged(holds, "measured:box", f"its center lies {words}"))
        else:
            readings.append(UNKNOWN)
    supported = next((found for found in readings if found.verdict == "supported"), None)
    if supported is not None:
        return supported
    if evidence.laterality is None and evidence.modality not in SCANS:
        return readings[-1]
    return readings[-1] if all(found.verdict == "contradicted" for found in readings) else UNKNOWN


def _both(value: str, evidence: Evidence, index: int | None) -> Judged:
    """Judge `bilateral` and `unilateral`: by the halves the regions lie in."""
    if index is None or not evidence.rois or evidence.width == 0 or evidence.image_left is None:
        return UNKNOWN
    halves = {evidence.half(place) for place in range(len(evidence.rois))}
    two = halves >= {"left", "right"} or "both" in halves
    if value == "one":
        return judged(None if "both" in halves else not two, "measured:midline")
    lonely = len(evidence.rois) == 1 and evidence.rois[0].count == 1
    return judged(True if two else (False if lonely else None), "measured:midline", "all regions lie on one side")


def image_left(item: Said, evidence: Evidence) -> Judged:
    """Judge which side of the patient is at the left edge of the image."""
    if evidence.image_left is None or evidence.modality in SLIDES:
        return UNKNOWN
    holds = evidence.image_left == item.statement.value
    return judged(holds, "metadata:image_left", f"the patient's {evidence.image_left} side is at the left edge")


def half(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge that a region crosses the vertical midline."""
    if index is None or evidence.width == 0:
        return UNKNOWN
    found = evidence.half(index)
    return judged(found == item.statement.value, "measured:midline", f"it lies in: {found}")


def regions_in(item: Said, evidence: Evidence) -> Judged:
    """Judge how many regions lie in a half of the image."""
    if evidence.width == 0:
        return UNKNOWN
    side = item.statement.attribute.partition(":")[2]
    halves = [evidence.half(place) for place in range(len(evidence.rois))]
    truth = halves.count(side)
    holds = truth == len(halves) > 0 if item.statement.value == "all" else truth == item.numbers[0]
    if not holds and side != "both":  # a region that crosses is in neither, and in both
        loose = sum(evidence.bins(place)[0] in ((0, 1) if side == "left" else (3, 4)) for place in range(len(halves)))
        holds = item.numbers == (float(loose),)
    return judged(holds, "measured:midline", f"{truth} of {len(halves)}")


def midline_gap(item: Said, evidence: Evidence, index: int | None, factor: float) -> Judged:
    """Judge the distance of a region from the vertical midline of the image; `factor` millimeters a unit."""
    scaled = item.statement.unit != "px"
    if index is None or evidence.width == 0 or (scaled and evidence.spacing_mm is None):
        return UNKNOWN
    x0, _, x1, _ = evidence.rois[index].xyxy
    middle = evidence.width / 2
    gap = max(0.0, x0 - middle, middle - x1) * (evidence.spacing_mm[1] if scaled and evidence.spacing_mm else 1.0)
    holds = abs(item.numbers[0] * factor - gap) <= max(0.1 * gap, item.slack * factor)
    return judged(holds, "measured:midline", f"{gap:.1f} {'mm' if scaled else 'pixels'}")


def between(item: Said, evidence: Evidence, first: int, second: int, factor: float) -> Judged:
    """Judge a distance or direction between two regions."""
    if evidence.scene is None or evidence.pixelless:
        return UNKNOWN
    scene = evidence.scene
    facts: PairFacts = evidence.once(("pair", str(first), str(second)), lambda: pair(scene, first, second))
    if item.statement.attribute == "direction":
        ours, theirs = set((facts.direction or "").split()), set(item.statement.value.split())
        opposite = any({one, other} in ({"left", "right"}, {"above", "below"}) for one in ours for other in theirs)
        return judged(True if ours == theirs else False if opposite else None, "measured:box", facts.direction)
    gap = facts.gap_px if item.statement.unit == "px" else facts.gap_mm
    if gap is None:
        return UNKNOWN
    holds = abs(item.numbers[0] * factor - gap) <= max(0.1 * gap, item.slack * factor)
    return judged(holds, "measured:gap", f"{gap:.1f} {'pixels' if item.statement.unit == 'px' else 'mm'}")
