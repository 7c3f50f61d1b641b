"""Runs work units: here, in one process or several.

A unit is a picklable call that returns a picklable result; results come back in the order of the units. A unit
that kills its process (a decoder's segmentation fault, the out-of-memory killer) does not end the run: the
units left over are run again one at a time, so that the culprit is known, and the caller is told which it was.

**Why** plain processes and not a framework: the shard is the unit of work, retry and resume on any machine, so
all an engine has to do is call a function. Ray or a Slurm array call the same one.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Crash:
    """Stands for the result of a unit whose process died."""

    unit: int


@dataclass
class Engine:
    """Calls functions over units with `workers` processes; 1 means in this process, where nothing guards a crash."""

    workers: int = 1
    _pool: ProcessPoolExecutor | None = field(default=None, repr=False)

    @contextmanager
    def running(self) -> Iterator[Engine]:
        """Keep the pool between calls, and end it with the block."""
        try:
            yield self
        finally:
            self._stop()

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        """Yield `function(unit)` for every unit, in order; a `Crash` where the process died twice."""
        units = list(items)
        if self.workers == 1:
            for unit in units:
                yield function(unit)
            return
        done: dict[int, Any] = {}
        next_out = 0
        pending = self._submit(function, units, range(len(units)))
        broken = False
        while pending:
            finished, _ = wait(pending, return_when="FIRST_COMPLETED")
            for future in finished:
                index = pending.pop(future)
                try:
                    done[index] = future.result()
                except BrokenProcessPool:
                    broken = True
            while next_out in done:
                yield done.pop(next_out)
                next_out += 1
        if broken:
            yield from self._one_by_one(function, units, done, next_out)

    def _one_by_one(
        self, function: Callable[[Any], Any], units: Sequence[Any], done: dict[int, Any], start: int
    ) -> Iterator[Any]:
        """Run what a crash left undone, each unit alone, so that a second crash names its unit."""
        for index in range(start, len(units)):
            if index not in done:
                self._stop()
                try:
                    done[index] = self._executor(1).submit(function, units[index]).result()
                except BrokenProcessPool:
                    done[index] = Crash(index)
                    self._stop()
            yield done.pop(index)
        self._stop()

    def _submit(
        self, function: Callable[[Any], Any], units: Sequence[Any], indices: Sequence[int]
    ) -> dict[Future[Any], int]:
        pool = self._executor(self.workers)
        return {pool.submit(function, units[index]): index for index in indices}

    def _executor(self, workers: int) -> ProcessPoolExecutor:
        if self._pool is None:
            # spawn: forking a process with threads (Arrow has some) can deadlock
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent)
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _follow_parent() -> None:
    """End this worker when its parent is gone, so that a killed build leaves nobody writing."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
