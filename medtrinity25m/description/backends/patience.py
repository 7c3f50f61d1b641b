"""How long a failing endpoint is borne with: pauses between tries, and a breaker over all calls.

A request that fails may be at fault itself, or its server may be down. Only a server that answers others proves the
former, so before a request is given up the server is asked something harmless of the same form (a probe). While the
breaker is open nobody is asked but by probes; the run pauses, and ends only after `patience_s`.

**Why** a probe and no simpler count: at the end of a batch nothing may be left but requests that a server cannot
digest, and then a count of failures in a row looks like an outage. The run would stop there, and stop there again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import SystemRandom
from typing import NamedTuple

from medtrinity25m.description.backends.chat import Trouble
from medtrinity25m.description.exchange import Answer, Request
from medtrinity25m.errors import FetchError
from medtrinity25m.fetch.patience import GO_ON

Ask = Callable[[Request], Awaitable[Answer | Trouble]]
_random = SystemRandom()


@dataclass(frozen=True)
class Pace:
    """Pauses, in seconds. The first is a second: a busy server frees a place in about the time of an answer.

    `breaks_after` failures in a row over all calls open the breaker: with 30 % failing by chance that happens once in
    170,000 calls, and costs a probe.
    """

    first_wait_s: float = 1
    longest_wait_s: float = 60
    breaks_after: int = 10

    def wait(self, failures: int, in_a_row: int, ordered_s: float | None = None) -> float:
        """Return a pause: any up to a limit, on top of what the server orders.

        The limit doubles with the failures in a row over all calls, and grows by a step with a request's own. Doubling
        with its own alone would let a request wait for minutes, for its bad luck, while the server answers all others.
        """
        limit = max(failures, 2.0 ** (min(failures, in_a_row, 30) - 1)) * self.first_wait_s
        return (ordered_s or 0.0) + _random.uniform(0, min(self.longest_wait_s, limit))


class Proof(NamedTuple):
    """What a probe came to: whether the server spoke at the first, and whether it gave an answer."""

    at_once: bool
    answered: bool


@dataclass
class Breaker:
    """Stands between all calls of a batch and their server; `where` names it in messages."""

    where: str
    pace: Pace
    patience_s: float
    probe: Ask
    """Asks one request once."""
    last_good: float = -math.inf
    """When somebody was last answered, by the monotonic clock."""
    in_a_row: int = 0
    """Failures since then."""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def good(self) -> None:
        """Note an answer."""
        self.in_a_row = 0
        self.last_good = time.monotonic()

    def bad(self) -> None:
        """Note a failure."""
        self.in_a_row += 1

    async def closed(self, request: Request) -> None:
        """Return when `request` may be asked.

        Raises:
            FetchError: nothing was answered for `patience_s`.
        """
        while self.in_a_row >= self.pace.breaks_after:
            await self.proof(request)

    async def proof(self, request: Request) -> Proof:
        """Probe until the server speaks; one probes, the others wait for what comes of it.

        Raises:
            FetchError: nothing was answered for `patience_s`.
        """
        began = time.monotonic()
        async with self._lock:
            tries = 0
            while self.last_good <= began:
                said = await self.probe(request)
                if isinstance(said, Answer):
                    self.good()
                elif said.kind in ("wrong", "stop"):
                    self.in_a_row = 0  # it speaks; what it says is for the requests to find out
                    return Proof(at_once=tries == 0, answered=False)
                else:
                    tries += 1
                    await self._pause(tries, said, began)
            return Proof(at_once=tries == 0, answered=True)

    async def _pause(self, tries: int, said: Trouble, began: float) -> None:
        pause = self.pace.wait(tries, tries, said.ordered_s)
        if time.monotonic() - began + pause > self.patience_s:
            raise FetchError(f"{self.where} gives no answer: {said.reason}; {GO_ON}")
        await asyncio.sleep(pause)
