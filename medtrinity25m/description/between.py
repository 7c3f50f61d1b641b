"""The relation text: how regions lie to one another and to the halves of the image, in two sentences at most.

Of many pairs one is told, the one that meets most closely: equal, one inside the other, overlapping,
touching, then the smallest gap. Of more than five regions it is the largest and the one nearest to it.
"""

from __future__ import annotations

from itertools import combinations

from medtrinity25m.description import figures
from medtrinity25m.description.cast import MOST_TOLD, Cast
from medtrinity25m.description.prose import Prose, joined, listed
from medtrinity25m.description.relation import HalfFacts, PairFacts, box_gap, halves, pair
from medtrinity25m.description.scene import Scene

_CLOSENESS = ("same", "inside", "around", "overlapping", "touching", "apart")
_PLACES = {
    "left": "to the left of it",
    "right": "to the right of it",
    "above": "above it",
    "below": "below it",
    "above left": "above and to the left of it",
    "above right": "above and to the right of it",
    "below left": "below and to the left of it",
    "below right": "below and to the right of it",
}


def relation_text(cast: Cast) -> Prose:
    """Return the relation text; empty where there is no region, or where it is the whole image."""
    rois = cast.scene.rois
    if not rois or any(roi.origin == "whole_image" for roi in rois):
        return Prose()
    facts = [halves(cast.scene, index) for index in range(len(rois))]
    if len(rois) == 1:
        return _one_half(facts[0])
    return joined([_closest(cast), _halves(facts)])


def _closest(cast: Cast) -> Prose:
    """Return the sentence on the pair of regions that meets most closely."""
    number = len(cast.scene.rois)
    if number > MOST_TOLD:
        largest = cast.told[0]
        found = _closest_pair(cast.scene, [(index, largest) for index in range(number) if index != largest])
    else:
        found = _closest_pair(cast.scene, list(combinations(range(number), 2)))
    if found.contact == "around":
        found = pair(cast.scene, found.second, found.first)
    ours, theirs = (_called(cast, index) for index in (found.first, found.second))
    if found.contact != "apart":
        return _met(found, ours, theirs)
    if number == 2:
        return _apart(found, ours.say(" lies "), theirs)
    if number > MOST_TOLD:
        nearest = figures.Figure("nearest", f"{found.first}")
        theirs.say("'s ").claim(nearest, f"nearest_to:{found.second}", "measured:gap", roi=found.first)
        return _apart(found, theirs.say(" neighbor lies "))
    nearest = figures.Figure("nearest", f"{found.first} {found.second}")
    ours.say(" is ").claim(nearest, "nearest_pair", "measured:gap", roi=found.first)
    return _apart(found, ours.say(" to ").add(theirs).say(", "))


def _closest_pair(scene: Scene, pairs: list[tuple[int, int]]) -> PairFacts:
    """Return the facts of the pair that meets most closely, measuring those whose boxes are near."""
    ranked = sorted(pairs, key=lambda two: (box_gap(scene, *two), two))
    best = pair(scene, *ranked[0])
    for two in ranked[1:]:
        if box_gap(scene, *two) > _size_of_gap(best):
            break
        best = min(best, pair(scene, *two), key=_closeness)
    return best


def _size_of_gap(facts: PairFacts) -> float:
    """Return a gap in the unit of `box_gap`."""
    return facts.gap_px if facts.gap_mm is None else facts.gap_mm


def _closeness(facts: PairFacts) -> tuple[int, float, int, int]:
    """Sort key: kind of contact, gap, then index."""
    return _CLOSENESS.index(facts.contact), _size_of_gap(facts), facts.first, facts.second


def _called(cast: Cast, index: int) -> Prose:
    """Return what a region is called in a sentence about two."""
    return cast.short(index) if index in cast.told else Prose("another region")


def _met(facts: PairFacts, ours: Prose, theirs: Prose) -> Prose:
    """Return the sentence on two regions that meet."""
    verb = {
        "same": "covers the same pixels as",
        "inside": "lies inside",
        "overlapping": "overlaps",
        "touching": "touches",
    }[facts.contact]
    prose = ours.say(" ")
    prose.claim(verb, f"contact:{facts.second}", "measured:contact", value=facts.contact, roi=facts.first)
    prose.say(" ").add(theirs)
    if facts.contact == "touching" and facts.direction is not None:
        prose.say(", lying ").add(_direction(facts)).say(" in the image")
    return prose.sentence()


def _apart(facts: PairFacts, prose: Prose, other: Prose | None = None) -> Prose:
    """Finish a sentence on two regions that are apart, the other one named here or before."""
    gap = figures.distance(facts.gap_px, facts.gap_mm)
    prose.claim(gap, f"gap:{facts.second}", "measured:gap", roi=facts.first)
    prose.say(" away") if other is None else prose.say(" from ").add(other)
    if facts.direction is not None:
        prose.say(", ").add(_direction(facts)).say(" in the image")
    return prose.sentence()


def _direction(facts: PairFacts) -> Prose:
    """Return where the first region lies from the second."""
    direction = facts.direction or ""
    attribute = f"direction:{facts.second}"
    return Prose().claim(_PLACES[direction], attribute, "measured:box", value=direction, roi=facts.first)


def _one_half(facts: HalfFacts) -> Prose:
    """Return the sentence on the half of the image in which the only region lies."""
    prose = Prose("the region of interest ")
    if facts.half == "both":
        prose.claim("crosses the vertical midline", "half", "measured:midline", value="both", roi=0)
        share = figures.percent(facts.left_share)
        words = share._replace(words=f"{share.words} of its area in the left half")
        prose.say(" of the image, with ").claim(words, "left_half_share", "measured:midline", roi=0)
        return prose.sentence()
    other = "right" if facts.half == "left" else "left"
    prose.say("lies entirely in the ").claim(facts.half, "half", "measured:midline", roi=0)
    prose.say(" half of the image")
    if facts.gap_px == 0:
        prose.say(" and ").claim("reaches", "midline_gap", "measured:midline", value="0", roi=0)
        return prose.say(" its vertical midline").sentence()
    gap = figures.distance(facts.gap_px, facts.gap_mm)
    prose.say(", ").claim(gap, "midline_gap", "measured:midline", roi=0).say(" from its vertical midline; ")
    empty = figures.Figure(f"{other} half holds no region of interest", "0")
    return prose.say("the ").claim(empty, f"regions_in:{other}", "measured:midline").sentence()


def _halves(facts: list[HalfFacts]) -> Prose:
    """Return the sentence on how several regions are spread over the halves of the image."""
    sides = [side.half for side in facts]
    if len(set(sides)) == 1:
        return _together(sides[0], facts)
    parts: list[Prose] = []
    for half in ("left", "right", "both"):
        number = sides.count(half)
        if not number:
            continue
        verb = ("crosses" if number == 1 else "cross") if half == "both" else "lies" if number == 1 else "lie"
        where = f"{verb} its vertical midline" if half == "both" else f"{verb} in the {half} half"
        figure = figures.count(number)
        part = Prose().claim(figure._replace(words=f"{figure.words} {where}"), f"regions_in:{half}", "measured:midline")
        parts.append(part if parts or half == "both" else part.say(" of the image"))
    opening = Prose("of the ").claim(figures.count(len(facts)), "roi_count", "measured:count")
    return opening.say(" regions, ").add(listed(parts)).sentence()


def _together(half: str, facts: list[HalfFacts]) -> Prose:
    """Return the sentence on regions that all lie in one half, or all cross the midline."""
    number = figures.count(len(facts))
    words = "both regions" if len(facts) == 2 else f"all {number.words} regions"
    words += " cross the vertical midline" if half == "both" else f" lie in the {half} half"
    prose = Prose().claim(number._replace(words=words), f"regions_in:{half}", "measured:midline")
    prose.say(" of the image")
    nearest = min(range(len(facts)), key=lambda index: facts[index].gap_px)
    if facts[nearest].gap_px > 0:
        gap = figures.distance(facts[nearest].gap_px, facts[nearest].gap_mm)
        which = figures.Figure("nearest", f"{nearest}")
        prose.say(", the ").claim(which, "nearest_to:midline", "measured:midline", roi=nearest).say(" ")
        prose.claim(gap, "midline_gap", "measured:midline", roi=nearest).say(" from its vertical midline")
    return prose.sentence()
