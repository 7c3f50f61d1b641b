"""Instruction data in LLaVA's format: what its trainers can load, of rows that may be passed on and are right."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from medtrinity25m.commands.instruct import app
from medtrinity25m.description import instruct
from medtrinity25m.description.instruct import WORDINGS, Choice, export, sample_of
from medtrinity25m.description.measured import MeasuredDescriber
from medtrinity25m.description.reply import Reply, parse
from medtrinity25m.errors import ConfigError, GateFailedError
from medtrinity25m.release.manifest import read_manifest, write_manifest

Records = list[dict[str, Any]]


def as_a_trainer_loads(folder: Path) -> Records:
    """What LLaVA's `LazySupervisedDataset` does: one JSON list, an image a record, `<image>` once, turns in pairs."""
    records: Records = json.loads((folder / "instruct.json").read_text(encoding="utf-8"))
    for record in records:
        with Image.open(folder / record["image"]) as image:
            assert image.convert("RGB").size[0] > 0
        human, gpt = record["conversations"]
        assert (human["from"], gpt["from"]) == ("human", "gpt")
        assert human["value"].count("<image>") == 1
        assert "<image>" not in gpt["value"]
        # preprocess_multimodal moves the picture to the front
        assert ("<image>\n" + human["value"].replace("<image>", "").strip()).startswith("<image>\n")
    return records


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    shards = read_manifest(folder)["shards"]
    tables = [pq.read_table(folder / "data" / f"{shard['name']}.parquet").to_pylist() for shard in shards]
    return {
        row["id"]: {**row, "split": shard["split"]} for shard, rows in zip(shards, tables, strict=True) for row in rows
    }


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def edited(demo_release, tmp_path) -> Any:
    """A copy of the demo whose manifest or metadata a test may change."""
    import shutil

    folder = tmp_path / "edited"
    shutil.copytree(demo_release, folder)

    def change(rows: Any = None, manifest: Any = None) -> Path:
        about = read_manifest(folder)
        if manifest is not None:
            manifest(about)
            write_manifest(folder, {key: value for key, value in about.items() if key != "card"})
        for shard in about["shards"] if rows is not None else []:
            path = folder / "metadata" / f"{shard['name']}.parquet"
            table = pq.read_table(path)
            changed = [rows(row) for row in table.to_pylist()]
            pq.write_table(table.schema.empty_table().from_pylist(changed, schema=table.schema), path)
        return folder

    return change


def test_a_trainer_can_load_what_is_exported(demo_release, tmp_path):
    """A caption for every row of the split, in one of our wordings, with the row's own picture beside it."""
    done = export(demo_release, tmp_path / "out", Choice())
    records = as_a_trainer_loads(tmp_path / "out")
    rows = rows_of(demo_release)

    about = {source["id"]: source["redistribution"] for source in read_manifest(demo_release)["about_sources"]}
    train = [row for row in rows.values() if row["split"] == "train"]
    free = [row for row in train if about[row["source"]] == "images"]
    assert done.records == len(records) == len(free) > 3
    assert sum(done.left_out.values()) == len(train) - len(free)
    for record in records:
        row = rows[record["id"]]
        assert row["split"] == "train"
        assert record["conversations"][1]["value"] == row["caption"]
        assert record["conversations"][0]["value"].removeprefix("<image>\n") in WORDINGS
        assert (tmp_path / "out" / record["image"]).read_bytes() == row["image"]["bytes"]
    assert len({record["conversations"][0]["value"] for record in records}) > 1


def test_the_describing_task_is_the_stage_s_own_question_and_its_answer(demo_release, tmp_path):
    """The hand-over: a captioner that learned it answers what the stage asks, by the schema the stage reads."""
    export(demo_release, tmp_path / "out", Choice(task="describe"))
    rows = rows_of(demo_release)

    for record in as_a_trainer_loads(tmp_path / "out"):
        row = rows[record["id"]]
        human, answer = (turn["value"] for turn in record["conversations"])
        told = {index: roi["position"] for index, roi in enumerate(row["rois"]) if roi["text"]}
        read = parse(answer, told)
        assert isinstance(read, Reply), (read, answer)
        assert (read.caption, read.global_text) == (row["caption"], row["global_text"])
        assert {region.roi: region.text for region in read.local} == {
            index: row["rois"][index]["text"] for index in told
        }
        assert row["coarse_caption"] in human
        assert "Reply with exactly one JSON object" in human
        boxed = np.asarray(Image.open(tmp_path / "out" / record["image"]).convert("RGB"))
        drawn = bool(told) and row["rois"][0]["origin"] != "whole_image"
        assert np.any(np.all(boxed == (0, 255, 0), axis=-1)) == drawn


def test_a_row_measures_again_as_the_build_measured_it(demo_release):
    """From picture, masks and columns alone; HU are gone, so a mean attenuation is not said."""
    for row in rows_of(demo_release).values():
        again = MeasuredDescriber()(sample_of(row))
        assert again.global_text == row["global_text"].replace(" HU", "")
        assert again.relation_text == row["relation_text"]
        if "HU" not in row["local_text"]:
            assert again.local_text == row["local_text"]


def test_the_same_call_writes_the_same_bytes_and_what_stands_is_left_alone(demo_release, tmp_path):
    """Another folder gets the same files; a second call touches no picture; a lost one comes back."""
    export(demo_release, tmp_path / "one", Choice(number=4))
    export(demo_release, tmp_path / "two", Choice(number=4))
    first = contents(tmp_path / "one")
    images = sorted((tmp_path / "one" / "images").iterdir())
    before = {path: path.stat().st_mtime_ns for path in images}
    images[0].unlink()
    images[1].write_bytes(b"torn")
    export(demo_release, tmp_path / "one", Choice(number=4))

    assert first == contents(tmp_path / "two") == contents(tmp_path / "one")
    assert len(images) == 4
    assert all(path.stat().st_mtime_ns == before[path] for path in images[2:])


def test_a_seed_chooses_rows_and_a_larger_number_keeps_the_smaller_choice(demo_release, tmp_path):
    """Rows are chosen by hash, so that a teacher's sample can grow."""

    def ids(name: str, **options: Any) -> set[str]:
        export(demo_release, tmp_path / name, Choice(**options))
        return {record["id"] for record in as_a_trainer_loads(tmp_path / name)}

    few = ids("few", number=3)

    assert few < ids("more", number=5)
    assert len({frozenset(ids(f"seed{seed}", number=3, seed=seed)) for seed in range(4)}) > 1


def test_a_fallback_a_contradiction_and_another_describer_are_left_out(edited, tmp_path):
    """Only right text of the teacher is taught; the reasons are counted."""
    seen = iter(range(1000))

    def spoil(row: dict[str, Any]) -> dict[str, Any]:
        number = next(seen) % 3
        if number == 0:
            row["provenance"] = {**row["provenance"], "fallback": "mllm.refused"}
        if number == 1:
            row["claims"] = [{**row["claims"][0], "verdict": "contradicted"}, *row["claims"][1:]]
        return row

    folder = edited(rows=spoil)
    done = export(folder, tmp_path / "out", Choice())

    assert done.left_out["fell back to the measured text"] > 0
    assert done.left_out["contradicted"] > 0
    assert done.records == len(as_a_trainer_loads(tmp_path / "out")) > 0
    with pytest.raises(ConfigError, match="not by openai"):
        export(folder, tmp_path / "none", Choice(describer="openai"))
    assert not (tmp_path / "none").exists()


def test_images_that_may_not_be_passed_on_are_left_out(edited, tmp_path):
    """By the source's `redistribution`; where nothing is left the message says why."""

    def forbid(manifest: dict[str, Any]) -> None:
        for source in manifest["about_sources"]:
            source["redistribution"] = "annotations-only"

    with pytest.raises(ConfigError, match="whose images may not be passed on"):
        export(edited(manifest=forbid), tmp_path / "out", Choice())


def test_rows_kept_for_evaluation_and_unfinished_releases_are_refused(demo_release, tmp_path):
    """Nobody trains on what is evaluated on."""
    with pytest.raises(ConfigError, match="for evaluation"):
        export(demo_release, tmp_path / "out", Choice(split="test"))
    with pytest.raises(GateFailedError, match="not a finished release"):
        export(tmp_path, tmp_path / "out", Choice())


def test_the_command_says_what_it_wrote_and_what_it_left_out(demo_release, tmp_path):
    """`medtrinity25m instruct export DIR DEST`."""
    given = ["export", str(demo_release), str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*given, "--n", "3", "--task", "describe"])

    assert done.exit_code == 0, done.output
    assert "3 records" in done.output
    assert "not chosen" in done.output
    assert len(as_a_trainer_loads(tmp_path / "out")) == 3
    refused = CliRunner().invoke(app, [*given, "--split", "test"])
    assert refused.exit_code == 2


def test_a_row_s_picture_is_decoded_as_it_was_measured():
    """Gray stays gray, color color, a palette becomes color."""
    gray = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    for image, shape in ((gray, (8, 8)), (gray.convert("RGB"), (8, 8, 3)), (gray.convert("P"), (8, 8, 3))):
        held = io.BytesIO()
        image.save(held, "PNG")
        row = {
            "id": "0", "modality": "ct", "source": "s", "license": "CC0-1.0", "image": {"bytes": held.getvalue()},
            "rois": [], "provenance": None,
        }  # fmt: skip
        facts = {name: None for name in instruct.Facts.model_fields if name not in row}
        lists = {"organs": (), "diseases": (), "claims": (), "knowledge": (), "corrections": ()}
        assert sample_of({**facts, **lists, **row, "disease": "unknown"}).pixels.shape == shape


@pytest.mark.slow
def test_a_captioner_taught_on_the_export_describes_by_the_stage(demo_release, tmp_path):
    """Teacher, export, captioner: its replies are read, checked and shipped like the teacher's."""
    torch = pytest.importorskip("torch")
    from medtrinity25m.description.backends.transformers import TransformersModel, TransformersOptions
    from medtrinity25m.description.describe import Describe
    from medtrinity25m.description.prompting import Prompting
    from tiny_llava import NO_SYSTEM, TEMPLATE, teach, tiny_llava

    torch.set_num_threads(1)
    export(demo_release, tmp_path / "out", Choice(task="describe", number=3))
    records = as_a_trainer_loads(tmp_path / "out")
    texts = [turn["value"] for record in records for turn in record["conversations"]] * 4
    folder = tiny_llava(tmp_path / "captioner", texts, NO_SYSTEM + TEMPLATE)
    assert teach(folder, [lesson(record, tmp_path / "out") for record in records], steps=240) < 0.05

    rows = [rows_of(demo_release)[record["id"]] for record in records]
    model = TransformersModel(TransformersOptions(path=folder))
    held = instruct._passages(demo_release, read_manifest(demo_release))
    asking = Prompting(pictures="boxed", max_tokens=800)
    stage = Describe(model, "transformers", asking, lambda ids: [held[row_id] for row_id in ids])
    made = stage([sample_of(row) for row in rows])

    assert [sample.provenance.describer for sample in made] == ["transformers"] * 3
    assert [sample.caption for sample in made] == [row["caption"] for row in rows]


def lesson(record: dict[str, Any], folder: Path) -> tuple[Any, str]:
    """A record as the messages a trainer of chat models makes of it."""
    first, second = record["conversations"][0]["value"].split("<image>\n")
    with Image.open(folder / record["image"]) as image:
        picture = {"type": "image", "image": image.convert("RGB")}
    texts = [{"type": "text", "text": words} for words in (first, second)]
    messages = [{"role": "user", "content": [texts[0], picture, texts[1]]}]
    return messages, record["conversations"][1]["value"]
