"""Modalities, views and structures that a text names, and what it names them for.

A structure is named as what the image is of (`subject`), as where a finding lies (`place`), as what a region is called
(`label`), or in passing (`mention`): only the first three can be false of an image that merely shows it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from medtrinity25m.quality.extract.said import Said, said
from medtrinity25m.quality.extract.sentences import Span
from medtrinity25m.quality.extract.subject import CALLED, IMAGE, Reading, Subject, is_found
from medtrinity25m.quality.extract.words import Mention

_VIEW_NOUN = (
    rf"(?:\s+|-)(?:(?:non-?contrast|contrast-?enhanced|t[12]\S*|flair|section|cross-sectional"
    rf"|unenhanced|enhanced|chest|brain|abdominal|thoracic|pelvic|head|chest)\s+)*(?:views?|planes?"
    rf"|slices?|sections?|projections?|reconstructions?|reformat\w*|orientation|{IMAGE}s?|mri|mr|ct|pet"
    rf"|x-?ray|mammo\w+|computed|magnetic|cuts?|chest)\b"
)
_VIEWS = (
    ("axial", (
        rf"(?:trans)?axial(?:ly)?(?={_VIEW_NOUN})|transverse(?=\s+(?:plane|slice|section|image|view|ct|mr))"
        rf"|axial(?=\s+(?:and|through|at))"
    )),
    ("coronal", rf"coronal(?={_VIEW_NOUN})"),
    ("sagittal", rf"(?:para)?sagittal(?={_VIEW_NOUN})"),
    ("oblique", r"(?<!lateral )(?<!anterior )(?<!posterior )oblique(?=\s+(?:view|plane|slice|section|projection)s?)"),
    ("mlo", r"medio-?lateral\s+oblique|mlo"),
    ("cc", (
        r"cranio-?caudal(?=\s+(?:view|projection|mammogram|radiograph|image|position))|cc(?=\s+(?:view"
        r"|projection|mammogram))"
    )),
    ("pa", (
        r"postero-?anterior|(?:pa|p\.a\.)(?=\s+(?:and\s+lateral\s+)?(?:view|projection|chest|radiograph"
        r"|film|x-?ray|image))"
    )),
    ("ap", (
        r"antero-?posterior(?=\s+(?:view|projection|chest|radiograph|film|x-?ray|image|portable|supine))"
        r"|(?:ap|a\.p\.)(?=\s+(?:view|projection|chest|radiograph|film|x-?ray|image|portable|supine))"
    )),
    ("lateral", r"lateral(?=\s+(?:view|projection|radiograph|film|chest\s+(?:radiograph|x-?ray|film|view)|x-?ray)s?)"),
    ("frontal", r"frontal(?=\s+(?:view|projection|radiograph|film|chest|image|x-?ray)s?)"),
)  # fmt: skip
_VIEW = re.compile(r"\b(?:" + "|".join(f"(?P<{view}>{words})" for view, words in _VIEWS) + r")")

_SHOWS = (
    r"(?:of|through|from|showing|shows?|depicting|depicts?|displaying|displays?|demonstrating"
    r"|demonstrates?|visuali[sz]ing|visuali[sz]es|covering|captures?|capturing|"
    r"presenting|presents?|illustrat\w+|focus\w*\s+on|obtained\s+from|taken\s+(?:of|from|through)"
    r"|at\s+the\s+level\s+of|reveals?|revealing|includes?|including)"
)
_MODIFIERS = (
    r"(?:(?:the|a|an|both|human|adult|patient['’]?s|left|right|upper|lower|normal|healthy|entire|whole"
    r"|cross[\s-]section(?:\s+of)?|axial|coronal|sagittal|section\s+of|slice\s+of|part\s+of|view\s+of"
    r"|tissue\s+(?:of|from)|surface\s+of|of|my|his|her|anterior|posterior|diseased|single"
    r"|an?\s+area\s+of|region\s+of|sample\s+of|specimen\s+of|wall\s+of|lining\s+of|mucosa\s+of"
    r"|interior\s+of|inside\s+of|patient)\s+)*"
)
_IMAGE_NOUN = (
    rf"(?:{IMAGE}s?|study|examination|exam|ct|mri|mr|pet|sonography|ultrasound|endoscopy|colonoscopy"
    rf"|mammography|radiography|tomography|dermoscopy|dermatoscopy|histology|histopathology|microscopy"
    rf"|section|specimen|biopsy|tissue|smear|cut|imaging|photography|sequence|weighted|scan\w*|view)"
)
_SUBJECT_BEFORE = re.compile(
    rf"\b{_IMAGE_NOUN}\b(?:\s+\([^)]*\))?(?:\s+(?!lesion|region|mass|nodule"
    rf"|tumou?r)[\w-]+){{0,3}}?\s*,?\s*{_SHOWS}\s+{_MODIFIERS}$",
)
_SUBJECT_AFTER = re.compile(
    rf"[\s-]+(?:(?:non-?contrast|contrast-?enhanced|unenhanced|enhanced|axial|coronal|sagittal|frontal"
    rf"|lateral|pa|ap|t[12]\S*|flair|weighted|digital|portable|color|colour|plain|"
    rf"transverse|h&e|stained|histologic\w*)\s+)*(?:{IMAGE}s?|ct|mri|mr|pet|computed|magnetic|positron"
    rf"|ultrasound|sonogra\w+|radiogra\w+|x-?rays?|mammogra\w+|endoscop\w+|histopatholog\w+|"
    r"histolog\w+|microscop\w+|dermoscop\w+|biops(?:y|ies)|specimen|(?:tissue\s+)?sections?|scans?"
    r"|photographs?|angiogra\w+|examination|study|studies|imaging)\b",
)
_COORDINATED = re.compile(
    r"\s*(?:,|and|,\s*and|or|with\s+the|/)\s*(?:the\s+|both\s+)?(?:left\s+|right\s+|upper\s+|lower\s+)?$"
)
_PLACED = re.compile(
    r"\b(?:in|within|inside|of|at|involving|affecting|arising\s+(?:from|in)|occupying|throughout|on"
    r"|from|originating\s+(?:from|in)|infiltrating|invading|into)\s+(?:(?:the|a|an|both|left|right"
    r"|upper|lower|"
    r"middle|mid|anterior|posterior|superior|inferior|medial|lateral|central|peripheral|patient['’]?s"
    r"|side|part|portion|area|region|lobe|segment|half|aspect|pole|third|zone|of|and|"
    r"distal|proximal|surface|wall|base|apex|deep|superficial|dome|tip|body|tail|head|neck|left-center"
    r"|right-center|lower-middle|upper-middle|adjacent)[\s,]+)*$",
)
_NEAR = re.compile(
    r"\b(?:adjacent|near|next|close|abut\w*|compress\w*|beside|behind|anterior|posterior|superior"
    r"|inferior|lateral|medial|caudal|cranial|surround\w*|relative|compared|between|against|beyond"
    r"|toward|towards|"
    r"away|outside|below|above|displac\w+|extend\w*|spread\w*|metasta\w+|distal|contiguous|relation\w*"
    r"|respect|including|spar\w+|beneath|under|over|metast\w+|primary|anterolateral|deep|overlying"
    r"|invad\w+|"
    r"surroundings|opposite|either|each\s+side|both\s+sides|contact|separate|level|shift|pushing"
    r"|encas\w+)\b[^.;]{0,30}$",
)
_HISTO = re.compile(
    r"\b(?:histo\w+|h\s*&\s*e|h&e|ha?ematoxylin|eosin|stain\w*|tissue\s+section|immunohisto\w+"
    r"|biops\w+|whole[\s-]slide)\b",
)
_GUIDED = re.compile(
    r"[\s-]*guided|\s+(?:biops\w+|resection|removal|specimen|treatment)\b|\s+(?:correlation|number"
    r"|follow|criteria|findings\s+(?:are|may))",
)


_OPENS = re.compile(r"[\s,;:]*(?:and\s+|but\s+|while\s+)?(?:the\s+|both\s+|this\s+|an?\s+)?(?:[\w-]+\s+)?")
"""What may stand before a structure that a clause is about."""
_INSIDE = re.compile(r"\b(?:in|within|inside|involving)\s+(?:(?:the|both|left|right|upper|lower|patient['’]?s)\s+)*$")
_PRONOUN = re.compile(r"\s*(?:it|they|this|these)\b")
_PARTS = ("head", "neck", "face")
"""Words that are as often a part of an organ."""


def terms(reading: Reading) -> Iterator[Said]:
    """Yield what is said of modality, view and structures."""
    yield from _views(reading)
    chain: tuple[str, Mention] | None = None
    for mention in reading.mentions:
        if mention.kind == "modality":
            yield from _modality(reading, mention)
        elif mention.kind == "organ":
            role = _role(reading, mention, chain)
            chain = (role, mention)
            yield from _organ(reading, mention, role)


def _views(reading: Reading) -> Iterator[Said]:
    """Yield planes and projections."""
    for match in _VIEW.finditer(reading.text, reading.span.start, reading.span.end):
        start, end = match.span()
        if not reading.scope.aside(start, end) and (
            not reading.scope.denies(start, end) or reading.scope.turns(start, end)
        ):
            yield said(
                reading, match.start(), match.end(), "view", str(match.lastgroup), subject=Subject("image"),
                negated=reading.scope.denies(match.start(), match.end()),
            )  # fmt: skip


def _modality(reading: Reading, mention: Mention) -> Iterator[Said]:
    """Yield what kind of image it is said to be; other images, advice and comparisons are none of it."""
    start, end = mention.start, mention.end
    stance = reading.scope.stance(start, end)
    if stance == "background" or _GUIDED.match(reading.text, end) or _other_image(reading, start):
        return
    if reading.scope.denies(start, end) and not reading.scope.turns(start, end):
        return  # no sonographic Murphy sign
    value = mention.value
    if value == "microscopy" and _HISTO.search(reading.text):
        value = "micro"
    yield said(
        reading, start, end, "modality", value, subject=Subject("image"), stance=stance,
        negated=reading.scope.denies(start, end),
    )  # fmt: skip


def _other_image(reading: Reading, start: int) -> bool:
    """Say whether another examination is meant: `seen on a later CT`, `by biopsy`."""
    before = reading.text[max(reading.span.start, start - 40) : start]
    return (
        re.search(
            r"\b(?:later|subsequent|separate|another|previous|dedicated|additional|companion|corresponding"
            r"|outside|same-day)\s+[\w\s-]{0,15}$",
            before,
        )
        is not None
    )


def _role(reading: Reading, mention: Mention, chain: tuple[str, Mention] | None) -> str:
    """Return what a sentence names a structure for: subject, place, label, inside, topic, mention, or `with …`."""
    part = reading.clause(mention.start)
    before = reading.text[part.start : mention.start]
    if chain is not None and chain[1].end >= part.start:
        if _COORDINATED.fullmatch(reading.text[chain[1].end : mention.start]):
            return f"with {chain[0].removeprefix('with ')}"
        if chain[1].value == "fetus" and mention.start - chain[1].end <= 1:
            return "mention"  # the fetal brain
    if CALLED.search(before):
        return "label"
    near = _NEAR.search(before) is not None
    finding = [p for p in reading.pointers if part.holds(p.start, p.end) and not p.denied and is_found(p.key)]
    if not near and any(0 <= p.start - mention.end <= 1 for p in finding):
        return "place"
    earlier = any(p.end <= mention.start for p in finding)
    if _SUBJECT_AFTER.match(reading.text, mention.end, part.end) or (
        not earlier and _SUBJECT_BEFORE.search(before) and not _told(reading, part, mention)
    ):
        return "subject"
    goes_on = reading.carried.kind == "region" and _PRONOUN.match(before) is not None
    if not near and _PLACED.search(before) and (earlier or goes_on):
        return "place"
    if not near and _INSIDE.search(before):
        return "inside"
    return "topic" if _OPENS.fullmatch(before) else "mention"


def _told(reading: Reading, part: Span, mention: Mention) -> bool:
    """Say whether the clause has named before what the image is of."""
    return any(
        _SUBJECT_BEFORE.search(reading.text[part.start : earlier.start])
        for earlier in reading.mentions
        if earlier.kind == "organ" and part.start <= earlier.start < mention.start
    )


def _organ(reading: Reading, mention: Mention, role: str) -> Iterator[Said]:
    """Yield a structure that is named."""
    start, end = mention.start, mention.end
    stance = reading.scope.stance(start, end)
    denied = reading.scope.denies(start, end)
    if reading.text[start:end] in _PARTS and role not in ("subject", "label"):
        return  # "the tumor occupies the head" is no skull
    if denied and not (role == "subject" and reading.scope.turns(start, end)):
        return
    subject = reading.subject(start, end) if role == "place" else Subject("image")
    yield said(reading, start, end, "organ", mention.value, subject=subject, stance=stance, role=role, negated=denied)
