"""How many regions a text speaks of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from medtrinity25m.quality.extract.figures import bound_of
from medtrinity25m.quality.extract.said import Said, said
from medtrinity25m.quality.extract.subject import IMAGE, Reading, Subject

WORDS = {
    "zero": 0, "no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "dozen": 12, "hundred": 100,
}  # fmt: skip
_NUMBER = re.compile(
    r"(?<![\w.,/-])(?:(?P<single>single|solitary|isolated|only\s+one|just\s+one|sole|lone)"
    r"|(?P<pair>(?:a\s+)?(?:pair|couple)\s+of|both)"
    r"|(?P<many>several|multiple|numerous|many|various|(?:a\s+)?few|innumerable|countless)"
    rf"|(?P<word>{'|'.join(WORDS)})|(?P<digits>\d{{1,5}}))(?![\w.,/×%]|\s*(?:×|x\s*\d|%|mm|cm|µm|px"
    rf"|pixels?|hu|years?|months?|weeks?|days?|by\s+\d))",
)
_REGION_NOUN = re.compile(
    r"\s*(?P<skip>(?:(?!(?:of|in|on|at|is|are|was|were|with|from|to|and|or|the|that|which|has|have"
    r"|half|side|part|unites?|lies?|lie|measures?|covers?|shows?|contains?|holds?|touch\w*|crosses"
    r"|cross|occup\w+)\b)[\w-]+\s+){0,4}?)"
    r"(?P<noun>(?:regions?|areas?|zones?)\s+of\s+interest|rois?\b|regions?\b|lesions?\b|abnormalit(?:y"
    r"|ies)\b|anomal(?:y|ies)\b|findings?\b|foc(?:us|i)\b|"
    r"(?:bounding\s+)?box(?:es)?\b|annotations?\b|areas?\b|structures?\b|instances?\b|spots?\b|growths?\b)",
)
_LABELED = re.compile(r"\s*(?:(?:regions?|areas?)\s+)?(?:are\s+|is\s+)?labell?ed\s+(?:as\s+)?(?:an?\s+)?$")
_ADJECTIVES = re.compile(
    r"(?:\s+|-)?(?:(?!(?:of|in|on|at|is|are|was|were|with|from|to|or|the|that|which|has|have|unites?"
    r"|lies?|lie|measures?|covers?|shows?|contains?|holds?|touch\w*|crosses|occup\w+)\b)[\w-]+(?:,\s*"
    r"|\s+|-)){0,5}$",
)
_HALVES = re.compile(
    rf"\b(?P<number>both|all(?:\s+(?:of\s+them|\w+))?|{'|'.join(WORDS)}|\d+)\s+(?:of\s+(?:them|these"
    rf"|the\s+regions)\s+)?(?:(?!of\b|on\b|in\b)\w+\s+)?(?:lies?|is|are|sits?)\s+"
    r"(?:entirely\s+|located\s+|situated\s+)?(?:in|on)\s+the\s+(?P<half>left|right)\s+(?:half|side)\b",
)
_CROSSING = re.compile(
    rf"\b(?P<number>both|all(?:\s+\w+)?|{'|'.join(WORDS)}|\d+)\s+(?:regions?\s+)?cross(?:es)?\s+(?:its"
    rf"|the)\s+(?:vertical\s+)?midline",
)
_EMPTY = re.compile(
    r"\b(?P<half>left|right)\s+half\s+(?:of\s+the\s+image\s+)?(?:holds|contains|has)\s+no\s+(?:region|lesion|abnormal)",
)
_OF_ALL = re.compile(
    rf"[\s,;]*(?:and\s+)?(?:(?:in\s+)?(?:the|this)\s+(?:\w+\s+)?{IMAGE}\s*,?\s*)?(?:there\s+(?:is|are)"
    rf"|(?:has|have|shows?|contains?|holds?|carries|with|comes\s+with))?\s*",
)
"""What may stand before `no region of interest` when that is said of the whole image."""
_INTO = re.compile(r"\b(?:into|as|in|within|by)\s+(?:just\s+|only\s+)?$")
"""`six lesions united into one region` counts no regions of the row."""
_APART = re.compile(
    r"\b(?:affected|involved|separate|distinct|discrete|annotated|outlined|marked|labell?ed|located"
    r"|segmented)\b"
)
_MARKED = re.compile(
    r"\s*(?:(?:is|are|was|were|has\s+been|have\s+been)\s+)?(?:not\s+)?(?:annotated|outlined|marked"
    r"|labell?ed|located|segmented|boxed|highlighted|delineated)\b|\s*of\s+interest",
)
_EXISTS = re.compile(
    r"\b(?:an?|the\s+only)\s+(?:(?:annotated|marked|single"
    r"|labell?ed)\s+)?(?P<noun>regions?\s+of\s+interest|rois?|regions?(?=\s+(?:is"
    r"|has\s+been)\s+(?:annotated|marked|outlined|located)))\b",
)
_NOT_THINGS = re.compile(
    r"^(?:views?|images?|sections?|slices?|planes?|phases?|weeks?|days?|grades?|types?|stages?"
    r"|segments?|halves|sides|poles?|thirds?|quarters?|points?|times?|"
    r"percent|degrees?|grams?|sequences?|layers?|cases?|patients?|dimensions|axes|of)$",
)


def counts(reading: Reading) -> Iterator[Said]:
    """Yield how many regions, lesions or labeled things there are said to be."""
    text = reading.text
    taken: list[tuple[int, int]] = []
    for item in _by_half(reading):
        taken.append((item.statement.start, item.statement.end))
        yield item
    yield from _existing(reading)
    for match in _NUMBER.finditer(text, reading.span.start, reading.span.end):
        if any(start <= match.start() < end for start, end in taken) or reading.scope.aside(match.start(), match.end()):
            continue
        found = None if _INTO.search(text, max(0, match.start() - 12), match.start()) else _thing(reading, match)
        if found is None:
            continue
        thing, end = found
        number, bound = _value(match, text)
        if number == 0 and (
            thing != "regions" or not _OF_ALL.fullmatch(text[reading.clause(match.start()).start : match.start()])
        ):
            continue
        denied = number != 0 and reading.scope.denies(match.start(), end)
        yield said(
            reading, match.start(), end, "count", str(number), subject=Subject("region", "any", thing), role=thing,
            bound=bound, numbers=(float(number),), negated=denied,
        )  # fmt: skip


def _existing(reading: Reading) -> Iterator[Said]:
    """Yield that there is a region of interest at all."""
    for match in _EXISTS.finditer(reading.text, reading.span.start, reading.span.end):
        start, end = match.span()
        if not reading.scope.denies(start, end) and not reading.scope.aside(start, end):
            yield said(
                reading, start, end, "count", "1", subject=Subject("region", "any", "regions"), role="regions",
                bound="at_least", numbers=(1.0,),
            )  # fmt: skip


def _value(match: re.Match[str], text: str) -> tuple[int, str]:
    """Return the number, and whether it is a bound."""
    if match["single"] is not None:
        return 1, "exactly"
    if match["pair"] is not None:
        return 2, "exactly"
    if match["many"] is not None:
        return 2, "at_least"
    number = WORDS[match["word"].casefold()] if match["word"] is not None else int(match["digits"])
    return number, bound_of(text, match.start())


def _thing(reading: Reading, match: re.Match[str]) -> tuple[str, int] | None:
    """Return what is counted (`regions`, `findings`, a label) and where its name ends; None for anything else."""
    text, limit = reading.text, min(reading.span.end, match.end() + 70)
    noun = _REGION_NOUN.match(text, match.end(), limit)
    named = next(
        (m for m in reading.mentions if m.start >= match.end() and m.end <= limit and m.kind != "modality"), None
    )
    if named is not None and (noun is None or named.start < noun.start("noun")):
        between = text[match.end() : named.start]
        if _LABELED.fullmatch(between):
            return f"label:{named.value}", named.end
        if not _ADJECTIVES.fullmatch(between) or any(_NOT_THINGS.match(word) for word in between.split()):
            return None
        follows = next((m for m in reading.mentions if m.kind != "modality" and 0 <= m.start - named.end <= 1), None)
        if follows is not None:  # two liver metastases, twelve malignant glands
            named = follows
        elif noun is not None and noun.start("noun") - named.end <= 1:
            return "findings", noun.end()
        plural = text[named.start : named.end].casefold().endswith(("s", "i", "ae", "teeth"))
        alone = match["single"] is not None or (match["word"] or match["digits"] or "").casefold() in ("one", "1")
        if not plural and not alone:
            return None
        return f"label:{named.value}", named.end
    if noun is None or any(_NOT_THINGS.match(word) for word in (noun["skip"] or "").split()):
        return None
    word = noun["noun"].casefold()
    if word.startswith(("area", "structure", "instance", "spot")) and "interest" not in word:
        of_label = next((m for m in reading.mentions if m.kind == "disease" and m.start >= noun.end()), None)
        if of_label is not None and re.fullmatch(r"\s+of\s+(?:[\w-]+\s+){0,2}", text[noun.end() : of_label.start]):
            return f"label:{of_label.value}", of_label.end
        skipped, behind = (noun["skip"] or "").casefold(), text[noun.end() : noun.end() + 60]
        told = any(p.key != "image" and not p.denied and p.end <= match.start() for p in reading.pointers)
        loose = told and re.match(r"\s*(?:[,.;]|are\b)", behind) is not None
        if not (loose or _APART.search(skipped) or _MARKED.match(behind)):
            return None
    return (
        "regions" if re.match(r"region|roi|area|box|bounding|annot|zone|structure|instance|spot", word) else "findings"
    ), noun.end()


def told_by_half(reading: Reading) -> list[tuple[int, int]]:
    """Return the parts of a sentence that say how many regions lie in a half: no side there is one region's place."""
    return [
        match.span()
        for pattern in (_HALVES, _CROSSING, _EMPTY)
        for match in pattern.finditer(reading.text, reading.span.start, reading.span.end)
    ]


def _by_half(reading: Reading) -> Iterator[Said]:
    """Yield how many regions lie in a half of the image."""
    text = reading.text
    for pattern in (_HALVES, _CROSSING, _EMPTY):
        for match in pattern.finditer(text, reading.span.start, reading.span.end):
            half = match["half"].casefold() if "half" in match.groupdict() else "both"
            word = match["number"].casefold() if "number" in match.groupdict() else "no"
            number = "all" if word.startswith(("both", "all")) else str(WORDS[word] if word in WORDS else int(word))
            numbers = () if number == "all" else (float(number),)
            every = re.match(r"both|all\s+(?P<n>\w+)", word)
            told = None if every is None else 2 if every["n"] is None else WORDS.get(every["n"])
            if told is not None and word != "all":
                yield said(
                    reading, match.start("number"), match.end("number"), "count", str(told), role="regions",
                    subject=Subject("region", "any", "regions"), numbers=(float(told),),
                )  # fmt: skip
            yield said(
                reading,
                match.start(),
                match.end(),
                f"regions_in:{half}",
                number,
                subject=Subject("region", "any"),
                numbers=numbers,
            )
