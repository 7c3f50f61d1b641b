"""Where a text names a modality, a structure or a disease: tokens, and the phrases of the vocabularies among them.

**Why** tokens and a dictionary, and not one large pattern: looking up each word's phrases costs the same however many
phrases there are, and the longest phrase wins by itself ("brain tumor" is no brain).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from medtrinity25m.registry import Term, fold, vocabulary

_TOKEN = re.compile(r"[^\W\d_]+\d*|\d+(?:\.\d+)?|[^\s\w]")
_GLUE = frozenset({*"-'’&/", "the", "a", "an"})
"""Signs and articles within a phrase: they stand between its words and are not read."""

_UNUSABLE = frozenset({
    "pa", "ap", "radius", "radii", "lens", "lenses", "body", "leg", "arm", "calf", "tarsus", "image", "stroma",
    "debris", "mel", "nv", "bcc", "ak", "df", "vasc", "akiec", "bkl", "calc", "mucus", "tissue", "tissues", "t1",
    "blood", "fat", "unspecified", "unspecified structure", "foot", "feet", "hand", "hands", "face", "head", "neck",
    "shoulder", "pathology", "tongues", "fingers", "nose", "nasal",
})  # fmt: skip
"""Spellings that are codes of a data set, or everyday words more often than anatomy; `GUARDED` lets some in again."""

GUARDED = frozenset(
    {"head", "neck", "face", "hand", "hands", "foot", "feet", "shoulder", "nose", "nasal", "leg", "arm"}
)
"""Anatomy only where no `of` follows and nothing anatomical stands before it: femoral head, neck of the gallbladder."""

_HAND_SIDES = frozenset({"side", "part", "half", "edge", "corner", "portion", "third", "border", "region", "area"})
"""`the right-hand part` is no hand."""

_BRITISH = (
    ("tumor", "tumour"), ("edema", "oedema"), ("hemo", "haemo"), ("hema", "haema"), ("esoph", "oesoph"),
    ("leukemia", "leukaemia"), ("ischemi", "ischaemi"), ("fetal", "foetal"), ("fetus", "foetus"), ("anemia", "anaemia"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A word, number or sign, folded; `start:end` in the text."""

    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Mention:
    """A place where a text names a term. `kind` is modality, organ or disease; `value` its id."""

    kind: str
    value: str
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text."""
    return [Token(m.group().casefold(), m.start(), m.end()) for m in _TOKEN.finditer(text)]


def mentions(text: str, found: list[Token]) -> list[Mention]:
    """Return every place where a text names a term, the longest phrase first, none overlapping."""
    known = _phrases()
    words = [(place, token) for place, token in enumerate(found) if token.word not in _GLUE]
    out: list[Mention] = []
    at = 0
    while at < len(words):
        step = 1
        for phrase, kind, value, exact in known.get(words[at][1].word, ()):
            span = words[at : at + len(phrase)]
            if tuple(token.word for _, token in span) != phrase or (exact and not _loud(text, span[0][1], span[-1][1])):
                continue
            if phrase[0] in GUARDED and len(phrase) == 1 and not _free(text, words, at, out):
                continue
            out.append(Mention(kind, value, span[0][1].start, span[-1][1].end))
            step = len(phrase)
            break
        at += step
    return out


def _loud(text: str, first: Token, last: Token) -> bool:
    """Say whether an abbreviation is written in capitals, as it must be to be one."""
    return sum(letter.isupper() for letter in text[first.start : last.end]) >= 2


def _free(text: str, words: list[tuple[int, Token]], at: int, before: list[Mention]) -> bool:
    """Say whether `head`, `neck` and the like stand for themselves: not `femoral head`, not `neck of the femur`."""
    follows = [token.word for _, token in words[at + 1 : at + 2]]
    touching = bool(before) and at > 0 and before[-1].end == words[at - 1][1].end and before[-1].kind == "organ"
    other = at > 1 and [token.word for _, token in words[at - 2 : at]] in (["the", "other"], ["one", "other"])
    if follows and follows[0] in _HAND_SIDES and words[at][1].word == "hand":
        return False
    of = re.match(r"\s+of\s+(?!an?\s)", text[words[at][1].end :], re.IGNORECASE) is not None
    return not of and not touching and not other


@cache
def _phrases() -> dict[str, tuple[tuple[tuple[str, ...], str, str, bool], ...]]:
    """Return the phrases by their first word, the longest first; `True` where only capitals count."""
    table: dict[tuple[str, ...], tuple[str, str, bool]] = {}
    for kind, value, word, exact in _spellings():
        phrase = tuple(token.word for token in tokens(word) if token.word not in _GLUE)
        table.setdefault(phrase, (kind, value, exact))
    by_first: dict[str, list[tuple[tuple[str, ...], str, str, bool]]] = {}
    for phrase, (kind, value, exact) in table.items():
        by_first.setdefault(phrase[0], []).append((phrase, kind, value, exact))
    return {first: tuple(sorted(group, key=lambda item: (-len(item[0]), item[0]))) for first, group in by_first.items()}


def _spellings() -> Iterator[tuple[str, str, str, bool]]:
    """Yield (kind, id, spelling, only in capitals), the vocabularies' own before the others."""
    extra = tomllib.loads((files(__package__) / "words.toml").read_text(encoding="utf-8"))
    for kind, name in (("modality", "modality"), ("organ", "anatomy"), ("disease", "disease")):
        for term in vocabulary(name).terms.values():
            for word in _words(term):
                yield from _inflected(kind, term.id, word)
        for word, value in extra[kind].items():
            yield from _inflected(kind, value, word)
    for word in sorted(GUARDED):
        yield "organ", vocabulary("anatomy").find(word) or word, word, False


def _words(term: Term) -> Iterator[str]:
    """Yield the spellings of a term that a text may use."""
    for word in (term.name, *term.synonyms, *(() if term.plural is None else (term.plural,))):
        if fold(word) not in _UNUSABLE:
            yield word


def _inflected(kind: str, value: str, word: str) -> Iterator[tuple[str, str, str, bool]]:
    """Yield a spelling, its plural and its British form."""
    exact = (word.isupper() and len(word) <= 5) or word in ("US",)
    plain = word if exact else word.casefold()
    yield kind, value, plain, exact
    if not exact and fold(plain) not in _UNUSABLE:
        for form in (plain, _plural(plain)):
            if form in _UNUSABLE:
                continue
            yield kind, value, form, False
            for ours, theirs in _BRITISH:
                if ours in form and theirs not in form:
                    yield kind, value, form.replace(ours, theirs), False


def _plural(word: str) -> str:
    """Return the regular plural of a noun phrase; an adjective's is no word and is never met."""
    if word.endswith("sis"):
        return word[:-2] + "es"
    if word.endswith(("s", "x", "sh", "ch")):
        return word + "es"
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"
