"""Verdicts on numbers: shares, lengths, counts, attenuation.

**Tolerances.** A share or count said to be `about` may be off by a fifth, else a share by a tenth and a count by
nothing: what is rounded by eye is that far off. A length may be off by a tenth or a millimeter, but never by more than
a fifth of itself: two readers place calipers that far apart. Half of the last digit written is always allowed (`about 2
cm` is 1.5 to 2.5), up to 30 % of the true value. So whatever is wrong by half or more is contradicted.
"""

from __future__ import annotations

from itertools import permutations

from medtrinity25m.description.measure import one_level, unwindowed
from medtrinity25m.quality.evidence import Evidence
from medtrinity25m.quality.extract.said import Said
from medtrinity25m.quality.verdict.judged import UNKNOWN, Judged, judged
from medtrinity25m.quality.verdict.kinship import FOCAL, compatible, overlap
from medtrinity25m.registry import vocabulary

ABOUT, EXACT = 0.2, 0.1  # shares of the true value; see Tolerances
CALIPER_MM, CALIPER_SHARE = 1.0, 0.2
ROUNDED_SHARE = 0.3
DIAGONAL = 1.02  # a diameter may be as long as the box's diagonal, and no caliper is better than 2 %
SLANT = 0.75  # an ellipse aslant in its box has a short diameter of at least this, unless it is thin
_TENTHS = 0.05  # half of a tenth of a percent: what rounding to one decimal costs
_MILLIMETERS = {"mm": 1.0, "cm": 10.0, "µm": 0.001, "px": 1.0}


def near(value: float, truth: float, *, about: bool, slack: float = 0.0, caliper: float = 0.0) -> bool:
    """Say whether a number agrees with the true one within what its wording allows."""
    relative = (ABOUT if about else EXACT) * truth
    allowed = max(relative, min(slack, ROUNDED_SHARE * truth), min(caliper, CALIPER_SHARE * truth))
    return abs(value - truth) <= allowed + 1e-9


def fits(item: Said, truth: float, *, factor: float = 1.0, caliper: float = 0.0) -> bool:
    """Say whether a single number or a range, in units of `factor`, agrees with the true value."""
    numbers = [number * factor for number in item.numbers]
    about = item.bound == "about"
    if len(numbers) > 1:
        low, high = min(numbers), max(numbers)
        return low <= truth <= high or any(near(n, truth, about=True, caliper=caliper) for n in (low, high))
    if item.bound == "at_most":
        return truth <= numbers[0] or near(numbers[0], truth, about=False)
    if item.bound == "at_least":
        return truth >= numbers[0] or near(numbers[0], truth, about=False)
    return near(numbers[0], truth, about=about, slack=item.slack * factor, caliper=caliper)


def share(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge a share of the image, in percent."""
    rois = evidence.rois
    if not rois:
        return UNKNOWN
    shares = [100 * roi.area_fraction for roi in rois]
    name = item.statement.attribute
    if name == "left_half_share":
        return _left_half(item, evidence, index)
    if name in ("least_share", "most_share", "each_share"):
        truths = [min(shares) if name == "least_share" else max(shares)]
        if name == "each_share":
            truths = [min(shares), max(shares)]
            if len(item.numbers) > 1:
                ends = zip(sorted(item.numbers), truths, strict=True)
                holds = all(near(n, truth, about=True, slack=item.slack) for n, truth in ends)
                return judged(holds, "measured:area_fraction", _percent(truths[0]))
        return judged(all(fits(item, truth) for truth in truths), "measured:area_fraction", _percent(truths[0]))
    total = _total(evidence, shares)
    if name == "total_share":
        united = [shares[index]] if index is not None and rois[index].count > 1 else []
        holds = any(fits(item, truth) for truth in (*total, *united))
        return judged(holds, "measured:area_fraction", _percent(total[0]))
    if index is None:
        return UNKNOWN
    rounded = item.slack <= _TENTHS and abs(item.numbers[0] - shares[index]) <= item.slack + 1e-9
    if rounded or fits(item, shares[index]):
        return Judged("supported", "measured:area_fraction")
    several = len(rois) > 1 and item.subject.key == "any" and any(fits(item, truth) for truth in total)
    return judged(several, "measured:area_fraction", _percent(shares[index]))


def _total(evidence: Evidence, shares: list[float]) -> list[float]:
    """Return what all regions cover together: of the masks where they are known, else the sum."""
    if evidence.scene is None:
        return [min(100.0, sum(shares))]
    return [100 * evidence.covered, min(100.0, sum(shares))]


def _left_half(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge the share of a region that lies in one half of the image."""
    from medtrinity25m.description.relation import halves  # needs the masks

    if index is None or evidence.scene is None:
        return UNKNOWN
    scene = evidence.scene
    left = 100 * float(evidence.once(("left", str(index)), lambda: halves(scene, index)).left_share)
    truth = left if item.role == "left" else 100 - left
    return judged(abs(item.numbers[0] - truth) <= max(2.0, item.slack), "measured:midline", _percent(truth))


def _percent(truth: float) -> str:
    """Return a share in words."""
    return f"{truth:.1f}% of the image area" if truth >= 0.05 else "less than 0.1% of the image area"


def length(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge a width, height, diameter or pair of them: of a region, or of the image."""
    unit = item.statement.unit or "px"
    scaled = unit != "px"
    if item.subject == item.subject.__class__("image", "size"):
        return _image_size(item, evidence, scaled=scaled)
    if index is None or evidence.rois[index].origin == "whole_image":
        return UNKNOWN
    sides = evidence.sides(index, scaled=scaled)
    if sides is None:
        return UNKNOWN
    diameters = evidence.diameters(index, scaled=scaled)
    factor = _MILLIMETERS[unit]
    caliper = CALIPER_MM if scaled else 2.0  # a pixel at either end
    expected = f"its box is {sides[0]:.1f} × {sides[1]:.1f} {'mm' if scaled else 'pixels'} (width × height)"
    evidence_of = "measured:size_mm" if scaled else "measured:box"
    if len(item.numbers) > 1 and item.role != "range":
        holds = _pair(item, sides, diameters, factor, caliper)
        wide = evidence.diagonal(index, scaled=scaled) if diameters is None else None
        if not holds and wide is not None and item.role != "ordered" and _oblique(item, sides, wide, factor):
            return UNKNOWN
        return judged(holds, evidence_of, expected)
    truths = _truths(item, sides, diameters)
    holds = any(fits(item, truth, factor=factor, caliper=caliper) for truth in truths)
    wide = evidence.diagonal(index, scaled=scaled) if diameters is None else None
    loose = wide is not None and item.statement.attribute == "size" and item.role != "shortest"
    if not holds and loose and wide is not None and max(sides) <= item.numbers[0] * factor <= DIAGONAL * wide:
        return UNKNOWN
    return judged(holds, evidence_of, expected)


def _truths(item: Said, sides: tuple[float, float], diameters: tuple[float, float] | None) -> list[float]:
    """Return the true lengths that a single number may mean."""
    longest, shortest = (max(sides), min(sides)) if diameters is None else diameters
    if item.statement.attribute == "width":
        return [sides[0]]
    if item.statement.attribute == "height":
        return [sides[1]]
    if item.role == "longest":
        return [max(sides), longest]
    return [min(sides), shortest] if item.role == "shortest" else [max(sides), longest, min(sides), shortest]


def _pair(
    item: Said, sides: tuple[float, float], diameters: tuple[float, float] | None, factor: float, caliper: float
) -> bool:
    """Say whether two (or three) numbers are the sides of a box, or longest and shortest diameter, in any order."""
    about = item.bound == "about"
    numbers = [number * factor for number in item.numbers]
    pairs = [tuple(numbers[:2])] if item.role == "ordered" else list(permutations(numbers, 2))
    truths = [sides] if diameters is None or item.role == "ordered" else [sides, diameters]
    return any(
        all(
            near(n, t, about=about, slack=item.slack * factor, caliper=caliper)
            for n, t in zip(pair, truth, strict=True)
        )
        for pair in pairs
        for truth in truths
    )


def _oblique(item: Said, sides: tuple[float, float], wide: float, factor: float) -> bool:
    """Say whether two numbers may be diameters of a region lying aslant in its box, whose mask is not known."""
    numbers = sorted(number * factor for number in item.numbers[:2])
    return max(sides) <= numbers[1] <= DIAGONAL * wide and SLANT * min(sides) <= numbers[0] <= min(sides)


def _image_size(item: Said, evidence: Evidence, *, scaled: bool) -> Judged:
    """Judge the size of the image or field of view."""
    if evidence.width == 0 or (scaled and evidence.spacing_mm is None):
        return UNKNOWN
    down, across = evidence.spacing_mm if scaled and evidence.spacing_mm else (1.0, 1.0)
    sides = evidence.width * across, evidence.height * down
    factor = _MILLIMETERS[item.statement.unit or "px"]
    expected = f"the image is {sides[0]:.1f} × {sides[1]:.1f} {'mm' if scaled else 'pixels'} (width × height)"
    if len(item.numbers) > 1:
        holds = _pair(item, sides, None, factor, 0.0)
    else:
        holds = any(fits(item, side, factor=factor) for side in sides)
    boxes = [evidence.sides(index, scaled=scaled) for index in range(len(evidence.rois))]
    if not holds and any(
        box is not None and len(item.numbers) > 1 and _pair(item, box, None, factor, 0.0) for box in boxes
    ):
        return Judged("supported", "measured:box")  # "the central patch of 32 x 32 pixels" is a region
    return judged(holds, "measured:size_mm" if scaled else "metadata:width", expected)


def count(item: Said, evidence: Evidence, *, partial: bool) -> Judged:
    """Judge how many there are said to be; `partial` says that the sentence speaks of some of them only."""
    rois = evidence.rois
    if item.role == "regions":
        told = list(rois)
        if not told and evidence.pixelless and evidence.width == 0:
            return UNKNOWN
    elif item.role == "findings" or item.role.removeprefix("label:") in FOCAL:
        told = [roi for roi in rois if roi.label in vocabulary("disease")]
        same = [roi for roi in rois if roi.label == item.role.removeprefix("label:")]
        told = same or told
    else:
        told = [roi for roi in rois if _called(item.role.removeprefix("label:"), roi.label)]
    if item.role != "regions" and (not told or any(roi.origin == "whole_image" for roi in told)):
        return UNKNOWN
    truths = sorted({len(told), sum(roi.count for roi in told), *(roi.count for roi in told if roi.count > 1)})
    if not told:
        truths = [0]
    value = int(item.numbers[0])
    expected = f"{truths[0]} in the row" if len(truths) == 1 else f"{' or '.join(map(str, truths))} in the row"
    holds = any(_agrees(value, item.bound, truth) for truth in truths)
    kinds = {roi.label for roi in told}
    loose = item.role in ("findings", "label:lesion") and len(kinds) > 1
    holds = holds or (loose and any(value == sum(roi.label == kind for roi in told) for kind in kinds))
    if not holds and partial and value < max(truths):
        return UNKNOWN
    return judged(holds, "measured:count", expected)


def _agrees(value: int, bound: str, truth: int) -> bool:
    """Say whether a number of things agrees with the true one."""
    if bound == "at_least":
        return truth >= value
    if bound == "at_most":
        return truth <= value
    return value == truth if bound == "exactly" else abs(value - truth) <= ABOUT * truth


def _called(word: str, label: str) -> bool:
    """Say whether things of a word may be the regions of a label."""
    if word == label:
        return True
    if word in vocabulary("disease") and label in vocabulary("disease"):
        return compatible(word, (label,)) or (word in FOCAL and label in FOCAL)
    return word in vocabulary("anatomy") and label in vocabulary("anatomy") and overlap(word, label)


def attenuation(item: Said, evidence: Evidence, index: int | None) -> Judged:
    """Judge a mean attenuation, by the gray levels put back through their window."""
    window, scene = evidence.window, evidence.scene
    if index is None or scene is None or window is None or window.width <= 1 or evidence.modality != "ct":
        return UNKNOWN
    x0, y0, x1, y1 = evidence.rois[index].xyxy
    mean = unwindowed(float(scene.gray[y0:y1, x0:x1][scene.mask(index)].mean()), window)
    allowed = max(one_level(window) + 0.5, (ABOUT if item.bound == "about" else EXACT) * abs(mean))
    return judged(abs(item.numbers[0] - mean) <= allowed, "measured:mean_hu", f"the mean is about {mean:.0f} HU")


def window(item: Said, evidence: Evidence) -> Judged:
    """Judge a window's center or width."""
    if evidence.window is None:
        return UNKNOWN
    truth = evidence.window.center if item.statement.attribute == "window_center" else evidence.window.width
    holds = abs(item.numbers[0] - truth) <= max(0.5, 0.01 * abs(truth))
    return judged(holds, "metadata:window", f"it is {truth:g}")
