"""One interface over the formats: `open_image` gives something with planes."""

from __future__ import annotations

from typing import Protocol

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.arrays import ArrayFile
from medtrinity25m.readers.dicom import DicomFile
from medtrinity25m.readers.layout_options import Layout, Video, Wsi
from medtrinity25m.readers.nifti import NiftiFile
from medtrinity25m.readers.raster import RasterFile
from medtrinity25m.readers.record import Plane
from medtrinity25m.readers.safe import Blob, Jail
from medtrinity25m.registry import Source, WindowRule, vocabulary


class ImageFile(Protocol):
    """An opened file of one or more planes: frames, pages or slices."""

    @property
    def count(self) -> int:
        """Number of planes."""

    def place(self, index: int) -> str:
        """Name a plane within the file, for its locator: `frame=3`, `axial=12`, `x=1024,y=512`."""

    def cost(self, index: int) -> int:
        """Upper bound of the encoded bytes of a plane."""

    def plane(self, index: int) -> Plane:
        """Decode one plane; raises `RefusedError`."""


def read_blob(jail: Jail, path: str, source: Source) -> Blob:
    """Return the content of an image file of a source; of slides and videos, where it lies."""
    match source.layout:
        case Wsi():
            return jail.read_in_place(path, "slide")
        case Video():
            return jail.read_in_place(path, "video")
        case _:
            return jail.read(path)


def open_image(blob: Blob, source: Source, organs: tuple[str, ...] = (), modality: str | None = None) -> ImageFile:
    """Open a file by the format its content shows.

    `organs` choose the CT window where nothing else does. `modality`, where it is known, keeps what the source says of
    CT (its window, that values are HU) from the PET or MR that lies beside it.
    """
    ct = modality in (None, "ct")
    values = source.values if ct else None
    window = source.window if ct or isinstance(source.window, tuple) else "header"
    match blob.kind:
        case "dicom":
            return DicomFile(blob.data, window)
        case "nifti" | "nifti_gz":
            window = _by_organ(window, values, organs)
            return NiftiFile(blob.data, blob.path, source.slices.axis, window, values, source.slices.volume)
        case "npy":
            return ArrayFile(blob, source.spacing_mm)
        case "slide" | "video":
            return _open_in_place(blob, source.layout)
        case _:
            window = _by_organ(window, values, organs)
            return RasterFile(
                blob.data, blob.path, blob.kind, window, source.spacing_mm, source.rescale if ct else None
            )


def _by_organ(window: WindowRule, values: str | None, organs: tuple[str, ...]) -> WindowRule:
    """Return the window of the first organ that has a preset, for images in HU that do not say their own."""
    if window != "header" or values != "HU":
        return window
    presets = (vocabulary("anatomy")[organ].window for organ in organs)
    return next((preset for preset in presets if preset is not None), "header")


def _open_in_place(blob: Blob, layout: Layout) -> ImageFile:
    """Open a slide or a video, whose libraries are imported here and not before: they are extras."""
    if isinstance(layout, Wsi) and blob.place is not None:
        from medtrinity25m.readers.slide import SlideFile

        scale = {"mpp": layout.mpp, "magnification": layout.magnification}
        return SlideFile(blob.place, **scale, tile_px=layout.tile_px, min_tissue=layout.min_tissue)
    if isinstance(layout, Video) and blob.place is not None:
        from medtrinity25m.readers.video import VideoFile

        return VideoFile(blob.place, layout.every_s)
    raise RefusedError("file.not_an_image", f"{blob.path} is a {blob.kind}; give it the layout wsi or video")
