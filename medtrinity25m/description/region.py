"""The sentences about one region: where it lies and how large it is, then how it looks.

Which sentence a region gets depends on what is known of it and on nothing else: whether it is small or large,
a mask, a box or several in one, in a corner or in the middle, and which judgments hold. Equal facts give
equal text.
"""

from __future__ import annotations

from medtrinity25m.caption import SLIDES
from medtrinity25m.description import figures
from medtrinity25m.description.cast import Cast
from medtrinity25m.description.measure import RegionFacts, measure
from medtrinity25m.description.prose import Prose, joined, listed
from medtrinity25m.description.relation import halves
from medtrinity25m.registry import vocabulary
from medtrinity25m.roi.geometry import HORIZONTAL, VERTICAL, bins
from medtrinity25m.triplet import ROI

LARGE_SHARE = 0.2
"""From a fifth of the image on, how much a region fills says more than where it is, and comes first."""

ONE_BIN = 0.2
"""Share of width and height up to which a region lies in one of five bins; a longer one is centered there."""


def told_region(cast: Cast, index: int) -> Prose:
    """Return everything the local text says about one region."""
    roi = cast.scene.rois[index]
    if roi.origin == "whole_image":
        words = figures.Figure("whole image", roi.origin)
        prose = Prose("the ").claim(words, "origin", "metadata:rois.origin", roi=index)
        return prose.say(" is the region of interest, labeled ").add(cast.label(index)).sentence()
    facts = measure(cast.scene, index)
    place = _several(cast, index, facts) if roi.count > 1 else _single(cast, index, facts)
    return joined([place, _look(cast, index, facts)])


def _single(cast: Cast, index: int, facts: RegionFacts) -> Prose:
    """Return place and size of a region that is one thing."""
    roi = cast.scene.rois[index]
    if facts.share >= LARGE_SHARE:
        prose = _introduced(cast, index, "" if roi.mask is not None else "given as a box")
        prose.say(" occupies ").add(_share(facts, index)).say(", measures ").add(_size(cast, facts, index))
        return prose.say(", and ").add(_where(cast, index)).sentence()
    prose = _introduced(cast, index).say(" ").add(_where(cast, index))
    prose.say(", covers " if roi.mask is not None else "; its box covers ").add(_share(facts, index))
    between = ", and measures " if roi.mask is not None else " and measures "
    return prose.say(between).add(_size(cast, facts, index)).sentence()


def _several(cast: Cast, index: int, facts: RegionFacts) -> Prose:
    """Return number, extent and place of a region that unites several."""
    roi, term = cast.scene.rois[index], cast.terms[index]
    prose = _introduced(cast, index).say(" unites ")
    prose.claim(figures.count(roi.count), "count", "metadata:rois.count", roi=index).say(" ")
    if roi.mask is None:
        prose.say("boxes; the box around them covers ").add(_share(facts, index)).say(", measures ")
    else:
        prose.say(term.plural or "separate areas").say(" that together cover ").add(_share(facts, index))
        prose.say("; the box around them measures ")
    between = ", and " if roi.mask is None else " and "
    return prose.add(_size(cast, facts, index)).say(between).add(_centered(cast, index)).sentence()


def _introduced(cast: Cast, index: int, kind: str = "") -> Prose:
    """Return what a region is called, with its kind, and label and expert where they were not said yet."""
    roi = cast.scene.rois[index]
    more = []
    if not cast.distinct and (len(cast.scene.rois) == 1 or not cast.alike):
        more.append(Prose("labeled ").add(cast.label(index)))
    if roi.expert is not None:
        model = Prose("located by the expert models " if "+" in roi.expert else "located by the expert model ")
        more.append(model.claim(roi.expert, "expert", "metadata:rois.expert", roi=index))
    if kind:
        more.append(Prose(kind))
    prose = cast.subject(index)
    return prose.say(", ").add(listed(more)).say(",") if more else prose


def _share(facts: RegionFacts, index: int) -> Prose:
    """Return the share of the image a region covers."""
    share = figures.percent(facts.share)
    return Prose().claim(share, "area_share", "measured:area_fraction", roi=index).say(" of the image area")


def _size(cast: Cast, facts: RegionFacts, index: int) -> Prose:
    """Return width and height of a region's box; the first region told says which is which."""
    if facts.size_px is None:
        raise ValueError("a whole image has no size of its own")
    evidence = "measured:box" if facts.size_mm is None else "measured:size_mm"
    width, height = figures.size(facts.size_px, facts.size_mm)
    prose = Prose().claim(width, "width", evidence, roi=index).say(" × ")
    prose.claim(height, "height", evidence, roi=index)
    return prose.say(" (width × height)") if index == cast.told[0] else prose


def _where(cast: Cast, index: int) -> Prose:
    """Return verb and place: `lies in the upper left part of the image`."""
    x0, y0, x1, y1 = cast.scene.rois[index].xyxy
    height, width = cast.scene.gray.shape
    if x1 - x0 > ONE_BIN * width or y1 - y0 > ONE_BIN * height:
        return _centered(cast, index)
    return Prose("lies ").add(_part(cast, index)).add(_side(cast, index))


def _centered(cast: Cast, index: int) -> Prose:
    """Return where the center of a long region is: `is centered in the upper left part of the image`."""
    middle = bins(cast.scene.rois[index].xyxy, *cast.scene.gray.shape) == (2, 2)
    return Prose("lies " if middle else "is centered ").add(_part(cast, index)).add(_side(cast, index))


def _part(cast: Cast, index: int) -> Prose:
    """Return the part of the image, by the five-bin words of the center of the region's box."""
    across, down = bins(cast.scene.rois[index].xyxy, *cast.scene.gray.shape)

    def horizontal() -> Prose:
        return Prose().claim(HORIZONTAL[across], "position_horizontal", "measured:box", roi=index)

    def vertical() -> Prose:
        return Prose().claim(VERTICAL[down], "position_vertical", "measured:box", roi=index)

    if across in (0, 4) and down in (0, 4):
        return Prose("in the ").add(vertical()).say(" ").add(horizontal()).say(" part of the image")
    if across == 2 and down == 2:
        prose = Prose("at the ").add(horizontal()).say(" of the image's width and the ")
        return prose.add(vertical()).say(" of its height")
    if across == 2:
        prose = Prose("in the ").add(vertical()).say(" part of the image, at the ")
        return prose.add(horizontal()).say(" of its width")
    if down == 2:
        prose = Prose("in the ").add(horizontal()).say(" part of the image, at the ")
        return prose.add(vertical()).say(" of its height")
    return Prose("in the ").add(horizontal()).say(", ").add(vertical()).say(" part of the image")


def _side(cast: Cast, index: int) -> Prose:
    """Return which side of the patient a region is toward, where the picture fixes that, else nothing.

    A region in the center bin or across the midline is toward none: the patient lies off the center by a few
    percent of the width.
    """
    left, half = cast.row.image_left, halves(cast.scene, index).half
    across, _ = bins(cast.scene.rois[index].xyxy, *cast.scene.gray.shape)
    if left is None or cast.row.modality in SLIDES or half == "both" or across == 2:
        return Prose()
    side = left if half == "left" else {"left": "right", "right": "left"}[left]
    words = figures.Figure(f"patient's {side} side", side)
    return Prose(" (toward the ").claim(words, "patient_side", "metadata:image_left", roi=index).say(")")


def _look(cast: Cast, index: int, facts: RegionFacts) -> Prose:
    """Return the sentence on brightness, texture, shape and margin, as far as they are known."""
    roi = cast.scene.rois[index]
    bright = _brightness(cast, index, facts)
    attenuation = _attenuation(facts, index)
    if roi.mask is None:
        return _within_box(bright, attenuation)
    even = _judged(facts.texture, "texture", index)
    outline = _judged(facts.shape, "shape", index)
    if facts.shape == "irregular":
        outline.say(" in shape")
    margin = _margin(facts, index)
    pronoun, verb = ("they", "are") if roi.count > 1 else ("it", "is")
    if bright and facts.texture == "heterogeneous" and facts.brightness != "equal":
        rest = listed([part for part in (outline, even) if part])
        return bright.say(f", {pronoun} {verb} ").add(rest).add(margin).sentence()
    parts = [part for part in (outline, even, bright) if part]
    if parts:
        alone = Prose() if bright or not attenuation else Prose(", with a ").add(attenuation)
        return Prose(f"{pronoun} {verb} ").add(listed(parts)).add(margin).add(alone).sentence()
    have = "have" if roi.count > 1 else "has"
    return Prose(f"{pronoun} {have} a ").add(attenuation).sentence() if attenuation else Prose()


def _within_box(bright: Prose, attenuation: Prose) -> Prose:
    """Return the look of what a box holds, said of the box and not of the lesion in it."""
    if bright:
        return Prose("the area within the box is ").add(bright).sentence()
    return Prose("the area within the box has a ").add(attenuation).sentence() if attenuation else Prose()


def _judged(word: str | None, attribute: str, index: int) -> Prose:
    """Return a judgment's word, or nothing."""
    return Prose() if word is None else Prose().claim(word, attribute, f"measured:{attribute}", roi=index)


def _margin(facts: RegionFacts, index: int) -> Prose:
    """Return `, with a sharp margin`, or nothing."""
    if facts.margin is None:
        return Prose()
    article = "an" if facts.margin == "ill-defined" else "a"
    return Prose(f", with {article} ").add(_judged(facts.margin, "margin", index)).say(" margin")


def _brightness(cast: Cast, index: int, facts: RegionFacts) -> Prose:
    """Return brightness in the modality's own words: `hypodense relative to its surroundings`."""
    if facts.brightness is None or (facts.brightness == "equal" and cast.scene.rois[index].mask is None):
        return Prose()  # a box as light as what is around it may hold anything
    term = vocabulary("modality")[cast.row.modality]
    word = getattr(term, facts.brightness)
    prose = Prose().claim(word, "intensity", "measured:intensity", value=facts.brightness, roi=index)
    whose = "their" if _plural(cast.scene.rois[index]) else "its"
    prose.say(f" {_than(word, facts.brightness)} {whose} surroundings")
    if facts.mean_hu is not None:
        mean = figures.hounsfield(facts.mean_hu)
        prose.say(" (mean ").claim(mean, "mean_hu", "measured:mean_hu", roi=index).say(")")
    return prose


def _plural(roi: ROI) -> bool:
    """Say whether the look sentence speaks of several things."""
    return roi.count > 1 and roi.mask is not None


def _than(word: str, brightness: str) -> str:
    """Return the preposition a vocabulary's word for brightness takes."""
    if brightness == "equal":
        return "to"
    return "than" if word.endswith("er") else "relative to"


def _attenuation(facts: RegionFacts, index: int) -> Prose:
    """Return the mean attenuation as a noun phrase without article, or nothing."""
    if facts.mean_hu is None:
        return Prose()
    prose = Prose("mean attenuation of ")
    return prose.claim(figures.hounsfield(facts.mean_hu), "mean_hu", "measured:mean_hu", roi=index)
