"""Seeds that put one word for another: side, position, modality, organ, disease."""

from __future__ import annotations

import re
from collections.abc import Iterator

from medtrinity25m.quality.seed_page import Dice, Edit, Page, Region, Sentence, like, mentions, with_article
from medtrinity25m.registry import vocabulary

_OTHER = {"left": "right", "right": "left", "upper": "lower", "lower": "upper"}
_PICTURE = r"(?:image|picture|photograph|frame|field)"
_IMAGE_SIDE = re.compile(
    rf"\b(left|right)-cent(?:er|re)\b"
    rf"|(?<!patient's )\b(left|right)(?: (?:half|part|side|portion))? of (?:the|this|its) {_PICTURE}\b"
    rf"|\b(left|right)(?=(?:, | and )(?:[\w-]+ ){{0,4}}?(?:part )?of the {_PICTURE})"
    rf"|\b(?:upper|lower) (left|right)(?= (?:part )?(?:of (?:the|its) {_PICTURE}))",
    re.IGNORECASE,
)
_EDGE = re.compile(r"patient's (left|right)(?: side)? is at the (left|right) edge of the", re.IGNORECASE)
_PATIENT_SIDE = re.compile(
    r"\bpatient's (left|right)\b(?!(?: side)? is at)"
    r"|\b(left|right)-sided\b"
    r"|\b(?:on|toward|towards) the (left|right)(?=[.,;:]| and\b)"
    r"|\b(left|right)(?= (?:frontal|parietal|temporal|occipital|upper|lower|middle)? ?"
    r"(?:lobe|zone|hemisphere|hemithorax)\b)"
    r"|\b(left|right)(?= cerebral hemisphere\b)"
    r"|(?<!to the )\b(left|right)(?= (?:lung|kidney|breast|eye|knee|hand|retina|tibia|leg|fundus|subdural)\b)",
    re.IGNORECASE,
)
_PAIRED = re.compile(r" (?:breast|eye|knee|hand|retina|tibia|leg|fundus|kidney|lung)\b", re.IGNORECASE)
_POSITION = re.compile(
    r"\b(upper|lower)-middle\b"
    r"|\b(upper|lower)(?= (?:(?:left|right) )?(?:(?:part|half|portion|corner) )?of (?:the|its) "
    rf"{_PICTURE})"
    rf"|\b(upper|lower)(?= (?:left|right) part\b)|(?<=, )(upper|lower)(?= part of the {_PICTURE})",
    re.IGNORECASE,
)


def sides(page: Page, dice: Dice) -> Iterator[Edit]:
    """Flip left and right: of the image where the regions lie in one half, of the patient where the row fixes it.

    Decided when every region the sentence can mean lies in the half (bins 0 and 1, or 3 and 4) that the clean text
    names; on the patient's side by `image_left` and the regions, or by `laterality`; and the sentence on which side
    of the patient is at the left edge by `image_left`. Never in a sentence that negates or is about another study.
    """
    for sentence in page.sentences:
        if page.row.get("image_left") is not None:
            for found in _EDGE.finditer(sentence.text):
                yield _flip(sentence, found, dice.choice((1, 2)))
        if not (sentence.now and sentence.positive):
            continue
        regions = page.about(sentence.text)
        for found in _IMAGE_SIDE.finditer(sentence.text):
            group = found.lastindex or 0
            if _all_in(regions, found.group(group).lower()):
                yield _flip(sentence, found, group)
        for found in _PATIENT_SIDE.finditer(sentence.text):
            group = found.lastindex or 0
            paired = _PAIRED.match(sentence.text, found.end(group)) is not None
            if _EDGE.search(sentence.text) is None and _patient(page, regions, paired) == found.group(group).lower():
                yield _flip(sentence, found, group)


def _all_in(regions: list[Region], side: str) -> bool:
    """Say whether all regions, at least one, have their center in this side of the image, off its center."""
    bins = (0, 1) if side == "left" else (3, 4)
    return bool(regions) and all(region.across in bins for region in regions)


def _patient(page: Page, regions: list[Region], paired: bool) -> str | None:
    """Return the side of the patient that the row fixes for these regions, or for a paired organ; None if none."""
    laterality = page.row.get("laterality")
    if laterality is not None and paired:
        return str(laterality)
    halves = {page.patient_half(region) for region in regions}
    return halves.pop() if len(halves) == 1 else None


def _flip(sentence: Sentence, found: re.Match[str], group: int) -> Edit:
    """Return the edit that turns a word into its opposite."""
    word = found.group(group)
    start = sentence.start + found.start(group)
    return Edit(start, start + len(word), like(word, _OTHER[word.lower()]))


def positions(page: Page, dice: Dice) -> Iterator[Edit]:
    """Flip upper and lower, of the image only; decided when all regions meant lie on the clean text's side.

    `dice` is not used: there is one way to flip.
    """
    del dice
    for sentence in page.sentences:
        if not (sentence.now and sentence.positive):
            continue
        regions = page.about(sentence.text)
        for found in _POSITION.finditer(sentence.text):
            group = found.lastindex or 0
            bins = (0, 1) if found.group(group).lower() == "upper" else (3, 4)
            if regions and all(region.down in bins for region in regions):
                yield _flip(sentence, found, group)


_IMAGES = {
    "ct": ("CT image", "CT scan", "CT slice", "computed tomography image", "computed tomography (CT) scan"),
    "mri": ("MR image", "MRI scan", "magnetic resonance image"),
    "xray": ("radiograph", "X-ray image", "mammogram"),
    "ultrasound": ("ultrasound image", "sonogram"),
    "pet": ("PET image", "PET scan"),
    "histopathology": ("histopathology image", "histological section"),
    "microscopy": ("microscopy image", "micrograph"),
    "dermoscopy": ("dermoscopic image",),
    "fundus": ("fundus photograph", "fundus image", "retinal photograph", "color fundus photograph"),
    "endoscopy": ("endoscopic image", "endoscopic view"),
}
"""One picture of each modality, as noun phrases; the first of each is written, all are found."""

_NAMES = {
    "ct": ("CT", "computed tomography"),
    "mri": ("MRI", "magnetic resonance imaging"),
    "xray": ("X-ray", "mammography", "radiography"),
    "ultrasound": ("ultrasound", "sonography"),
    "pet": ("PET", "positron emission tomography"),
    "histopathology": ("histology", "histopathology"),
    "microscopy": ("microscopy",),
    "dermoscopy": ("dermoscopy", "dermatoscopy"),
    "fundus": ("fundus photography",),
    "endoscopy": ("endoscopy", "colonoscopy", "gastroscopy"),
}
"""The modality itself."""

_OVERLAP = {frozenset(("histopathology", "microscopy")), frozenset(("pet", "ct"))}
"""Pairs that are no contradiction: a section is seen through a microscope, and PET comes with CT."""


def modalities(page: Page, dice: Dice) -> Iterator[Edit]:
    """Put another of the ten modalities for the row's, in a sentence about this image.

    Decided always, for every row has one modality; not where both can be said of one picture (`_OVERLAP`).
    """
    own = page.modality
    others = [other for other in _IMAGES if other != own and frozenset((own, other)) not in _OVERLAP]
    for sentence in page.sentences:
        if not (sentence.now and sentence.positive):
            continue
        taken: list[range] = []
        for book in (_IMAGES, _NAMES):
            joined = "|".join(re.escape(word) for word in sorted(book[own], key=len, reverse=True))
            for found in re.finditer(rf"(?<![\w&/-])(?<!FDG )(?:{joined})(?![\w/-]| \()", sentence.text, re.IGNORECASE):
                if any(found.start() in span for span in taken):
                    continue
                taken.append(range(*found.span()))
                word = book[dice.choice(others)][0]
                start = sentence.start + found.start()
                yield with_article(page.text, Edit(start, start + len(found.group()), _as(sentence.text, found, word)))


def _as(text: str, found: re.Match[str], word: str) -> str:
    """Return a modality's word, its first letter large where a sentence begins with the word it replaces."""
    first = not text[: found.start()].strip() and found.group()[0].isupper()
    return word[0].upper() + word[1:] if first else word


_SINGLE_TISSUE = ("histopathology", "microscopy", "dermoscopy", "fundus", "endoscopy")
"""Modalities whose picture shows one tissue, so that any other organ is another picture."""

_ORGANS = ("brain", "lung", "liver", "kidney", "prostate", "knee", "breast", "heart", "pancreas", "stomach", "colon",
           "thyroid", "bladder", "hip", "shoulder")  # fmt: skip
_EVERYWHERE = ("whole_body", "body", "trunk", "lymph_node", "tissue", "soft_tissue", "cell", "cell_nucleus")
_KIN = (
    {"colon", "colorectum", "rectum", "small_bowel", "gastrointestinal_tract", "gland"},
    {"retina", "eye", "optic_disc", "macula"},
)
_COVERED = ("knee", "hip", "shoulder", "breast")
"""Parts with skin over them and more than one tissue: a picture of skin or of a slide may be of them too."""
_PLURALS = ("lungs", "kidneys", "knees", "breasts")
_SIDED = ("lung", "kidney", "knee", "breast", "hip", "shoulder")
_ADJACENT = {frozenset(pair) for pair in (("head_neck", "thorax"), ("thorax", "abdomen"), ("abdomen", "pelvis"))}
_SHOWN = (
    r"(?:image|scan|slice|view|section|radiograph|mammogram|sonogram|photograph|tile|MRI|CT|PET|X-ray|ultrasound"
    r"|tomography|imaging|histology)"
)
_OF = re.compile(rf"\b{_SHOWN}(?: [\w-]+){{0,2}}? of (?:the |a )?(?:left |right )?$", re.IGNORECASE)


def organs(page: Page, dice: Dice) -> Iterator[Edit]:
    """Put another organ for one of the row's.

    What the picture is *of*: an organ of another region of the body, or on one tissue any other organ; both are decided
    by `organs`. What something lies *in*: an organ of a region that does not border on those of the row.
    """
    if not page.organs or any(organ in _EVERYWHERE for organ in page.organs):
        return
    for sentence in page.sentences:
        if not (sentence.now and sentence.positive):
            continue
        for organ in page.organs:
            for found in mentions(sentence.text, organ):
                noun, plural = vocabulary("anatomy")[organ].name, found.group().lower() in _PLURALS
                near = _choices(page, sentence, found)
                if near and (plural or found.group().lower() in (noun, "thorax", "oesophagus", "large bowel")):
                    word = vocabulary("anatomy")[dice.choice(near)].name + "s" * plural
                    start = sentence.start + found.start()
                    yield with_article(page.text, Edit(start, start + len(found.group()), like(found.group(), word)))


def _choices(page: Page, sentence: Sentence, found: re.Match[str]) -> list[str]:
    """Return the organs that would be false in this place, none where the row does not decide."""
    anatomy = vocabulary("anatomy")
    before, after = sentence.text[: found.start()], sentence.text[found.end() :]
    regions = {anatomy[organ].region for organ in page.organs}
    of = _OF.search(before) is not None or re.match(rf" {_SHOWN}\b", after, re.IGNORECASE) is not None
    inside = sentence.sure and re.search(r"\bin (?:the |both )?(?:left |right )?$", before, re.IGNORECASE) is not None
    if not (of or inside):
        return []
    sided = re.search(r"\b(?:left|right|both) $", before, re.IGNORECASE) is not None
    sided = sided or found.group().lower() in _PLURALS
    kin = set(page.organs).union(*(group for group in _KIN if group & set(page.organs)))
    choices = []
    for organ in _ORGANS:
        region = anatomy[organ].region
        near = any(frozenset((region, own)) in _ADJACENT for own in regions)
        single = page.modality in _SINGLE_TISSUE
        skin = single and organ in _COVERED and page.modality != "endoscopy"
        if organ in kin or skin or (sided and organ not in _SIDED):
            continue
        if single or not (region in regions or (inside and near)):
            choices.append(organ)
    return choices


_ONES = ("glioma", "meningioma", "brain_abscess", "pituitary_adenoma", "melanoma", "basal_cell_carcinoma",
         "dermatofibroma", "melanocytic_nevus", "hepatocellular_carcinoma", "liver_abscess", "renal_cell_carcinoma",
         "fibroadenoma", "breast_cyst", "aortic_aneurysm", "lung_abscess", "goiter", "bone_cyst", "meniscal_tear",
         "ovarian_cyst", "uterine_leiomyoma")  # fmt: skip
"""Diseases that take an article."""

_STATES = ("pneumonia", "tuberculosis", "emphysema", "pneumothorax", "multiple_sclerosis", "hydrocephalus",
           "alzheimer_disease", "cirrhosis", "appendicitis", "pancreatitis", "hydronephrosis", "glaucoma", "cataract",
           "retinal_detachment", "ulcerative_colitis", "gastritis", "esophagitis", "diverticulosis", "scoliosis",
           "osteoarthritis", "malaria", "prostate_cancer", "breast_cancer", "psoriasis", "eczema", "leukemia",
           "benign_prostatic_hyperplasia", "mesothelioma", "cholecystitis")  # fmt: skip
"""Diseases that take none."""

_BROAD = ("lesion", "mass", "nodule", "tumor", "cancer", "carcinoma", "opacity", "cyst", "edema")
"""Labels under which many diseases fall: another word in their place may be true as well."""

_RELATED = (
    {"pneumonia", "covid_19", "tuberculosis", "ground_glass_opacity", "consolidation", "opacity", "emphysema"},
    {"osteoarthritis", "knee_osteoarthritis"},
    {"thyroid_nodule", "goiter"},
    {"pneumothorax", "cardiomegaly", "pleural_effusion", "pneumonia", "emphysema"},
    {"fatty_liver", "cirrhosis", "hepatocellular_carcinoma"},
    {"microaneurysm", "hard_exudate", "diabetic_retinopathy", "glaucoma", "cataract", "retinal_detachment"},
)
"""Diseases that are not told apart by one label: a patient may well have two of a group."""

_ASSERTED = re.compile(
    r"(?:label(?:l?ed)?(?: as)?|consistent with|compatible with|in keeping with|indicative of|indicating|suggestive of"
    r"|suggests|suggesting|typical of|those of|diagnosis(?: recorded| on file)?(?::| is)|label is"
    r"|given is|shows|there is|corresponds to|impression:|represents?|demonstrates|signs of|point to|with)"
    r"(?: (?:a|an|acute|the))? $",
    re.IGNORECASE,
)


def diseases(page: Page, dice: Dice) -> Iterator[Edit]:
    """Put another disease for one the row is labeled with, where the text asserts it.

    Decided by the labels: the clean disease is one of them, the new one is not, nor has it to do with one of them (no
    word in common, not of one group in `_RELATED`). Only where the text says that it is so, or that the label is so.
    """
    for sentence in page.sentences:
        if not (sentence.now and sentence.positive and sentence.sure):
            continue
        for disease in sorted(page.diseases):
            for found in () if disease in _BROAD else mentions(sentence.text, disease):
                alone = sentence.text.strip(" .;").lower() == found.group().lower()
                if not alone and _ASSERTED.search(sentence.text[: found.start()]) is None:
                    continue
                article = re.search(r"\b[Aa]n? $", sentence.text[: found.start()]) is not None
                word = vocabulary("disease")[_other_disease(page, article, dice)].name
                start = sentence.start + found.start()
                first = not sentence.text[: found.start()].strip() and found.group()[0].isupper()
                word = word[0].upper() + word[1:] if first else word
                yield with_article(page.text, Edit(start, start + len(found.group()), word))


def _other_disease(page: Page, article: bool, dice: Dice) -> str:
    """Return a disease the row is not labeled with: half the time one of the same organ, where there is one."""
    choices = [word for word in (_ONES if article else _STATES) if not _kin(word, page.diseases)]
    near = [word for word in choices if set(vocabulary("disease")[word].organs) & set(page.organs)]
    return dice.choice(near if near and dice.even() else choices)


def _kin(disease: str, labels: set[str]) -> bool:
    """Say whether a disease is one of the labels or has to do with one."""
    words = {word for label in labels for word in label.split("_") if len(word) > 3 and word != "disease"}
    grouped = any(disease in group and group & labels for group in _RELATED)
    broad = set(_BROAD) | {"adenocarcinoma", "metastasis"}
    growth = disease.endswith(("cancer", "oma", "tumor", "cyst", "nevus"))
    return disease in labels or grouped or bool(words & set(disease.split("_"))) or bool(broad & words and growth)
