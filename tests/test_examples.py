"""What is shown runs: the examples, and the README's own example of a user's folder."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

from medtrinity25m.build import build
from medtrinity25m.config import load_config
from medtrinity25m.progress import Reporter
from medtrinity25m.registry import parse_source
from medtrinity25m.roi.card import parse_card

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCES = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
GUIDES = [(ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("sources", "experts")]
SHOWN = [text for guide in GUIDES for kind, text in re.findall(r"```(\w*)\n(.*?)```", guide, flags=re.DOTALL)]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("[0-9]*.py")), ids=lambda path: path.stem)
def test_an_example_runs_offline_in_an_empty_folder(path, tmp_path, monkeypatch, capsys):
    """Each example is a script that ends without error and prints something."""
    monkeypatch.chdir(tmp_path)

    runpy.run_path(str(path), run_name="__main__")

    assert capsys.readouterr().out.strip()


def test_the_readme_s_own_source_and_config_build(tmp_path, draw):
    """The TOML and the YAML of the README, copied as they stand, build a folder laid out as they say."""
    toml = next(text for kind, text in FENCES if kind == "toml" and 'id = "chest"' in text)
    (tmp_path / "chest.toml").write_text(toml)
    config = next(text for kind, text in FENCES if kind == "yaml").replace("/data/chest", "chest")
    (tmp_path / "build.yaml").write_text(config)
    (tmp_path / "medtrinity25m.key").write_text("k" * 32)
    draw("chest/BAC_PNA/a.png", seed=1)
    draw("chest/normal/b.png", seed=2)
    draw("chest/Pneumothorax/c.png", seed=3)

    manifest = build(load_config(tmp_path / "build.yaml"), reporter=Reporter(quiet=True)).manifest

    assert manifest["diseases"] == {"none": 1, "pneumonia": 1, "pneumothorax": 1}


@pytest.mark.parametrize("text", [text for text in SHOWN if "[layout]" in text])
def test_every_layout_the_guide_shows_is_valid(text):
    """The keys shown are the keys there are."""
    head = {
        "id": "x",
        "title": "x",
        "license": "CC0-1.0",
        "redistribution": "images",
        "egress": "any",
        "modality": "ct",
    }

    assert parse_source(head | tomllib.loads(text), "sources.md").layout


@pytest.mark.parametrize("text", [text for text in SHOWN if "[run]" in text])
def test_every_card_the_guide_shows_is_valid(text):
    """The keys shown are the keys there are."""
    assert parse_card(tomllib.loads(text), "experts.md", ROOT).run


def test_every_command_of_the_readme_exists():
    """The table of commands is the list of commands."""
    from medtrinity25m.__main__ import app

    section = README.split("## Commands")[1].split("\n## ")[0]
    shown = set(re.findall(r"^\| `(\w+)[ `]", section, flags=re.MULTILINE))

    verbs = {command.callback.__name__ for command in app.registered_commands}
    assert shown == verbs | {group.name for group in app.registered_groups}


def test_the_readme_names_every_column():
    """The table of columns is the list of columns."""
    from medtrinity25m.features import FEATURES

    section = README.split("## The row")[1].split("## Commands")[0]

    assert set(FEATURES) <= set(re.findall(r"`(\w+)`", section))


def test_the_config_of_the_readme_is_plain_yaml():
    """It parses to what the JSON Schema knows."""
    assert set(yaml.safe_load(next(text for kind, text in FENCES if kind == "yaml"))) == {
        "out",
        "key_file",
        "sources",
        "knowledge",
        "split",
    }
