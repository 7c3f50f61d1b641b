"""Where the model of a card lies on disk, that it is the one the card means, and one copy of it a process.

**Why** hashes are read whole before anything is opened: a checkpoint, a bundle's config or a network's graph is a
program or close to one, and a file that is not the one somebody looked at must not be interpreted at all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from medtrinity25m.errors import ConfigError
from medtrinity25m.roi.card import Card

T = TypeVar("T")
_LOADED: dict[tuple[str, str], Any] = {}
"""Models of this process by loader and fingerprint; they stay until it ends, because every unit of work asks again."""


def find_model(card: Card, model: str) -> Path:
    """Return the file or folder `model` names, from the card's own folder, after its hashes were checked.

    Raises:
        ConfigError: it does not exist, or a file is not what `[sha256]` says.
    """
    path = card.place(model)
    if not path.exists():
        raise ConfigError(f"expert {card.id}: there is no {path}; paths of a card start at the card's own folder")
    _check_hashes(card, path if path.is_dir() else path.parent)
    return path


def find_file(card: Card, folder: Path, name: str) -> Path:
    """Return a file of a model folder; raises `ConfigError` where it is missing or the folder is none."""
    path = folder / name
    if not path.is_file():
        raise ConfigError(f"expert {card.id}: the model folder {folder} has no file {name}")
    return path


def need(card: Card, extra: str, *modules: str) -> None:
    """Raise `ConfigError` where a package is not installed, with the extra that brings it; imports nothing."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"expert {card.id} needs {' and '.join(missing)}, not installed here: pip install 'medtrinity25m[{extra}]'"
        )


def once(card: Card, load: Callable[[Card], T]) -> T:
    """Return what `load` makes of a card, made once a process."""
    key = (f"{load.__module__}.{load.__qualname__}", card.fingerprint)
    if key not in _LOADED:
        _LOADED[key] = load(card)
    loaded: T = _LOADED[key]
    return loaded


def wanted_numbers(card: Card) -> tuple[int, ...]:
    """Return the channel numbers or label values that `[labels]` maps to something, in order.

    Raises:
        ConfigError: nothing is mapped, or a key is no number.
    """
    odd = sorted(key for key in card.labels if not re.fullmatch(r"0|[1-9][0-9]*", key))
    if odd:
        raise ConfigError(
            f"expert {card.id}: the keys of [labels] are numbers of this model's output, not {', '.join(odd)}"
        )
    numbers = [int(key) for key in card.labels if (meaning := card.meaning(key)) and meaning.label]
    if not numbers:
        raise ConfigError(f'expert {card.id}: [labels] maps nothing; write what each output is, such as 1 = "brain"')
    return tuple(sorted(numbers))


def first_line(error: BaseException) -> str:
    """Return the first line a library says about an error, or the error's name where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _check_hashes(card: Card, folder: Path) -> None:
    """Compare every file that `[sha256]` lists, by path from the model's folder."""
    for name, expected in card.sha256.items():
        path = find_file(card, folder, name)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected.lower():
            raise ConfigError(
                f"expert {card.id}: {path} is not the file the card means (SHA-256 {found}, expected {expected}); "
                "fetch it again, or correct the card when you know that the model changed"
            )
