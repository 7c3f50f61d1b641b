"""Where something is said to lie: in the image, or in the patient, which are different statements.

"The left side of the image", "left-center" and "horizontally left" speak of the picture; "the left kidney",
"left-sided" and "the patient's left" of the patient; "on the left" leaves it open. Directions between two things ("to
the left of it") are a third kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from medtrinity25m.quality.extract.counts import told_by_half
from medtrinity25m.quality.extract.said import Said, said
from medtrinity25m.quality.extract.subject import IMAGE, Reading, Subject, is_found

_C = r"cent(?:er|re|ral)(?:ly)?"
_WORD = re.compile(
    rf"(?<![\w])(?P<bin_h>(?P<lr1>left|right)\s*-\s*{_C}|(?P<lr1b>left|right)\s+center(?=\s+(?:part"
    rf"|portion|area|region|horizontally|side|section|zone|of\s+the\s+image))|{_C}\s*-\s*(?P<lr2>left"
    rf"|right)|mid\s*-\s*(?P<lr3>left|right))\b"
    rf"|\b(?P<bin_v>(?P<ul1>upper|lower)\s*-\s*(?:middle|mid)|(?P<ul1b>upper|lower)\s+middle|(?:middle"
    rf"|mid)\s*-\s*(?P<ul2>upper|lower))\b"
    rf"|\b(?P<off>(?:just\s+|slightly\s+)?(?P<lr4>left|right)\s+of\s+(?:the\s+)?(?:image\s+)?(?:{_C}|midline))\b"
    rf"|\b(?P<vc>(?P<ul3>upper|lower)[\s-]+{_C})\b"
    r"|\b(?P<lr>left|right)(?:most|wards?|[\s-]hand(?=\s+(?:side|part|edge|half|corner|border|portion|third)))?\b"
    r"|\b(?P<sided>(?P<lr5>left|right)\s*-\s*sided)\b"
    r"|\b(?P<ul>upper|top|uppermost|lower|bottom|lowermost)\b"
    rf"|\b(?P<mid>{_C}|centered|centred|middle)\b"
    r"|\b(?P<both>bilateral(?:ly)?|both)\b|\b(?P<one>unilateral(?:ly)?)\b",
)
_FILLER = (
    r"(?:[\s,/()-]|\b(?:sides?|parts?|portions?|half|thirds?|quarters?|areas?|regions?|edges?|borders?"
    r"|margins?|corners?|quadrants?|sections?|aspects?|zones?|"
    r"sectors?|hand|and|the|in|at|upper|lower|top|bottom|left|right|middle|center|centre|central|mid"
    r"|horizontally|vertically|horizontal|vertical|"
    r"positions?|levels?|axis|direction|extreme|far|most|area)\b)*"
)
_OF_IMAGE = re.compile(
    rf"{_FILLER}\s*\b(?:of|in|on|within|from)\s+(?:the|this)\s+(?:(?!left|right|upper"
    rf"|lower)[\w-]+\s+){{0,2}}?{IMAGE}\b(?!\s+of\b)"
    rf"|{_FILLER}\b(?:horizontally|vertically)\b|{_FILLER}\s*of\s+(?:the\s+image['’]s|its)\s+(?:width|height)",
)
_IMAGE_BEFORE = re.compile(rf"\b{IMAGE}(?:['’]s)?\s+{_FILLER}$|\b(?:horizontally|vertically)\b{_FILLER}$")
_OF_PATIENT = re.compile(rf"{_FILLER}\s*of\s+(?:the\s+|this\s+)?(?:patient|body|subject)\b")
_PATIENT_BEFORE = re.compile(r"\bpatient['’]?s?['’]?\s+(?:own\s+)?$")
_OF_THING = re.compile(rf"{_FILLER}\s*of\s+(?:the|this|a|an|its|their)\s+")
_AXIS_WIDTH = re.compile(
    r"[^.;]{0,25}?\bof\s+(?:the\s+image['’]s|its)\s+width\b|\s*(?:part\s+|of\s+the\s+image\s+|area\s+)*horizontally"
)
_AXIS_HEIGHT = re.compile(
    r"[^.;]{0,25}?\bof\s+(?:the\s+image['’]s|its)\s+height\b|\s*(?:part\s+|of\s+the\s+image\s+|area\s+)*vertically"
)
_ANATOMY = re.compile(
    r"(?:[\s-]+(?:upper|lower|middle|mid|anterior|posterior|medial|lateral|superior|inferior|main"
    r"|outer|inner|hepatic|pulmonary|renal|frontal|temporal|parietal|"
    r"occipital|basal|apical|distal|proximal|central|perihilar|side\s+of\s+the|cerebral|cerebellar"
    r"|retro\w+|infra\w+|supra\w+|peri\w+|juxta\w+|lung|breast|"
    r"part\s+of\s+the|portion\s+of\s+the|half\s+of\s+the|aspect\s+of\s+the|region\s+of\s+the"
    r"|area\s+of\s+the|hemi\w+)){0,3}[\s-]+"
    r"(?P<noun>lobes?|lobar|lungs?|hemispheres?|hemithora(?:x|ces)|hemi\w+|zones?|fields?|bas(?:e|es"
    r"|al|ilar)|ap(?:ex|ical|ices)|frontal|temporal|parietal|occipital|kidneys?|"
    r"breasts?|eyes?|ears?|knees?|hips?|shoulders?|hands?|wrists?|feet|foot|ankles?|legs?|arms?"
    r"|elbows?|ovar(?:y|ies)|testis|testes|adrenals?|ureters?|orbits?|"
    r"thorax|chest|abdomen|flank|groin|axilla|thigh|femur|tibia|humerus|clavicle|ribs?|brain|cerebr\w+"
    r"|cerebell\w+|hippocamp\w+|"
    r"iliac|inguinal|pleura\w*|costophrenic|hil(?:um|ar)|parotid|maxillary|thyroid|body|patient|neck"
    r"|face|head|pelvis|costal|diaphragm|"
    r"retina\w*|optic|fundus|macula|renal|pulmonary|hepatic|mammary|adnexa\w*|basal|thalam\w+|calf"
    r"|forearm|upper|lower|middle|anterior|posterior|mid)\b",
)
_NO_SIDE_AFTER = re.compile(
    r"[\s-]*(?:angles?|handed|decubitus|(?:anterior|posterior)\s+oblique|oblique|lateral\s+(?:view"
    r"|projection|radiograph|decubitus)|ventric\w+|atri\w+|main\b|coronary|"
    r"circumflex|anterior\s+descending|bundle|heart\s+border|next\b|above\b|below\b|at\b|after\b"
    r"|before\b|now\b|away\b|untreated|behind\b|over\b|alone\b|intact|"
    r"without\b|to\s+right|blank|out\b|in\s+place|in\s+situ)",
)
_NO_SIDE_BEFORE = re.compile(
    r"(?:\bthan\s+the\s+|\bto\s+(?:its|their)\s+|\b(?:has|have|had|been|was|were|being|is|are|from)\s+"
    r"|\bleft[\s-]to[\s-])$"
)
_DIRECTION = re.compile(
    r"(?:(?P<vert>above|below)\s+(?:and\s+)?)?(?:slightly\s+)?(?:lying\s+)?to\s+the\s+(?P<side>left"
    r"|right)\s+of\s+(?P<what>it\b|them\b|(?:the|its|a|an)\s+[^,.;]{2,60})"
    r"|\b(?P<only>above|below)\s+(?P<of>it\b|(?:the)\s+(?:first|second|third|fourth|fifth|largest"
    r"|\w+(?:\s+\w+){0,3}\s+region)[^,.;]{0,40})",
)
_PATIENT_AT_EDGE = re.compile(
    rf"patient['’]?s?['’]?\s+(?P<p1>left|right)(?:[\s-]+(?:hand\s+)?side)?\b[^.;]{{0,40}}?\b(?:at|on|to"
    rf"|in|toward|towards)\s+the\s+(?P<i1>left|right)[\s-]*(?:hand\s+)?(?:edge|side|border|half|part"
    rf"|margin)?\s*"
    rf"(?:of\s+(?:the|this)\s+{IMAGE}|in\s+the\s+{IMAGE})"
    rf"|(?P<i2>left|right)(?:[\s-]hand)?\s+(?:side|edge|half|part|border)\s+of\s+(?:the"
    rf"|this)\s+{IMAGE}\s*,?\s*(?:which\s+|that\s+)?(?:is|shows|corresponds\s+to|belongs\s+to"
    rf"|represents|displays|faces|depicts"
    rf"|contains|equals|matches)\s+(?:the\s+)?"
    rf"(?:patient['’]?s?['’]?\s+(?P<p2>left|right)|(?P<p3>left|right)\s+side\s+of\s+the\s+patient)"
    rf"|{IMAGE}\s+(?P<i3>left|right)\s+(?:is|=|corresponds\s+to)\s+(?:the\s+)?patient['’]?s?['’]?\s+(?P<p4>left|right)"
    r"|\b(?P<convention>radiologic(?:al)?\s+(?:convention|orientation)|neurologic(?:al)?\s+(?:convention|orientation))",
)
_SHARE_IN_HALF = re.compile(
    r"%\s+of\s+(?:its|the)\s+(?:area|pixels)\s+(?:lies?\s+|is\s+)?in\s+the\s+(?:left|right)\s+half"
)
_INSIDE = re.compile(
    r"\b(?:in|within|inside|of|at|on|into|involving|affecting|toward|towards|from|throughout"
    r"|occup\w+)\s+(?:(?:the|a|an|patient['’]?s|upper|lower|anterior|posterior)\s+)*$",
)
_WELL = re.compile(
    r"\s*-?\s*(?:[\w-]+\s+){1,4}(?:(?:is|are|was|were|appears?|remains?|reported\s+as)\s+)*(?:intact"
    r"|normal|clear|unremarkable|spared|preserved|not\s+involved)\b"
)
_HOLDS = re.compile(r"\s*(?:[\w-]+\s+){1,3}(?:contains?|harbou?rs?|bears?|holds?|shows?|has)\s+(?:an?|one|the)\s")
_AND_OTHER = re.compile(r"\s*(?:-\s*)?(?:and|or|to|/)\s*(?:-\s*)?(?:left|right)")
_OTHER_AND = re.compile(r"\b(?:left|right)\s*(?:and|or|/)\s*$")
_AWAY = re.compile(r"\b(?:far|away|distant)\s+from\s+the\s+$|\bas\s+in\s+(?:the\s+)?$")
_SO_FAR = re.compile(rf"\b(?:left|right)\b[\w\s-]{{0,25}}\bof\s+the\s+{IMAGE}\b")
_OPENS = re.compile(r"[\s,;:]*(?:and\s+|but\s+|while\s+|whereas\s+)?(?:the|its|his|her|patient['’]?s)?\s*")
_EYES = re.compile(r"\b(?P<eye>OD|OS)\b|\b(?P<lobe>(?P<side>R|L)(?:UL|LL|ML))\b")
_CROSSES = re.compile(r"\b(?:crosses|crossing|straddles|spans)\s+the\s+(?:image['’]s\s+)?vertical\s+midline")
_ENTIRELY = re.compile(r"\b(?:entirely|completely|wholly|fully|exclusively|only)\s+(?:with)?in\s+the\s+$")


def places(reading: Reading) -> Iterator[Said]:
    """Yield sides, positions and directions."""
    taken = [
        *told_by_half(reading),
        *(m.span() for m in _SHARE_IN_HALF.finditer(reading.text, reading.span.start, reading.span.end)),
    ]
    for item in (*_edges(reading), *_directions(reading), *_abbreviated(reading)):
        taken.append((item.statement.start, item.statement.end))
        yield item
    for match in _WORD.finditer(reading.text, reading.span.start, reading.span.end):
        if not any(start <= match.start() < end for start, end in taken):
            yield from _place(reading, match)


def _edges(reading: Reading) -> Iterator[Said]:
    """Yield which side of the patient is at the left edge of the image."""
    for match in _PATIENT_AT_EDGE.finditer(reading.text, reading.span.start, reading.span.end):
        if match["convention"] is not None:
            side = "right" if match["convention"].casefold().startswith("radio") else "left"
        else:
            patient = next(match[name] for name in ("p1", "p2", "p3", "p4") if match[name] is not None).casefold()
            edge = next(match[name] for name in ("i1", "i2", "i3") if match[name] is not None).casefold()
            side = patient if edge == "left" else _other(patient)
        yield said(
            reading, match.start(), match.end(), "image_left", side, subject=Subject("image"),
            negated=reading.scope.denies(match.start(), match.end()),
        )  # fmt: skip
    for match in _CROSSES.finditer(reading.text, reading.span.start, reading.span.end):
        yield said(
            reading,
            match.start(),
            match.end(),
            "half",
            "both",
            negated=reading.scope.denies(match.start(), match.end()),
        )


def _directions(reading: Reading) -> Iterator[Said]:
    """Yield where one thing lies from another; sides in it are no places."""
    for match in _DIRECTION.finditer(reading.text, reading.span.start, reading.span.end):
        what = (match["what"] or match["of"] or "").casefold()
        if re.match(rf"(?:the|its)\s+(?:vertical\s+)?(?:{IMAGE}|midline|cent(?:er|re))", what):
            continue
        words = [word.casefold() for word in (match["vert"] or match["only"], match["side"]) if word]
        yield said(
            reading, match.start(), match.end(), "direction", " ".join(words),
            others=reading.pair(match.start()), negated=reading.scope.denies(match.start(), match.end()),
        )  # fmt: skip


def _abbreviated(reading: Reading) -> Iterator[Said]:
    """Yield OD and OS (right and left eye), RUL and its like."""
    for match in _EYES.finditer(reading.raw, reading.span.start, reading.span.end):
        if (
            match["eye"] is not None
            and "eye" not in reading.text.casefold()
            and "fundus" not in reading.text.casefold()
        ):
            continue
        side = (
            ("right" if match["eye"] == "OD" else "left")
            if match["eye"]
            else ("right" if match["side"] == "R" else "left")
        )
        if not reading.scope.drops(match.start(), match.end()):
            yield said(reading, match.start(), match.end(), "laterality", side, role="patient")


def _other(side: str) -> str:
    """Return the other side."""
    return "left" if side == "right" else "right"


def _place(reading: Reading, match: re.Match[str]) -> Iterator[Said]:
    """Yield what one word for a place says."""
    text, start, end = reading.text, match.start(), match.end()
    if reading.scope.drops(start, end) or reading.scope.aside(start, end):
        return
    before = text[max(reading.span.start, start - 60) : start]
    after = text[end : min(reading.span.end, end + 90)]
    negated = reading.scope.denies(start, end)
    side = next(
        (match[name].casefold() for name in ("lr1", "lr1b", "lr2", "lr3", "lr4", "lr5", "lr") if match[name]), None
    )
    level = next((match[name].casefold() for name in ("ul1", "ul1b", "ul2", "ul3", "ul") if match[name]), None)
    level = {"top": "upper", "uppermost": "upper", "bottom": "lower", "lowermost": "lower"}.get(level or "", level)
    if match["bin_h"]:
        yield said(reading, start, end, "position_horizontal", f"{side}-center", role="place", negated=negated)
    elif match["bin_v"]:
        yield said(reading, start, end, "position_vertical", f"{level}-middle", role="place", negated=negated)
    elif match["off"]:
        yield said(reading, start, end, "position_horizontal", side or "", role="off", negated=negated)
    elif match["both"] or match["one"]:
        yield from _both(reading, match, after)
    elif side is not None:
        yield from _side(reading, match, side, before, after, negated=negated)
    elif level is not None:
        if _in_image(before, after, upright=True):
            yield said(reading, start, end, "position_vertical", level, role="side", negated=negated)
    elif match["mid"]:
        yield from _middle(reading, match, before, after, negated=negated)


def _side(
    reading: Reading, match: re.Match[str], side: str, before: str, after: str, *, negated: bool
) -> Iterator[Said]:
    """Yield what `left` or `right` says, in the frame it is said in."""
    start, end = match.start(), match.end()
    if _no_side(reading, start, before, after):
        return
    if (
        match["lr5"]
        or re.match(r"\s*-?\s*sided\b", after)
        or _PATIENT_BEFORE.search(before)
        or _OF_PATIENT.match(after)
    ):
        yield said(reading, start, end, "laterality", side, role="patient", negated=negated)
    elif _OF_IMAGE.match(after) or _IMAGE_BEFORE.search(before):
        role = "half" if re.match(r"\s*half", after) else "side"
        if role == "half" and _ENTIRELY.search(before):
            role = "entirely"
        yield said(reading, start, end, "position_horizontal", side, role=role, negated=negated)
    elif _anatomical(reading, end, after):
        subject = _held(reading, end) or reading.subject(start, end)
        heading = reading.text[reading.clause(start).start] == ":"
        if subject.carried and not heading and not _INSIDE.search(before):  # "the left lung is clear": about the lung
            subject = Subject("organ")
        yield said(reading, start, end, "laterality", side, role="patient", negated=negated, subject=subject)
    elif _in_image(before, after, upright=False) or _SO_FAR.search(reading.text, reading.span.start, start):
        yield said(reading, start, end, "position_horizontal", side, role="side", negated=negated)
    else:
        subject = reading.subject(start, end)
        if subject.carried and _OPENS.fullmatch(reading.text[reading.clause(start).start : start]):
            subject = Subject("organ")  # "The left canal is normal" is about the canal
        finding = subject.kind == "region" and subject.key.partition(":")[0] in ("finding", "label", "disease", "new")
        yield said(reading, start, end, "laterality", side, role="found" if finding else "open", negated=negated)


def _no_side(reading: Reading, start: int, before: str, after: str) -> bool:
    """Say whether `left` or `right` tells nothing of a side: left ventricle, right angle, far from the left."""
    if any(m.start <= start < m.end and m.value in ("cardiac_ventricle", "cardiac_atrium") for m in reading.mentions):
        return True
    if _NO_SIDE_AFTER.match(after) or _NO_SIDE_BEFORE.search(before) or _AND_OTHER.match(after):
        return True
    if _OTHER_AND.search(before) or _AWAY.search(before):
        return True
    part = reading.clause(start)
    found = any(is_found(p.key) and part.holds(p.start, p.end) and not p.denied for p in reading.pointers)
    return _WELL.match(after) is not None and not found  # "Right ribs intact": nothing is there


def _held(reading: Reading, end: int) -> Subject | None:
    """Return what a structure holds: in `the left kidney contains a mass` the side is the mass's, too."""
    part = reading.clause(end)
    holds = _HOLDS.match(reading.text, end, part.end)
    if holds is None:
        return None
    inside = (p for p in reading.pointers if p.start >= holds.end() and p.end <= part.end and not p.denied)
    found = next((p for p in inside if p.key != "image"), None)
    return None if found is None else Subject("region", found.key)


def _anatomical(reading: Reading, end: int, after: str) -> bool:
    """Say whether a side belongs to a part of the body: `left lower lobe`, `right side of the liver`."""
    if _ANATOMY.match(after):
        return True
    near = next((m for m in reading.mentions if m.start >= end), None)
    if near is None or near.kind == "modality":
        return False
    between = reading.text[end : near.start]
    if near.kind == "disease":  # right pleural effusion, left renal mass
        return re.fullmatch(r"[\s-]+(?:[\w-]+\s+){0,2}", between) is not None and not re.search(
            r"\b(?:part|side|area|portion)\b", between
        )
    return re.fullmatch(r"[\s-]+(?:[\w-]+[\s-]+){0,2}", between) is not None or _OF_THING.fullmatch(between) is not None


_LOCATED = re.compile(
    r"\b(?:locat\w+|lies|lie|lying|situated|positioned|cent(?:er|re)d|placed|seen|visible|found"
    r"|appears?|extends?|occup\w+|sits?|present|noted|identified|"
    r"in|at|on|toward|towards|within|near|along)\b[^.;:]{0,40}$",
)
_PART = re.compile(
    r"\s*(?:[\s,-]|\b(?:and|upper|lower|middle|mid|left|right|center|centre|central|part|portion|area"
    r"|region|corner|quadrant|third|half|side|section|zone|edge|border|"
    r"aspect|horizontally|vertically)\b)*(?:$|[.,;)]|\b(?:and|with|which|where|it|covers?|covering"
    r"|occup\w+|measures?|measuring|of\s+(?:the|this)|is|there)\b)",
)


def _in_image(before: str, after: str, *, upright: bool) -> bool:
    """Say whether a place without further word is one of the image: `located in the upper left part, …`."""
    if _OF_IMAGE.match(after) or _IMAGE_BEFORE.search(before):
        return True
    if not _LOCATED.search(before) or not _PART.match(after):
        return False
    thing = _OF_THING.match(after)
    if thing is not None:
        return False
    named = re.match(
        r"[\s,-]*(?:upper|lower|middle|mid|left|right|center|centre|central|part|portion|area|region"
        r"|corner|quadrant|third|half|section|zone|edge|border)\b",
        after,
    )
    vertical = re.search(r"\b(?:upper|lower|top|bottom|middle|cent(?:er|re|ral))[\s,-]*(?:and\s+)?(?:the\s+)?$", before)
    return upright or named is not None or vertical is not None


def _both(reading: Reading, match: re.Match[str], after: str) -> Iterator[Said]:
    """Yield `bilateral`, `both lungs` and `unilateral`, when they are said of something found."""
    value = "one" if match["one"] else "both"
    if (
        match["both"]
        and match["both"].casefold() == "both"
        and not _ANATOMY.match(after)
        and not re.match(r"\s+sides\b", after)
    ):
        return
    subject = reading.subject(match.start(), match.end())
    if subject.kind == "region" and not subject.carried and not reading.scope.denies(match.start(), match.end()):
        yield said(reading, match.start(), match.end(), "laterality", value, role="patient", subject=subject)


def _middle(reading: Reading, match: re.Match[str], before: str, after: str, *, negated: bool) -> Iterator[Said]:
    """Yield what `center` or `middle` says: across, down, or both."""
    start, end = match.start(), match.end()
    word = match["mid"].casefold()
    if word.startswith(("centered", "centred")):
        return
    across, down = _AXIS_WIDTH.match(after), _AXIS_HEIGHT.match(after)
    if across is not None and (down is None or across.end() <= down.end()):
        yield said(reading, start, end, "position_horizontal", "center", role="place", negated=negated)
    elif down is not None:
        yield said(reading, start, end, "position_vertical", "middle", role="place", negated=negated)
    elif _OF_IMAGE.match(after) or (word == "centrally" and _LOCATED.search(before)):
        beside = before[-18:] + after[:18]
        if not re.search(r"\b(?:left|right)\b", beside):
            yield said(reading, start, end, "position_horizontal", "center", role="side", negated=negated)
        if not re.search(r"\b(?:upper|lower|top|bottom)\b", beside) and word != "centrally":
            yield said(reading, start, end, "position_vertical", "middle", role="side", negated=negated)
