"""The coarse caption: what the metadata alone say of a picture, by one grammar for all sources.

    An axial CT image of the brain, labeled intracranial hemorrhage. The annotated region of interest is
    labeled intracranial hemorrhage.

Only columns speak (modality, view, organs, laterality, diseases, labels and counts of the regions), only in
the words of the vocabularies, never a report or a file name: a wrong word here would go into the prompt, the
knowledge search and the final text. The phrases are shared with `medtrinity25m.description`, where the same
words are claims.

**Why** a disease is a label and not a finding ("labeled pneumonia", never "with pneumonia"): the label speaks
about the patient, often from another examination, and nobody checked here that the picture shows it. Why an
organ is named in the singular where no side is known: "the kidneys" would say that both are there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from medtrinity25m.description.figures import count
from medtrinity25m.description.prose import Prose, joined, listed
from medtrinity25m.registry import RESERVED, Term, vocabulary
from medtrinity25m.triplet import ROI, Facts, Sample

VIEWS = {
    "axial": "axial",
    "coronal": "coronal",
    "sagittal": "sagittal",
    "oblique": "oblique",
    "frontal": "frontal",
    "lateral": "lateral",
    "pa": "posteroanterior",
    "ap": "anteroposterior",
    "cc": "craniocaudal",
    "mlo": "mediolateral oblique",
    "oct": "OCT",
}
"""The words for a view; the short ones are DICOM View Position (0018,5101) written out."""

OCT_NOUN = "ophthalmic image"
"""What optical coherence tomography is called: it stands with fundus photographs, and is none."""

SLIDES = ("histopathology", "microscopy")
"""Modalities that show tissue taken out of the patient: no side of a patient lies in such a picture."""


@dataclass(frozen=True)
class CoarseCaption:
    """Fill `coarse_caption` from the metadata; used as `each(CoarseCaption())`, after regions are located."""

    def __call__(self, sample: Sample) -> Sample:
        """Return `sample` with its coarse caption."""
        first = picture(sample)
        disease = labels(sample)
        if disease:
            first.say(", ").add(disease)
        return sample.with_(coarse_caption=joined([first.sentence(), _regions(sample.rois)]).text)


def name(label: str) -> Term:
    """Return the term a region's label means: a disease or finding, else an organ."""
    diseases = vocabulary("disease")
    return diseases[label] if label in diseases else vocabulary("anatomy")[label]


def picture(facts: Facts) -> Prose:
    """Return what kind of picture of what it is, as a noun phrase: `an axial CT image of the left kidney`."""
    term = vocabulary("modality")[facts.modality]
    view = None if facts.view is None else VIEWS[facts.view]
    article = term.article if view is None else _article(view)
    prose = Prose().say(f"{article} ")
    if facts.view is not None and view is not None:
        prose.claim(view, "view", "metadata:view", value=facts.view).say(" ")
    noun = OCT_NOUN if facts.view == "oct" else term.image or f"{term.name} image"
    prose.claim(noun, "modality", "metadata:modality", value=facts.modality)
    organs = [_organ(organ, facts) for organ in shown_organs(facts)]
    if organs:
        prose.say(" of ").add(listed(organs))
    sided = any(vocabulary("anatomy")[organ].paired for organ in shown_organs(facts))
    if facts.laterality is not None and not sided:
        prose.say(", ").claim(facts.laterality, "laterality", "metadata:laterality").say(" side")
    return prose


def shown_organs(facts: Facts) -> tuple[str, ...]:
    """Return the organs the picture is of: on a slide not the cells that are marked, where the tissue is known."""
    tissue = tuple(organ for organ in facts.organs if vocabulary("anatomy")[organ].plural is None)
    return tissue if facts.modality in SLIDES and tissue else facts.organs


def _article(word: str) -> str:
    """Return the indefinite article of a word of ours, all of which sound as they begin."""
    return "an" if word[0] in "aeiouO" else "a"


def _organ(organ: str, facts: Facts) -> Prose:
    """Return one organ with its article, and its side where there are two of it and the side is known."""
    term = vocabulary("anatomy")[organ]
    if facts.modality in SLIDES and term.plural is not None and not term.paired:
        # cells, nuclei, glands: never just one of them
        return Prose().claim(term.plural, "organ", "metadata:organs", value=organ)
    prose = Prose("the ")
    if facts.laterality is not None and term.paired:
        prose.claim(facts.laterality, "laterality", "metadata:laterality").say(" ")
    return prose.claim(term.name, "organ", "metadata:organs", value=organ)


def labels(facts: Facts) -> Prose:
    """Return what the picture is labeled, or nothing where nobody said: `labeled pneumonia`."""
    if facts.disease == "none":
        return Prose("labeled as showing ").claim("no disease", "disease", "metadata:disease", value="none")
    known = [facts.disease, *(disease for disease in facts.diseases if disease != facts.disease)]
    terms = [vocabulary("disease")[disease] for disease in known if disease not in RESERVED]
    if not terms:
        return Prose()
    column = {facts.disease: "metadata:disease"}
    named = [
        Prose().claim(term.name, "disease", column.get(term.id, "metadata:diseases"), value=term.id) for term in terms
    ]
    return Prose("labeled ").add(listed(named))


def counted(label: str, number: int) -> str:
    """Return so many regions with a label: `125 cell nuclei`, `one region labeled edema`."""
    term = name(label)
    if number > 1 and term.plural is not None:
        return f"{count(number).words} {term.plural}"
    return f"{count(number).words} region{'' if number == 1 else 's'} labeled {term.name}"


def _regions(rois: tuple[ROI, ...]) -> Prose:
    """Return the sentence on what the regions are, or nothing where there are none."""
    if not rois:
        return Prose()
    if rois[0].origin == "whole_image":
        what = name(rois[0].label).name
        return Prose(f"the region of interest is the whole image, labeled {what}").sentence()
    how = "located" if any(roi.origin == "expert" for roi in rois) else "annotated"
    numbers = Counter(dict.fromkeys((roi.label for roi in rois), 0))
    for roi in rois:
        numbers[roi.label] += roi.count
    if sum(numbers.values()) == 1:
        return Prose(f"the {how} region of interest is labeled {name(rois[0].label).name}").sentence()
    parts = listed([Prose(counted(label, number)) for label, number in numbers.items()])
    return Prose(f"the {how} regions of interest are ").add(parts).sentence()
