"""Progress of a long build: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from medtrinity25m.release.shards import Marker
from medtrinity25m.release.workspace import Workspace

POLL_S = 0.5  # how often the workers' markers are looked at
LINE_S = 10.0  # how often a plain line is printed where there is no terminal


@dataclass
class Reporter:
    """Tells a person how far a build is. The default console is standard error, so that output can be piped."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    quiet: bool = False
    _what: str = ""
    _done: int = 0
    _total: int = 0
    _finished: set[str] = field(default_factory=set)
    _began: float = 0.0
    _before: int = 0

    def say(self, message: str) -> None:
        """Print a line."""
        if not self.quiet:
            self.console.print(message, highlight=False, markup=False)

    def start(self, what: str, total: int, done: int = 0) -> None:
        """Begin a phase: what is counted, how many there are, how many were done before."""
        self._what, self._total, self._done, self._before, self._began = what, total, done, done, time.monotonic()
        if done:
            self.say(f"{what}: {done:,} of {total:,} were done before")

    def tick(self) -> None:
        """Count one."""
        self._done += 1

    def finished(self, shard: str, records: int) -> None:
        """Count the records of a shard."""
        self._finished.add(shard.replace("/", "-"))
        self._done += records

    @contextmanager
    def during(self, space: Workspace) -> Iterator[Reporter]:
        """Show progress while the block runs."""
        for marker in space.active.glob("*"):
            marker.unlink()
        if self.quiet:
            yield self
            return
        stop = threading.Event()
        thread = threading.Thread(target=self._watch, args=(space, stop), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _watch(self, space: Workspace, stop: threading.Event) -> None:
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task("", total=None, rate="")
                while not stop.wait(POLL_S):
                    self._refresh(bar, task, space)
        else:
            while not stop.wait(LINE_S):
                if self._total:
                    now, rate = self._now(space), self._rate(space)
                    left = f"{(self._total - now) / rate:.0f} s left" if rate else "time left unknown"
                    line = f"{self._what}: {now:,} of {self._total:,}, {rate:.1f}/s, {left}"
                    print(line, file=sys.stderr, flush=True)

    def _refresh(self, bar: Progress, task: TaskID, space: Workspace) -> None:
        if self._total:
            if bar.tasks[task].description != self._what:
                bar.reset(task)  # the time left of one phase says nothing about the next
            rate = f"{self._rate(space):.1f}/s"
            bar.update(task, description=self._what, total=self._total, completed=self._now(space), rate=rate)

    def _now(self, space: Workspace) -> int:
        """Return the records behind all workers, finished shards and running ones."""
        running = (path.name for path in space.active.glob("*") if path.name not in self._finished)
        return min(self._total, self._done + sum(Marker.read(space, name)[0] for name in running))

    def _rate(self, space: Workspace) -> float:
        elapsed = time.monotonic() - self._began
        return (self._now(space) - self._before) / elapsed if elapsed > 0 else 0.0
