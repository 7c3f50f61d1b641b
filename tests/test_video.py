"""Videos: which frame is shown when, for every container, and what is refused.

Frames are drawn with eight bars that spell their number in binary, so that a decoded frame says which one it is. What
OpenCV cannot write lies in tests/videos; the real recording is the ultrasound cine of pydicom-data.
"""

from __future__ import annotations

import importlib.util
import io
import random
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread, encaps

from medtrinity25m.errors import ConfigError, RefusedError
from medtrinity25m.readers.video import VideoFile
from packages import package_file

cv2 = pytest.importorskip("cv2", reason="the extra video is not installed")
pytestmark = pytest.mark.skipif(
    tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 13), reason="OpenCV is older than the extra video asks for"
)

VIDEOS = Path(__file__).with_name("videos")
WIDTH, HEIGHT = 96, 48
FORMATS = {
    "mp4": ("mp4v", ".mp4"),
    "mov": ("mp4v", ".mov"),
    "avi": ("MJPG", ".avi"),
    "mkv": ("FFV1", ".mkv"),
    "webm": ("VP90", ".webm"),
}


def bars(number: int) -> NDArray[np.uint8]:
    """A frame that spells its number, (HEIGHT, WIDTH, 3)."""
    bits = np.array([number >> bit & 1 for bit in range(8)], np.uint8) * 170 + 40
    return np.repeat(np.broadcast_to(np.repeat(bits, WIDTH // 8), (HEIGHT, WIDTH))[:, :, None], 3, axis=2)


def number_in(pixels: NDArray[np.uint8]) -> int:
    """The number that a frame spells."""
    middles = pixels[pixels.shape[0] // 2, pixels.shape[1] // 16 :: pixels.shape[1] // 8].mean(axis=1)
    return sum(1 << bit for bit, value in enumerate(middles) if value > 128)


def record(path: Path, frames: Sequence[NDArray[np.uint8]], fps: float = 25, codec: str = "mp4v") -> Path:
    """Write RGB frames."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
    writer.release()
    return path


def counting(folder: Path, name: str, frames: int = 60, fps: float = 25) -> Path:
    codec, suffix = FORMATS[name]
    return record(folder / f"counting{suffix}", [bars(number) for number in range(frames)], fps, codec)


def shown(video: VideoFile) -> list[int]:
    return [number_in(video.plane(index).pixels) for index in range(video.count)]


def refusal(path: Path, every_s: float = 0.2) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        VideoFile(path, every_s)
    assert str(path) not in caught.value.detail, "messages do not tell where the machine keeps its files"
    return caught.value


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("fps", [25, 29.97])
def test_the_frame_shown_at_a_time_is_the_last_one_not_later(tmp_path: Path, name: str, fps: float) -> None:
    """In every container, at 25 and at 29.97 frames a second, for steps that meet frames and steps that do not."""
    path = counting(tmp_path, name, fps=fps)
    times = [n / fps if name in ("mp4", "mov", "avi") else round(n / fps, 3) for n in range(60)]  # Matroska counts ms
    for every_s in (0.2, 0.5, 1.0, 1 / 3, 1.001):
        video = VideoFile(path, every_s)
        expected = [max(n for n in range(60) if times[n] <= i * every_s + 1e-6) for i in range(video.count)]
        assert shown(video) == expected
        assert (video.count - 1) * every_s <= times[-1] + 1e-6 < video.count * every_s


def test_every_frame_comes_when_the_step_is_theirs(tmp_path: Path) -> None:
    """Steps of one frame in decimals give each frame once, without slipping by rounding."""
    assert shown(VideoFile(counting(tmp_path, "mp4"), 0.04)) == list(range(60))
    assert shown(VideoFile(counting(tmp_path, "avi", fps=29.97), 1 / 29.97)) == list(range(60))


@pytest.mark.parametrize(
    ("name", "every_s", "expected"),
    [
        ("h264_variable_rate.mp4", 0.04, [n - (n % 5 == 3) for n in range(50)]),
        ("h264_edit_list.mp4", 0.08, list(range(10, 50, 2))),
        ("mpeg4_b_frames.avi", 0.12, list(range(0, 24, 3))),
        ("vp8_hidden_frames.webm", 0.2, list(range(0, 50, 5))),
    ],
)
def test_times_are_those_of_display(name: str, every_s: float, expected: list[int]) -> None:
    """Neither the order in the file nor a stated frame rate nor the number of packets says what is shown when."""
    assert shown(VideoFile(VIDEOS / name, every_s)) == expected


def test_planes_come_in_any_order(tmp_path: Path) -> None:
    """Backwards, at random and the same one twice: the same pixels as in order."""
    for path in (counting(tmp_path, "mp4"), VIDEOS / "h264_variable_rate.mp4", VIDEOS / "mpeg4_b_frames.avi"):
        video = VideoFile(path, 0.12)
        forwards = [video.plane(index).pixels for index in range(video.count)]
        order = [*reversed(range(video.count)), *random.Random(1).choices(range(video.count), k=12), 3, 3]
        for index in order:
            assert np.array_equal(video.plane(index).pixels, forwards[index])


def test_in_order_no_frame_is_decoded_twice(tmp_path: Path) -> None:
    """Asking for planes in order decodes each frame once and opens the file once."""
    video = VideoFile(counting(tmp_path, "mp4"), 0.2)
    grabbed: list[int] = []
    open_stream = video._open

    def spy() -> object:
        stream = open_stream()
        grabbed.append(0)

        def grab() -> bool:
            grabbed[-1] += 1
            return bool(stream.grab())

        return SimpleNamespace(grab=grab, get=stream.get, retrieve=stream.retrieve)

    video._open = spy  # type: ignore[method-assign]
    shown(video)
    assert grabbed == [56]  # the last plane is frame 55


def test_colors_are_the_right_way_round(tmp_path: Path) -> None:
    """Red is red: written losslessly, and from an HD recording with its own color matrix."""
    flag = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    flag[:, :32], flag[:, 32:64], flag[:, 64:] = (200, 20, 10), (10, 180, 30), (20, 40, 190)
    pixels = VideoFile(record(tmp_path / "a.mkv", [flag] * 3, codec="FFV1"), 1).plane(0).pixels
    assert np.abs(pixels[:, [16, 48, 80]].astype(int) - flag[:, [16, 48, 80]]).max() <= 3
    hd = VideoFile(VIDEOS / "h264_bt709.mp4", 1).plane(0).pixels.astype(int)
    assert np.abs(hd[24, 30] - (192, 32, 16)).max() <= 5
    assert np.abs(hd[24, 100] - (16, 48, 192)).max() <= 5


def test_turned_recordings_are_shown_upright(tmp_path: Path) -> None:
    """The header's rotation is applied; a mirrored picture is refused."""
    frame = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
    frame[:16, :32] = 220  # bright upper-left corner
    path = record(tmp_path / "a.mp4", [frame] * 5)
    corners = {0: (0, 0), 90: (0, -1), 180: (-1, -1), 270: (-1, 0)}  # where it comes to lie, turning clockwise
    for angle, corner in corners.items():
        video = VideoFile(_with_matrix(path, tmp_path / "b.mp4", *_turned(angle)), 1)
        pixels = video.plane(0).pixels
        assert pixels.shape == ((WIDTH, HEIGHT, 3) if angle % 180 else (HEIGHT, WIDTH, 3))
        assert [at for at in corners.values() if pixels[at].min() > 150] == [corner]
        assert video.plane(0).spacing_mm is None
    for mirror in ((-1, 0, 0, 1), (0, 1, 1, 0), (1, 1, 0, 1)):
        assert refusal(_with_matrix(path, tmp_path / "b.mp4", *mirror)).code == "video.unsupported"


def _turned(angle: int) -> tuple[int, int, int, int]:
    return {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[angle]


def _with_matrix(source: Path, path: Path, a: int, b: int, c: int, d: int) -> Path:
    """A copy of an MP4 file whose track header has another transformation matrix (ISO/IEC 14496-12 8.3.2)."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    for offset, value in ((0, a), (4, b), (12, c), (16, d)):
        struct.pack_into(">i", data, at + offset, value << 16)
    path.write_bytes(data)
    return path


def test_a_real_cine_keeps_its_frames(tmp_path: Path) -> None:
    """The 120 frames of an ultrasound cine, as Motion JPEG: each is found at its time and looks as it did."""
    place = package_file("data_store", "data", "color3d_jpeg_baseline.dcm")
    encoded = encaps.generate_frames(dcmread(place).PixelData, number_of_frames=120)
    frames = [np.asarray(Image.open(io.BytesIO(frame)).convert("RGB")) for frame in encoded]
    video = VideoFile(record(tmp_path / "cine.avi", frames, fps=30, codec="MJPG"), 0.5)
    assert len(frames) == 120
    assert video.count == 8
    for index in range(video.count):
        pixels = video.plane(index).pixels.astype(int)
        error = [
            np.abs(pixels - frames[near].astype(int)).mean() for near in range(15 * index, min(15 * index + 3, 120))
        ]
        assert error[0] < 3
        assert error[0] == min(error)


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    """However little is missing, nothing of a recording that is not all there becomes a plane."""
    data = counting(tmp_path, name).read_bytes()
    cut = tmp_path / f"cut{FORMATS[name][1]}"
    for length in (len(data) - 1, len(data) * 9 // 10, len(data) // 2, 40):
        cut.write_bytes(data[:length])
        assert refusal(cut).code == "video.truncated"


def test_files_that_are_no_videos_are_refused(tmp_path: Path) -> None:
    """By their content, whatever they are called; above all playlists, which would open other files."""
    path = tmp_path / "a.mp4"
    for content in (
        b"",
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile a.mp4\n",
        b"GIF89a",
        bytes(500),
    ):
        path.write_bytes(content)
        assert refusal(path).code == "video.not_a_video"
    assert refusal(tmp_path / "missing.mp4").code == "video.unreadable"
    path.write_bytes(struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4s", 8, b"moov"))
    assert refusal(path).code == "video.unsupported"


def test_a_frame_that_the_decoder_skips_shifts_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MPEG-4 may say "as before" instead of a frame: the one before stays on. Elsewhere a frame too few is damage."""
    data = bytearray(counting(tmp_path, "mp4").read_bytes())
    starts = [found.start() for found in re.finditer(re.escape(b"\0\0\1\xb6"), data)]
    data[starts[20] + 5] ^= 0x20  # vop_coded, after type, times and markers of 10 bits (ISO/IEC 14496-2 6.2.5)
    path = tmp_path / "skips.mp4"
    path.write_bytes(data)
    video = VideoFile(path, 0.04)
    assert video.count == 60
    assert shown(video)[15:21] == [15, 16, 17, 18, 19, 19]
    broken = bytearray(counting(tmp_path, "mp4").read_bytes())
    broken[starts[20] + 6] ^= 0x02
    (tmp_path / "broken.mp4").write_bytes(broken)
    assert "though others follow" in refusal(tmp_path / "broken.mp4").detail
    monkeypatch.setattr("medtrinity25m.readers.video._FRAME_A_PACKET", {"mp4v", "fmp4"})
    video = VideoFile(path, 0.04)
    assert [number_in(video.plane(index).pixels) for index in range(20)] == list(range(20))
    for index in (20, 21, 40):
        with pytest.raises(RefusedError, match="belongs at"):
            video.plane(index)


def test_damage_at_the_end_leaves_the_rest(tmp_path: Path) -> None:
    """The last frame cannot be decoded, and the file is not refused for it."""
    data = bytearray(counting(tmp_path, "avi").read_bytes())
    last = data.rindex(b"\xff\xd8\xff")
    data[last : last + 600] = bytes(600)
    path = tmp_path / "hurt.avi"
    path.write_bytes(data)
    video = VideoFile(path, 0.04)
    assert [number_in(video.plane(index).pixels) for index in range(59)] == list(range(59))
    with pytest.raises(RefusedError) as caught:
        video.plane(59)
    assert caught.value.code == "video.corrupt"


def test_planes_from_the_damage_on_are_refused(tmp_path: Path) -> None:
    """FFmpeg fills gaps with guesses: what comes before the damage is exact, what comes after refused, in any order."""
    data = bytearray((VIDEOS / "h264_variable_rate.mp4").read_bytes())
    whole = VideoFile(VIDEOS / "h264_variable_rate.mp4", 0.12)
    exact = [whole.plane(index).pixels for index in range(whole.count)]
    middle = data.index(b"mdat") + 1355
    data[middle] ^= 0x5A
    data[middle + 1] ^= 0x5A
    hurt = tmp_path / "hurt.mp4"
    hurt.write_bytes(data)
    states: list[list[bool]] = []
    said: set[tuple[str, str]] = set()
    for order in (range(whole.count), reversed(range(whole.count))):
        video = VideoFile(hurt, 0.12)
        good = {}
        for index in order:
            try:
                good[index] = np.array_equal(video.plane(index).pixels, exact[index])
            except RefusedError as error:
                said.add((error.code, error.detail))
        states.append([index in good for index in range(whole.count)])
        assert all(good.values())
    assert {code for code, _ in said} == {"video.corrupt"}
    assert not [detail for _, detail in said if "0x" in detail], "addresses differ from run to run"
    assert states[0] == states[1]
    assert states[0] == sorted(states[0], reverse=True)
    assert 0 < sum(states[0]) < whole.count


def test_ffmpeg_is_kept_off_the_console(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What FFmpeg prints about a damaged file is in the refusal and not on the screen."""
    data = bytearray(counting(tmp_path, "avi").read_bytes())
    at = data.index(b"movi") + 3000
    data[at : at + 400] = bytes(400)
    hurt = tmp_path / "hurt.avi"
    hurt.write_bytes(data)
    with pytest.raises(RefusedError, match="FFmpeg says"):
        shown(VideoFile(hurt, 0.04))
    assert capfd.readouterr().err == ""


def test_damaged_bytes_are_refused_and_never_escape(tmp_path: Path) -> None:
    """100 copies with flipped bytes: planes or a refusal each."""
    dice = random.Random(8)
    codes = set()
    for source in (
        VIDEOS / "h264_edit_list.mp4",
        VIDEOS / "mpeg4_b_frames.avi",
        VIDEOS / "vp8_hidden_frames.webm",
        counting(tmp_path, "mkv"),
    ):
        hurt = tmp_path / f"hurt{source.suffix}"
        for _ in range(25):
            data = bytearray(source.read_bytes())
            for _ in range(dice.choice((1, 8))):
                data[dice.randrange(len(data)) if dice.random() < 0.6 else dice.randrange(900)] = dice.randrange(256)
            hurt.write_bytes(data)
            try:
                video = VideoFile(hurt, 0.2)
                for index in range(min(video.count, 50)):
                    video.plane(index)
            except RefusedError as error:
                codes.add(error.code)
    assert {"video.corrupt", "video.truncated"} <= codes
    assert all(code.startswith("video.") for code in codes)


def test_absurd_counts_are_refused(tmp_path: Path) -> None:
    """More planes than a file may have, and frames larger than a page may be."""
    path = counting(tmp_path, "avi")
    assert refusal(path, every_s=1e-5).code == "video.too_large"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medtrinity25m.readers.video.MAX_FRAMES", 50)
        assert refusal(path).code == "video.too_large"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medtrinity25m.readers.video.MAX_PIXELS", 1000)
        assert refusal(path).code == "video.too_large"


def test_locators_name_the_time(tmp_path: Path) -> None:
    """Seconds with milliseconds, different for every plane."""
    video = VideoFile(counting(tmp_path, "mp4"), 0.04)
    assert video.place(50) == "t=2.000s"
    assert len({video.place(index) for index in range(video.count)}) == 60


def test_the_cost_bounds_what_a_frame_takes(tmp_path: Path) -> None:
    """Noise as PNG is not larger than was said beforehand."""
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    video = VideoFile(record(tmp_path / "a.mkv", [noise] * 2, codec="FFV1"), 1)
    encoded = cv2.imencode(".png", video.plane(0).pixels)[1]
    assert encoded.size <= video.cost(0)


def test_without_opencv_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, or of a version that turns colors wrongly: an error of the configuration, not of each file."""
    path = counting(tmp_path, "avi")
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__="4.12.0"))
    with pytest.raises(ConfigError, match=r"medtrinity25m\[video\]"):
        VideoFile(path, 1)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"medtrinity25m\[video\]"):
        VideoFile(path, 1)


def test_importing_the_readers_opens_no_decoder() -> None:
    """OpenCV, OpenSlide and tifffile are imported when a file is opened, not before."""
    code = (
        "import sys; import medtrinity25m.readers.video, medtrinity25m.readers.slide;"
        "print([name for name in ('cv2', 'openslide', 'tifffile') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert importlib.util.find_spec("tifffile")
