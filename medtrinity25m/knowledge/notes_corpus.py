"""Our own notes as passages: what a disease or a modality is and how it looks in images, in a radiologist's words.

The notes are data, `notes/<field>.toml`; `notes/works.toml` holds the works they cite, once each, so that a citation
is checked in one place. A note whose id is a vocabulary id is about that term: title and terms come from the vocabulary
and cannot drift from it. Any other note says its title and terms itself, and is about a modality or an organ.

**Why** a note for every disease, also where HPO has the term: HPO defines (`The presence of a carcinoma of the
breast.`), and a describer needs what the eye sees. **Why** citations go to the locator and not into the text: a passage
is shown to a model, which would repeat them as if it had read the works.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.snippet import Snippet, snippet_id
from medtrinity25m.registry import explain, vocabulary
from medtrinity25m.triplet import Frozen

CORPUS = "medtrinity25m-notes"
LICENSE = "CC-BY-4.0"
WORKS = "works.toml"
KINDS: tuple[Literal["modality", "anatomy", "disease"], ...] = ("modality", "anatomy", "disease")


class Work(Frozen):
    """A work that notes cite. `checked`: whether its reference was compared with a public record."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    reference: str = Field(min_length=20)
    checked: Literal["looked up", "not looked up"]


class Note(Frozen):
    """One note as its file has it.

    Args:
        id: a vocabulary id, or a slug for a note about something else.
        title: what it is about; given by the vocabulary where `id` is a vocabulary id.
        terms: vocabulary ids it is about; likewise.
        cites: keys of `works.toml`.
        checked: against what the text was checked; default the file's.
        text: plain English, American spelling; line ends count as blanks.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    title: str | None = None
    terms: tuple[str, ...] = ()
    cites: tuple[str, ...] = Field(min_length=1)
    checked: str | None = None
    text: str = Field(min_length=1)

    @field_validator("text")
    @classmethod
    def _one_line(cls, text: str) -> str:
        return " ".join(text.split())


class NotesFile(Frozen):
    """One file: the notes of a field of medicine."""

    checked: str
    note: tuple[Note, ...]


class Works(Frozen):
    """`works.toml`."""

    work: tuple[Work, ...]


def note_snippets() -> Iterator[Snippet]:
    """Yield the notes as passages, by file name and then in the order of the file."""
    known = works()
    for name, notes in _fields().items():
        for note in notes:
            yield _snippet(name, note, known)


@cache
def works() -> Mapping[str, Work]:
    """Return the works, by key."""
    found = Works.model_validate(_read(WORKS))
    return {work.id: work for work in found.work}


def notes() -> list[Note]:
    """Return all notes, completed: title, terms and `checked` are set."""
    return [note for in_field in _fields().values() for note in in_field]


@cache
def _fields() -> Mapping[str, tuple[Note, ...]]:
    """Return the completed notes, by file name, sorted."""
    folder = files("medtrinity25m") / "knowledge" / "notes"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml") and entry.name != WORKS)
    found: dict[str, tuple[Note, ...]] = {}
    for name in names:
        try:
            raw = NotesFile.model_validate(_read(name))
        except ValidationError as error:
            raise ConfigError(f"notes/{name}: {explain(error, tuple(Note.model_fields))}") from error
        found[name] = tuple(_complete(note, raw.checked, name) for note in raw.note)
    return found


def _read(name: str) -> dict[str, Any]:
    path = files("medtrinity25m") / "knowledge" / "notes" / name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"notes/{name}: is not TOML: {error}") from error


def _complete(note: Note, checked: str, name: str) -> Note:
    """Return the note with title and terms; a ConfigError says what is missing or unknown."""
    for key in note.cites:
        if key not in works():
            raise ConfigError(f"notes/{name}: {note.id} cites {key!r}, which is not in {WORKS}")
    update: dict[str, Any] = {"checked": note.checked or checked}
    kind = next((kind for kind in KINDS if note.id in vocabulary(kind)), None)
    if kind is not None:
        if note.title is not None or note.terms:
            raise ConfigError(f"notes/{name}: {note.id} is a vocabulary id, so leave out title and terms")
        update |= {"title": vocabulary(kind)[note.id].name, "terms": (note.id,)}
    elif note.title is None or not note.terms:
        raise ConfigError(f"notes/{name}: {note.id} is no vocabulary id, so give it a title and terms")
    for term in note.terms:
        if term not in vocabulary("modality") and term not in vocabulary("anatomy"):
            raise ConfigError(f"notes/{name}: {note.id} names {term!r}, which is no modality and no organ")
    return note.model_copy(update=update)


def _snippet(name: str, note: Note, known: Mapping[str, Work]) -> Snippet:
    title = note.title or note.id
    cited = "; ".join(known[key].reference for key in note.cites)
    return Snippet(
        id=snippet_id(CORPUS, title, note.text),
        title=title,
        text=note.text,
        corpus=CORPUS,
        license=LICENSE,
        locator=f"medtrinity25m/knowledge/notes/{name}#{note.id}; cites: {cited}",
        terms=tuple(sorted(note.terms)),
    )
