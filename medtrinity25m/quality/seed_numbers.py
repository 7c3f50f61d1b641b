"""Seeds that change a number: a size (length or share of the image), or a count."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from medtrinity25m.quality.seed_page import Dice, Edit, Page, Region, Sentence, like, names

_UNIT = r"(?:%|percent|mm|millimeters?|cm|centimeters?|µm|pixels|px)"
_NUMBER = r"\d+(?:\.\d+)?"
_SIZE = re.compile(
    rf"(?<![\w.<>-])({_NUMBER})(?=(?: ?{_UNIT})?(?: (?:x|×|by) {_NUMBER})? ?({_UNIT})(?![\w]))", re.IGNORECASE
)
_NO_SIZE = re.compile(
    r"\b(?:away|from its|from the|midline|smallest|largest of|in the (?:left|right) half|center -?\d|field of view)\b",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"\b(?:(?:less|more|larger|smaller|greater) than|at (?:least|most)|up to|below|above|over|under) $", re.I
)
_FACTORS = (1 / 5, 1 / 4, 1 / 3, 1 / 2, 1 / 1.5, 1.5, 2.0, 3.0, 4.0, 5.0)
_MM = {"mm": 1.0, "mil": 1.0, "cm": 10.0, "cen": 10.0, "µm": 0.001}
_NEAR = 0.25
"""A seed is at least this far, as a share, from everything in the row that the number could mean."""


def sizes(page: Page, dice: Dice) -> Iterator[Edit]:
    """Scale a length or a share by 1.5 to 5, up or down.

    Decided when the clean number is, to a tenth or its own rounding, a side of a region's box (a share of the image)
    and the new one is at least a quarter away from every such number of every region and, for lengths, not between
    the shorter side and the diagonal of one. Distances, fields of view and attenuations are left alone.
    """
    for sentence in page.sentences:
        if not (sentence.now and sentence.positive) or _NO_SIZE.search(sentence.text):
            continue
        for found in _SIZE.finditer(sentence.text):
            if _BOUND.search(sentence.text[: found.start()]):
                continue
            unit, value = found.group(2), float(found.group(1))
            held = _held(page, unit)
            if not any(_close(value, size, found.group(1)) for size in held):
                continue
            wrong = [_written(found.group(1), value * factor) for factor in _FACTORS]
            fitting = [word for word in wrong if _far(word, value, held) and _false(float(word), page, unit)]
            if fitting:
                start = sentence.start + found.start(1)
                yield Edit(start, start + len(found.group(1)), dice.choice(fitting))


def _held(page: Page, unit: str) -> list[float]:
    """Return every share, or every side of a box, that the row holds, in the unit of the text."""
    if unit in ("%", "percent"):
        return [region.share * 100 for region in page.regions] + [sum(region.share for region in page.regions) * 100]
    return [side for sides in _sides(page, unit) for side in sides]


def _sides(page: Page, unit: str) -> list[tuple[float, float]]:
    """Return (width, height) of every region in the unit of the text, empty where the row does not know it."""
    if unit.lower().startswith(("pixel", "px")):
        return [region.size_px for region in page.regions if not region.whole]
    factor = next(value for key, value in _MM.items() if unit.lower().startswith(key))
    measured = [region.size_mm for region in page.regions if region.size_mm is not None and not region.whole]
    return [(width / factor, height / factor) for width, height in measured]


def _close(value: float, size: float, written: str) -> bool:
    """Say whether a written number is this size, rounded as it is written or to a tenth of it."""
    decimals = len(written.partition(".")[2])
    return abs(value - size) <= max(0.51 * 10.0**-decimals, 0.1 * size) and size > 0


def _written(pattern: str, value: float) -> str:
    """Write a number with the decimals of another."""
    decimals = len(pattern.partition(".")[2])
    return f"{value:.{decimals}f}"


def _far(written: str, clean: float, held: list[float]) -> bool:
    """Say whether a number as it is written is 1.5 times off the clean one and far from everything the row holds."""
    value, rounding = float(written), 0.5 * 10.0 ** -len(written.partition(".")[2])
    if value <= 0 or max(value / clean, clean / value) < 1.49:
        return False
    return all(abs(value - size) > _NEAR * size + rounding for size in held)


def _false(value: float, page: Page, unit: str) -> bool:
    """Say whether a number can be said of no region: no share above 100 %, no chord between its side and diagonal."""
    if unit in ("%", "percent"):
        return value <= 100
    return not any(min(sides) * (1 - _NEAR) <= value <= math.hypot(*sides) * 1.1 for sides in _sides(page, unit))


_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_PLURALS = {
    "nodule": "nodules", "polyp": "polyps", "mass": "masses", "lesion": "lesions", "tumor": "tumors",
    "tumour": "tumours", "fracture": "fractures", "opacity": "opacities", "box": "boxes", "eosinophil": "eosinophils",
    "region of interest": "regions of interest", "region": "regions", "focus": "foci", "metastasis": "metastases",
}  # fmt: skip
_COUNTED = (
    r"(?:[\w-]+ ){0,2}?(?:regions? of interest|regions|lesions|nodules|polyps|masses|opacities|metastases|nuclei|glands"
    r"|red blood cells|boxes|foci|tumou?rs|microaneurysms|hippocampi|areas|structures|foci of interest)"
)
_MANY = re.compile(
    rf"(?<![\w.%×-])(?<!of the )(?<!× )(?<!x )({'|'.join(_WORDS[2:])}|eighty-four|\d+)(?= {_COUNTED}\b)", re.IGNORECASE
)
_ONE = re.compile(
    rf"(?:\b(There is) )?\b(a single|a solitary|solitary|one)((?: [\w-]+){{0,2}}?) ({'|'.join(_PLURALS)})\b"
    r"(?:( (?:with|of|contains)\b)|( is| lies| measures| covers| occupies| marks)\b)?",
    re.IGNORECASE,
)
_VERBS = {" is": " are", " lies": " lie", " measures": " measure", " covers": " cover", " occupies": " occupy",
          " marks": " mark"}  # fmt: skip


def counts(page: Page, dice: Dice) -> Iterator[Edit]:
    """Change how many regions or instances there are.

    Decided when the clean number is the number of regions, of regions with a label, or of their instances, and the new
    one is none of these. One thing becomes two or three, its verb with it.
    """
    for sentence in page.sentences:
        if not (sentence.now and sentence.positive):
            continue
        for found in _MANY.finditer(sentence.text):
            number = _number(found.group(1))
            totals = _totals(page, sentence.text)
            if number in totals:
                wrong = [other for other in _others(number) if other >= 2 and other not in _totals(page, "")]
                wrong = [
                    other for other in wrong if other > 2 or not sentence.text[: found.start()].lower().endswith("all ")
                ]
                start = sentence.start + found.start(1)
                yield Edit(start, start + len(found.group(1)), _spelled(found.group(1), dice.choice(wrong)))
        yield from _from_one(page, sentence, dice)


def _others(number: int) -> list[int]:
    """Return numbers that a careless reader could put for this one."""
    return [number - 1, number + 1, number + 2, 2 * number, number + 10 if number > 20 else number + 3]


def _totals(page: Page, text: str) -> set[int]:
    """Return every number of regions or instances that the row holds, of the labels a text names, if any."""
    everything = page.regions
    named = [region for region in everything if names(text, region.label)] if text else []
    totals: set[int] = set()
    for regions in (everything, *_by_label(named or everything)):
        totals |= {len(regions), sum(region.instances for region in regions)}
    return totals


def _by_label(regions: list[Region]) -> list[list[Region]]:
    """Return the regions of each label, in order."""
    labels = dict.fromkeys(region.label for region in regions)
    return [[region for region in regions if region.label == label] for label in labels]


def _number(word: str) -> int:
    """Return the number a word or digits stand for."""
    if word.lower() == "eighty-four":
        return 84
    return int(word) if word.isdigit() else _WORDS.index(word.lower())


def _spelled(pattern: str, number: int) -> str:
    """Write a number as another one is written."""
    if pattern.isdigit() or number >= len(_WORDS):
        return f"{number}"
    return like(pattern, _WORDS[number])


def _from_one(page: Page, sentence: Sentence, dice: Dice) -> Iterator[Edit]:
    """Turn one thing into several, where the row holds one region and one instance of it."""
    for found in _ONE.finditer(sentence.text):
        opening, article, words, noun, kept, verb = found.groups()
        if _totals(page, sentence.text) != {1} or kept == " of" or (noun == "mass" and words == " breast"):
            continue
        if not verb and re.match(r",.* (?:is|lies|measures|covers)\b", sentence.text[found.end() :]):
            continue  # a verb far off would have to change too
        number = like(opening or article, _WORDS[dice.choice((2, 3, 4))])
        start = "" if opening is None else "There are "
        number = number.lower() if opening else number
        after = f"{start}{number}{words} {_PLURALS[noun.lower()]}{kept or ''}{_VERBS.get((verb or '').lower(), '')}"
        yield Edit(sentence.start + found.start(), sentence.start + found.end(), after)
