"""Stream the demo's microscopy row and cut its regions out, as a training loop would.

Needs the packages that carry the demo's images (`make demo` installs them).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import load_dataset

from medtrinity25m.build import build
from medtrinity25m.demo import collect


def main() -> None:
    """Build the demo, then print size, label and mean brightness of every region of one config."""
    release = Path("medtrinity-25m")
    build(collect(release, Path("inputs"), say=print))
    for split, rows in load_dataset(str(release), "microscopy", streaming=True).items():
        for row in rows:
            pixels = np.asarray(row["image"].convert("L"))
            for roi in row["rois"]:
                x, y, width, height = roi["bbox"]
                mask = np.asarray(roi["mask"])[y : y + height, x : x + width]
                inside = pixels[y : y + height, x : x + width][mask]
                print(split, roi["label"], roi["count"], f"{inside.mean():.1f}")


if __name__ == "__main__":
    main()
