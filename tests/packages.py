"""Files that installed packages bring along."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def package_file(package: str, *parts: str) -> Path:
    """A file that an installed package brings along, found without importing the package; skips without it."""
    spec = importlib.util.find_spec(package)
    found = [Path(place, *parts) for place in (spec.submodule_search_locations or [])] if spec else []
    if not found or not found[0].exists():
        pytest.skip(f"{package} with {'/'.join(parts)} is not installed")
    return found[0]
