"""How often is the claims checker wrong? Writes `checker.md`.

    python benchmarks/checker.py                    # the texts of tests/checker_texts: hand-written and measured
    python benchmarks/checker.py --release FOLDER   # a finished release's own texts as well
    python benchmarks/checker.py --missed           # to the screen: every seed missed, every false alarm

A thousand contradictions are seeded into the texts of each origin (`medtrinity25m.quality.seeding`), and the clean
texts are checked too. No writer knew the rules; the blind texts are not printed by `--missed`, so that nobody mends
rules for them.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from medtrinity25m.quality.error_rates import Clean, ErrorRates, Rate, clean_checks, outcomes, rates, release_cases
from medtrinity25m.quality.seeding import KINDS

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))  # the texts live beside the tests

SEEDS = 1000
HEAD = """# The claims checker's own error rates

Written by `python benchmarks/checker.py`. One true statement of a text is made false ("seeded"): a side flipped, an
organ, a modality or a disease swapped, a size scaled by 1.5 to 5, a count changed, a negation put in or taken out; only
where the row decides that the result is false. A seed counts as caught when the checker contradicts a statement in the
sentence that was changed. The checker's rules were mended after the texts of the first writer and of three more were
measured, so on those it is better than elsewhere. The blind ones were written and measured after the last rule, by
somebody who knew none: they say what to expect of new texts. Shares in percent, with 95 % intervals by Wilson's score.

"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--release", type=Path, help="folder of a finished release, measured as well")
    parser.add_argument("--missed", action="store_true", help="print what went wrong and write nothing")
    chosen = parser.parse_args()
    texts = importlib.import_module("checker_texts")
    origins: dict[str, Sequence[Clean]] = {
        "first writer": [case for _, case in texts.hand_written()],
        "three more": texts.other_hands(),
        "blind": texts.blind(),
        "measured describer": texts.measured(),
    }
    if chosen.release is not None:
        origins["release"] = release_cases(chosen.release)
    found = {}
    for origin, cases in origins.items():
        clean, seeded = clean_checks(cases), outcomes(cases, SEEDS)
        found[origin] = rates(clean, seeded, 0)
        if chosen.missed and origin != "blind":
            for one in seeded:
                if not one.caught:
                    text = one.seeded.text[slice(*one.seeded.sentence)]
                    print(f"missed, {origin}, {one.seeded.kind}: {one.seeded.before!r} -> {one.seeded.after!r}: {text}")
            for case, statements in zip(cases, clean, strict=True):
                for wrong in (one for one in statements if one.verdict == "contradicted"):
                    print(f"alarm, {origin}, {wrong.attribute} {wrong.value} ({wrong.expected}): {case.text}")
    table = HEAD + _table(found)
    print(table)
    if not chosen.missed:
        (HERE / "checker.md").write_text(table, encoding="utf-8")


def _table(found: dict[str, ErrorRates]) -> str:
    """Return the figures as Markdown, a column an origin."""
    lines = [
        "| | " + " | ".join(found) + " |",
        "|---|" + "---|" * len(found),
        _row("**contradictions caught**", [one.recall for one in found.values()]),
    ]
    lines += [_row(kind, [one.kinds.get(kind, Rate.of(0, 0)) for one in found.values()]) for kind in KINDS]
    lines.append(_row("**clean texts flagged**", [one.flagged_texts for one in found.values()]))
    lines.append(_row("clean statements flagged", [one.flagged_statements for one in found.values()]))
    return "\n".join(lines) + "\n"


def _row(name: str, cells: Sequence[Rate]) -> str:
    """Return a line of the table."""
    return f"| {name} | " + " | ".join(map(_cell, cells)) + " |"


def _cell(rate: Rate) -> str:
    """Return `98.2 [96.1, 99.2], 111 of 113`, or a dash."""
    if rate.rate is None or rate.low is None or rate.high is None:
        return "–"
    share, low, high = (f"{100 * part:.1f}" for part in (rate.rate, rate.low, rate.high))
    return f"{share} [{low}, {high}], {rate.hits} of {rate.n}"


if __name__ == "__main__":
    main()
