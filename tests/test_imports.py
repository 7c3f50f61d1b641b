"""Importing is cheap and opens nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = "import sys; before = set(sys.modules); import {name}; print(*sorted(set(sys.modules) - before))"


@pytest.mark.parametrize(
    ("name", "heavy"),
    [
        ("medtrinity25m", ("numpy", "pyarrow", "pydantic")),
        ("medtrinity25m.__main__", ("pyarrow", "datasets", "pydicom", "nibabel", "scipy", "torch")),
        ("medtrinity25m.triplet", ("pyarrow", "datasets", "pydicom", "nibabel", "scipy", "PIL", "torch")),
        ("medtrinity25m.build", ("datasets", "torch", "skimage", "pandas")),
        ("medtrinity25m.builder", ("medtrinity25m.readers.safe", "medtrinity25m.release.plan")),
    ],
)
def test_a_module_imports_only_what_it_needs(name, heavy):
    """The command line answers at once; the builder works where no medical reader is installed."""
    done = subprocess.run([sys.executable, "-c", LOADED.format(name=name)], capture_output=True, text=True, check=True)

    assert not set(heavy) & set(done.stdout.split())
