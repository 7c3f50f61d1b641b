"""Build a release from a folder of images, one folder a class, and read a row back.

Draws twelve small synthetic pictures, so that it runs anywhere; replace `images` by your own folder.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import numpy as np
from datasets import load_dataset
from PIL import Image

from medtrinity25m.build import build
from medtrinity25m.config import load_config

SOURCE = """
id = "drawn"
title = "Synthetic pictures"
license = "CC0-1.0"
redistribution = "images"
egress = "any"
modality = "xray"
organs = ["lung"]

[layout]
kind = "folder_per_class"
images = "{label}/{patient}_*"

[labels]
sick = "pneumonia"
well = "none"
"""
CONFIG = "out: medtrinity-25m\nkey_file: example.key\nsources: [{source: drawn.toml, root: images}]\n"


def main() -> None:
    """Write the inputs, build, and print the first row's caption."""
    here = Path()
    for number in range(12):
        folder = here / "images" / ("sick" if number % 2 else "well")
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"P{number}_front.png")
    (here / "drawn.toml").write_text(SOURCE)
    (here / "build.yaml").write_text(CONFIG)
    (here / "example.key").write_text(secrets.token_hex(32))

    outcome = build(load_config(here / "build.yaml"))
    print(outcome.manifest["rows"])
    rows = load_dataset("medtrinity-25m", streaming=True)
    print(next(iter(rows["train"]))["caption"])


if __name__ == "__main__":
    main()
