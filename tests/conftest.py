"""Fixtures every test may use: the law of stages, small drawn images, and a build in a temporary folder."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtrinity25m.build import build
from medtrinity25m.config import BuildConfig, SourceEntry
from medtrinity25m.demo import collect
from medtrinity25m.keys import KEY_VARIABLE
from medtrinity25m.pipeline import Stage
from medtrinity25m.progress import Reporter
from medtrinity25m.triplet import Sample

KEY = "a key for tests, sixteen bytes and more"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-golden`, which writes the golden rows anew instead of comparing."""
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew; review the difference")


@pytest.fixture(scope="session")
def demo_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, built once a session."""
    folder = tmp_path_factory.mktemp("demo") / "medtrinity-25m"
    build(collect(folder, folder.parent / "inputs", say=print), reporter=Reporter(quiet=True))
    return folder


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test from the user's key and from any network."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def sample() -> Sample:
    """A grey CT sample of 40 x 60 pixels with a brighter square."""
    pixels = np.full((40, 60), 60, np.uint8)
    pixels[10:20, 5:25] = 180
    return Sample(id="0" * 32, locator="a.png", modality="ct", source="drawn", license="CC0-1.0", pixels=pixels)


@pytest.fixture
def assert_stage() -> Callable[[Stage, Sequence[Sample]], list[Sample]]:
    """The law of stages; returns what the stage made of the samples."""

    def check(stage: Stage, samples: Sequence[Sample]) -> list[Sample]:
        refused = samples[0].reject("test.refused", "refused before the stage")
        given = [*samples, refused, *samples]
        stage = pickle.loads(pickle.dumps(stage))
        made = list(stage(given))
        again = list(stage(given))

        pulled = 0

        def endless() -> Iterator[Sample]:
            nonlocal pulled
            while True:
                pulled += 1
                yield samples[0]

        next(stage(endless()))

        assert [one.id for one in given] == [one.id for one in made], "one in, one out, same order"
        assert made[len(samples)].digest() == refused.digest(), "a rejected sample passes untouched"
        assert [one.digest() for one in made] == [one.digest() for one in again], "deterministic"
        assert pulled < 1000, "lazy"
        return made[: len(samples)]

    return check


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """Write a small image below `tmp_path`, different for every seed."""

    def write(name: str, seed: int = 0, size: tuple[int, int] = (32, 24), **options: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), np.uint8)
        Image.fromarray(noise).save(path, **options)
        return path

    return write


SourceMaker = Callable[..., Path]


@pytest.fixture
def source_toml(tmp_path: Path) -> SourceMaker:
    """Write a source TOML beside the test's folders; the text given follows the required keys."""

    def write(text: str, name: str = "made", modality: str | None = "xray") -> Path:
        path = tmp_path / f"{name}.toml"
        head = f'id = "{name}"\ntitle = "Made"\nlicense = "CC0-1.0"\nredistribution = "images"\negress = "any"\n'
        path.write_text(head + (f'modality = "{modality}"\n' if modality else "") + text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def config_for(tmp_path: Path) -> Callable[..., BuildConfig]:
    """Return a config that builds one source TOML from a folder, with a key file."""

    def make(toml: Path, root: Path, out: str = "release", **more: Any) -> BuildConfig:
        key = tmp_path / "test.key"
        key.write_text(KEY)
        entries = (SourceEntry(source=str(toml), root=root),)
        return BuildConfig(out=tmp_path / out, key_file=key, sources=entries, **more)

    return make
