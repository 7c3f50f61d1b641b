"""Numbers as words and as claim values, the one place where they are rounded."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import NamedTuple

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MILLIMETERS_FROM = 1.0  # mm; lengths below are micrometers: a tissue tile is 250.0 µm wide, not 0.2 mm


class Figure(NamedTuple):
    """A rounded number: the words in the text, the value of its claim, and the unit of both."""

    words: str
    value: str
    unit: str | None = None


def percent(share: Fraction) -> Figure:
    """Return a share of 0 to 1 in percent to one decimal, never rounded down to nothing or up to all.

    Exactly, halves up: counts of pixels often lie halfway, and there two ways of computing in floats differ.
    """
    tenths = math.floor(share * 1000 + Fraction(1, 2))
    value = f"{tenths // 10}.{tenths % 10}"
    if value == "0.0" and share > 0:
        return Figure("less than 0.1%", "<0.1", "%")
    if value == "100.0" and share < 1:
        return Figure("more than 99.9%", ">99.9", "%")
    return Figure(f"{value}%", value, "%")


def size(pixels: tuple[int, int], millimeters: tuple[float, float] | None) -> tuple[Figure, Figure]:
    """Return width and height, the unit written with the second: `25.0`, `18.0 mm`.

    In millimeters to one decimal, in micrometers where the longer is under a millimeter, in pixels where
    `millimeters` is None.
    """
    if millimeters is None:
        width, height = (str(side) for side in pixels)
        return Figure(width, width, "px"), Figure(f"{height} pixels", height, "px")
    factor, unit = _scale(max(millimeters))
    width, height = (f"{side * factor:.1f}" for side in millimeters)
    return Figure(width, width, unit), Figure(f"{height} {unit}", height, unit)


def distance(pixels: float, millimeters: float | None) -> Figure:
    """Return a distance with its unit: millimeters or micrometers to one decimal, else whole pixels."""
    if millimeters is None:
        value = f"{math.floor(pixels + 0.5)}"
        return Figure(f"{value} pixel{'' if value == '1' else 's'}", value, "px")
    factor, unit = _scale(millimeters)
    value = f"{millimeters * factor:.1f}"
    return Figure(f"{value} {unit}", value, unit)


def _scale(millimeters: float) -> tuple[float, str]:
    """Return the factor from millimeters to the unit that suits a length, and the unit."""
    return (1.0, "mm") if millimeters >= _MILLIMETERS_FROM else (1000.0, "µm")


def count(number: int) -> Figure:
    """Return a count: in words below ten, as American style has it, in digits from ten on."""
    return Figure(_WORDS[number] if number < len(_WORDS) else f"{number}", f"{number}")


def ordinal(number: int) -> Figure:
    """Return `first` to `fifth` for 1 to 5."""
    return Figure(_ORDINALS[number - 1], f"{number}")


def hounsfield(mean: int) -> Figure:
    """Return a mean attenuation: `43 HU`."""
    return Figure(f"{mean} HU", f"{mean}", "HU")
