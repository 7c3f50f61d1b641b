"""MedRAG's own chunks, one JSON object a line: `id`, `title`, `content`, sometimes `contents`. Used as they are.

`contents` is title and content joined, made for the embedders; it is read where `content` is missing. The fields and
the files are those of huggingface.co/MedRAG (pubmed, textbooks, statpearls, wikipedia).

The files state no license (MedRAG's textbooks are under copyright, its Wikipedia is CC-BY-SA). Unless one is given, the
chunks are kept as `LicenseRef-unstated`: they can be searched, and a release holds their ids and titles but no text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtrinity25m.knowledge.corpora.passage import TOO_LONG, Origin, Read, word
from medtrinity25m.knowledge.corpora.stream import Stream, opened
from medtrinity25m.knowledge.snippet import UNSTATED

MAX_LINE = 1 << 20  # bytes; a chunk has about 1,000 characters


def read(
    path: Path,
    *,
    corpus: str,
    license: str | None = None,  # noqa: A002  # SPDX's word
    name: str | None = None,
    cache: Path | None = None,
) -> Iterator[Read]:
    """Yield the chunks of a JSONL file, packed or not, and what was refused of it, in the file's order.

    Args:
        path: the file.
        corpus: names the corpus.
        license: of the chunks; `LicenseRef-unstated` unless given.
        name: names the file in locators, its own name if None.
        cache: not used: nothing has to be unpacked.

    Raises:
        RefusedError: the file as a whole cannot be used; passages yielded before must not be kept.
    """
    del cache
    name = name or path.name
    origin = Origin(corpus, license or UNSTATED, name)
    with opened(path, name) as stream:
        for number, line in enumerate(_lines(stream), start=1):
            if line is None:
                yield origin.refuse(f"line={number}", TOO_LONG, f"the line has more than {MAX_LINE:,} bytes")
            elif line.strip():
                yield _chunk(line, number, origin)


def _lines(stream: Stream) -> Iterator[bytes | None]:
    """Yield each line, None for one that is too long; no more than a line is held."""
    while line := stream.line(MAX_LINE + 1):
        if len(line) <= MAX_LINE or line.endswith(b"\n"):
            yield line
            continue
        yield None
        while line and not line.endswith(b"\n"):
            line = stream.line(MAX_LINE)


def _chunk(line: bytes, number: int, origin: Origin) -> Read:
    try:
        chunk: Any = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return origin.refuse(f"line={number}", "knowledge.not_utf8", f"byte {error.start + 1} is no UTF-8")
    except (ValueError, RecursionError) as error:
        return origin.refuse(f"line={number}", "knowledge.not_json", f"{type(error).__name__}: {error}")
    fields = chunk if isinstance(chunk, dict) else {}
    text = fields.get("content", fields.get("contents"))
    title = fields.get("title", "")
    if not (isinstance(text, str) and isinstance(title, str)):
        return origin.refuse(f"line={number}", "knowledge.not_medrag", "the line has no text in `content` and `title`")
    named = fields.get("id")
    return origin.read(f"id={word(named)}" if isinstance(named, str) else f"line={number}", title, text)
