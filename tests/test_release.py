"""The folder is the release: plain `datasets`, the builder class, the card and the command line agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from datasets import get_dataset_config_names, load_dataset
from medtrinity25m.builder import MedTrinity25M
from typer.testing import CliRunner

from medtrinity25m.__main__ import app
from medtrinity25m.release.configs import release_configs
from medtrinity25m.release.manifest import read_manifest
from medtrinity25m.release.verify import faults

ROOT = Path(__file__).parents[1]
SCRIPT = """
import json, sys
from datasets import get_dataset_config_names, load_dataset
names = get_dataset_config_names("medtrinity-25m")
streams = {name: load_dataset("medtrinity-25m", name, streaming=True) for name in names}
counts = {name: {split: sum(1 for _ in rows) for split, rows in found.items()} for name, found in streams.items()}
print(json.dumps(counts))
"""


@pytest.fixture(scope="module")
def release(demo_release) -> Path:
    """The demo's folder."""
    return demo_release


@pytest.fixture(scope="module")
def manifest(release):
    """The demo's manifest."""
    return read_manifest(release)


def run(*args: str):
    return CliRunner().invoke(app, args)


def test_the_demo_covers_seven_modalities_with_real_regions(manifest, release):
    """Seven of ten; the liver lesion's contour and the 125 nuclei are among the regions; everything verifies."""
    assert len(manifest["modalities"]) >= 7
    assert manifest["origins"]["mask"] >= 2
    assert faults(release) == []


def test_counts_agree_between_plain_datasets_the_builder_and_the_manifest(release, manifest, tmp_path):
    """For every config, streamed by the library alone and by the builder class."""
    for config in release_configs(manifest):
        plain = load_dataset(str(release), config.name, streaming=True)
        ours = MedTrinity25M(config_name=config.name, data_dir=release, cache_dir=str(tmp_path)).as_streaming_dataset()
        counts = [
            {split: sum(1 for _ in rows.decode(False)) for split, rows in streams.items()} for streams in (plain, ours)
        ]

        assert counts == [config.rows, config.rows], config.name


def test_the_builder_prepares_the_same_rows(release, manifest, tmp_path):
    """`download_and_prepare` and `as_dataset`, with processes asked for."""
    builder = MedTrinity25M(data_dir=release, cache_dir=str(tmp_path))
    builder.download_and_prepare(num_proc=2)

    assert {split: len(rows) for split, rows in builder.as_dataset().items()} == manifest["splits"]


def test_the_builder_says_what_there_is_when_a_config_is_empty(release):
    """A known disease without rows is an error that lists the configs; an unknown one lists all."""
    with pytest.raises(FileNotFoundError, match="no shards for 'glioma'.*it has all, ct"):
        MedTrinity25M(config_name="glioma", data_dir=release).as_streaming_dataset()
    with pytest.raises(ValueError, match="not found. Available"):
        MedTrinity25M(config_name="nope", data_dir=release)
    with pytest.raises(FileNotFoundError, match="no manifest"):
        MedTrinity25M(data_dir=release.parent)


def test_the_bare_name_works_where_the_folder_is(release, manifest):
    """`load_dataset("medtrinity-25m")` in the folder's parent, in a process of its own, offline."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=release.parent, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout.splitlines()[-1]) == {
        config.name: config.rows for config in release_configs(manifest)
    }


def test_rows_read_in_array_formats(release):
    """No list of lists stands beside an image, which breaks the array formats of `datasets`."""
    rows = load_dataset(str(release), "microscopy", streaming=True)["validation"].with_format("numpy")
    row = next(iter(rows))

    assert row["image"].shape == (512, 512)
    assert row["rois"][0]["mask"].shape == (512, 512)


def test_the_card_s_front_matter_is_what_the_manifest_says(release, manifest):
    """Configs, counts and the build id come from one table."""
    front = yaml.safe_load((release / "README.md").read_text().split("---\n")[1])

    assert [config["config_name"] for config in front["configs"]] == get_dataset_config_names(str(release))
    assert {config["description"] for config in front["configs"]} == {f"build {manifest['build']}"}
    info = {
        entry["config_name"]: {s["name"]: s["num_examples"] for s in entry["splits"]} for entry in front["dataset_info"]
    }
    assert info == {config.name: config.rows for config in release_configs(manifest)}


def test_the_metadata_config_has_the_same_rows_without_pixels(release):
    """Texts without dragging images along."""
    whole = {row["id"]: row["caption"] for rows in load_dataset(str(release), streaming=True).values() for row in rows}
    bare = {
        row["id"]: row["caption"]
        for rows in load_dataset(str(release), "metadata", streaming=True).values()
        for row in rows
    }

    assert whole == bare


def test_a_page_with_a_flipped_bit_is_found(release, tmp_path):
    """`verify` names the shard; exit code 3."""
    import shutil

    copy = tmp_path / "medtrinity-25m"
    shutil.copytree(release, copy)
    shard = next((copy / "data").rglob("*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 8
    shard.write_bytes(data)

    done = run("verify", str(copy))

    assert done.exit_code == 3
    assert shard.name in done.output


def test_a_file_that_does_not_belong_is_found(release):
    """It would be published with the others."""
    stranger = release / "data" / "ct" / "train-extra.parquet"
    stranger.write_bytes(b"junk")
    try:
        assert faults(release) == [
            "data/ct/train-extra.parquet is not in the manifest; it does not belong to the release"
        ]
    finally:
        stranger.unlink()


def test_explain_shows_claims_with_their_evidence(release):
    """Found by the beginning of its id; every claim's words are part of a text."""
    row = next(
        row for rows in load_dataset(str(release), "mri", streaming=True).values() for row in rows if row["rois"]
    )

    shown = json.loads(run("explain", str(release), row["id"][:10], "--json").output)

    assert shown["id"] == row["id"]
    assert json.loads(shown["plan"])["source"] == row["source"]
    assert {passage["passage_id"] for passage in shown["passages"]} == {
        cited["passage_id"] for cited in row["knowledge"]
    }
    text = " ".join(run("explain", str(release), row["id"]).output.split())
    for field in ("global_text", "local_text", "relation_text", "caption"):
        assert " ".join((row[field] or "").split(". ")[0].split()) in text, "each sentence is shown"
    for claim in row["claims"]:
        assert f"“{row[claim['field']][claim['start'] : claim['end']]}” says {claim['attribute']}" in text
    assert f"rois.area_fraction = {row['rois'][0]['area_fraction']:.6g}" in text, "beside the mask's measurement"
    assert f"column modality = {row['modality']}" in text, "beside the metadata field"


def test_the_command_line_says_what_is_wrong_and_exits_with_the_stated_code(release, tmp_path):
    """2 for usage and config, 3 for gates; a line on standard error and no traceback."""
    (tmp_path / "empty").mkdir()
    cases = [
        (2, ("explain", str(release), "zzzz"), "no row has an id"),
        (2, ("build", str(tmp_path / "none.yaml")), "No such file"),
        (2, ("stream", str(release), "glioma"), "has no config 'glioma'"),
        (2, ("status", str(tmp_path / "empty")), "no empty.work beside it"),
        (3, ("verify", str(tmp_path / "empty")), "not a finished release"),
        (2, ("build",), "CONFIG"),
    ]
    for code, arguments, message in cases:
        done = run(*arguments)

        assert done.exit_code == code, arguments
        assert message in " ".join(done.output.split()), arguments
        assert "Traceback" not in done.output


def test_the_other_verbs_tell_what_they_should(release):
    """`sources`, `status`, `quarantine`, `stream`, `schema` and `--version` print and exit 0."""
    assert "siemens" in run("sources").output
    assert "finished" in run("status", str(release)).output
    assert "image.blank" in run("quarantine", str(release)).output
    lines = run("stream", str(release), "ct", "--split", "train", "--limit", "2").output.splitlines()
    assert [json.loads(line)["modality"] for line in lines] == ["ct", "ct"]
    assert "sources" in json.loads(run("schema").output)["properties"]
    assert run("--version").output.strip() == "0.1.0"


def test_the_loading_script_prints_a_row_when_run(release):
    """And the library refuses it as a script from version 4 on."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "loading_script.py"), str(release), "xray"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "'modality': 'xray'" in done.stdout
    with pytest.raises(RuntimeError, match="Dataset scripts are no longer supported"):
        load_dataset(str(ROOT / "loading_script.py"))


@pytest.mark.slow
def test_the_release_reads_on_the_oldest_supported_datasets_with_nothing_of_ours(release, manifest, tmp_path):
    """A fresh environment with `datasets` 3.6 and Pillow; then the builder and the loading script there."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "pip", "install", "--quiet"]
    subprocess.run([*pip, "datasets==3.6.0", "huggingface_hub<1", "pillow"], check=True)
    python = venv / "bin" / "python"

    done = subprocess.run([python, "-c", SCRIPT], cwd=release.parent, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {
        config.name: config.rows for config in release_configs(manifest)
    }

    subprocess.run([*pip, "pydantic"], check=True)
    subprocess.run([*pip, "--no-deps", ROOT], check=True)
    options = f"data_dir={str(release)!r}, trust_remote_code=True, cache_dir={str(tmp_path / 'cache')!r}"
    script = f"""
from datasets import load_dataset
print(load_dataset({str(ROOT / "loading_script.py")!r}, "ct", {options}).num_rows)
"""
    done = subprocess.run([python, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "train" in done.stdout.splitlines()[-1]
