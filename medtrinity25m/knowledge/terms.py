"""What a passage is about: vocabulary ids, found in its title.

Words match whole and longest first ("lung cancer" is one term, not a lung and a cancer), whatever their plural and
spelling (tumours, metastases, oedema, Crohn's). Acronyms match in capitals only. "non-", "no" and "without" before a
term take it away. Where the title says nothing the first sentence of the text is asked, no more of it.

**Why** the title: a passage on pneumonia names effusions, abscesses and cancers further down, and is about none of
them. Why capitals: "PE" is an embolism, "pe" is part of a word in another language; likewise "SCC", "CT", "AMD".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache, lru_cache
from typing import Literal

from medtrinity25m.registry import Term, vocabulary

Kind = Literal["modality", "anatomy", "disease"]
KINDS: tuple[Kind, ...] = ("modality", "anatomy", "disease")
Key = tuple[str, ...]

FIRST_SENTENCE = 400  # characters; a sentence that is longer is a table or a list
SECTION = " -- "  # between a title and the heading of its section, as StatPearls' passages have it
ACRONYM = 6  # letters; longer words in capitals are words in capitals
CODE = 3  # letters; lower-case synonyms of diseases this short are codes of data sets: nv, df, bkl
NEGATIONS = frozenset({"non", "no", "without"})
NOT_A_KIND_OF = frozenset(
    {
        ("pulmonary_hypertension", "hypertension"),  # pressure in other vessels
        ("pyogenic_granuloma", "granuloma"),  # a hemangioma by a wrong name
        ("actinic_keratosis_or_bowen_disease", "bowen_disease"),  # either of two
    }
)
"""Pairs whose names end alike and mean different things."""

GENERAL = frozenset(
    """a an and appearance artifact as at basic characteristic clinical contrast definition diagnosis diagnostic
    disease display disorder evaluation examination feature finding from function gross histological histologic
    image imaging in introduction normal of on or orientation overview pathology pathological pattern photograph
    physiologic physiological physiology radiological radiology scan sequence sign stain structure the uptake view
    visualization window with anatomy""".split()  # noqa: SIM905 - sixty quoted words read worse
)
"""Words, as `_stem` leaves them, that name no subject of their own: `CT orientation and artifacts` is on CT."""

_TOKEN = re.compile(r"[^\W_]+(?:&[^\W_]+)*")
_GENITIVE = re.compile(r"['’]s\b")
_ACRONYMS = re.compile(r"[A-Z]{2,}s")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s")
_SPELLINGS = tuple(
    (re.compile(pattern), american)
    for pattern, american in (
        (r"ae$", "a"),
        (r"ae", "e"),
        (r"oe(?=[a-z]{2})", "e"),
        (r"our", "or"),
        (r"isation", "ization"),
        (r"([tb])re$", r"\1er"),
        (r"grey", "gray"),
    )
)
_PLURALS = tuple(
    (re.compile(pattern), singular)
    for pattern, singular in (
        (r"(?<=..)ies$", "y"),
        (r"(?<=om)ata$", "a"),
        (r"(?<=[a-z]{2}[ty]as)es$", "is"),
        (r"(?<=[a-z]{3}os)es$", "is"),
        (r"(?<=ss|ch|sh)es$", ""),
        (r"(?<=x)es$", ""),
        (r"(?<=[a-z]{2}[^sui])s$", ""),
    )
)


def terms_of(title: str, text: str) -> tuple[str, ...]:
    """Return the ids of the vocabulary terms that a passage is about, sorted.

    Args:
        title: searched for every term.
        text: its first sentence is searched, only where the title holds no term.
    """
    found = set(_found(title))
    if not found:
        found = set(_found(_SENTENCE_END.split(text[:FIRST_SENTENCE], maxsplit=1)[0]))
    return tuple(sorted(found))


def plain_title(title: str) -> bool:
    """Say whether a title names terms of the vocabulary and nothing else: `Normal chest CT`, `Pneumonia -- Evaluation`.

    `Fungus ball of the lung` does not: it is about something that the vocabularies have no word for.
    """
    stems = _stems(title.split(SECTION, maxsplit=1)[0])
    spans = list(_spans(stems))
    covered = {at for start, end, _ in spans for at in range(start, end)}
    return bool(spans) and all(at in covered or stem in GENERAL for at, (stem, _) in enumerate(stems))


def said(*texts: str) -> frozenset[str]:
    """Return the ids of all terms that texts say anywhere, by the same rules: words, longest first, negations."""
    return frozenset(term for text in texts for term in _found(text))


@cache
def kinds() -> dict[str, Kind]:
    """Return the vocabulary each term belongs to, by id."""
    return {term_id: kind for kind in KINDS for term_id in vocabulary(kind).terms}


def of_kind(terms: Collection[str], kind: Kind) -> frozenset[str]:
    """Return the terms that belong to a vocabulary."""
    known = vocabulary(kind)
    return frozenset(term for term in terms if term in known)


@cache
def wider(disease: str) -> frozenset[str]:
    """Return the diseases that a disease is a kind of, as far as the names say: a glioma of low grade is a glioma.

    The vocabulary knows no hierarchy, but English names put the kind last: `pulmonary nodule` is a nodule. Only names
    count, not synonyms, and the places must not exclude each other: emphysema under the skin is not emphysema.
    """
    terms = vocabulary("disease").terms
    own = _key(terms[disease].name)
    return frozenset(
        other.id
        for other in terms.values()
        if other.id != disease
        and (disease, other.id) not in NOT_A_KIND_OF
        and (not other.organs or set(other.organs) & set(terms[disease].organs))
        and _ends_with(own, _key(other.name))
    )


def _ends_with(own: Key, other: Key) -> bool:
    before = len(own) - len(other)
    return before > 0 and own[before:] == other and own[before - 1] not in NEGATIONS


def _found(text: str) -> Iterator[str]:
    """Yield the terms in a text, from left to right, the longest at each place."""
    stems = _stems(text)
    for start, _, term in _spans(stems):
        if start == 0 or stems[start - 1][0] not in NEGATIONS:
            yield term


def _spans(stems: Sequence[tuple[str, str]]) -> Iterator[tuple[int, int, str]]:
    """Yield where terms begin and end in a text and which they are."""
    known, starts = _words()
    at = 0
    while at < len(stems):
        for length in range(min(starts.get(stems[at][0], 0), len(stems) - at), 0, -1):
            word = known.get(tuple(stem for stem, _ in stems[at : at + length]))
            if word is not None and (word[1] is None or stems[at][1] in (word[1], f"{word[1]}s")):
                yield at, at + length, word[0]
                at += length
                break
        else:
            at += 1


def _stems(text: str) -> list[tuple[str, str]]:
    """Return the words of a text, each as it is compared and as it is written."""
    return [(_stem(token), token) for token in _TOKEN.findall(_GENITIVE.sub("", text))]


@cache
def _words() -> tuple[dict[Key, tuple[str, str | None]], dict[str, int]]:
    """Return the known words with (id, their capitals if an acronym), and the longest word each first stem begins."""
    known: dict[Key, tuple[str, str | None]] = {}
    for kind in KINDS:
        for term in vocabulary(kind).terms.values():
            for word in _searched(term, kind):
                acronym = word if word.isupper() and len(word) <= ACRONYM and " " not in word else None
                known.setdefault(_key(word), (term.id, acronym))
    starts: dict[str, int] = {}
    for key in known:
        starts[key[0]] = max(starts.get(key[0], 0), len(key))
    return known, starts


def _searched(term: Term, kind: Kind) -> Iterator[str]:
    """Yield the words that mean a term in running text: its names, less the codes that data sets use for it."""
    yield term.name
    if term.plural is not None:
        yield term.plural
    parts = term.name.casefold().split()
    for word in term.synonyms:
        shortened = len(word) <= CODE + 1 and any(part.startswith(word.casefold()) and part != word for part in parts)
        if word.isupper() or not (shortened or (kind == "disease" and len(word) <= CODE)):
            yield word


def _key(word: str) -> Key:
    return tuple(_stem(token) for token in _TOKEN.findall(_GENITIVE.sub("", word)))


@lru_cache(maxsize=1 << 16)
def _stem(token: str) -> str:
    """Return a token in lower case, American spelling and the singular, near enough to compare."""
    word = (token[:-1] if _ACRONYMS.fullmatch(token) else token).casefold()
    for pattern, american in _SPELLINGS:
        word = pattern.sub(american, word)
    for pattern, singular in _PLURALS:
        word, changed = pattern.subn(singular, word)
        if changed:
            break
    return word
