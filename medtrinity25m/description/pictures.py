"""The pictures a model is shown: the image as it is, and a copy with a box around each told region.

Both are lossless PNG, at most `max_side` pixels on the longer side, never enlarged. Boxes are given in pixels of the
image (half-open `xyxy`) and drawn in those of the copy, around the region and not over it.

**Why** a green box, as in the paper, and no outline: it hides nothing of the region, and the models that wrote the
paper's captions saw one. Nothing is ever drawn on the image that is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.release.png import encode_image
from medtrinity25m.triplet import XYXY, Sample

GREEN = (0, 255, 0)
LINE_SHARE = 256  # a line is one 256th of the longer side wide: two pixels at 512, seen and not in the way
TAG_SHARE = 32  # so high are the numbers, and at least ten pixels, the least that can be read


def clean_picture(sample: Sample, max_side: int) -> bytes:
    """Return the image as PNG."""
    return encode_image(_scaled(_pixels(sample), max_side))


def boxed_picture(sample: Sample, boxes: Mapping[int, XYXY], max_side: int) -> bytes:
    """Return a color copy of the image with the boxes drawn; several have their number beside them."""
    from PIL import Image, ImageDraw, ImageFont

    pixels = _scaled(_pixels(sample), max_side)
    factor = pixels.shape[1] / sample.width, pixels.shape[0] / sample.height
    copy = Image.fromarray(pixels).convert("RGB")
    draw = ImageDraw.Draw(copy)
    width = max(2, max(copy.size) // LINE_SHARE)
    font = ImageFont.load_default(max(10, max(copy.size) // TAG_SHARE))
    for number, (x0, y0, x1, y1) in boxes.items():
        left, top = int(x0 * factor[0]) - width, int(y0 * factor[1]) - width
        right, bottom = round(x1 * factor[0]) + width - 1, round(y1 * factor[1]) + width - 1
        left, top = max(0, left), max(0, top)
        right, bottom = min(copy.width - 1, right), min(copy.height - 1, bottom)
        draw.rectangle((left, top, right, bottom), outline=GREEN, width=width)
        if len(boxes) > 1:
            _tag(draw, str(number), (left, top), font)
    return encode_image(np.asarray(copy))


def _tag(draw: object, words: str, corner: tuple[int, int], font: object) -> None:
    """Write a number above the upper-left corner of a box, below it where there is no room."""
    _, _, right, bottom = draw.textbbox((0, 0), words, font=font)  # type: ignore[attr-defined]
    y = corner[1] - bottom - 3
    place = corner[0], y if y >= 0 else corner[1]
    frame = (*place, place[0] + right + 2, place[1] + bottom + 2)
    draw.rectangle(frame, fill=(0, 0, 0))  # type: ignore[attr-defined]
    draw.text((place[0] + 1, place[1] + 1), words, fill=GREEN, font=font)  # type: ignore[attr-defined]


def _pixels(sample: Sample) -> NDArray[np.uint8]:
    if sample.pixels is None:
        raise ValueError(f"{sample.id} has no pixels; describe samples after reading and before writing")
    return sample.pixels


def _scaled(pixels: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """Return the pixels with a longer side of at most `max_side`, no side below one pixel."""
    from PIL import Image

    height, width = pixels.shape[:2]
    longest = max(height, width)
    if longest <= max_side:
        return pixels
    size = max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
