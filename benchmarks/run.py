"""Cost of `build` and of the shard writer beside `datasets`' own builder, as Markdown tables: `make bench`.

Run `python benchmarks/run.py [--rows 2000]`. Both contenders do the same work from the same files in the same run,
turn by turn, each in a fresh process, and what they wrote is compared afterwards. The tables go to the console and
to `benchmarks/results.md`. No test asserts a number: only the ratios of one run mean anything.

**Why** this process imports next to nothing: Linux counts the peak memory of a process from before it became
another program, so a child of a large parent would look large.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROWS = 2000  # enough that what a build does once, a second or so, is lost in the spread of the rounds
ROUNDS = 3  # the fewest with a median that one disturbed round does not move
PACKAGES = ("medtrinity25m", "datasets", "pyarrow", "pillow", "numpy", "isal", "pydicom", "scipy")
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}
"""The peer neither calls home nor draws bars while it is timed."""
HERE = Path(__file__).resolve().parent
BUILDS = {
    "build-ours": "`build` of this package",
    "build-datasets": "`GeneratorBasedBuilder` of `datasets`",
}
WRITERS = {"write-ours": "`ParquetFile` of this package", "write-datasets": "`GeneratorBasedBuilder` of `datasets`"}
PEER_TIMES, MEMORY = "CPU of `datasets` / ours", "peak MB (loaded)"
MB = 1e6  # as disks and the Hub count
Result = dict[str, Any]


@dataclass(frozen=True)
class Child:
    """Runs `contenders.py` in a fresh interpreter, its files below `folder`."""

    folder: Path

    def __call__(self, *arguments: str) -> Result:
        """Return what it printed; its complaints are shown when it fails."""
        name, *rest = arguments
        command = [sys.executable, str(HERE / "contenders.py"), name, str(self.folder), *rest]
        environment = os.environ | QUIET | {"HF_HOME": str(self.folder / "hf")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr}")
        result: Result = json.loads(done.stdout.splitlines()[-1])
        return result


@dataclass(frozen=True)
class Rounds:
    """The results of every contender, a list over rounds."""

    results: dict[str, list[Result]]

    def median(self, name: str, key: str) -> float:
        """Return the median of a measure."""
        return float(statistics.median(result[key] for result in self.results[name]))

    def spread(self, name: str, show: Callable[[float], str], key: str = "cpu_s") -> str:
        """Return median and range of what `show` makes of a measure."""
        return _spread([result[key] for result in self.results[name]], show)

    def faster(self, ours: str, peer: str) -> str:
        """Return how many times less CPU we took, round by round."""
        pairs = zip(self.results[ours], self.results[peer], strict=True)
        return _spread([theirs["cpu_s"] / own["cpu_s"] for own, theirs in pairs], lambda ratio: f"{ratio:.2f}x")

    def memory(self, name: str) -> str:
        """Return median peak memory, and what was there once everything was imported and loaded."""
        peak, before = (self.median(name, key) / MB for key in ("peak_bytes", "loaded_bytes"))
        return f"{peak:.0f} ({before:.0f})"


def _spread(values: Sequence[float], show: Callable[[float], str]) -> str:
    return f"{show(statistics.median(values))} ({show(min(values))}–{show(max(values))})"


def measure(child: Child, say: Callable[[str], None]) -> Rounds:
    """Run every contender once a round, all of them taking turns."""
    results: dict[str, list[Result]] = {name: [] for name in (*BUILDS, *WRITERS)}
    for number in range(ROUNDS):
        for name, kept in results.items():
            kept.append(child(name))
            say(f"round {number + 1} of {ROUNDS}: {name} took {kept[-1]['cpu_s']:.1f} CPU seconds")
    return Rounds(results)


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is words, the others are numbers."""
    rule = "|---|" + "--:|" * (len(head) - 1)
    return "\n".join(["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)])


def builds(rounds: Rounds, rows: int) -> str:
    """Return the table of the builds."""
    head = ("build", "CPU s", "wall s", "CPU ms/row", "rows/s/core", PEER_TIMES, MEMORY, "rows", "MB")
    lines = [
        (
            label,
            rounds.spread(name, lambda cpu_s: f"{cpu_s:.1f}"),
            f"{rounds.median(name, 'wall_s'):.1f}",
            rounds.spread(name, lambda cpu_s: f"{cpu_s / rows * 1e3:.1f}"),
            f"{rows / rounds.median(name, 'cpu_s'):.1f}",
            rounds.faster("build-ours", "build-datasets") if name == "build-ours" else "",
            rounds.memory(name),
            f"{rows:,}",
            f"{rounds.median(name, 'bytes') / MB:.0f}",
        )
        for name, label in BUILDS.items()
    ]
    return _table(head, lines)


def writers(rounds: Rounds, rows: int) -> str:
    """Return the table of the writers."""
    head = ("writer", "CPU µs/row", "wall µs/row", PEER_TIMES, MEMORY, "rows", "MB")
    lines = [
        (
            label,
            rounds.spread(name, lambda cpu_s: f"{cpu_s / rows * 1e6:.0f}"),
            f"{rounds.median(name, 'wall_s') / rows * 1e6:.0f}",
            rounds.faster("write-ours", "write-datasets") if name == "write-ours" else "",
            rounds.memory(name),
            f"{rows:,}",
            f"{rounds.median(name, 'bytes') / MB:.0f}",
        )
        for name, label in WRITERS.items()
    ]
    return _table(head, lines)


def machine(deflate: str, load: float) -> str:
    """Return one line that says what ran; `load` is what others did when we began."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{_processor()}, {os.cpu_count()} cores, load {load:.1f} before we began, {platform.system()}; "
        f"Python {platform.python_version()}; {versions}; Pillow deflates by {deflate}. "
        f"Median (lowest–highest) of {ROUNDS} rounds."
    )


def _processor() -> str:
    """Return the processor's name, which Linux keeps from `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


PAGE = """# `build` and its writer beside `datasets`

Written by `python benchmarks/run.py --rows {asked}`; README.md here says how to read it.

{machine}

## Build

{read:,} records: the demo's real images, repeated so that no two files are equal: {mix}. Both refused {rejected} (blank
slices). One process, one worker.

{builds}

Both make the same plan, decode the same files and run the same stages: {shared} CPU ms a row where it was
measured, inside the generator of `datasets`. The same work differs by as much between processes as between rounds, so
it cannot be subtracted from ours. Ours then encodes PNG by ISA-L, validates each row, writes `metadata/` as well
({metadata:.1f} MB, not counted above), hashes and syncs every file; `datasets` encodes by Pillow, whose slower deflate
gives fewer bytes, and writes the rows. PNG and JPEG files that can ship unchanged pass through in both. Starting the
process that decodes JPEG Lossless counts in both.

## Writer

{writers}

The same rows, already encoded and in memory, to one Parquet file, each writer with its own settings.

CPU is user and system time of the process and of its children; a warm-up on the demo's own files comes first, so no
import counts. rows/s/core is rows by CPU second. Memory is the peak of the process alone; in brackets the peak before
the warm-up: the interpreter, the libraries imported at the top, and for the writers the rows. Read back, all four
outputs hold the same rows: every text, box and number was compared, and the pixels of images and masks in one row of
sixteen.
"""


def report(rounds: Rounds, facts: Result, asked: int, load: float) -> str:
    """Return the page."""
    rows = facts["written"]
    return PAGE.format(
        asked=asked,
        machine=machine(facts["deflate"], load),
        read=facts["read"],
        mix=facts["mix"],
        rejected=facts["rejected"],
        builds=builds(rounds, rows),
        shared=rounds.spread("build-datasets", lambda cpu_s: f"{cpu_s / rows * 1e3:.1f}", "shared_s"),
        metadata=facts["metadata_bytes"] / MB,
        writers=writers(rounds, rows),
    )


def main() -> None:
    """Measure, print the tables and write them beside this file, unless the contenders' outputs differ."""
    parser = argparse.ArgumentParser(description="build and writer beside datasets' own, as Markdown tables")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"about how many rows to build (default {ROWS})")
    asked = parser.parse_args().rows
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="medtrinity25m-bench-") as folder:
        child = Child(Path(folder))
        facts = child("prepare", str(asked))
        rounds = measure(child, lambda line: print(line, file=sys.stderr))
        differences = child("check")["differences"]
    page = report(rounds, facts, asked, load)
    print(page)
    if differences:
        raise SystemExit(f"results.md is left as it was, the outputs differ: {'; '.join(differences)}")
    (HERE / "results.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
