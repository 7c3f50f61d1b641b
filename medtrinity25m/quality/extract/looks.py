"""How a region is said to look: darker or lighter than what is around it, even, sharp, round."""

from __future__ import annotations

import re
from collections.abc import Iterator

from medtrinity25m.quality.extract.said import Said, said
from medtrinity25m.quality.extract.subject import Reading

_LEVEL = r"(?:attenuation|density|signal(?:\s+intensity)?|intensity|echogenicity|brightness|reflectivity|uptake)"
_WORDS = (
    ("intensity", "lower", (
        rf"hypo-?dens\w*|hypo-?attenuat\w+|hypo-?intens\w+|hypo-?echo\w+|hypo-?lucen\w+|an-?echoic"
        rf"|dark(?:er)?|(?:radio)?lucent|low(?:er|ered)?[\s-]+{_LEVEL}|(?:decreased|reduced)\s+{_LEVEL}"
        rf"|hyper-?pigmented"
    )),
    ("intensity", "equal", (
        rf"iso-?dens\w*|iso-?attenuat\w+|iso-?intens\w+|iso-?echo\w+|(?:of\s+)?similar\s+(?:in\s+)?{_LEVEL}"
    )),
    ("intensity", "higher", (
        rf"hyper-?dens\w*|hyper-?attenuat\w+|hyper-?intens\w+|hyper-?echo\w+|bright(?:er)?|lighter"
        rf"|echogenic|radio-?(?:opaque|dense)|(?:high(?:er)?|increased|elevated)[\s-]+{_LEVEL}"
        rf"|hypo-?pigmented|white|pale|paler"
    )),
    ("texture", "homogeneous", r"homogen(?:e)?ous(?:ly)?|uniform(?:ly)?"),
    ("texture", "heterogeneous", r"heterogen(?:e)?ous(?:ly)?|in-?homogen(?:e)?ous(?:ly)?"),
    ("margin", "sharp", (
        r"(?:well|sharply|clearly)[\s-]+(?:defined|circumscribed|demarcated|delineated|marginated)"
        r"|sharp(?=\s+(?:margin|border|edge|outline|contour)s?)"
    )),
    ("margin", "ill-defined", (
        r"(?:ill|poorly)[\s-]+(?:defined|circumscribed|demarcated|delineated|marginated)|(?:indistinct"
        r"|blurred|fuzzy)(?=\s+(?:margin|border|edge|outline|contour)s?)"
    )),
    ("shape", "round", r"round(?:ed)?|circular"),
    ("shape", "oval", r"oval|ovoid|elliptical"),
    ("shape", "irregular", r"irregular(?:ly)?(?=\s+(?:in\s+shape|shape[ds]?))"),
)  # fmt: skip
_PATTERN = re.compile(r"\b(?:" + "|".join(f"(?P<w{i}>{words})" for i, (_, _, words) in enumerate(_WORDS)) + r")\b")
_PREDICATE = re.compile(
    r"\b(?:is|are|appears?|looks?|being|remains?|seems?|demonstrates?|shows?|has|have|with|displays?"
    r"|exhibits?|it)\b[^.;:]{0,60}$",
)
_ENDS = re.compile(
    r"\s*(?:$|[.,;)]|(?:and|or|relative|compared|than|to|in|on|with|at|against|but|appearance|signal"
    r"|density|intensity|attenuation|echotexture|texture|"
    r"margins?|borders?|edges?|outlines?|contours?|shape[ds]?|mass(?:es)?|nodules?|lesions?|regions?"
    r"|areas?|foc(?:us|i)|opacit(?:y|ies)|structure|finding|"
    r"on\s+\w+|throughout)\b)",
)
_PART = re.compile(
    r"\b(?:rim|halo|ring|background|surrounding|core|component|periphery|capsule|septa\w*|foci|spots?"
    r"|streaks?|dots?|vessels?|artifacts?|edges?\s+of\s+the)\b",
)


def looks(reading: Reading) -> Iterator[Said]:
    """Yield brightness, texture, margin and shape, where they are said of a region as a whole."""
    for match in _PATTERN.finditer(reading.text, reading.span.start, reading.span.end):
        start, end = match.span()
        subject = reading.subject(start, end)
        if subject.kind != "region" or reading.scope.drops(start, end) or reading.scope.aside(start, end):
            continue
        denied = reading.scope.denies(start, end)
        if not _of_the_whole(reading, match) or (denied and "anechoic" in match.group().casefold().replace("-", "")):
            continue  # not anechoic: hypoechoic
        place = next(i for i in range(len(_WORDS)) if match[f"w{i}"] is not None)
        attribute, value, _ = _WORDS[place]
        yield said(reading, start, end, attribute, value, negated=reading.scope.denies(start, end))


def _of_the_whole(reading: Reading, match: re.Match[str]) -> bool:
    """Say whether a word describes a region and not its rim, its background or something in it."""
    part = reading.clause(match.start())
    before, after = reading.text[part.start : match.start()], reading.text[match.end() : part.end]
    if _PART.search(after[:40]) or _PART.search(before[-40:]):
        return False
    named = any(0 <= pointer.start - match.end() <= 25 and pointer.key != "image" for pointer in reading.pointers)
    modifies = named and re.match(r"[\s,]*(?:(?:and\s+)?[\w-]+[\s,]+){0,3}", after) is not None
    return modifies or (
        _ENDS.match(after) is not None and (_PREDICATE.search(before) is not None or not before.strip())
    )
