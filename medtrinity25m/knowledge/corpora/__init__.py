"""Corpora: files of medical text as people can get them, read into passages one by one.

========== ============================================================ ==========================
format     files                                                        license unless stated
========== ============================================================ ==========================
pubmed     NLM's PubMed baseline, `.xml.gz` or `.xml`                    `LicenseRef-NLM-PubMed`
nxml       StatPearls and other books of NCBI, `.tar.gz`, `.nxml`        what the document states
textbook   `.txt`, `.md`                                                must be given
medrag     MedRAG's chunks, `.jsonl`                                    `LicenseRef-unstated`
========== ============================================================ ==========================

A reader yields passages and refusals in the file's order and holds one record, or one document, at a time. A record
that cannot be used costs a line; a file that cannot be used raises, and nothing of it must be kept.

The layouts are those of NLM's and NCBI's documentation and of MedRAG's scripts. The readers were tried on files written
to them, not on the downloads themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.corpora import medrag, nxml, pubmed, textbook
from medtrinity25m.knowledge.corpora.passage import Read
from medtrinity25m.knowledge.corpora.stream import head

SUFFIXES = (".xml", ".nxml", ".tar", ".tgz", ".txt", ".md", ".markdown", ".jsonl")
"""Of files that are read when a folder is given, each also with `.gz` behind it."""

PROLOG = 16 << 10  # bytes searched for the root element; hostile comments cost time with their square

_ROOT = re.compile(rb"<([A-Za-z][\w.:-]*)[\s/>]")
_SKIPPED = re.compile(rb"<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>", re.DOTALL)
_PIECE = re.compile(r"_\d+$")


class Reader(Protocol):
    """Reads one file; see the modules for what the arguments mean."""

    def __call__(
        self,
        path: Path,
        *,
        corpus: str,
        license: str | None = None,  # noqa: A002  # SPDX's word
        name: str | None = None,
        cache: Path | None = None,
    ) -> Iterator[Read]:
        """Yield passages and refusals."""


FORMATS: Mapping[str, Reader] = {
    "pubmed": pubmed.read, "nxml": nxml.read, "textbook": textbook.read, "medrag": medrag.read,
}  # fmt: skip


def detect(path: Path) -> str:
    """Return the format that the first bytes of a file show.

    Raises:
        ConfigError: they show none.
    """
    data = head(path)
    found = _format(data, path.name.casefold().removesuffix(".gz"))
    if found is None:
        known = "PubMed XML, NXML (or a .tar.gz of it), .txt, .md or MedRAG .jsonl"
        raise ConfigError(f"{path}: neither of {known} by its content; say what it is with --format")
    return found


def default_corpus(found: str, path: Path) -> str:
    """Return the name of the corpus that a file belongs to if nobody says."""
    if found != "nxml":
        return found
    named = "statpearls" in path.name.casefold() or b"statpearls" in head(path).lower()
    return "statpearls" if named else "bookshelf"


def is_candidate(path: Path) -> bool:
    """Say whether a file in a folder is to be read, by its name."""
    return path.name.casefold().removesuffix(".gz").endswith(SUFFIXES)


def document(locator: str) -> str:
    """Return which document a passage or refusal is of, by its locator."""
    file, _, record = locator.rpartition("#")
    if record.startswith("PMID="):
        return locator
    if record.startswith("id="):  # MedRAG numbers the chunks of a document
        return f"{file}#{record}" if record.startswith("id=PMID:") else f"{file}#{_PIECE.sub('', record)}"
    return file or locator


def _format(data: bytes, name: str) -> str | None:
    if data[257:262] == b"ustar":
        return "nxml"
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        return _by_root(start)
    if start.startswith(b"{"):
        return "medrag" if _is_medrag(start.partition(b"\n")[0]) else None
    if name.endswith((".txt", *textbook.MARKDOWN)) and start and b"\0" not in data:
        return "textbook"
    return None


def _by_root(start: bytes) -> str | None:
    root = _ROOT.search(_SKIPPED.sub(b"", start[:PROLOG]))
    tag = root[1].rpartition(b":")[2].decode() if root else ""
    return "pubmed" if tag in pubmed.ROOTS else "nxml" if tag in nxml.ROOTS else None


def _is_medrag(line: bytes) -> bool:
    try:
        chunk = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(chunk, dict) and ("content" in chunk or "contents" in chunk)
