"""Textbooks as plain text or Markdown, cut into pieces of at most 1000 characters that overlap by at most 200.

That is how MedRAG made its textbook chunks (`chunking`); as there, runs of spaces and line ends become one space, so
MedRAG's chunk of the same text is the same passage. The locator says which characters of the book a passage is:
`Gray.txt#chars=0-998`, half-open, in code points of the text without byte order mark and invisible characters, line
ends as one character.

The title is the file's name without suffix (MedRAG strips any of the letters `t`, `x` and `.` at its ends instead, so
`Text.txt` loses more). Markdown is cut at its `#` headings first and titled `<book> -- <heading>`, which is our rule:
MedRAG reads no Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.knowledge.chunking import spans
from medtrinity25m.knowledge.corpora.passage import Origin, Read, flat, seen
from medtrinity25m.knowledge.corpora.stream import opened

MAX_BOOK = 64 << 20  # bytes; the longest of MedRAG's 18 textbooks is said to have some twenty million characters
MARKDOWN = (".md", ".markdown")
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t#]*$")
_FENCE = re.compile(r"^ {0,3}(```|~~~)")


def read(
    path: Path,
    *,
    corpus: str,
    license: str | None = None,  # noqa: A002  # SPDX's word
    name: str | None = None,
    cache: Path | None = None,
) -> Iterator[Read]:
    """Yield the pieces of a text or Markdown file in UTF-8, packed or not, in order.

    Args:
        path: the file.
        corpus: names the corpus.
        license: of the book; there is no default.
        name: names the file in locators, its own name if None.
        cache: not used: nothing has to be unpacked.

    Raises:
        ConfigError: there is no license.
        RefusedError: the file is no UTF-8, too long or damaged.
    """
    del cache
    name = name or path.name
    if license is None:
        raise ConfigError(f"{name}: a textbook states no license; give it with --license")
    origin = Origin(corpus, license, name)
    with opened(path, name) as stream:
        text = _decoded(stream.all(MAX_BOOK), name)
    plain = name.removesuffix(".gz")
    title = Path(plain).stem
    parts = _sections(text, title) if plain.casefold().endswith(MARKDOWN) else [(title, 0, len(text))]
    for heading, start, end in parts:
        for first, last in spans(text[start:end]):
            record = f"chars={start + first}-{start + last}"
            yield origin.read(record, heading, text[start + first : start + last], start + first)


def _decoded(data: bytes, name: str) -> str:
    try:
        return seen(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        why = f"{name}: byte {error.start + 1:,} is no UTF-8; convert the file"
        raise RefusedError("knowledge.not_utf8", why) from None


def _sections(text: str, book: str) -> Iterator[tuple[str, int, int]]:
    """Yield title, begin and end of what stands between the headings of a Markdown text; fenced code has none."""
    title, start, at, fence = book, 0, 0, ""
    for line in text.splitlines(keepends=True):
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1] else fence or mark[1]
        elif not fence and (heading := _HEADING.match(line.rstrip("\n"))):
            yield title, start, at
            title, start = f"{book} -- {flat(heading[2])}" if flat(heading[2]) else book, at + len(line)
        at += len(line)
    yield title, start, at
