"""MP4, MOV, AVI, MKV and WebM: the frames shown at a stated step in seconds.

Frame i is the one on the screen at i times the step: the last whose own time is not later, counted from the first
frame, for constant and for variable frame rates. Frames come turned as the header says, RGB, at their stored size:
pixels that are not square are not stretched, interlaced fields are not separated, more than 8 bits become 8. Only
the first video stream is read; sound is not.

**Why**

- *OpenCV* (`opencv-python-headless`, Apache-2.0), since its wheels carry FFmpeg without GPL parts (LGPL-2.1, libvpx).
  PyAV would say more about errors, but its wheels carry libx264 and libx265, and `imageio-ffmpeg` a whole GPL
  program. The price: no AV1 decoder, which is refused as `video.unsupported`.
- *4.13 or later*: 4.10 to 4.12 turn BT.709 colors with the matrix of BT.601, so that red 192 of an HD camera comes
  out as 175, and 4.11 and 4.12 leave turned recordings lying.
- *Frames are decoded in order and never sought*: OpenCV seeks by frame rate and is wrong where that varies. A step
  back starts at the beginning again.
- *Times come from the packets*, read without decoding; the end is then decoded to see that the last frame is there.
  Where a packet may hold no frame or no time of display (hidden ones of VP8, MPEG-4's "as before", codecs that reorder
  in AVI, frames that an edit list cuts) all frames are decoded once instead, to count them.
- *FFmpeg fills what it cannot decode* with guesses and tells only the console. The first complaint is the end: planes
  from there on are refused, one by one. Flipped bits that no decoder notices pass, since no codec has checksums.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.decoder_log import complaints
from medtrinity25m.readers.raster_header import MAX_PAGES, MAX_PIXELS, png_bound
from medtrinity25m.readers.record import Plane
from medtrinity25m.readers.video_container import check_container

MIN_OPENCV = (4, 13)
MAX_FRAMES = 1 << 23  # 38 hours at 60 a second; the table of times takes 64 MiB
SAME_MS = 1e-3  # times are products of ticks and seconds; a tick of the finest common clock, 90 kHz, is 11 µs
_FRAME_A_PACKET = {
    "avc1", "h264", "x264", "hev1", "hvc1", "hevc", "h265", "vp90", "vp09", "mjpg", "jpeg", "ffv1",
    "apch", "apcn", "apcs", "apco", "ap4h",
}  # fmt: skip
"""Codes, in lower case, of codecs whose packets each hold one frame that is shown: H.264, HEVC, VP9, Motion JPEG, FFV1,
ProRes."""
_SPEAKS = re.compile(
    rb"\[[^\]]+ @ 0x[0-9a-f]+\] |\[ ?(?:WARN|ERROR|FATAL):|Truncating packet |\s*Last message repeated "
)
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+|^\[ ?\w+:\d+@[\d.]+\] ")  # what differs from run to run in those lines


class VideoFile:
    """An opened video.

    Args:
        path: the file; messages do not name it, since their reader knows the source's own name for it.
        every_s: step between planes in seconds. Steps shorter than the frames' own repeat frames.

    Attributes:
        count: planes up to the time of the last frame.

    Raises:
        ConfigError: OpenCV is missing or too old.
        RefusedError: `video.not_a_video`, `video.truncated`, `video.corrupt`, `video.unsupported`,
            `video.too_large`, `video.unreadable`.
    """

    def __init__(self, path: Path, every_s: float) -> None:
        self._cv2 = _library()
        self._path, self._every_s = path.absolute(), every_s
        check_container(self._path)
        with self._heard("the file"):
            stream = self._open()
            width = int(stream.get(self._cv2.CAP_PROP_FRAME_WIDTH))
            height = int(stream.get(self._cv2.CAP_PROP_FRAME_HEIGHT))
        if not 0 < width * height <= MAX_PIXELS:
            why = f"frames of {width:,} x {height:,}; the limit is {MAX_PIXELS:,} pixels"
            raise RefusedError("video.too_large", why)
        self._shape = (height, width, 3)
        self._times, self._timed = self._index(_codec(stream, self._cv2))
        planes = self._times[-1] / (every_s * 1000) + SAME_MS
        if planes > MAX_PAGES:
            why = f"a plane every {every_s} s makes {planes:,.0f}; the limit is {MAX_PAGES:,}: set a longer every_s"
            raise RefusedError("video.too_large", why)
        self.count = 1 + int((self._times[-1] + SAME_MS) / (every_s * 1000))
        self._stream: Any = None
        self._decoded = 0
        self._damage: RefusedError | None = None

    def cost(self, index: int) -> int:  # noqa: ARG002  # all frames have one size
        """Return an upper bound of the bytes the encoded frame takes."""
        return png_bound(*self._shape)

    def place(self, index: int) -> str:
        """Return where a plane lies, for its locator: `t=2.000s`."""
        return f"t={index * self._every_s:.3f}s"

    def plane(self, index: int) -> Plane:
        """Return the frame shown at `index * every_s` seconds, (H, W, 3) RGB.

        Raises:
            RefusedError: `video.corrupt` for this frame and all later ones, once FFmpeg complained.
        """
        shown_ms = index * self._every_s * 1000 + SAME_MS
        wanted = max(int(np.searchsorted(self._times, shown_ms, side="right")) - 1, 0)
        if self._stream is None or wanted < self._decoded - 1:
            self._stream, self._decoded, self._damage = self._open(), 0, None
        if self._damage is not None:
            raise self._damage
        try:
            with self._heard(f"a frame up to number {wanted}"):
                pixels = self._decode(wanted)
        except RefusedError as refusal:
            self._damage = refusal
            raise
        return Plane(pixels=pixels)

    def _decode(self, wanted: int) -> NDArray[np.uint8]:
        """Return a frame by its number in the order of display, decoding what lies before it."""
        while self._decoded <= wanted:
            number = self._decoded
            if not self._stream.grab():
                raise RefusedError("video.corrupt", f"frame {number} of {len(self._times)} cannot be decoded")
            at_ms = self._stream.get(self._cv2.CAP_PROP_POS_MSEC)
            if self._timed and abs(at_ms - self._times[number]) > SAME_MS:
                why = f"frame {number} belongs at {self._times[number]:.3f} ms, what was decoded at {at_ms:.3f} ms"
                raise RefusedError("video.corrupt", why)
            self._decoded += 1
        found, pixels = self._stream.retrieve()
        if not found or pixels.shape != self._shape or pixels.dtype != np.uint8:
            said = f"{pixels.shape}" if found else "nothing"
            raise RefusedError("video.corrupt", f"frame {wanted} decodes to {said}, the header promises {self._shape}")
        return np.ascontiguousarray(pixels[:, :, ::-1])  # OpenCV has blue first

    def _open(self) -> Any:
        """Return a new stream at its beginning; one thread, since each process decodes a file of its own."""
        cv2 = self._cv2
        options = [cv2.CAP_PROP_N_THREADS, 1, cv2.CAP_PROP_HW_ACCELERATION, cv2.VIDEO_ACCELERATION_NONE]
        try:
            stream = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, options)
        except (cv2.error, UnicodeError) as error:
            raise RefusedError("video.unreadable", f"OpenCV cannot open the file: {error}") from None
        if not stream.isOpened():
            raise RefusedError("video.unsupported", "FFmpeg finds no video that it can decode")
        stream.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return stream

    @contextmanager
    def _heard(self, what: str) -> Iterator[None]:
        """Refuse when FFmpeg complains inside the block, in its words if nothing else was refused."""
        with complaints(_SPEAKS) as lines:
            try:
                yield
            except RefusedError as refusal:
                refused: RefusedError | None = refusal
            else:
                refused = None
        said = f"; FFmpeg says {_ADDRESS.sub('', lines[0])}" if lines else ""
        if refused is not None:
            raise RefusedError(refused.code, refused.detail + said) from None
        if lines:
            raise RefusedError("video.corrupt", f"{what} is damaged{said}")

    def _index(self, codec: str) -> tuple[NDArray[np.float64], bool]:
        """Return the times of all frames in milliseconds, increasing from 0, and whether the decoder gives the same."""
        with self._heard("the file"):
            packets = np.sort(self._times_of(packets=True))
        certain = _increasing(packets) and codec.casefold() in _FRAME_A_PACKET
        if certain and self._last_time(len(packets)) == packets[-1]:
            return packets, True
        try:
            with self._heard("the file"):
                frames = self._times_of(packets=False)
        except RefusedError as refusal:
            if certain and refusal.code == "video.corrupt":  # frames before the damage are good, and each is checked
                return packets, True
            raise
        if _increasing(frames):
            return frames, True
        if len(frames) == len(packets) and _increasing(packets):
            return packets, False
        why = f"{len(packets)} packets, {len(frames)} frames, and no times of display; copy it into an MKV or MP4 file"
        raise RefusedError("video.unsupported", why)

    def _times_of(self, *, packets: bool) -> NDArray[np.float64]:
        """Return the times of all packets in the order of the file, or of all frames in the order of display."""
        stream = self._open()
        if packets:
            stream.set(self._cv2.CAP_PROP_FORMAT, -1)  # undecoded
        times: list[float] = []
        while stream.grab():
            times.append(stream.get(self._cv2.CAP_PROP_POS_MSEC))
            if len(times) > MAX_FRAMES:
                raise RefusedError("video.too_large", f"more than {MAX_FRAMES:,} frames; cut the video into parts")
        if not times:
            raise RefusedError("video.unsupported", "not one frame can be decoded; convert it to H.264 or VP9")
        if stream.grab():  # a false before the end of the file
            raise RefusedError("video.corrupt", f"packet {len(times)} cannot be read, though others follow")
        return np.array(times)

    def _last_time(self, count: int) -> float | None:
        """Return the time of the last frame that can be decoded, well or badly, or None where seeking finds none."""
        last = None
        with complaints(_SPEAKS):
            stream = self._open()
            stream.set(self._cv2.CAP_PROP_POS_FRAMES, count - 1)
            while stream.grab():
                last = stream.get(self._cv2.CAP_PROP_POS_MSEC)
        return last


def _library() -> ModuleType:
    """Return OpenCV, which takes a quarter of a second to import."""
    try:
        import cv2
    except ImportError:
        raise ConfigError("videos need OpenCV: pip install 'medtrinity25m[video]'") from None
    version = tuple(int(part) for part in cv2.__version__.split(".")[:2])
    if version < MIN_OPENCV:
        raise ConfigError(f"OpenCV {cv2.__version__} gives wrong colors: pip install 'medtrinity25m[video]'")
    return cv2


def _codec(stream: Any, cv2: ModuleType) -> str:
    """Return the four characters that name the codec."""
    return int(stream.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")


def _increasing(times: NDArray[np.float64]) -> bool:
    """Say whether times begin at 0 and each is later than the one before."""
    return bool(abs(times[0]) < SAME_MS and (np.diff(times) > SAME_MS).all())
