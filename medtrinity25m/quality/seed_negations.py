"""Seeds that negate what is so, or state what is said not to be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from medtrinity25m.quality.seed_page import Dice, Edit, Page, Sentence, like, mentions, names
from medtrinity25m.registry import vocabulary

_TYPICAL = re.compile(
    r"\b(consistent with|compatible with|in keeping with|indicative of|suggestive of|typical of)\b", re.I
)
_DONE = re.compile(
    r"\b(is|are)(?= (?:(?:clearly|also) )?(?:seen|present|noted|visible|labell?ed|annotated|marked"
    r"|outlined|identified|drawn|boxed|found|demonstrated)\b)",
    re.IGNORECASE,
)
_THERE = re.compile(
    r"\bThere (is|are) (?:an? single |an? |one |two |three |four |\d+ )?(?=[a-z])(?!no\b|not\b|also\b)", re.IGNORECASE
)
_SHOWS = re.compile(r"\b(shows|displays|demonstrates|contains|harbors|reveals) (?:an? )?(?=[a-z])", re.IGNORECASE)
_THIS_IS = re.compile(r"\b(?:This|The image) (is)(?= an? )", re.IGNORECASE)
_LIES = re.compile(
    r"\bregion(?: of interest)?,? (lies|is (?:located|situated))(?= (?:at|in|entirely)\b)", re.IGNORECASE
)
_NONE_MARKED = re.compile(
    r"\b(no) (region(?: of interest)?)( (?:is|has been)| of interest is)?(?= (?:annotated|marked|located))",
    re.IGNORECASE,
)
_NO_FINDING = re.compile(r"\b(no )(evidence of |focal |visible )?(?=\w)", re.IGNORECASE)


def negations(page: Page, dice: Dice) -> Iterator[Edit]:
    """Negate a true statement, or take the negation out of a true denial.

    Decided: that the picture is of its modality; that regions are marked, where there are; that a disease or finding is
    labeled or seen, where it is a label of the row or of a region; where a region lies; and, the other way round, that
    something is seen on a picture labeled as showing no disease, or that a region is marked where there is none.
    A denial of what a row merely does not mention is not decided and never changed. `dice` is not used.
    """
    del dice
    for sentence in page.sentences:
        if not sentence.now:
            continue
        if sentence.positive and sentence.sure:
            yield from _denied(page, sentence)
        elif sentence.sure:
            yield from _stated(page, sentence)


def _denied(page: Page, sentence: Sentence) -> Iterator[Edit]:
    """Yield the negations of a positive sentence."""
    text = sentence.text
    for found in _TYPICAL.finditer(text):
        if _labeled(page, text[found.end() : found.end() + 60]):
            yield _put(sentence, found.start(1), found.start(1), "not ")
    for found in _DONE.finditer(text):
        clause = text[: found.start()].rpartition(", ")[2] + " " + text[found.end() :].partition(",")[0]
        if _labeled(page, clause) or _regions(page, clause):
            yield _put(sentence, found.end(), found.end(), " not")
    for found in _THERE.finditer(text):
        if _labeled(page, _phrase(text[found.end() :])) or _lesion(page, _phrase(text[found.end() :])):
            yield _put(sentence, found.start(), found.end(), like(found.group(), f"There {found.group(1).lower()} no "))
    for found in _SHOWS.finditer(text):
        phrase = _phrase(text[found.end() :])
        if _labeled(page, phrase) or _lesion(page, phrase):
            yield _put(sentence, found.start(), found.end(), f"{found.group(1)} no ")
    for found in _THIS_IS.finditer(text):
        yield _put(sentence, found.end(1), found.end(1), " not")
    for found in _LIES.finditer(text):
        verb = found.group(1)
        if len(page.regions) == 1 and re.search(r"\b(?:image|picture)\b", text):
            yield _put(
                sentence, found.start(1), found.end(1), "does not lie" if verb == "lies" else "is not" + verb[2:]
            )
    whole = text.strip(" .;")
    if any(found.group() == whole for disease in page.diseases for found in mentions(whole, disease)):
        start = len(text) - len(text.lstrip())
        acronym = whole[:2].isupper() or vocabulary("disease").find(whole) is None
        yield _put(sentence, start, start + 1, f"No {whole[0] if acronym else whole[0].lower()}")


def _stated(page: Page, sentence: Sentence) -> Iterator[Edit]:
    """Yield the sentence without its negation, where the row says that this is false."""
    if not page.regions:
        for found in _NONE_MARKED.finditer(sentence.text):
            yield _put(sentence, found.start(1), found.end(1), like(found.group(1), "a"))
    if page.row.get("disease") != "none" or page.diseases:
        return
    for found in list(_NO_FINDING.finditer(sentence.text))[:1]:
        thing = re.match(r"[\w -]+", sentence.text[found.end() :])
        if thing is None or not any(names(thing.group(), term) for term in vocabulary("disease").terms):
            continue
        if sentence.text[: found.start()].strip() in ("", "There is"):
            plural = re.search(r"(?<!s)(?<!si)(?<!u)s$", thing.group().strip()) is not None
            after = f"There {'are' if plural and not found.group(2) else 'is'} {found.group(2) or ''}"
            start = sentence.text.index(sentence.text.lstrip()[0])
            rest = sentence.text[found.end() :]
            if (
                "," not in rest
                and " or " not in rest
                and " and " not in rest
                and not re.search(r"\b(?:is|are)\b", rest)
            ):
                yield _put(sentence, start, found.end(), after)


def _put(sentence: Sentence, start: int, end: int, after: str) -> Edit:
    """Return an edit at a place of a sentence."""
    return Edit(sentence.start + start, sentence.start + end, after)


def _phrase(text: str) -> str:
    """Return the noun phrase a text begins with: up to a comma, a verb or a place."""
    return re.split(r"[,.;:(]| (?:is|are|that|which|in|on|within|near|of the|with|at|as|and) ", text, maxsplit=1)[0]


def _labeled(page: Page, text: str) -> bool:
    """Say whether a text names a disease of the row, or a label of a region."""
    return any(names(text, disease) for disease in page.diseases)


def _lesion(page: Page, text: str) -> bool:
    """Say whether a text means a marked lesion by a general word that is true of its label."""
    found = re.search(r"\b(lesion|mass|tumou?r|nodule|polyp|metastas[ie]s)(?:e?s)?$", text.strip(), re.IGNORECASE)
    if found is None or len(text.split()) > 3:
        return False
    word = found.group(1).lower().replace("tumour", "tumor")
    labels = [region.label for region in page.regions if region.label in vocabulary("disease")]
    growths = [label for label in labels if label.endswith(("cancer", "oma", "tumor", "mass", "nodule", "metastasis"))]
    return bool(labels) if word == "lesion" else bool(growths) if word == "mass" else any(word in own for own in labels)


def _regions(page: Page, text: str) -> bool:
    """Say whether a text is about regions being marked, where there are some."""
    return bool(page.regions) and re.search(r"\b(?:regions?|box(?:es)?)\b", text, re.IGNORECASE) is not None
