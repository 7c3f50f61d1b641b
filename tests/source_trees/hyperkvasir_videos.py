"""HyperKvasir: AVI videos in a folder a finding."""

from __future__ import annotations

from pathlib import Path

import cv2

from source_trees import Expected
from source_trees.drawing import noise, table


def _video(root: Path, path: str, frames: int) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"MJPG"), 1.0, (48, 32))
    for number in range(frames):
        writer.write(noise(f"{path} {number}", (32, 48, 3)))
    writer.release()


def make(root: Path) -> Expected:
    """A polyp video of eleven seconds, two shorter ones, a frame a second in each."""
    _video(root, "labeled-videos/lower-gi-tract/pathological-findings/polyps/0f1e-polyp.avi", 12)
    _video(root, "labeled-videos/lower-gi-tract/quality-of-mucosal-views/BBPS-2-3/0f1e-clean.avi", 3)
    _video(root, "labeled-videos/upper-gi-tract/pathological-findings/esophagitis/0f1e-esophagitis.avi", 6)
    row = {
        "Video file": "0f1e-polyp", "Organ": "Lower GI", "Finding 1": "Polyps", "Finding 2": "",
        "Classification 1": "Pathological findings", "Classification 2": "",
    }  # fmt: skip
    table(root, "labeled-videos/video-labels.csv", [row])
    return Expected(
        rows=6,
        modalities={"endoscopy"},
        diseases={"colorectal_polyp", "esophagitis"},
        organs={"colorectum", "gastrointestinal_tract", "esophagus"},
    )
