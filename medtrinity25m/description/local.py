"""The local text: how many regions there are, and each region's place, size and look."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np

from medtrinity25m.caption import name
from medtrinity25m.description import figures
from medtrinity25m.description.cast import MOST_TOLD, Cast
from medtrinity25m.description.prose import Prose, joined, listed
from medtrinity25m.description.region import told_region


def local_text(cast: Cast, asked: tuple[str, ...] = ()) -> tuple[Prose, dict[int, str]]:
    """Return the local text, and the part of it that is about each told region.

    `asked` are the experts that looked at the image: where they found nothing, that is said of them and no more.
    """
    if not cast.scene.rois:
        nothing = Prose().claim("no region of interest", "roi_count", "measured:count", value="0")
        if not asked:
            return nothing.say(" is annotated in this image").sentence(), {}
        experts = [Prose().claim(expert, "expert", "metadata:provenance.experts") for expert in asked]
        # several vote: each may have located one that the others did not
        several = " was agreed on in this image by the expert models "
        looked = Prose(several if len(asked) > 1 else " was located in this image by the expert model ")
        return nothing.add(looked).add(listed(experts)).sentence(), {}
    told = {index: told_region(cast, index) for index in cast.told}
    opening = _opening(cast) if len(cast.scene.rois) > 1 else Prose()
    return joined([opening, *told.values()]), {index: prose.text for index, prose in told.items()}


def _opening(cast: Cast) -> Prose:
    """Return how many regions there are, of what, and of many what they cover together."""
    rois, terms = cast.scene.rois, cast.terms
    how = "automatically located" if any(roi.origin == "expert" for roi in rois) else "annotated"
    prose = Prose("there are ").claim(figures.count(len(rois)), "roi_count", "measured:count")
    prose.say(f" {how} regions of interest")
    if cast.alike:
        prose.say(", both " if len(rois) == 2 else ", all ").say("" if terms[0].plural else "labeled ")
        prose.claim(terms[0].plural or terms[0].name, "label", "metadata:rois.label", value=terms[0].id)
    elif len(rois) > MOST_TOLD:
        prose.say(": ").add(_label_counts(cast))
    return prose.sentence() if len(rois) <= MOST_TOLD else joined([prose.sentence(), _together(cast)])


def _label_counts(cast: Cast) -> Prose:
    """Return how many regions have each label: `eight labeled nodule and four labeled mass`."""
    parts = []
    for label, number in Counter(roi.label for roi in cast.scene.rois).items():
        part = Prose().claim(figures.count(number), f"label_count:{label}", "measured:count").say(" labeled ")
        parts.append(part.claim(name(label).name, "label", "metadata:rois.label", value=label))
    return listed(parts)


def _together(cast: Cast) -> Prose:
    """Return what many regions cover together, and between which sizes they are."""
    scene = cast.scene
    covered = np.zeros(scene.gray.shape, dtype=np.bool_)
    for index, roi in enumerate(scene.rois):
        x0, y0, x1, y1 = roi.xyxy
        covered[y0:y1, x0:x1] |= scene.mask(index)
    total = figures.percent(Fraction(int(np.count_nonzero(covered)), scene.gray.size))
    shares = [scene.share(index) for index in range(len(scene.rois))]
    least, most = figures.percent(min(shares)), figures.percent(max(shares))
    prose = Prose("together they cover ").claim(total, "total_share", "measured:area_fraction")
    prose.say(" of the image area, ")
    if least == most:
        each = least._replace(words=f"each of them {least.words}")
        return prose.claim(each, "each_share", "measured:area_fraction").sentence()
    least = least._replace(words=f"smallest of them {least.words}")
    most = most._replace(words=f"largest {most.words}")
    prose.say("the ").claim(least, "least_share", "measured:area_fraction")
    return prose.say(" and the ").claim(most, "most_share", "measured:area_fraction").sentence()
