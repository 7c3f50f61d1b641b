"""How long a slow or failing server is borne with, and how the wait between two attempts is chosen."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import SystemRandom

from rich.filesize import decimal

from medtrinity25m.errors import FetchError
from medtrinity25m.fetch.meter import Meter

GO_ON = "the same command goes on from here later"
_random = SystemRandom()


@dataclass(frozen=True)
class Patience:
    """Limits of time, in seconds.

    `tries` counts attempts in a row that brought fewer than `worthwhile_bytes`; a long file over a bad line may be
    cut any number of times as long as it grows. A connection below `slow_bytes_per_s` over `slow_s` is cut by us:
    a timeout of the socket never ends one that sends a byte now and then.
    """

    connect_s: float = 15
    read_s: float = 60
    slow_s: float = 60
    slow_bytes_per_s: int = 1024
    tries: int = 8
    worthwhile_bytes: int = 1 << 20
    wait_s: float = 1
    longest_wait_s: float = 60
    longest_order_s: float = 900
    """A server that orders a longer pause is left alone: the person is told, the process ends."""

    def wait(self, attempt: int, ordered_s: float | None = None) -> float:
        """Return the pause after the `attempt`-th failure in a row, from 1: doubled each time, with jitter."""
        grown = min(self.longest_wait_s, self.wait_s * 2.0 ** (attempt - 1))
        return max(ordered_s or 0.0, grown * _random.uniform(0.5, 1.0))


class AgainError(Exception):
    """This attempt failed and the next one may not; `ordered_s` is the pause the server asks for."""

    def __init__(self, reason: str, ordered_s: float | None = None) -> None:
        super().__init__(reason)
        self.ordered_s = ordered_s


def ordered_pause(value: str | None) -> float | None:
    """Return a Retry-After header (seconds or an HTTP date) in seconds from now, or None."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def persist(
    what: str, attempt: Callable[[], None], bytes_there: Callable[[], int], patience: Patience, meter: Meter
) -> None:
    """Call `attempt` until it does not raise `AgainError`.

    Args:
        what: what is fetched, for messages.
        attempt: goes on where the one before ended.
        bytes_there: how much there is, so that attempts that got further are told from idle ones.
        patience: how often, and with which pauses.
        meter: is told why there is a pause.

    Raises:
        FetchError: `patience.tries` attempts in a row brought nothing, or the server orders too long a pause.
    """
    idle = 0
    while True:
        before = bytes_there()
        try:
            attempt()
        except AgainError as error:
            there = bytes_there()
            idle = 0 if there - before >= patience.worthwhile_bytes else idle + 1
            if idle >= patience.tries:
                raise FetchError(f"{what}: {error}, {idle} times in a row; {GO_ON}") from None
            pause = patience.wait(max(idle, 1), error.ordered_s)
            if error.ordered_s is not None and error.ordered_s > patience.longest_order_s:
                raise FetchError(f"{what}: {error}, for {error.ordered_s:,.0f} s; {GO_ON}") from None
            meter.say(f"{what}: {error}; {decimal(there)} are there, again in {pause:.1f} s")
            time.sleep(pause)
        else:
            return
