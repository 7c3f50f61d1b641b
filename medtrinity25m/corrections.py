"""Corrections: files in which the author of a source, or a careful reader of it, puts its metadata right.

Wrong metadata poison every text made from them: breast MR images whose collection was entered as "brain" are described
as brains. A correction is a fact beside the source, so it is a file of its own, `corrections/*.yaml` beside the
config::

    source: mama_mia                       # id of the source
    by: A. Author, curator of the collection
    reference: https://example.org/erratum # where that is said, if anywhere
    corrections:
      - files: "images/DUKE_*/**"          # path pattern below the source's root; or ids: [0f3a…] of rows
        organs: {was: [brain], value: [breast]}
      - ids: [77d1c0ffee]
        laterality: {value: left}

`was` guards a correction: it is applied only where the source still says that. A row keeps both values (`corrections`),
the card lists every file with the number of rows it changed.

**Why** while planning and not later: modality and disease decide the shard, the order of rows and the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from medtrinity25m.errors import ConfigError, UnknownTermError
from medtrinity25m.readers.pattern import match_path
from medtrinity25m.readers.record import Record
from medtrinity25m.registry import RESERVED, explain, vocabulary
from medtrinity25m.triplet import Correction, Frozen, View

MAX_FILE_BYTES = 4 << 20  # written by hand
Column = Literal["modality", "view", "laterality", "organs", "diseases"]
COLUMNS: tuple[Column, ...] = get_args(Column)


class Change(Frozen):
    """What a column is, and what it must have been for the correction to apply; a list for `organs` and `diseases`."""

    value: str | tuple[str, ...] | None
    was: str | tuple[str, ...] | None = None

    @property
    def guarded(self) -> bool:
        """Say whether `was` was given, `null` too."""
        return "was" in self.model_fields_set


class Rule(Frozen):
    """Which rows, and what is changed in them."""

    files: str | None = None
    ids: tuple[str, ...] = ()
    modality: Change | None = None
    view: Change | None = None
    laterality: Change | None = None
    organs: Change | None = None
    diseases: Change | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Rule:
        if (self.files is None) == (not self.ids):
            raise ValueError("say which rows: files (a path pattern) or ids (of rows), one of them")
        changes = {column: change for column in COLUMNS if (change := getattr(self, column)) is not None}
        if not changes:
            raise ValueError(f"changes nothing; it may change {', '.join(COLUMNS)}")
        for column, change in changes.items():
            _check(column, change.value)
            if change.was is not None:
                _check(column, change.was)
        return self

    def matches(self, record: Record) -> bool:
        """Say whether a record is among those the rule is about; an id may be shortened to 8 digits or more."""
        if self.files is not None:
            return match_path(self.files, record.path) is not None
        return any(record.id.startswith(id_) for id_ in self.ids)

    @field_validator("ids")
    @classmethod
    def _long_enough(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(id_) < 8 for id_ in ids):
            raise ValueError("ids need at least their first 8 digits")
        return ids


class CorrectionsFile(Frozen):
    """One file of corrections to one source."""

    source: str
    by: str = Field(min_length=1, max_length=200)
    reference: str | None = None
    corrections: tuple[Rule, ...] = Field(min_length=1)
    name: str = Field(default="", exclude=True)


def _check(column: Column, value: str | tuple[str, ...] | None) -> None:
    """Refuse what a column cannot hold."""
    lists = column in ("organs", "diseases")
    if value is None and not (lists or column == "modality"):
        return
    if isinstance(value, tuple) != lists:
        raise ValueError(f"{column} is {'a list of vocabulary ids' if lists else 'one value'}, not {value!r}")
    words = value if isinstance(value, tuple) else (str(value),)
    if column in ("view", "laterality"):
        allowed = get_args(View) if column == "view" else ("left", "right")
        if words[0] not in allowed:
            raise ValueError(f"{column} {words[0]!r} is none of {', '.join(allowed)}")
        return
    if "none" in words and len(words) > 1:
        raise ValueError("diseases: `none` says that there is no disease; it stands alone")
    known = vocabulary({"organs": "anatomy", "diseases": "disease"}.get(column, "modality"))
    for word in words:
        if not (column == "diseases" and word in RESERVED[:2]):
            known[word]


def load_corrections(paths: Sequence[Path], sources: Iterable[str]) -> tuple[CorrectionsFile, ...]:
    """Read correction files, and all `*.yaml` and `*.yml` of the folders among them, in the order of their names.

    Raises:
        ConfigError: a file is not YAML, says what it may not, or is about a source that is not built.
    """
    files = [
        file
        for path in paths
        for file in (sorted(p for p in path.iterdir() if p.suffix in (".yaml", ".yml")) if path.is_dir() else [path])
    ]
    found = tuple(_load(file) for file in files)
    known = set(sources)
    # a folder may hold corrections to sources of another build; a file that was named is meant
    for one, file in zip(found, files, strict=True):
        if one.source not in known and file in paths:
            raise ConfigError(f"{file}: corrects {one.source!r}, which this config does not build")
    return tuple(one for one in found if one.source in known)


def _load(path: Path) -> CorrectionsFile:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} has more than {MAX_FILE_BYTES:,} bytes; corrections are written by hand")
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict):
            raise ConfigError(f"{path}: needs source, by and corrections")
        return CorrectionsFile(**raw, name=path.name)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnknownTermError as error:
        raise UnknownTermError(f"{path}: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, [*CorrectionsFile.model_fields, *Rule.model_fields])}") from error
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error


def corrected(record: Record, files: Sequence[CorrectionsFile]) -> Record:
    """Return a record with the corrections that are about it applied, first to last."""
    for file in files:
        if file.source != record.source:
            continue
        for rule in file.corrections:
            if rule.matches(record):
                record = _applied(record, rule, file.by)
    return record


def _applied(record: Record, rule: Rule, by: str) -> Record:
    made: list[Correction] = []
    changes: dict[str, Any] = {}
    for column in COLUMNS:
        change: Change | None = getattr(rule, column)
        if change is None:
            continue
        before = getattr(record, column)
        if column == "diseases" and not before and record.disease in RESERVED:
            before = () if record.disease == "unknown" else (record.disease,)
        after = () if change.value is None and column in ("organs", "diseases") else change.value
        if before == after or (change.guarded and (change.was or before[:0]) != before):
            continue
        made.append(Correction(column=column, was=_text(before), value=_text(after), by=by))
        changes[column] = after
    if "diseases" in changes:
        said = changes["diseases"]
        changes["disease"] = said[0] if said else "unknown"
        changes["diseases"] = tuple(one for one in said if one not in RESERVED)
    return record.with_(**changes, corrections=(*record.corrections, *made)) if made else record


def _text(value: str | tuple[str, ...] | None) -> str:
    return ", ".join(value) if isinstance(value, tuple) else value or ""
