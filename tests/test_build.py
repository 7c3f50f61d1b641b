"""A whole build, from folders to `load_dataset`, and everything that may happen to it on the way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from medtrinity25m.build import build, stages
from medtrinity25m.errors import ConfigError, GateFailedError, LockedError, ResumeRefusedError
from medtrinity25m.pipeline import each
from medtrinity25m.progress import Reporter
from medtrinity25m.release.manifest import make_manifest
from medtrinity25m.release.status import build_status, quarantine_rows
from medtrinity25m.release.verify import faults
from medtrinity25m.release.workspace import Workspace
from medtrinity25m.triplet import Sample

LAYOUT = """
[layout]
kind = "image_mask"
images = "{label}/{patient}_{case}.png"
masks = "masks/{case}.png"
mask_label = "nodule"
"""
HOLD = """
import sys
from pathlib import Path
from medtrinity25m.release.workspace import Workspace
from medtrinity25m.triplet import Sample
with Workspace(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
runpy.run_module("medtrinity25m", run_name="__main__")
"""
LABELS = '[labels]\n"sick" = "pneumonia"\n"well" = "none"\n'


def tree(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def quiet() -> Reporter:
    return Reporter(quiet=True)


@pytest.fixture
def study(tmp_path, draw, source_toml, config_for):
    """A config over twelve patients with two films each; every second film has a mask of two blobs."""
    for patient in range(12):
        for film in range(2):
            case = f"{patient:02d}{film}"
            draw(f"data/{'sick' if film else 'well'}/P{patient}_{case}.png", seed=patient * 2 + film, size=(40, 30))
            if film:
                mask = np.zeros((30, 40), np.uint8)
                mask[3:9, 4 : 10 + patient], mask[20:25, 30:36] = 255, 255
                path = tmp_path / "data" / "masks" / f"{case}.png"
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(mask).save(path)

    def make(out: str = "release", **more):
        return config_for(source_toml(LAYOUT + LABELS), tmp_path / "data", out=out, **more)

    return make


def rows(folder: Path):
    import pyarrow.dataset as ds

    return ds.dataset(folder / "data", format="parquet").to_table().to_pylist()


def test_a_build_writes_every_row_and_verifies(study, tmp_path):
    """Read = written + rejected; the folder verifies; the work folder tells the same."""
    outcome = build(study(), reporter=quiet())

    assert outcome.manifest["rows"] == {"read": 24, "written": 24, "rejected": 0}
    assert faults(tmp_path / "release") == []
    assert build_status(tmp_path / "release")["rows written"] == 24


def test_regions_equal_what_scipy_finds_in_the_same_mask(study, tmp_path):
    """Number of regions, boxes, and areas; sources pass through byte for byte."""
    build(study(), reporter=quiet())

    for row in rows(tmp_path / "release"):
        sources = [path.read_bytes() for path in (tmp_path / "data").glob(f"{'*'}/*.png")]
        assert row["image"]["bytes"] in sources
        if row["disease"] == "none":
            assert row["rois"] == []
            continue
        union = np.zeros((row["height"], row["width"]), bool)
        for roi in row["rois"]:
            x, y, w, h = roi["bbox"]
            with Image.open(__import__("io").BytesIO(roi["mask"]["bytes"])) as opened:
                mask = np.asarray(opened.convert("1"))
            union |= mask
            found = scipy.ndimage.find_objects(mask.astype(int))[0]
            assert (found[1].start, found[0].start, found[1].stop, found[0].stop) == (x, y, x + w, y + h)
            assert roi["area_fraction"] == mask.sum() / mask.size
        assert scipy.ndimage.label(union)[1] == len(row["rois"]) == 2


def test_a_patient_is_in_one_split(study, tmp_path):
    """Two films of a patient never part, and pseudonyms are not the ids."""
    build(study(split={"train": 0.5, "validation": 0.25, "test": 0.25}), reporter=quiet())

    where: dict[str, set[str]] = {}
    for path in sorted((tmp_path / "release" / "data").rglob("*.parquet")):
        import pyarrow.parquet as pq

        for patient in pq.read_table(path, columns=["patient"])["patient"].to_pylist():
            where.setdefault(patient, set()).add(path.name.split("-")[0])

    assert len(where) == 12
    assert all(len(splits) == 1 for splits in where.values())
    assert not any(name in {f"P{n}" for n in range(12)} for name in where)


def test_the_same_command_again_does_nothing_twice(study):
    """Everything is kept; no file is written again."""
    first = build(study(), reporter=quiet())
    before = tree(study().folder)
    written = {path: path.stat().st_mtime_ns for path in study().folder.rglob("*") if path.is_file()}

    second = build(study(), reporter=quiet())

    assert (second.built, second.kept) == (0, first.built)
    assert tree(study().folder) == before
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_a_damaged_or_missing_shard_is_built_again(study):
    """Done means that the hash matches, not that a file is there."""
    build(study(shard_mb=0.02), reporter=quiet())
    before = tree(study().folder)
    first, second = sorted((study().folder / "data").rglob("*.parquet"))[:2]
    damaged = bytearray(first.read_bytes())
    damaged[100] ^= 1
    first.write_bytes(damaged)
    second.unlink()
    assert len(faults(study().folder)) >= 2

    assert build(study(shard_mb=0.02), reporter=quiet()).built == 2
    assert tree(study().folder) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [({"shard_mb": 1.0}, "config.shard_mb: 256.0 → 1.0"), ({"split": {"train": 1.0}}, "config.split.train: 0.8 → 1.0")],
)
def test_a_build_begun_under_other_conditions_is_refused_with_the_difference(study, change, named):
    """The message names what differs and what to do."""
    build(study(), reporter=quiet())

    with pytest.raises(ResumeRefusedError, match="build into a new folder") as caught:
        build(study(**change), reporter=quiet())

    assert named in str(caught.value)


def test_a_changed_key_is_refused(study, tmp_path):
    """Ids of two keys are never mixed, and the message shows neither key."""
    config = study()
    build(config, reporter=quiet())
    (tmp_path / "test.key").write_text("another key, also long enough")

    with pytest.raises(ResumeRefusedError, match="key: ") as caught:
        build(config, reporter=quiet())

    assert "another key" not in str(caught.value)


def test_changed_files_are_refused_and_touched_ones_are_not(study, tmp_path):
    """A new modification time alone changes nothing; an added file does."""
    build(study(), reporter=quiet())
    film = next((tmp_path / "data" / "well").iterdir())
    os.utime(film, (1, 1))
    assert build(study(), reporter=quiet()).built == 0

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(film.with_name("P99_990.png"))
    with pytest.raises(ResumeRefusedError, match="1 added"):
        build(study(), reporter=quiet())


def test_a_file_that_changes_during_a_build_stops_it_and_restoring_it_heals(study, tmp_path):
    """Nothing of a changed file is mixed in; no row is lost for good."""
    config = study()
    whole = build(config, reporter=quiet()).manifest["rows"]
    film = next((tmp_path / "data" / "sick").iterdir())
    original, when = film.read_bytes(), film.stat()
    for shard in (config.folder / "data").rglob("*.parquet"):
        shard.unlink()
    film.write_bytes(original[:-1] + b"\0")
    os.utime(film, ns=(when.st_atime_ns, when.st_mtime_ns))

    with pytest.raises(ResumeRefusedError, match=film.name):
        build(config, reporter=quiet())

    film.write_bytes(original)
    assert build(config, reporter=quiet()).manifest["rows"] == whole


def test_without_a_key_the_build_stops_and_says_how_to_make_one(study):
    """No key, no ids."""
    with pytest.raises(ConfigError, match=r"secrets\.token_hex"):
        build(study().with_(key_file=None), reporter=quiet())


def test_a_folder_of_which_nothing_can_be_used_fails_the_gate(tmp_path, source_toml, config_for):
    """All refused is no release: exit code 3, no `_SUCCESS`."""
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "x.png").write_text("<html>")
    config = config_for(source_toml('[layout]\nkind = "folder_per_class"\n[labels]\na = "cyst"'), tmp_path / "data")

    with pytest.raises(GateFailedError, match="file.magic_mismatch"):
        build(config, reporter=quiet())

    assert not (config.folder / "_SUCCESS").exists()


def test_two_at_once_the_second_is_told(study, tmp_path):
    """The second build stops at the lock and harms nothing."""
    config = study()
    space = Workspace(config.folder)
    space.create()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, config.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"

    with pytest.raises(LockedError):
        build(config, reporter=quiet())
    second = subprocess.run(command(config, tmp_path, 1), capture_output=True, text=True)
    assert (second.returncode, "is being built by process" in second.stderr) == (75, True)

    holder.communicate()
    assert build(config, reporter=quiet()).built


def command(config, tmp_path, workers: int) -> list[str]:
    yaml = tmp_path / "build.yaml"
    entries = [{"source": entry.source, "root": str(entry.root)} for entry in config.sources]
    yaml.write_text(
        json.dumps(
            {"out": str(config.out), "key_file": str(config.key_file), "sources": entries, "shard_mb": config.shard_mb}
        )
    )
    return [sys.executable, "-m", "medtrinity25m", "build", str(yaml), "--workers", str(workers)]


def test_a_release_is_the_same_byte_for_byte_whatever_the_circumstances(study, tmp_path):
    """One worker or two, another hash seed, time zone, locale and working directory: equal files."""
    build(study("one", shard_mb=0.05), reporter=quiet())
    env = os.environ | {"PYTHONHASHSEED": "77", "TZ": "Pacific/Auckland", "LANG": "C"}

    subprocess.run(command(study("two", shard_mb=0.05), tmp_path, 2), check=True, env=env, cwd="/", capture_output=True)

    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_killed_build_resumes_to_the_same_bytes(study, tmp_path):
    """SIGKILL at several moments; the next call finishes what is missing."""
    build(study("whole", shard_mb=0.02), reporter=quiet())
    config = study("killed", shard_mb=0.02)
    for delay in (0.8, 1.5, 1.9, 2.3):
        child = subprocess.Popen(command(config, tmp_path, 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()

    subprocess.run(command(config, tmp_path, 1), check=True, capture_output=True)

    assert tree(tmp_path / "whole") == tree(tmp_path / "killed")
    assert not list(config.folder.rglob("*.part"))


def test_a_disk_that_refuses_is_exit_74_and_the_build_resumes(study, tmp_path):
    """A file size limit stands in for a full disk; afterwards the bytes are those of an undisturbed build."""
    build(study("whole"), reporter=quiet())
    config = study("full")
    arguments = command(config, tmp_path, 1)[3:]
    stopped = subprocess.run([sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True)
    assert stopped.returncode == 74, stopped.stderr
    assert "make room" in stopped.stderr
    assert "Traceback" not in stopped.stderr

    subprocess.run(command(config, tmp_path, 1), check=True, capture_output=True)
    assert tree(tmp_path / "whole") == tree(tmp_path / "full")


def test_official_splits_win_and_a_patient_in_two_goes_to_the_more_guarded(tmp_path, draw, source_toml, config_for):
    """Moving a patient to test can hide nothing; the conflict is counted."""
    for number, where in enumerate(("train/a_1", "test/a_2", "train/b_1", "val/c_1")):
        draw(f"data/{where}.png", seed=number)
    toml = source_toml('diseases = ["none"]\n[layout]\nkind = "folder_per_class"\nimages = "{split}/{patient}_*"')

    manifest = build(config_for(toml, tmp_path / "data"), reporter=quiet()).manifest

    assert manifest["splits"] == {"train": 1, "validation": 1, "test": 2}
    assert manifest["split_conflicts"] == 1


def kill_the_process(sample: Sample) -> Sample:
    """Stand in for a decoder that dies of one picture."""
    if sample.locator.endswith("_071.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return sample


def test_a_picture_that_kills_its_process_costs_one_line(study, tmp_path, monkeypatch):
    """The culprit is refused by name; every other row of its shard, and every other shard, is written."""
    real = stages(study())
    monkeypatch.setattr("medtrinity25m.build.stages", lambda config: (each(kill_the_process), *real))

    manifest = build(study(), workers=2, reporter=quiet()).manifest

    assert manifest["rows"] == {"read": 24, "written": 23, "rejected": 1}
    (refused,) = quarantine_rows(study().folder)
    assert (refused["code"], refused["path"]) == ("engine.crash", "sick/P7_071.png")


def test_a_lost_record_fails_the_gate():
    """Read = written + rejected, or there is no release."""
    shard = {"name": "ct/train-00000-of-00001", "rows": 3}

    with pytest.raises(GateFailedError, match="5 records were read but 3 written and 0 rejected"):
        make_manifest([shard], {}, [], [], {"read": 5, "split_conflicts": 0})


def test_bad_files_cost_a_line_each_and_nothing_else(tmp_path, draw, source_toml, config_for):
    """Every third file is truncated, mislabeled or no image: all good ones are in, each bad one has its reason."""
    good = 0
    for number in range(30):
        path = draw(f"data/sick/{number:02d}.png", seed=number)
        match number % 9:
            case 2:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            case 5:
                path.rename(path.with_suffix(".jpg"))
            case 8:
                path.write_text("not an image at all")
            case _:
                good += 1
    config = config_for(
        source_toml('[layout]\nkind = "folder_per_class"\n[labels]\nsick = "pneumonia"'), tmp_path / "data"
    )

    counts = build(config, reporter=quiet()).manifest["rows"]

    refused = quarantine_rows(config.folder)
    assert counts == {"read": 30, "written": good, "rejected": 30 - good}
    assert len(refused) == 30 - good
    assert {row["code"] for row in refused} == {"raster.truncated", "file.magic_mismatch"}
    assert all(row["path"] in row["detail"] or row["path"].split("/")[-1] in row["detail"] for row in refused)


def test_duplicates_are_built_once(tmp_path, draw, source_toml, config_for):
    """The same bytes under two names are one row; the later name is in the quarantine."""
    first = draw("data/sick/a.png")
    (first.parent / "b.png").write_bytes(first.read_bytes())
    config = config_for(
        source_toml('[layout]\nkind = "folder_per_class"\n[labels]\nsick = "pneumonia"'), tmp_path / "data"
    )

    assert build(config, reporter=quiet()).manifest["rejected_by_reason"] == {"plan.duplicate": 1}
