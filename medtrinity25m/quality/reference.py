"""What people say about rows: a JSON Lines file with reports, labels or boxes by id.

::

    {"id": "6914…", "rater": "A", "report": "Axial CT of the liver. 2.3 cm hypodense lesion, right lobe."}
    {"id": "7b59…", "rater": "A", "attributes": {"modality": "ct", "organs": ["liver"], "disease": "cyst", "count": 1}}
    {"id": "a3e2…", "rater": "B", "boxes": [[12, 30, 40, 25]]}

`report` is free text. `attributes` are `modality`, `view`, `organs`, `disease` (one or several, `none` for no
disease), `laterality`, `count` (of what is marked: nuclei, and not the region that unites them) and `position`
(`<horizontal>, <vertical>` by the five-bin rule of `roi.geometry`, one or several); words of the vocabularies count,
names and synonyms too. `boxes` are COCO `[x, y, width, height]` in pixels of the shipped image; `[]` says that there
is nothing. What a line does not speak about is not compared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from medtrinity25m.errors import ConfigError, one_line
from medtrinity25m.registry import explain, vocabulary
from medtrinity25m.roi.geometry import HORIZONTAL, VERTICAL
from medtrinity25m.triplet import Frozen, Side, View

MAX_REPORT = 100_000  # characters; a report has thousands
MAX_LINE = 1 << 20


def _term(kind: Literal["modality", "anatomy", "disease"], word: str) -> str:
    known = vocabulary(kind)
    found = word if kind == "disease" and word == "none" else known.find(word)
    if found is None:
        raise ValueError(f"{word!r} is no {kind} of the vocabulary; nearest: {', '.join(known.nearest(word))}")
    return found


def _position(words: str) -> str:
    across, _, down = (part.strip() for part in words.partition(","))
    if across not in HORIZONTAL or down not in VERTICAL:
        choice = f"one of {', '.join(HORIZONTAL)}; then one of {', '.join(VERTICAL)}"
        raise ValueError(f"{words!r} is no position; write 'left, upper-middle': {choice}")
    return f"{across}, {down}"


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Attributes(Frozen):
    """Labels a person gave an image; None where they said nothing."""

    modality: Annotated[str, AfterValidator(lambda word: _term("modality", word))] | None = None
    view: View | None = None
    organs: Annotated[Words, AfterValidator(lambda words: tuple(_term("anatomy", w) for w in words))] | None = None
    disease: Annotated[Words, AfterValidator(lambda words: tuple(_term("disease", w) for w in words))] | None = None
    laterality: Side | None = None
    count: int | None = Field(default=None, ge=0)
    position: Annotated[Words, AfterValidator(lambda words: tuple(map(_position, words)))] | None = None

    def values(self) -> dict[str, frozenset[str]]:
        """Return what was said, each attribute as a set of values."""
        said: dict[str, frozenset[str]] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None:
                said[name] = frozenset(value) if isinstance(value, tuple) else frozenset([str(value)])
        return said


def _box(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, width, height = box
    if x < 0 or y < 0 or width <= 0 or height <= 0:
        raise ValueError(f"box {list(box)} has no area or a negative corner; write [x, y, width, height] in pixels")
    return box


Number = Annotated[float, Field(allow_inf_nan=False)]
Box = Annotated[tuple[Number, Number, Number, Number], AfterValidator(_box)]
"""COCO `[x, y, width, height]` in pixels of the image."""


class Reference(Frozen):
    """One line: what one person says about one row. `where` is its file and line."""

    id: str = Field(min_length=1)
    report: str | None = Field(default=None, max_length=MAX_REPORT)
    attributes: Attributes | None = None
    boxes: tuple[Box, ...] | None = None
    rater: str | None = None
    where: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.report is None and self.attributes is None and self.boxes is None:
            raise ValueError("says nothing; give report, attributes or boxes")
        return self


_KEYS = [*(name for name in Reference.model_fields if name != "where"), *Attributes.model_fields, *get_args(View)]


def read_references(path: Path) -> list[Reference]:
    """Return the lines of a reference file, by id and rater.

    Raises:
        ConfigError: the file cannot be read, holds nothing, or a line is not as above; names file and line.
    """
    found: dict[tuple[str, str | None], Reference] = {}
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE + 1), ""), start=1):
                if line.strip():
                    one = _read_line(line, f"{path}:{number}")
                    key = (one.id, one.rater)
                    if key in found:
                        said = f"id {one.id} and rater {one.rater!r} stand at {found[key].where} already"
                        raise ConfigError(one_line(f"{one.where}: {said}; give each rater a name, or join the lines"))
                    found[key] = one
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}; write one JSON object a line") from error
    if not found:
        raise ConfigError(f"{path} holds no line; write one JSON object with id and report, attributes or boxes a line")
    return [found[key] for key in sorted(found, key=lambda key: (key[0], key[1] or ""))]


def _read_line(line: str, where: str) -> Reference:
    if len(line) > MAX_LINE:
        raise ConfigError(f"{where}: the line is longer than {MAX_LINE:,} characters; write one JSON object a line")
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(one_line(f"{where}: is no JSON ({error}); write one object a line")) from error
    if not isinstance(raw, dict) or "where" in raw:
        raise ConfigError(f'{where}: is no reference; write an object such as {{"id": "…", "report": "…"}}')
    try:
        return Reference(**raw, where=where)
    except (ValidationError, TypeError) as error:
        message = explain(error, _KEYS) if isinstance(error, ValidationError) else str(error)
        raise ConfigError(one_line(f"{where}: {message}")) from error
