"""CPU time and bytes of our PNG writer and mask reader beside Pillow's, as Markdown tables.

Run `python benchmarks/encoders.py`. The peer is named in each row and timed in the same run, turn by turn with
ours, so only the ratios of one run mean anything. CPU time, not wall time: a busy machine changes it less.

**Why** real pictures: noise and gradients flatter or hurt a filter out of all proportion. What is not on the
machine (scikit-image brings the RGB pictures, pydicom-data the larger DICOM files) is skipped by name. The
disk is drawn, and says so; the liver is one frame of a real DICOM segmentation.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import io
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, features
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from medtrinity25m.release.png import decode_mask, encode_image, encode_mask

_PEER = "Pillow 6"  # what `Image.save` does when nobody asks for anything else
_ROUNDS = 9  # the median of nine passes is unmoved by four disturbed ones
_MIN_PASS_S = 0.05  # a pass this long is thousands of ticks of the CPU clock

_RGB = (
    ("histopathology RGB 512x512 (skimage immunohistochemistry)", "immunohistochemistry"),
    ("fundus RGB 1411x1411, once a JPEG (skimage retina)", "retina"),
)
_DICOM = (
    ("MR 300x484 (pydicom examples_overlay)", "examples_overlay.dcm"),
    ("CT 512x512 (pydicom-data 693_UNCR)", "693_UNCR.dcm"),
    ("MR 1024x1024 (pydicom-data MR2_UNCR)", "MR2_UNCR.dcm"),
    ("X-ray 1955x1841 (pydicom-data RG1_UNCR)", "RG1_UNCR.dcm"),
)


def _dicom(name: str) -> pydicom.Dataset | None:
    """Return a test file that is already on this machine, or None and a line that says so."""
    path = get_testdata_file(name, download=False)
    if not isinstance(path, str):
        print(f"Skipped: {name} is not installed.")
        return None
    return pydicom.dcmread(path)


def _windowed(data: pydicom.Dataset) -> NDArray[np.uint8]:
    """Return the picture of `data` under its own first window, (H, W) uint8."""
    values = np.asarray(apply_voi_lut(apply_modality_lut(data.pixel_array, data), data), np.float64)
    return np.asarray(np.rint((values - values.min()) * (255 / np.ptp(values))), np.uint8)


def pictures() -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield the real pictures at hand, grey and RGB, with what they are."""
    for label, name in _DICOM:
        if (data := _dicom(name)) is not None:
            yield label, _windowed(data)
    if importlib.util.find_spec("skimage") is None:
        print("Skipped: scikit-image is not installed.")
        return
    data_of_skimage = importlib.import_module("skimage.data")
    for label, name in _RGB:
        yield label, np.asarray(getattr(data_of_skimage, name)(), np.uint8)


def masks() -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield one drawn mask and, if at hand, a real one."""
    y, x = np.mgrid[:512, :512]
    yield "disk 512x512, drawn", (y - 250) ** 2 + (x - 200) ** 2 < 90**2
    if (data := _dicom("liver.dcm")) is not None:
        yield "liver 512x512 (pydicom-data liver, first frame)", data.pixel_array[0].astype(np.bool_)


def _pillow(level: int, array: NDArray[Any]) -> bytes:
    """Return `array` as the PNG that Pillow writes at a zlib `level`; 6 is its default."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def _unpillow(data: bytes) -> NDArray[Any]:
    """Return the array that Pillow reads from `data`."""
    return np.array(Image.open(io.BytesIO(data)))


def cpu_ms(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median CPU milliseconds of each call, all of them taking turns in every round."""

    def once(call: Callable[[], object], repeats: int) -> float:
        start = time.process_time()
        for _ in range(repeats):
            call()
        return time.process_time() - start

    repeats = {name: 1 + int(_MIN_PASS_S / max(once(call, 2) / 2, 1e-6)) for name, call in calls.items()}
    rounds = [{name: once(call, repeats[name]) for name, call in calls.items()} for _ in range(_ROUNDS)]
    return {name: statistics.median(each[name] for each in rounds) / repeats[name] * 1e3 for name in calls}


def _table(*columns: str, text: int) -> None:
    """Print the head of a Markdown table whose first `text` columns are words and the others numbers."""
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * text + "|--:" * (len(columns) - text) + "|")


def _compare(label: str, array: NDArray[Any]) -> None:
    """Print a row for each writer of `array`, after ours has been read back exact by Pillow."""
    ours = partial(encode_mask, array) if array.dtype == np.bool_ else partial(encode_image, array)
    np.testing.assert_array_equal(_unpillow(ours()), array)
    pillow = {"Pillow 1": partial(_pillow, 1, array), _PEER: partial(_pillow, 6, array)}
    calls: dict[str, Callable[[], bytes]] = {ours.func.__name__: ours, **pillow}
    times, sizes = cpu_ms(dict(calls)), {name: len(call()) for name, call in calls.items()}
    for name in calls:
        print(
            f"| {label} | {name} | {times[name]:.3f} | {times[_PEER] / times[name]:.1f}x "
            f"| {sizes[name]:,} | {sizes[name] / sizes[_PEER]:.2f} |"
        )


def write() -> None:
    """Print the table of the writers, pictures first, then masks."""
    found: list[tuple[str, NDArray[Any]]]
    for what, found in (("picture", list(pictures())), ("mask", list(masks()))):
        _table(what, "writer", "CPU ms", f"faster than {_PEER}", "bytes", f"of {_PEER}", text=2)
        for label, array in found:
            _compare(label, array)


def read() -> None:
    """Print the table of masks read back, as encode_mask and as Pillow wrote them."""
    found = list(masks())
    _table("mask", "written by", "decode_mask CPU ms", "Pillow CPU ms", "faster than Pillow", text=2)
    for label, mask in found:
        for writer, data in (("encode_mask", encode_mask(mask)), (_PEER, _pillow(6, mask))):
            np.testing.assert_array_equal(decode_mask(data), mask)
            ms = cpu_ms({"ours": partial(decode_mask, data), "Pillow": partial(_unpillow, data)})
            ratio = ms["Pillow"] / ms["ours"]
            print(f"| {label} | {writer} | {ms['ours']:.3f} | {ms['Pillow']:.3f} | {ratio:.1f}x |")


def main() -> None:
    """Print every table, after one line that says what ran."""
    deflate = f"zlib-ng {ng}" if (ng := features.version_feature("zlib_ng")) else "zlib"
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("isal", "pillow", "numpy"))
    print(f"{versions}; Pillow deflates by {deflate}; {platform.machine()}; median of {_ROUNDS} passes.")
    write()
    read()


if __name__ == "__main__":
    main()
