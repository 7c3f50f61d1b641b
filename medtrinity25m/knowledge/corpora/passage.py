"""What the readers of all formats share: clean text, limits, a passage or the reason why there is none.

Text of a corpus is data, whatever it says. What no reader of a page can see is taken out: control characters, byte
order marks, marks that turn the direction of writing, tag characters. A sentence that gives orders stays a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medtrinity25m.errors import one_line
from medtrinity25m.knowledge.snippet import Snippet, snippet_id

MAX_TITLE = 2_000  # characters; article titles have a few hundred at most
MAX_TEXT = 50_000  # characters; an abstract has 2,000, the longest of conference volumes some ten thousands
EMPTY = "knowledge.empty"  # counted, not listed: a third of PubMed's records has no abstract
TOO_LONG = "knowledge.too_long"

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(frozen=True)
class Refusal:
    """One record that is no passage: where it is, a reason code `knowledge.what`, a sentence."""

    locator: str
    code: str
    detail: str


Read = Snippet | Refusal


@dataclass(frozen=True)
class Origin:
    """What the passages of one file have in common."""

    corpus: str
    license: str
    name: str
    """Names the file in locators."""

    def read(self, record: str, title: str, text: str, offset: int = 0) -> Read:
        """Return a passage, its spaces made single, or why it is none.

        Args:
            record: which record of the file: `PMID=123`.
            title: what it is a passage of.
            text: the passage.
            offset: character of the record's text at which it begins.
        """
        locator = f"{self.name}#{record}"
        title, text = flat(title), flat(text)
        if not text:
            return Refusal(locator, EMPTY, "there is no text")
        for what, value, limit in (("title", title, MAX_TITLE), ("text", text, MAX_TEXT)):
            if len(value) > limit:
                return Refusal(locator, TOO_LONG, f"the {what} has {len(value):,} characters; the limit is {limit:,}")
        return Snippet(
            id=snippet_id(self.corpus, title, text),
            title=title,
            text=text,
            corpus=self.corpus,
            license=self.license,
            locator=locator,
            offset=offset,
        )

    def refuse(self, record: str, code: str, detail: str) -> Refusal:
        """Return a refusal of one record, its words made one printable line."""
        return Refusal(f"{self.name}#{record}", code, one_line(detail))


def seen(text: str) -> str:
    """Return text without characters that cannot be seen; line ends made single line feeds."""
    if text.isprintable():  # most is, and asking costs little
        return text
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def flat(text: str) -> str:
    """Return text as one line: what cannot be seen taken out, runs of spaces and line ends made one space."""
    return " ".join(seen(text).split())


def word(text: str, limit: int = 200) -> str:
    """Return an id from outside as a piece of a locator."""
    return one_line(flat(text))[:limit]
