"""Sentences and clauses of a text, by their places in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_STOP = re.compile(r"(?:[.!?]+[\"'”’)\]]*(?=\s|$)|\n+)")
_SHORT = re.compile(
    r"(?:\b(?:figs?|approx|e\.g|i\.e|vs|dr|cf|al|ca|resp|st|max|min|incl|avg|no|nos|diam|mag|prof|mr|mrs|ref|sec|ser)"
    r"|(?:^|\s)[A-Z])$",
    re.IGNORECASE,
)
"""What a period may follow without ending a sentence; `no.` only before a number."""

_CLAUSE = re.compile(
    r";|:(?=\s)|\s[–—]\s|\s-\s"
    r"|,?\s+(?:but|however|although|though|whereas|while|yet|except|apart\s+from|other\s+than|aside\s+from)\b"
    r"|,\s+(?=(?:and\s+)?(?:there\s+(?:is|are|was|were)\b|(?:it|they)\s|no\s|without\s|with\s+no\s|neither\s))"
    r"|,\s+(?=(?:and\s+)?(?:the|a|an|one|another|both|its|their|this|these|surrounding|adjacent)\s[^,;.]{1,60}?\s"
    r"(?:is|are|was|were|shows?|appears?|lies?|measures?|has|have|remains?|covers?|occupies|occupy"
    r"|demonstrates?|spans?|crosses|holds?)\b)"
    r"|\s+(?=and\s+(?:there\s+(?:is|are)|(?:it|they)\s+(?:is|are|has|have|measures?|shows?|occup|cover|lie)|no\s))"
    r"|\s+(?=and\s+(?:the|a|an|one|another|its|their)\s[^,;.]{1,60}?\s(?:is|are|shows?|appears?|lies?"
    r"|measures?|has|have|remains?|covers?|holds?)\b)",
)


@dataclass(frozen=True, slots=True)
class Span:
    """A part `start:end` of a text."""

    start: int
    end: int

    def holds(self, start: int, end: int) -> bool:
        """Say whether another part lies within this one."""
        return self.start <= start and end <= self.end


def lowered(text: str) -> str:
    """Return a text in small letters, exactly as long: letters that would become two stay as they are."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join(letter.lower() if len(letter.lower()) == 1 else letter for letter in text)


def sentences(text: str) -> list[Span]:
    """Return the sentences of a text, without the blanks around them.

    A period ends one where a blank follows, unless it belongs to a number (`2.3 cm`), an abbreviation (`Fig. 2`) or
    an initial; a line break always does.
    """
    spans: list[Span] = []
    begin = 0
    for stop in _STOP.finditer(text):
        if "\n" not in stop.group() and _abbreviated(text, begin, stop):
            continue
        spans.append(_trimmed(text, begin, stop.end()))
        begin = stop.end()
    spans.append(_trimmed(text, begin, len(text)))
    return [span for span in spans if span.start < span.end]


def _abbreviated(text: str, begin: int, stop: re.Match[str]) -> bool:
    """Say whether a period stands for missing letters."""
    if stop.group()[0] != "." or stop.end() >= len(text):
        return False
    short = _SHORT.search(text, max(begin, stop.start() - 8), stop.start())
    if short is None:
        return False
    word = short.group().strip().casefold()
    follows = text[stop.end() :].lstrip()[:1]
    if word in ("no", "nos", "fig", "figs"):
        return follows.isdigit()
    return not (
        len(word) == 1 and follows.isupper() and text[stop.end() : stop.end() + 4].strip() in ("The", "It", "No")
    )


def _trimmed(text: str, start: int, end: int) -> Span:
    """Return a part of a text without the blanks at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def clauses(text: str, sentence: Span) -> list[Span]:
    """Return the clauses of a sentence: what stands between semicolons, contrasts and new subjects."""
    spans: list[Span] = []
    begin = sentence.start
    for cut in _CLAUSE.finditer(text, sentence.start, sentence.end):
        if cut.start() > begin:
            spans.append(Span(begin, cut.start()))
            begin = cut.start()
    spans.append(Span(begin, sentence.end))
    return spans
