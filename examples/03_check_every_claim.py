"""Read the claims of a release: the words, what they say, and what they rest on.

Builds the demo's MR sources and prints the claims of the rows that have a region.
"""

from __future__ import annotations

from pathlib import Path

from medtrinity25m.build import build
from medtrinity25m.demo import collect
from medtrinity25m.explain import grounds
from medtrinity25m.stream import stream


def main() -> None:
    """Build the demo and print every sentence, and below it a line a claim."""
    release = Path("medtrinity-25m")
    build(collect(release, Path("inputs"), say=print))
    for row in stream(release, "mri"):
        if row["rois"]:
            for field, sentence, held in grounds(row | {"passages": []}):
                print(f"{field}: {sentence}")
                for one in held:
                    print(f"    {one.words!r} says {one.says}: {one.verdict}, by {one.rests_on}")


if __name__ == "__main__":
    main()
