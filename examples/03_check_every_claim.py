"""Read the claims of a release: the words, what they say, and what they rest on.

Builds the demo's MR sources and prints the claims of the rows that have a region.
"""

from __future__ import annotations

from pathlib import Path

from medtrinity25m.build import build
from medtrinity25m.demo import collect
from medtrinity25m.explain import claim_lines
from medtrinity25m.stream import stream


def main() -> None:
    """Build the demo and print a line a claim."""
    release = Path("medtrinity-25m")
    build(collect(release, Path("inputs"), say=print))
    for row in stream(release, "mri"):
        if row["rois"]:
            for field, words, about, value, evidence in claim_lines(row):
                print(f"{field:14} {words!r:40} {about} = {value} ({evidence})")


if __name__ == "__main__":
    main()
