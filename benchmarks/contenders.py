"""The contenders of `run.py`, each in a process of its own: `python contenders.py NAME FOLDER` prints a line of JSON.

`prepare` writes the inputs, a reference release and its finished rows; `check` compares what the contenders left
with that release; the others are measured. What a contender needs is imported and loaded before its clock starts.

**Why** the peer is given Pillow images and its own defaults: that is how people who write a `datasets` builder do
it. Where the file itself is shipped both get its bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow.parquet as pq
from inputs import CONFIG, DEMO_CONFIG, prepare
from PIL import Image, features

from medtrinity25m.build import build, stages
from medtrinity25m.config import BuildConfig, load_config
from medtrinity25m.engine import Engine
from medtrinity25m.features import FEATURES
from medtrinity25m.pipeline import run
from medtrinity25m.progress import Reporter
from medtrinity25m.readers.load import Loader
from medtrinity25m.readers.safe import Jail
from medtrinity25m.readers.sandbox import gdcm
from medtrinity25m.release.parquet import ParquetFile
from medtrinity25m.release.plan import make_plan
from medtrinity25m.release.rows import data_row, row_bytes
from medtrinity25m.triplet import Facts, Sample, Triplet, TripletROI

Item = TypeVar("Item")
Row = dict[str, Any]
Call = Callable[[], dict[str, float]]
"""Does a contender's work; returns what it measured itself."""
SAMPLE = 16  # one row of so many has its pixels compared, which takes decoding; all else is compared in every row
EVERYBODY = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of `ru_maxrss`, getrusage(2)
WARM_ROWS = 10  # for a writer's warm-up: enough for a table with regions of interest and without
ROWS, REFERENCE, RELEASE = "rows.pickle", "reference", "release"


def samples(config: BuildConfig) -> Iterator[Sample]:
    """Yield what both builds write: the plan's records, read, through the stages, the refused ones left out."""
    with Engine(1).running() as engine:
        plan = make_plan(config, config.key(), engine, Reporter(quiet=True))
    sources = {source.id: (source, root) for source, root in config.resolved}
    steps = stages(config)
    for shard in plan.shards:
        for name, records in groupby(shard.records, key=lambda record: record.source):
            source, root = sources[name]
            done = run(Loader(source, Jail(root))(records), *steps)
            yield from (sample for sample in done if sample.rejected is None)


def peer_row(sample: Sample) -> Row:
    """Return a sample as the peer's generator gives it: Pillow images for its Image feature to encode."""
    assert sample.pixels is not None
    row = sample.model_dump(include=set(Facts.model_fields))
    encoded = {"bytes": sample.encoded, "path": None}
    row["image"] = encoded if sample.encoded else Image.fromarray(sample.pixels)
    row["width"], row["height"] = sample.width, sample.height
    row["rois"] = []
    for roi in sample.rois:
        mask = roi.full_mask(sample.height, sample.width)
        own = roi.model_dump(include=set(TripletROI.model_fields) - {"mask"})
        row["rois"].append(own | {"bbox": roi.coco(), "mask": None if mask is None else Image.fromarray(mask)})
    return row


@dataclass
class Clock:
    """Adds up the CPU seconds that this process spends inside an iterator."""

    cpu_s: float = 0.0

    def over(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield the items, counting what it takes to make each."""
        end = object()
        while True:
            start = time.process_time()
            item = next(items, end)
            self.cpu_s += time.process_time() - start
            if item is end:
                return
            yield cast("Item", item)


def datasets_builder(folder: Path, rows: Callable[[], Iterable[Row]]) -> Callable[[], None]:
    """Return the call by which `datasets` writes `rows` as Parquet into `folder`."""
    import datasets  # here, since only the peer's processes should pay for its memory

    class Peer(datasets.GeneratorBasedBuilder):  # type: ignore[misc]  # datasets ships no types
        """A builder as its documentation shows one."""

        def _info(self) -> datasets.DatasetInfo:
            return datasets.DatasetInfo(features=datasets.Features.from_dict(FEATURES))

        def _split_generators(self, _: object) -> list[datasets.SplitGenerator]:
            return [datasets.SplitGenerator(name="train")]

        def _generate_examples(self) -> Iterator[tuple[str, Row]]:
            for row in rows():
                yield row["id"], row

    builder = Peer(cache_dir=str(folder.with_name("cache")))
    return lambda: builder.download_and_prepare(str(folder), file_format="parquet", verification_mode="no_checks")


def build_ours(config: BuildConfig, _: list[Row]) -> Call:
    """Return the call of our build, one worker."""

    def call() -> dict[str, float]:
        build(config, workers=1, reporter=Reporter(quiet=True))
        gdcm.close()  # the time of a child counts once it has ended
        return {}

    return call


def build_datasets(config: BuildConfig, _: list[Row]) -> Call:
    """Return the call of the peer's build: the same plan, reading and stages, its own encoding and writing."""
    clock = Clock()
    write = datasets_builder(config.folder, lambda: map(peer_row, clock.over(samples(config))))

    def call() -> dict[str, float]:
        before = _cpu_s(resource.RUSAGE_CHILDREN)
        write()
        gdcm.close()
        return {"shared_s": clock.cpu_s + _cpu_s(resource.RUSAGE_CHILDREN) - before}

    return call


def write_ours(config: BuildConfig, rows: list[Row]) -> Call:
    """Return the call that writes finished rows as a shard is written, one file for all."""
    config.folder.mkdir()

    def call() -> dict[str, float]:
        with ParquetFile(config.folder / "rows.parquet", FEATURES, int(config.row_group_mb * 1e6)) as file:
            for row in rows:
                file.add(row, row_bytes(row))
        return {}

    return call


def write_datasets(config: BuildConfig, rows: list[Row]) -> Call:
    """Return the call that writes the same rows by `datasets`."""
    write = datasets_builder(config.folder, lambda: rows)

    def call() -> dict[str, float]:
        write()
        return {}

    return call


CONTENDERS: dict[str, Callable[[BuildConfig, list[Row]], Call]] = {
    "build-ours": build_ours,
    "build-datasets": build_datasets,
    "write-ours": write_ours,
    "write-datasets": write_datasets,
}


def measure(name: str, folder: Path) -> dict[str, float]:
    """Run one contender into an empty folder and return what it cost.

    It first does the same work on the demo's own files, since a decoder, or pandas for the first Arrow table, is
    imported when it is needed, and no import should count.
    """
    rows = list(finished_rows(folder)) if name.startswith("write") else []
    with tempfile.TemporaryDirectory() as scratch:
        warm_up = CONTENDERS[name](load_config(folder / DEMO_CONFIG, out=Path(scratch) / RELEASE), rows[:WARM_ROWS])
        loaded = _peak_bytes()
        warm_up()
    out = folder / name / RELEASE
    shutil.rmtree(out.parent, ignore_errors=True)  # of the round before
    out.parent.mkdir()
    call = CONTENDERS[name](load_config(folder / CONFIG, out=out), rows)
    cpu_s, wall_s = _cpu_s(*EVERYBODY), time.perf_counter()
    more = call()
    return {
        "cpu_s": _cpu_s(*EVERYBODY) - cpu_s,
        "wall_s": time.perf_counter() - wall_s,
        "peak_bytes": _peak_bytes(),
        "loaded_bytes": loaded,
        "bytes": sum(path.stat().st_size for path in _data(out)),
        **more,
    }


def _cpu_s(*whose: int) -> float:
    """Return user and system seconds of this process, or of its children that have ended, or of both."""
    usages = [resource.getrusage(who) for who in whose]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def _data(out: Path) -> list[Path]:
    """Return the Parquet files with whole rows that a contender left."""
    return sorted((out / "data" if (out / "data").is_dir() else out).rglob("*.parquet"))


def _rows(paths: Iterable[Path]) -> Iterator[Row]:
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches(64):  # rows of a few hundred kB: some MB at a time
            yield from batch.to_pylist()


def set_up(folder: Path, rows: int) -> dict[str, Any]:
    """Write the inputs, build the reference from them, keep its rows as our writer gets them; return the facts."""
    mix = prepare(folder, rows)
    config = load_config(folder / CONFIG, out=folder / REFERENCE)
    outcome = build(config, workers=1, reporter=Reporter(quiet=True))
    with (folder / ROWS).open("wb") as file:
        for row in _rows(_data(folder / REFERENCE)):
            pickle.dump(data_row(Triplet.model_validate(row)), file)
    beside = sum(path.stat().st_size for path in (folder / REFERENCE / "metadata").rglob("*.parquet"))
    deflate = f"zlib-ng {ng}" if (ng := features.version_feature("zlib_ng")) else "zlib"
    counted = outcome.manifest["rows"]
    return {**counted, "mix": mix, "deflate": deflate, "metadata_bytes": beside}


def finished_rows(folder: Path) -> Iterator[Row]:
    """Yield the rows that `set_up` kept."""
    with (folder / ROWS).open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)


def check(folder: Path) -> dict[str, list[str]]:
    """Compare what each contender wrote last with the reference; return the differences, in words."""
    expected = _digests(_data(folder / REFERENCE))
    found = [] if expected else ["the reference has no rows"]
    for name in CONTENDERS:
        written = _digests(_data(folder / name / RELEASE))
        ids = sorted(expected.keys() | written.keys())
        if wrong := [row for row in ids if expected.get(row) != written.get(row)]:
            found.append(f"{name} differs in {len(wrong)} rows, of which {wrong[0]} is one")
    return {"differences": found}


def _digests(paths: Iterable[Path]) -> dict[str, str]:
    """Return a hash of each row by id: of all that is no picture, and for a sample of the rows of every pixel."""
    return {row["id"]: _digest(row, int(row["id"][-8:], 16) % SAMPLE == 0) for row in _rows(paths)}


def _digest(row: Row, pixels: bool) -> str:
    pictures = [row.pop("image"), *(roi.pop("mask") for roi in row["rois"])]
    digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode())
    for picture in pictures if pixels else []:
        array = None if picture is None else np.asarray(Image.open(io.BytesIO(picture["bytes"])))
        digest.update(b"none" if array is None else repr((array.shape, array.dtype.str)).encode() + array.tobytes())
    return digest.hexdigest()


def main() -> None:
    """Do what the arguments name and print the result."""
    name, folder, *rest = sys.argv[1:]
    result: object
    if name == "prepare":
        result = set_up(Path(folder), int(rest[0]))
    else:
        result = check(Path(folder)) if name == "check" else measure(name, Path(folder))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
