"""One interface over the formats: `open_image` gives something with planes."""

from __future__ import annotations

from typing import Protocol

from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.nifti import NiftiFile
from medtrinity25m.readers.raster import RasterFile
from medtrinity25m.readers.record import Plane
from medtrinity25m.readers.safe import Blob
from medtrinity25m.registry import Source, WindowRule, vocabulary


class ImageFile(Protocol):
    """An opened file of one or more planes: frames, pages or slices."""

    @property
    def count(self) -> int:
        """Number of planes."""

    def cost(self, index: int) -> int:
        """Upper bound of the encoded bytes of a plane."""

    def plane(self, index: int) -> Plane:
        """Decode one plane; raises `RefusedError`."""


def open_image(blob: Blob, source: Source, organs: tuple[str, ...] = ()) -> ImageFile:
    """Open a file by the format its content shows; `organs` choose the CT window where nothing else does."""
    match blob.kind:
        case "dicom":
            return DicomFile(blob.data, source.window)
        case "nifti" | "nifti_gz":
            window = _by_organ(source, organs)
            return NiftiFile(blob.data, blob.path, source.slices.axis, window, source.values, source.slices.volume)
        case _:
            return RasterFile(blob.data, blob.path, blob.kind, source.window, source.spacing_mm)


def _by_organ(source: Source, organs: tuple[str, ...]) -> WindowRule:
    """Return the window of the first organ that has a preset, for volumes in HU that do not say their own."""
    if source.window != "header" or source.values != "HU":
        return source.window
    presets = (vocabulary("anatomy")[organ].window for organ in organs)
    return next((preset for preset in presets if preset is not None), "header")
