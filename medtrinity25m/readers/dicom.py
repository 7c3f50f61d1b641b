"""One DICOM file: header, planes and overlays, from bytes in memory (PS3.3, PS3.5, PS3.10).

Pixels are always rendered, so nothing is passed through as encoded bytes. What cannot be used is refused with
a `dicom.` code and a sentence that quotes no value of the header:

====================== ======================================================================
`not_dicom`            no DICM prefix and no bare data set either
`empty`                a preamble or file meta information without elements
`truncated`            the header was cut, or an image's pixel data are not there
`structure`            a length lies, tags do not ascend, or native pixel data have no length
`too_deep`             sequences nested deeper than 64
`bad_geometry`         sizes, bits or frames that no image has
`pixel_short`          fewer bytes or fragments than the frames need
`pixel_excess`         at least one whole frame more than promised
`too_large`            more decoded bytes than the caps allow
`unsupported_syntax`   a transfer syntax without a decoder
`decode`               a frame that its codec cannot decode
`bad_lut`              a modality or palette look-up table that is damaged
`bad_overlay`          an overlay plane that is missing, damaged, or too large
`no_pixels`            a report, plan, waveform …: readable, but no picture
`no_such_frame`        an index beyond the last frame
====================== ======================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers import dicom_grey as grey
from medtrinity25m.readers.dicom_attributes import FrameGroups, quiet
from medtrinity25m.readers.dicom_header import (
    DicomHeader,
    FrameGeometry,
    kind_of,
    read_header,
    side_at_left,
    view_of,
)
from medtrinity25m.readers.dicom_overlay import overlay_groups, overlay_plane
from medtrinity25m.readers.dicom_pixels import PixelReader
from medtrinity25m.readers.dicom_stream import parse
from medtrinity25m.readers.record import Plane
from medtrinity25m.readers.window import explicit_window
from medtrinity25m.registry import WindowRule

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)


class DicomFile:
    """One opened file; the header is parsed and checked once, frames are decoded when asked for.

    Args:
        data: the whole file.
        window: how grey values become 8 bits. `header`: as the file says, else by body part on CT, else by
            percentiles; a preset's name, used where values are in HU and like `header` elsewhere; or (center,
            width).

    Raises:
        RefusedError: see the module; for any bytes, no other error. `ConfigError` for a window that is none.
    """

    header: DicomHeader

    def __init__(self, data: bytes, window: WindowRule = "header") -> None:
        explicit_window(window)
        self._window = window
        with quiet():
            self._stream = parse(data)
            kind = kind_of(self._stream)
            self._pixels = PixelReader(self._stream) if kind in ("image", "segmentation") else None
            layout = None if self._pixels is None else self._pixels.layout
            size = (0, 0, 0) if layout is None else (layout.frames, layout.rows, layout.columns)
            self.header = read_header(self._stream, kind, size)
            self._groups = FrameGroups(self._stream.dataset)

    @property
    def dataset(self) -> Dataset:
        """The parsed elements before the pixel data; read them through `dicom_attributes`."""
        return self._stream.dataset

    @property
    def groups(self) -> FrameGroups:
        """The functional groups of the frames."""
        return self._groups

    @property
    def count(self) -> int:
        """Number of frames; 0 for files without pixels."""
        return self.header.frames

    def place(self, index: int) -> str:
        """Return what names a plane within its file."""
        return f"frame={index}"

    def cost(self, index: int) -> int:
        """Bytes of one plane as uncompressed 8-bit pixels."""
        layout = self._reader(index).layout
        return layout.rows * layout.columns * (1 if layout.grey else 3)

    def stored(self, index: int) -> NDArray[Any]:
        """Return the stored values of one frame before any look-up table, (H, W) or RGB (H, W, 3)."""
        with quiet():
            return self._reader(index).frame(index)

    def plane(self, index: int) -> Plane:
        """Return one frame as a viewer shows it.

        `values` are the modality LUT's output of grey images, in HU where `values_unit` says so.
        """
        reader = self._reader(index)
        try:
            with quiet():
                return self._rendered(reader, reader.frame(index), index)
        except MemoryError:
            raise RefusedError("dicom.too_large", "there is not enough memory to render a frame") from None

    def _rendered(self, reader: PixelReader, stored: NDArray[Any], index: int) -> Plane:
        if reader.layout.grey:
            return self._grey_plane(reader, stored, index)
        if reader.layout.photometric == "PALETTE COLOR":
            little = self._stream.syntax.is_little_endian
            return self._plane(index, pixels=grey.render_palette(stored, self.dataset, little))
        pixels, window = grey.render_colour(stored, reader.layout)
        return self._plane(index, pixels=pixels, window=window)

    def _grey_plane(self, reader: PixelReader, stored: NDArray[Any], index: int) -> Plane:
        dataset, groups, little = self.dataset, self._groups, self._stream.syntax.is_little_endian
        modality = grey.modality_of(dataset, groups, index, little)
        unit = grey.is_hounsfield(dataset, groups, index, modality, self._stream.sop_class in CT_CLASSES)
        stated = grey.header_voi(dataset, groups, index, little)
        own = grey.own_voi(self._window, unit, self.header.body_part)
        preferred = (stated, own) if self._window == "header" else (own, stated)
        voi = next((found for found in preferred if found is not None), None) or grey.plain_voi(reader.layout, modality)
        shown = grey.render(stored, reader.layout, modality, voi, grey.padding_of(dataset))
        hu = "HU" if unit else None
        return self._plane(index, pixels=shown.pixels, values=shown.values, values_unit=hu, window=shown.window)

    def _plane(self, index: int, **pixels: Any) -> Plane:
        geometry: FrameGeometry = self.header.geometry[index]
        return Plane(
            spacing_mm=geometry.spacing_mm,
            view=view_of(self.dataset, geometry.orientation, self.header.localizer),
            laterality=self.header.laterality,
            image_left=side_at_left(self.dataset, geometry.orientation),
            **pixels,
        )

    def _reader(self, index: int) -> PixelReader:
        if self._pixels is None:
            raise RefusedError("dicom.no_pixels", "the file holds no image: a report, a plan, a waveform or the like")
        if not 0 <= index < self.header.frames:
            raise RefusedError("dicom.no_such_frame", f"frame {index} of {self.header.frames} was asked for")
        return self._pixels

    @property
    def overlay_groups(self) -> tuple[int, ...]:
        """Groups (60xx) that hold an overlay plane of their own (PS3.3 C.9.2)."""
        with quiet():
            return overlay_groups(self._stream)

    def overlay(self, group: int, index: int = 0) -> NDArray[np.bool_]:
        """Return an overlay plane over one frame, (H, W) bool; raises `dicom.bad_overlay`."""
        self._reader(index)
        with quiet():
            return overlay_plane(self._stream, group, index, (self.header.rows, self.header.columns))
