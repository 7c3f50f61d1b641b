"""Looks a knowledge base over: every hash, every passage's id, and whether the order is the parts'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge import parts
from medtrinity25m.knowledge.journal import Entry, Journal
from medtrinity25m.knowledge.parts import Bounds
from medtrinity25m.knowledge.snippet import snippet_id
from medtrinity25m.release.workspace import sha256_file


def faults(journal: Journal, rules: str) -> list[str]:
    """Return what is wrong with a base, a sentence each; `rules` is what terms are made with now."""
    entries = journal.entries().values()
    return [
        *_strays(journal),
        *(fault for entry in entries for fault in _of_entry(entry, journal, rules)),
        *_order(journal),
    ]


def _strays(journal: Journal) -> Iterator[str]:
    known = {path for entry in journal.entries().values() for path in journal.files(entry)}
    for path in journal.present():
        if path not in known:
            yield f"{path} is named by no line of the journal; add its file again"


def _of_entry(entry: Entry, journal: Journal, rules: str) -> Iterator[str]:
    if entry.terms != rules:
        yield f"{entry.corpus}: the terms of {entry.source} were made with other vocabularies; add it again"
    for bounds, path in zip(entry.parts, journal.files(entry), strict=False):
        yield from _of_file(bounds, path, f"add {entry.source} again", entry.corpus)


def _of_file(bounds: Bounds, path: Path, cure: str, corpus: str) -> Iterator[str]:
    if not path.is_file():
        yield f"{path} is missing; {cure}"
        return
    if sha256_file(path) != bounds.sha256:
        yield f"{path} is not what was written (its SHA-256 differs); {cure}"
        return
    last = ""
    try:
        for row in parts.read(path):
            if row.corpus != corpus or row.id != snippet_id(corpus, row.title, row.text):
                yield f"{path}: {row.id} is not the id of its content; {cure}"
            if row.id <= last:
                yield f"{path}: {row.id} is out of order; {cure}"
            last = row.id
    except ConfigError as error:
        yield str(error)


def _order(journal: Journal) -> Iterator[str]:
    for folder in sorted((journal.folder / "order").glob("*/*/")):
        for bounds in parts.ordered(folder) or []:
            yield from _of_file(bounds, folder / bounds.name, f"remove {folder}, it is made anew", folder.parent.name)
