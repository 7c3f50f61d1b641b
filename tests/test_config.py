"""The build config: what it accepts and how it says no."""

from __future__ import annotations

import pytest

from medtrinity25m.config import BuildConfig, load_config
from medtrinity25m.errors import ConfigError


def write(tmp_path, text):
    path = tmp_path / "build.yaml"
    path.write_text(text)
    return path


def test_paths_start_at_the_config_file(tmp_path, source_toml):
    """A source TOML, a root and the output are found beside the config."""
    source_toml('[layout]\nkind = "folder_per_class"')
    config = load_config(write(tmp_path, "out: o\nsources: [{source: made.toml, root: data}]"))

    (source, root), *_ = config.resolved

    assert (source.id, root, config.folder) == ("made", tmp_path / "data", tmp_path / "o")


def test_a_source_is_found_by_id_with_or_without_suffix(tmp_path, source_toml):
    """`made` means `made.toml` beside the config; a packaged id means the packaged source."""
    source_toml('[layout]\nkind = "folder_per_class"')
    config = load_config(write(tmp_path, "sources: [{source: made, root: d}, {source: dsb2018_nuclei, root: e}]"))

    assert [source.id for source, _ in config.resolved] == ["dsb2018_nuclei", "made"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: []", "sources"),
        ("out: x", "sources: is missing"),
        ("sources: [{source: a, root: b}]\nworker: 3", "worker"),
        ("sources: [{source: a, root: b}]\nsplit: {train: 0.5}", "add up to 1"),
        ("sources: [{source: a, root: b}, {source: a, root: c}]", "named twice"),
        ("sources: [", "is not YAML"),
        ("- a", "no mapping"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("x: !!python/object/apply:os.system [ls]", "is not YAML"),
    ],
)
def test_a_wrong_config_says_what_is_wrong_and_where(tmp_path, text, message):
    """Every message names the file."""
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(tmp_path, text))

    assert "build.yaml" in str(caught.value)


def test_an_unknown_source_brings_the_nearest(tmp_path):
    """The message helps to choose; a name the collection goes by elsewhere is a name."""
    config = load_config(write(tmp_path, "sources: [{source: dsb2018, root: b}]"))

    with pytest.raises(ConfigError, match="dsb2018_nuclei"):
        _ = config.resolved
    other = load_config(write(tmp_path, "sources: [{source: brats24, root: b}]"))
    assert [source.id for source, _ in other.resolved] == ["brats2024_gli"]


def test_an_expert_is_asked_only_about_what_it_sees(tmp_path):
    """A card for CT under another modality would never be asked, and nobody would know."""
    config = load_config(write(tmp_path, "sources: [{source: busi, root: b}]\nexperts: {ultrasound: [ct_lungs]}"))

    with pytest.raises(ConfigError, match="ct_lungs is asked about ultrasound, but its card says ct"):
        _ = config.panels


def test_a_config_as_large_as_a_data_file_is_not_read(tmp_path):
    """Nobody writes a megabyte of config by hand."""
    with pytest.raises(ConfigError, match="this is no config"):
        load_config(write(tmp_path, "#" * (1 << 21)))


def test_the_schema_describes_every_key():
    """`medtrinity25m schema` exports it."""
    assert set(BuildConfig.model_json_schema()["properties"]) >= {"out", "key_file", "sources", "split", "limit"}
