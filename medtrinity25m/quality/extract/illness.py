"""Diseases and findings that a text names: asserted, concluded, doubted, denied, told as background; or nothing wrong.

A denial counts as one of the thing itself (`plain`), of one of a kind (`qualified`: no suspicious nodule), or of one on
a side (`sided:left`; in the image `placed:upper:left`); `others` are the structures it is limited to (no lesion of the
chest wall).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from medtrinity25m.quality.extract.said import Said, said
from medtrinity25m.quality.extract.subject import CALLED, IMAGE, Reading
from medtrinity25m.quality.extract.words import Mention
from medtrinity25m.quality.verdict.kinship import is_general

_CUE = re.compile(r"\b(?:no|without|not|absence|free|lacks?|neither|nor|negative|n['’]t)\b")
_PARTIAL = re.compile(r"\s+(?:effect|margin|border|cells?\b(?!\s+carcin)|-like|like)")
_ANOTHER = re.compile(r"\b(?:contralateral|other|remaining|second|third|fourth|fifth|new|further)\b")
_OF_A_KIND = re.compile(
    r"\b(?:contralateral|second|third|fourth|fifth|suspicious|malignant|metastatic|aggressive|solid|cystic|large|small"
    r"|calcified|enhancing|new|worrisome|concerning|lobular|ductal|squamous|papillary|mucinous"
    r"|medullary|serous|follicular"
    r"|anaplastic|sarcomatoid|neuroendocrine|primary|secondary|residual|recurrent|infectious|displaced"
    r"|further|satellite|distant)\b",
)
_BEHIND = re.compile(r"\s*(?:(?:is|are)\s+\w+\s+)?(?:in|on|of|within|at)\s+(?:the\s+)?(?:[\w-]+\s+){0,3}?[\w-]+")
_IN_WHAT = re.compile(
    r"\s*(?:(?:is|are)\s+\w+\s+)?(?:in|of|within|on|involving|at)\s+(?:[\w-]+\s+){0,4}"
    r"(?:(?:and|or|nor)\s+(?:the\s+)?)?",
)
_IN_THAT = re.compile(r"\s*(?:is\s+\w+\s+)?(?:in|of|within|on)\s+(?:[\w-]+\s+){0,3}")
_IMAGE_PLACE = re.compile(
    rf"\s*(?:(?:is|are)\s+\w+\s+)?(?:in|at|on)\s+the\s+(?P<level>upper|lower)?[\s-]*(?P<side>left|right)?[\s-]*"
    rf"(?:center|central|middle)?\s*(?:part|area|portion|region|corner|half|side|quadrant"
    rf"|third)?\s*of\s+the\s+{IMAGE}\b"
)
_FOCAL_NOUNS = ("mass", "tumor", "lesion")
_NORMAL = re.compile(
    rf"\b(?:{IMAGE}|study|examination|exam|ct|mri|x-?ray|fundus|scan|film|retina|appearance"
    rf"|findings)\b(?:\s+(?:of\s+the\s+[\w\s]{{2,20}}?\s+)?)(?:is|are|appears?|looks?)\s+(?:entirely\s+"
    rf"|completely\s+|otherwise\s+|within\s+|essentially\s+|grossly\s+)*"
    r"(?P<a>normal|unremarkable|healthy|normal\s+limits)\b(?=\s*(?:$|[.,;]|and|with|study|examination))"
    rf"|(?:(?<=\n)|(?<=[.:]\s)|\A|\b(?:an?|this|entirely|completely"
    rf"|essentially)\s+)(?P<b>(?:completely\s+|entirely\s+)?(?:normal"
    rf"|healthy|unremarkable))\s+(?:(?!size|caliber|contour|shape"
    rf"|position)[\w-]+\s+){{0,4}}?(?:{IMAGE}s?|study|examination|exam|ct|mri|fundus|retina|tissue"
    rf"|mucosa|subject|patient|eye|chest|brain|lungs?|liver|breast|appearance|findings)\b"
    r"|\b(?P<c>(?:no|without(?:\s+any)?|free\s+of(?:\s+any)?|absence\s+of(?:\s+any)?"
    r"|not\s+show(?:\s+any)?|nor\s+any)\s+(?:(?:evidence|sign|signs|indication"
    r"|features?)\s+of\s+)?(?:any\s+)?(?:(?:other\s+than\s+this\s+)?(?:acute|visible|obvious|focal"
    r"|evident|significant|apparent|definite|gross|discernible|"
    r"radiographic|cardiopulmonary|pulmonary|intracranial|structural|pathological|pathologic"
    r"|cardiothoracic|detectable|clear|abnormal|underlying|labell?ed)\s+)*(?:abnormalit(?:y|ies)"
    r"|patholog(?:y|ies)|diseases?|disease\s+process|abnormal\s+findings?|pathological\s+(?:changes?"
    r"|findings?)|findings))\b"
    r"|\b(?P<d>no\s+(?:abnormalit|patholog|disease)\w*)"
    r"|\b(?P<e>labell?ed\s+(?:as\s+)?(?:normal|healthy|no\s+finding|without\s+disease))\b",
)
_PARTLY = re.compile(
    r"\b(?:otherwise|remaining|remainder|elsewhere|rest|left|right|contralateral|other|outside"
    r"|surrounding|adjacent|apart|beyond|opposite|visuali[sz]ed|background|uninvolved|nearby"
    r"|no\s+longer|size|caliber|calibre|contours?|limits\s+of|upper\s+limit)\b",
)
_NORMAL_ORGAN = re.compile(
    r"\s*(?:parenchyma\s+|tissue\s+|fields?\s+)?(?:(?:is|are|appears?|looks?|seems?"
    r"|remains?)\s+)(?:(?:entirely|completely|grossly|otherwise|both|to\s+be"
    r"|perfectly)\s+)*(?P<word>normal|unremarkable|clear|healthy)\b(?=\s*(?:$|[.,;]|and\b))|"
    r"\s*(?P<word2>without\s+(?:any\s+)?(?:focal\s+)?(?:abnormalit\w+|lesions?))\b",
)
_LIMITED = re.compile(
    r"[^.;,]{0,30}?(?:\b(?:larger|greater|smaller|bigger|wider|more|exceed\w+)\b|\b(?:above|over|below"
    r"|under)\s+\d|[<>≥≤])"
    r"|\s*(?:(?:is|are)\s+(?:seen|present|visible|identified|noted)\s+)?(?:in|on|at|within|involving"
    r"|of|elsewhere|outside)\s+(?:in\s+)?(?:the\s+)?(?:remaining|contralateral|other|rest|"
    r"surrounding|adjacent|upper|lower|opposite|here)\b|\s*elsewhere",
)


def illness(reading: Reading) -> Iterator[Said]:
    """Yield what is said of diseases and findings, and that there are none."""
    for mention in reading.mentions:
        if mention.kind == "disease":
            yield from _disease(reading, mention)
        if mention.kind == "organ":
            yield from _healthy(reading, mention)
    yield from _normal(reading)


def _healthy(reading: Reading, mention: Mention) -> Iterator[Said]:
    """Yield that a structure is normal: `the liver is unremarkable`."""
    part = reading.clause(mention.start)
    normal = _NORMAL_ORGAN.match(reading.text, mention.end, part.end)
    if normal is None or reading.scope.denies(mention.start, mention.end):
        return
    if not _PARTLY.search(reading.text, part.start, part.end):
        yield said(
            reading, mention.start, normal.end(), "disease", "none", role=f"organ:{mention.value}",
            stance=reading.scope.stance(mention.start, mention.end),
            negated=reading.scope.denies(normal.start(), normal.end()) and normal["word2"] is None,
        )  # fmt: skip


def _disease(reading: Reading, mention: Mention) -> Iterator[Said]:
    """Yield a disease or finding that is named."""
    start, end = mention.start, mention.end
    if mention.value in _FOCAL_NOUNS and _PARTIAL.match(reading.text, end):
        return  # mass effect, tumor margin
    denied = reading.scope.denies(start, end)
    role = ""
    others: tuple[str, ...] = ()
    if denied:
        role, others = _denial(reading, mention), _where(reading, mention)
    elif CALLED.search(reading.text[max(reading.span.start, start - 60) : start]):
        role = "label"
    stance = reading.scope.stance(start, end)
    yield said(reading, start, end, "disease", mention.value, stance=stance, negated=denied, role=role, others=others)


def _denial(reading: Reading, mention: Mention) -> str:
    """Return what kind of denial it is."""
    placed = _IMAGE_PLACE.match(reading.text, mention.end)
    if placed is not None:
        return f"placed:{placed['level'] or ''}:{placed['side'] or ''}"
    if _LIMITED.match(reading.text, mention.end):
        return "qualified"
    sided = re.search(r"\b(left|right)\b", _phrase(reading, mention))
    if sided is not None:
        return f"sided:{sided[1].casefold()}"
    return "plain" if _plainly(reading, mention) else "qualified"


def _phrase(reading: Reading, mention: Mention) -> str:
    """Return the words that belong to something denied: from the cue before it to the structure it is in."""
    part = reading.clause(mention.start)
    cues = list(_CUE.finditer(reading.text, part.start, mention.start))
    behind = _BEHIND.match(reading.text, mention.end, part.end)
    return reading.text[cues[-1].start() if cues else part.start : mention.end if behind is None else behind.end()]


def _where(reading: Reading, mention: Mention) -> tuple[str, ...]:
    """Return the structures that a denial is limited to: `no liver lesion`, `no lesion of the wall`."""
    part = reading.clause(mention.start)
    found = []
    for organ in reading.mentions:
        if organ.kind != "organ":
            continue
        if not part.holds(organ.start, organ.end):
            heading = reading.text[organ.end : part.start] + reading.text[part.start : part.start + 1]
            limits = organ.end <= part.start and heading.strip() == ":"
        elif organ.start >= mention.end:
            limits = (
                not is_general(organ.value) and _IN_WHAT.fullmatch(reading.text, mention.end, organ.start) is not None
            )
        else:
            limits = mention.start - organ.end <= 1 and reading.scope.denies(organ.start, organ.end)
        if limits:
            found.append(organ.value)
    return tuple(found)


def _plainly(reading: Reading, mention: Mention) -> bool:
    """Say whether a denial is of the thing as such, and not of one that is suspicious, malignant or new."""
    part = reading.clause(mention.start)
    cues = list(_CUE.finditer(reading.text, part.start, mention.start))
    if not cues:
        beside = _OF_A_KIND.search(reading.text, max(part.start, mention.start - 30), mention.start)
        return beside is None and not _ANOTHER.search(reading.text, part.start, mention.start)
    return not _OF_A_KIND.search(reading.text, cues[-1].start(), mention.start)


def _normal(reading: Reading) -> Iterator[Said]:
    """Yield that nothing is wrong with what the image shows."""
    for match in _NORMAL.finditer(reading.text, reading.span.start, reading.span.end):
        part = reading.clause(match.start())
        if _PARTLY.search(reading.text, part.start, part.end):
            continue
        named = _limited_to(reading, match)
        if named == "":
            continue
        stance = reading.scope.stance(match.start(), match.end())
        stance = "background" if stance == "background" else "asserted"
        absent = match["c"] is not None or match["d"] is not None or match["e"] is not None
        negated = not absent and reading.scope.denies(match.start(), match.end())
        yield said(
            reading,
            match.start(),
            match.end(),
            "disease",
            "none",
            stance=stance,
            negated=negated,
            role=f"organ:{named}" if named else "image",
        )


def _limited_to(reading: Reading, match: re.Match[str]) -> str | None:
    """Return what "no abnormality" is limited to: a structure, empty where there are several, None where it is all."""
    absent = match["c"] is not None or match["d"] is not None
    behind = next((m for m in reading.mentions if m.kind == "organ" and m.start >= match.end()), None)
    if absent and behind is not None and _IN_THAT.fullmatch(reading.text, match.end(), behind.start):
        return behind.value
    before = reading.text[reading.span.start : match.start()]
    if absent and re.search(r":[^:]{0,20}$", before):
        named = [m.value for m in reading.mentions if m.kind == "organ" and m.end <= match.start()]
        if named:
            return named[0] if len(named) == 1 else ""
    return None
