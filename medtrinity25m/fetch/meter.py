"""Progress in bytes: a bar with rate and time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

LINE_S = 10.0  # how often a plain line is printed where there is no terminal


class Count(Protocol):
    """What is told how far one file is."""

    def at(self, position: int) -> None:
        """Tell how many bytes of the file are there."""

    def expect(self, total: int) -> None:
        """Tell how many bytes the file has."""


@dataclass
class _Lines:
    """Counts one file and prints a line every `every_s` seconds."""

    what: str
    print: Callable[[str], None]
    every_s: float
    total: int | None = None
    _began: float = field(default_factory=time.monotonic)
    _told: float = field(default_factory=time.monotonic)
    _first: int | None = None

    def expect(self, total: int) -> None:
        self.total = total

    def at(self, position: int) -> None:
        if self._first is None or position < self._first:
            self._first = position
        now = time.monotonic()
        if now - self._told < self.every_s:
            return
        self._told = now
        rate = (position - self._first) / max(now - self._began, 1e-9)
        of = "" if self.total is None else f" of {decimal(self.total)}"
        left = "" if self.total is None or rate <= 0 else f", {(self.total - position) / rate:.0f} s left"
        self.print(f"{self.what}: {decimal(position)}{of}, {decimal(int(rate))}/s{left}")


@dataclass
class _Bar:
    """Moves a bar."""

    progress: Progress
    task: TaskID

    def expect(self, total: int) -> None:
        self.progress.update(self.task, total=total)

    def at(self, position: int) -> None:
        self.progress.update(self.task, completed=position)


class Meter:
    """Tells a person how far a download is. The default stream is standard error, so that output can be piped."""

    def __init__(self, console: Console | None = None, *, quiet: bool = False, line_s: float = LINE_S) -> None:
        # the stream is fixed here: clients that print bars of their own get standard error redirected under them
        self.console = console or Console(file=sys.stderr)
        self.quiet = quiet
        self.line_s = line_s

    @property
    def terminal(self) -> bool:
        """Whether bars can be drawn."""
        return self.console.is_terminal and not self.quiet

    def say(self, message: str) -> None:
        """Print a line."""
        if not self.quiet:
            self.console.print(message, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def counting(self, what: str, total: int | None = None) -> Iterator[Count]:
        """Show how far one file is while the block runs."""
        if not self.terminal:
            yield _Lines(what, self.say, self.line_s, total)
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
        with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=self.console) as progress:
            yield _Bar(progress, progress.add_task(what, total=total))

    @contextmanager
    def watching(self, what: str, folder: Path, total: int | None = None) -> Iterator[None]:
        """Show how a folder grows while the block runs; on a terminal the client that fills it shows its own bars."""
        if self.terminal or self.quiet:
            yield
            return
        count = _Lines(what, self.say, 0.0, total)
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(self.line_s):
                count.at(folder_bytes(folder))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder that may be changing under us."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except OSError:  # gone or renamed since it was listed
                continue
    return total
