"""Numbers in a text: shares of the image, lengths, counts of regions, attenuation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from medtrinity25m.quality.extract.said import Said, said
from medtrinity25m.quality.extract.subject import IMAGE, Reading, Subject

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?)"
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_TO = r"\s*(?:-|–|—|to)\s*"
_ABOUT = re.compile(
    r"(?:\bapproximately|approx\.?|about|around|roughly|circa|ca\.?|nearly|almost|some|close\s+to"
    r"|estimated(?:\s+at)?|near|up\s+to|[~≈])\s*"
    r"(?:an?\s+|the\s+)?$",
)
_MOST = re.compile(
    r"(?:\bless\s+than|under|below|fewer\s+than|smaller\s+than|at\s+most|no\s+more\s+than"
    r"|not\s+more\s+than|\bwithin|[<≤])\s*(?:an?\s+)?$",
)
_LEAST = re.compile(
    r"(?:\bmore\s+than|\bover|\babove|greater\s+than|larger\s+than|at\s+least|exceed(?:ing|s)"
    r"|no\s+less\s+than|[>≥])\s*(?:an?\s+)?$",
)

_PERCENT = re.compile(rf"(?<![\d.,])(?P<low>{_NUMBER})(?:\s*%?{_TO}(?P<high>{_NUMBER}))?\s*(?:%|per\s*cent\b)")
_OF_IMAGE = re.compile(
    rf"\s*of\s+it\b|\s*of\s+(?:the\s+|this\s+|its\s+)?(?:(?:total|entire|whole|overall|full|visible"
    rf"|complete|displayed)\s+)*(?:{IMAGE}(?:['’]s)?\b|area\b|surface\b|pixels\b)",
)
_OF_HALF = re.compile(r"\s*of\s+(?:its|the)\s+(?:area|pixels)\s+(?:lies?\s+|is\s+)?in\s+the\s+(left|right)\s+half")
_COVERS = re.compile(
    r"\b(?:cover\w*|occup\w+|fill\w*|takes?\s+up|taking\s+up|account\w*\s+for|compris\w+|share"
    r"|fraction|area|extent)\b[^.;%]{0,60}$",
)
_FRACTIONS = {"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10}
_TOPS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "": 1}
_FRACTION = re.compile(
    r"\b(?P<top>an?|one|two|three)?[\s-]*(?P<bottom>half|thirds?|quarters?|fourths?|fifths?|sixths?"
    r"|eighths?|tenths?)(?=\s+of\s+the\s)",
)

_UNITS = {
    "mm": "mm", "millimeter": "mm", "millimetre": "mm", "cm": "cm", "centimeter": "cm", "centimetre": "cm",
    "µm": "µm", "μm": "µm", "um": "µm", "micron": "µm", "micrometer": "µm", "micrometre": "µm",
    "px": "px", "pixel": "px", "pix": "px",
}  # fmt: skip
_UNIT = (
    r"(?:millimet(?:er|re)s?|centimet(?:er|re)s?|micromet(?:er|re)s?|microns?|pixels?|pix|mm|cm|µm|μm"
    r"|um|px)\b(?![²³^]|\s*[23]\b)"
)
_LENGTH = re.compile(
    rf"(?<![\d.,/a-za-z])(?P<a>{_NUMBER})(?:{_TO}(?P<to>{_NUMBER})(?=\s*-?\s*{_UNIT}))?\s*-?"
    rf"\s*(?P<ua>{_UNIT})?(?:\s*\((?:width|height|[wh])\))?"
    rf"(?:\s*(?:×|x|✕|\*|by)\s*(?P<b>{_NUMBER})\s*-?\s*(?P<ub>{_UNIT})?(?:\s*\((?:width|height|[wh])\))?)?"
    rf"(?:\s*(?:×|x|✕|\*|by)\s*(?P<c>{_NUMBER})\s*-?\s*(?P<uc>{_UNIT})?)?",
)
_NOT_A_SIZE_BEFORE = re.compile(
    r"\b(?:thickness|spacing|increment|collimation|resolution|scale\s+bar|magnification|(?:at\s+a"
    r"|imaging|penetration|scan(?:ning)?|image)\s+depth|interval|margin|radius|normal"
    r"|limit|cutoff|threshold|every|level)\b"
    r"[^.;]{0,25}$|\b(?:slices?|sections?|cuts)\s+(?:of|every|at)\s+$"
    r"|\b(?:part|portion|component|core|rim|ring|wall|duct|shift)\s+(?:is|of|measures?|measuring)\s+"
    r"(?:about\s+|approximately\s+|around\s+|roughly\s+)?$",
)
_NOT_A_SIZE_AFTER = re.compile(
    r"\s*-?\s*(?:(?:thick\s+)?(?:slices?|sections?|cuts?)|collimation|intervals?|per\s+pixel|pixels?\b"
    r"|(?:in\s+)?depth|resolution|hg\b|margins?\b|above|below|distal|snare|probe|needle|catheter|"
    r"stent|tube|clips?|forceps|objective|gauge|lens|fr\b|"
    r"proximal|superior|inferior|medial|anterior|posterior|apart|isotropic"
    r"|of\s+(?:\w+\s+)?(?:shift|displacement|separation|translation|thickening|subluxation|listhesis|widening))\b",
)
_FROM = re.compile(
    r"\s*(?:away\s+)?from\s+(?!(?:front|back|top|bottom|side|end|edge|head|left|right|anterior"
    r"|cranial)\s+to\b)(?P<what>[^,.;]{0,60})|\s*away\b",
)
_MIDLINE = re.compile(r"\b(?:its|the|image['’]s)\s+(?:vertical\s+)?(?:midline|center\s*line|central\s+axis)")
_WIDTH_AFTER = re.compile(r"\s*(?:in\s+)?(?:width|wide|across|horizontally|in\s+the\s+horizontal|transverse(?:ly)?)\b")
_HEIGHT_AFTER = re.compile(r"\s*(?:in\s+)?(?:height|high|tall|vertically|in\s+the\s+vertical)\b")
_LONG = (
    r"(?:long(?:est)?|largest|greatest|max(?:imum|imal)?(?!\s+(?:depth|thickness))|major"
    r"|widest)[\s-]*(?:axis\s*)?(?:diameter"
    r"|dimension|extent|length|axis|measurement)?"
)
_LONG_AFTER = re.compile(rf"\s*(?:in|at|along)?\s*(?:its|the)?\s*{_LONG}\b|\s*(?:long|in\s+length)\b")
_SHORT_AFTER = re.compile(
    r"\s*(?:in|along)?\s*(?:its|the)?\s*(?:short(?:est)?|smallest|minor|minimum|minimal)[\s-]*(?:axis"
    r"|diameter|dimension)",
)
_WIDTH_BEFORE = re.compile(
    r"\b(?:width|breadth|horizontal\s+extent)\s*(?:of|is|:|=)?\s*(?:about|approximately|around|roughly|~|nearly)?\s*$",
)
_HEIGHT_BEFORE = re.compile(
    r"\b(?:height|vertical\s+extent)\s*(?:of|is|:|=)?\s*(?:about|approximately|around|roughly|~|nearly)?\s*$"
)
_LONG_BEFORE = re.compile(rf"\b{_LONG}\s*(?:of|is|:|=)?\s*(?:about|approximately|around|roughly|~|nearly)?\s*$")
_SHORT_BEFORE = re.compile(
    r"\b(?:short|minor)[\s-]*(?:axis|diameter)\s*(?:of|is|:|=)?\s*(?:about|approximately|around|~)?\s*$"
)
_ORDERED = re.compile(r"\s*\(\s*(?:w(?:idth)?|horizontal)\s*(?:×|x|by)\s*(?:h(?:eight)?|vertical)\s*\)")
_EACH = re.compile(
    r"\b(?:each\s+of\s+them|each)\s*(?:(?:covers?|covering|occupies|occupying|measures?"
    r"|measuring)\s*)?(?:about|approximately|less\s+than|more\s+than)?\s*$",
)
_EXTREME = re.compile(
    r"\b(?P<which>smallest|largest)(?:\s+of\s+them|\s+one)?\s*(?:(?:covers?|covering"
    r"|occup\w+)\s*)?(?:about|approximately|only|less\s+than|more\s+than)?\s*$",
)
_TOGETHER = re.compile(
    r"\b(?:together|combined|in\s+total|in\s+all|collectively|jointly|altogether|total(?:ing)?|overall|in\s+sum)\b"
)
_HOUNSFIELD = re.compile(rf"(?<![\w.])(?P<low>[-−–]?{_NUMBER})\s*(?:hu|hounsfield\s+units?)\b")
_MEAN = re.compile(r"\b(?:mean|average)\b[^.;]{0,40}$")
_WINDOW = re.compile(
    r"\(?\b(?:window\s+)?(?:center|centre|level)\s*(?:of\s+"
    r"|:\s*)?(?P<center>-?\d+(?:\.\d+)?)\s*(?:hu)?\s*(?:,|and"
    r"|/)?\s*(?:a\s+)?(?:window\s+)?width\s*(?:of\s+|:\s*)?(?P<width>\d+(?:\.\d+)?)",
)


def _float(text: str) -> float:
    """Return a number as written: `2.3`, `2,3`, `1,150`."""
    if _THOUSANDS.fullmatch(text):
        return float(text.replace(",", ""))
    return float(text.replace(",", ".").replace("−", "-").replace("–", "-"))


def _slack(text: str) -> float:
    """Return half of the last digit: 0.5 for `2`, 0.05 for `2.3`."""
    behind = re.split(r"\." if _THOUSANDS.fullmatch(text) else r"[.,]", text)[1:]
    decimals = len(behind[0]) if behind else 0
    return 0.5 * 10.0**-decimals


def bound_of(text: str, start: int) -> str:
    """Return whether a number is given as about, at_most, at_least or exactly, by the words before it."""
    before = text[max(0, start - 32) : start]
    for name, pattern in (("at_most", _MOST), ("at_least", _LEAST), ("about", _ABOUT)):
        if pattern.search(before):
            return name
    return "exactly"


def shares(reading: Reading) -> Iterator[Said]:
    """Yield the shares of the image that regions are said to cover, in percent."""
    text = reading.text
    for match in _PERCENT.finditer(text, reading.span.start, reading.span.end):
        if reading.scope.aside(match.start(), match.end()):
            continue
        low, high = match["low"], match["high"]
        numbers = (_float(low),) if high is None else (_float(low), _float(high))
        after = text[match.end() : min(reading.span.end, match.end() + 90)]
        before = text[max(reading.span.start, match.start() - 80) : match.start()]
        half = _OF_HALF.match(after)
        listed_before = re.match(r"\s*,?\s*and\s+\d+(?:\.\d+)?\s*%\s*of\s", after)
        again = _AGAIN.search(text[reading.span.start : match.start()])
        covers = again is not None or (_COVERS.search(before) is not None and not after.lstrip().startswith("of "))
        ranked = _EACH.search(before) or (_EXTREME.search(before) and "area" in reading.words)
        if not (half or _OF_IMAGE.match(after) or listed_before or covers or ranked):
            continue
        attribute, role = _whose_share(before, half)
        part = reading.clause(match.start())
        if attribute == "area_share" and _TOGETHER.search(text, part.start, part.end):
            attribute = "total_share"
        listed = re.match(r"\s*,?\s*(?:and|or|,)\s*\d+(?:\.\d+)?\s*%", after) or re.search(
            r"%\s*,?\s*(?:and|or|,)\s*$", before
        )
        subject = Subject("region", f"each:{match.start()}:0") if listed and attribute == "area_share" else None
        yield said(
            reading, match.start(), match.end(), attribute, f"{numbers[0]:g}", unit="%", numbers=numbers, role=role,
            subject=subject, bound=bound_of(text, match.start()), slack=_slack(low),
            negated=reading.scope.denies(match.start(), match.end()),
        )  # fmt: skip
    yield from _fractions(reading)


_AGAIN = re.compile(
    r"%\s+of\s+(?:the|its|this)\s+(?:image|picture|area|field|frame|total|photograph"
    r"|whole)[^.;%]{0,60}\band\b[^.;%]{0,40}$"
)
"""`the disc occupies 3.4% of the image and the cup 1.6%`."""


def _whose_share(before: str, half: re.Match[str] | None) -> tuple[str, str]:
    """Return attribute and role of a percentage."""
    if half is not None:
        return "left_half_share", half[1].casefold()
    if _EACH.search(before):
        return "each_share", ""
    extreme = _EXTREME.search(before)
    if extreme is not None:
        return ("least_share" if extreme["which"].casefold() == "smallest" else "most_share"), ""
    return "area_share", ""


def _fractions(reading: Reading) -> Iterator[Said]:
    """Yield shares written as a fraction: `about a quarter of the image`."""
    text = reading.text
    for match in _FRACTION.finditer(text, reading.span.start, reading.span.end):
        before = text[max(reading.span.start, match.start() - 60) : match.start()]
        if (
            not _COVERS.search(before)
            or not _OF_IMAGE.match(text, match.end())
            or re.search(r"(?:\b(?:left|right|upper|lower|middle|mid|central|outer|inner)|-)\s*$", before)
            or (match["top"] is None and match["bottom"] != "half")
        ):
            continue
        bottom = match["bottom"].casefold().rstrip("s") if match["bottom"].casefold() != "half" else "half"
        share = 100 * _TOPS[(match["top"] or "").casefold()] / _FRACTIONS[bottom]
        bound = bound_of(text, match.start())
        yield said(
            reading, match.start(), match.end(), "area_share", f"{share:.3g}", unit="%", numbers=(share,),
            bound="about" if bound == "exactly" else bound, slack=0.1 * share,
        )  # fmt: skip


def lengths(reading: Reading) -> Iterator[Said]:
    """Yield widths, heights, diameters and distances, in the unit they are written in."""
    text = reading.text
    for match in _LENGTH.finditer(text, reading.span.start, reading.span.end):
        unit = match["uc"] or match["ub"] or match["ua"]
        if (
            unit is None
            or reading.scope.aside(match.start(), match.end())
            or reading.scope.drops(match.start(), match.end())
        ):
            continue
        before = text[max(reading.span.start, match.start() - 60) : match.start()]
        after = text[match.end() : min(reading.span.end, match.end() + 90)]
        if _NOT_A_SIZE_BEFORE.search(before) or _NOT_A_SIZE_AFTER.match(after):
            continue
        bound = bound_of(text, match.start())
        unnamed = not any(
            p.key != "image" and not p.denied and reading.clause(match.start()).holds(p.start, p.end)
            for p in reading.pointers
        )
        if bound in ("at_most", "at_least") and unnamed:
            continue  # a limit, and nothing measured
        earlier = list(_listed(reading, match, _unit(unit)))
        yield from earlier
        last = _length(reading, match, _unit(unit), before, after)
        alone = Subject("region", f"each:{match.start()}:last")
        yield (
            replace(last, subject=alone, group=alone.key)
            if earlier or _THEN.match(after) or _LISTED.search(before)
            else last
        )


_THEN = re.compile(rf"\s*,?\s*(?:and|or)\s*{_NUMBER}\s*{_UNIT}")
_LISTED = re.compile(rf"{_NUMBER}\s*{_UNIT}\s*,?\s*(?:and|or)\s*$")
_BEFORE = re.compile(rf"(?:(?<![\d.,×x/a-za-z-])(?:{_NUMBER})(?:\s*,\s*(?:and\s+)?|\s+and\s+|\s*/\s*))+$")


def _listed(reading: Reading, match: re.Match[str], unit: str) -> Iterator[Said]:
    """Yield the lengths that share the unit of a last one: `22, 30 and 14 mm`; each is of some region."""
    if match["b"] is not None or match["to"] is not None:
        return
    earlier = _BEFORE.search(reading.text[: match.start()], max(reading.span.start, match.start() - 60))
    if earlier is None:
        return
    for place, number in enumerate(re.finditer(_NUMBER, earlier.group())):
        start = earlier.start() + number.start()
        yield said(
            reading, start, start + len(number.group()), "size", f"{_float(number.group()):g}", unit=unit,
            subject=Subject("region", f"each:{start}:{place}"), numbers=(_float(number.group()),),
            slack=_slack(number.group()),
        )  # fmt: skip


def _length(reading: Reading, match: re.Match[str], unit: str, before: str, after: str) -> Said:
    """Return the statement that a length makes."""
    numbers = tuple(_float(match[name]) for name in ("a", "b", "c") if match[name] is not None)
    slack = max(_slack(match[name]) for name in ("a", "b", "c") if match[name] is not None)
    if match["ua"] is not None and _unit(match["ua"]) != unit:
        numbers = (numbers[0] * _FACTOR[_unit(match["ua"])] / _FACTOR[unit], *numbers[1:])
    if match["to"] is not None and len(numbers) == 1:
        numbers = (numbers[0], _float(match["to"]))
    attribute, role = _dimension(match, numbers, before, after)
    distance = _FROM.match(after)
    subject = None
    if distance is not None and match["b"] is None:
        attribute = "midline_gap" if _MIDLINE.search(distance["what"] or "") else "gap"
    elif _about_image(reading, match.start()) or (unit == "px" and _IMAGE_AFTER.match(after)):
        subject = Subject("image", "size")
    return said(
        reading, match.start(), match.end(), attribute, "×".join(f"{n:g}" for n in numbers), unit=unit, numbers=numbers,
        role=role, subject=subject, bound=bound_of(reading.text, match.start()), slack=slack,
        others=reading.pair(match.start()) if attribute == "gap" else (),
        negated=reading.scope.denies(match.start(), match.end()),
    )  # fmt: skip


_FACTOR = {"mm": 1.0, "cm": 10.0, "µm": 0.001, "px": 1.0}
"""Millimeters (or pixels) of a unit."""


def _unit(word: str) -> str:
    """Return the short name of a unit."""
    word = word.casefold()
    return _UNITS[word] if word in _UNITS else _UNITS[word.rstrip("s")]


def _dimension(match: re.Match[str], numbers: tuple[float, ...], before: str, after: str) -> tuple[str, str]:
    """Return attribute and role of a length: width, height, or size with `longest`, `shortest`, `ordered`, `range`."""
    if match["to"] is not None:
        return "size", "range"
    if len(numbers) > 1:
        return "size", "ordered" if _ORDERED.match(after) else ""
    for attribute, role, behind, ahead in (
        ("width", "", _WIDTH_BEFORE, _WIDTH_AFTER),
        ("height", "", _HEIGHT_BEFORE, _HEIGHT_AFTER),
        ("size", "longest", _LONG_BEFORE, _LONG_AFTER),
        ("size", "shortest", _SHORT_BEFORE, _SHORT_AFTER),
    ):
        if behind.search(before) or ahead.match(after):
            return attribute, role
    return "size", ""


_IMAGE_AFTER = re.compile(
    rf"\s*(?:(?:ct|mr|mri|pet|axial|coronal|sagittal|color|colour|grayscale|fundus|dermoscopic"
    rf"|endoscopic|ultrasound)\s+)*{IMAGE}\b",
)
_ABOUT_IMAGE = re.compile(
    rf"(?<!of\sthe\s)(?<!of\sthis\s)\b(?:{IMAGE}|matrix|dimensions|resolution)\b(?:\s+(?:size"
    rf"|itself))?\s*(?:has|is|measures|spans|of|covers|:|are|with\s+a\s+size\s+of)\s*"
    r"(?:about\s+|approximately\s+|roughly\s+)?(?:a\s+(?:size|resolution|matrix|field\s+of\s+view)\s+of\s+)?$",
)


def _about_image(reading: Reading, start: int) -> bool:
    """Say whether a length is the image's own."""
    return _ABOUT_IMAGE.search(reading.text[max(reading.span.start, start - 70) : start]) is not None


def attenuation(reading: Reading) -> Iterator[Said]:
    """Yield mean attenuation in HU, and the window's center and width."""
    for match in _HOUNSFIELD.finditer(reading.text, reading.span.start, reading.span.end):
        if _MEAN.search(reading.text[max(reading.span.start, match.start() - 60) : match.start()]):
            yield said(
                reading, match.start(), match.end(), "mean_hu", f"{_float(match['low']):g}", unit="HU",
                numbers=(_float(match["low"]),), bound=bound_of(reading.text, match.start()),
            )  # fmt: skip
    for match in _WINDOW.finditer(reading.text, reading.span.start, reading.span.end):
        for name in ("center", "width"):
            yield said(
                reading, match.start(name), match.end(name), f"window_{name}", f"{_float(match[name]):g}",
                subject=Subject("image"), numbers=(_float(match[name]),),
            )  # fmt: skip
