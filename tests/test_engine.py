"""Work units in one process and in several."""

from __future__ import annotations

import os
import signal
import time

import pytest

from medtrinity25m.engine import Crash, Engine


def double(unit: int) -> int:
    time.sleep(0.02 * (unit % 3))
    return 2 * unit


def die_on_three(unit: int) -> int:
    if unit == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return unit


def refuse(unit: int) -> int:
    raise ValueError(f"unit {unit}")


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_units(workers):
    """Whoever finishes first, results are in order."""
    with Engine(workers).running() as engine:
        assert list(engine.map(double, range(7))) == [2 * unit for unit in range(7)]


def test_a_unit_that_kills_its_process_is_named_and_the_others_finish():
    """The culprit becomes a `Crash`; nothing else is lost."""
    with Engine(2).running() as engine:
        results = list(engine.map(die_on_three, range(6)))

    assert results == [0, 1, 2, Crash(3), 4, 5]


def test_an_exception_of_a_unit_is_a_bug_and_stops():
    """Errors are not results."""
    with Engine(2).running() as engine, pytest.raises(ValueError, match="unit"):
        list(engine.map(refuse, range(3)))


def test_the_engine_can_be_used_again_after_a_crash():
    """A crashed pool is replaced."""
    with Engine(2).running() as engine:
        list(engine.map(die_on_three, range(4)))

        assert list(engine.map(double, range(3))) == [0, 2, 4]
