"""The headers of tar archives: the same members as Python finds in sound ones, a reason for every other one."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.tarball import BLOCK, Found, walk

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
LONG = "a/" * 60 + "x" * 120 + ".png"


def archive(files: dict[str, bytes], form: int = tarfile.GNU_FORMAT, **fields: Any) -> bytes:
    """A tar archive of files; `fields` are those of the members' headers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def listed(data: bytes, folder: Path) -> list[Found]:
    """What is found in an archive's bytes."""
    place = folder / "x.tar"
    place.write_bytes(data)
    return list(walk(place, "x.tar"))


def code_of(data: bytes, folder: Path) -> str | None:
    """The code an archive is refused with, or None."""
    try:
        listed(data, folder)
    except RefusedError as error:
        return error.code if "x.tar" in error.detail else "no file is named"
    return None


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60)
FILES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=6).map("/".join), st.binary(max_size=1500), max_size=6)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES, form=st.sampled_from(FORMATS))
@example(files={LONG: b"1", "x" * 100: b"2", "x" * 101: b"3", "ä" * 90: b"4"}, form=tarfile.GNU_FORMAT)
@example(files={LONG: b"1", "x" * 100: b"2", "x" * 101: b"3", "ä" * 90: b"4"}, form=tarfile.PAX_FORMAT)
@example(files={"a" * 80 + "/" + "b" * 90: b"prefix"}, form=tarfile.USTAR_FORMAT)
def test_the_same_members_as_python_finds(tmp_path: Path, files: dict[str, bytes], form: int) -> None:
    """Names of any length and script, and where each content lies, are found in all three formats."""
    try:
        data = archive(files, form)
    except ValueError:  # ustar has no room for the name
        return
    found = listed(data, tmp_path)
    assert [one.name.decode() for one in found] == list(files)
    assert [data[one.offset : one.offset + one.size] for one in found] == list(files.values())
    assert all(one.why is None for one in found)


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "pax"])
def test_archives_of_gnu_tar(tmp_path: Path, form: str) -> None:
    """What the tar command writes, folders and all, in every format it has."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.png").write_bytes(b"A" * 700)
    (tmp_path / "in" / "b.png").write_bytes(b"")
    command = ["tar", f"--format={form}", "-C", str(tmp_path), "-cf", str(tmp_path / "x.tar"), "in"]
    subprocess.run(command, check=True)
    found = {one.name: one for one in walk(tmp_path / "x.tar", "x.tar")}
    assert set(found) == {b"in/deep/a.png", b"in/b.png"}
    one = found[b"in/deep/a.png"]
    assert (tmp_path / "x.tar").read_bytes()[one.offset : one.offset + one.size] == b"A" * 700


def test_sparse_files_are_named_and_stepped_over(tmp_path: Path) -> None:
    """A file with holes, in GNU's and in pax form, is found, refused, and what follows it is read."""
    with (tmp_path / "holes").open("wb") as file:
        for place in range(40):
            file.seek(place << 20)
            file.write(b"x" * 4096)
    (tmp_path / "z.png").write_bytes(b"picture")
    for form in ("gnu", "pax"):
        command = ["tar", f"--format={form}", "--sparse", "-C", str(tmp_path), "-cf", str(tmp_path / "x.tar")]
        subprocess.run([*command, "holes", "z.png"], check=True)
        holes, picture = walk(tmp_path / "x.tar", "x.tar")
        assert (holes.name, holes.why) == (b"holes", "is a sparse file")
        with (tmp_path / "x.tar").open("rb") as file:
            file.seek(picture.offset)
            assert file.read(picture.size) == b"picture"


@pytest.mark.parametrize(("kind", "why"), [
    (tarfile.SYMTYPE, "is a symbolic link"), (tarfile.LNKTYPE, "is a hard link"), (tarfile.CHRTYPE, "is a device"),
    (tarfile.BLKTYPE, "is a device"), (tarfile.FIFOTYPE, "is a pipe"), (b"Z", "is of the unknown kind b'Z'"),
])  # fmt: skip
def test_what_is_no_file_says_what_it_is(tmp_path: Path, kind: bytes, why: str) -> None:
    """Links, devices, pipes and unknown kinds are found with a reason, and do not hide what follows."""
    data = archive({"bad": b""}, type=kind, linkname="/etc/passwd")[: 1 * BLOCK] + archive({"good": b"1"})
    bad, good = listed(data, tmp_path)
    assert (bad.name, bad.why) == (b"bad", why)
    assert (good.name, good.why) == (b"good", None)


def test_folders_are_no_members(tmp_path: Path) -> None:
    """A folder is passed over, by its kind or, in the oldest format, by its name."""
    data = archive({"a": b""}, type=tarfile.DIRTYPE)[:BLOCK] + archive({"b/": b""}, type=b"\0")[:BLOCK] + archive({})
    assert listed(data, tmp_path) == []


SOUND = archive({"a.png": b"A" * 600, LONG: b"B" * 10, "c.png": b""})
PAX = archive({"a.png": b"A" * 600, LONG: b"B" * 10, "ä.png": b"C"}, tarfile.PAX_FORMAT)


@pytest.mark.parametrize("data", [SOUND, PAX])
def test_no_truncation_is_silent(tmp_path: Path, data: bytes) -> None:
    """Cut anywhere before the end mark, also between two members, an archive is refused."""
    end = len(data.rstrip(b"\0"))
    end += -end % BLOCK
    for cut in range(0, end + BLOCK, 64):
        assert code_of(data[:cut], tmp_path) == "archive.damaged", cut
    assert code_of(data[: end + 2 * BLOCK], tmp_path) is None


def test_no_flipped_bit_of_a_header_is_silent(tmp_path: Path) -> None:
    """Every flipped bit of a header's fields is refused; `tarfile` takes most for the end of the archive."""
    start = SOUND.index(b"c.png")
    for bit in range(BLOCK * 8):
        damaged = bytearray(SOUND)
        damaged[start + bit // 8] ^= 1 << bit % 8
        code = code_of(bytes(damaged), tmp_path)
        # the checksum field may be written with other spaces or zeros around the same number
        assert code == "archive.damaged" or 148 <= bit // 8 < 156, bit


def test_a_second_archive_is_not_passed_over(tmp_path: Path) -> None:
    """Archives joined by cat hold members that most readers never see: refused."""
    assert code_of(SOUND + SOUND, tmp_path) == "archive.damaged"
    assert code_of(SOUND + bytes(3 << 20), tmp_path) is None


def signed(block: bytes) -> bytes:
    """A header with its checksum made right."""
    total = sum(block[:148]) + sum(block[156:]) + 256
    return block[:148] + f"{total:06o}\0 ".encode() + block[156:]


def with_field(at: int, value: bytes, kind: bytes = b"0") -> bytes:
    """An archive of one header with a field set, its checksum right, and a little content."""
    block = archive({"a": b""}, type=kind)[:BLOCK]
    return signed(block[:at] + value + block[at + len(value) :]) + b"content".ljust(BLOCK, b"\0") + bytes(2 * BLOCK)


def pax(fields: bytes) -> bytes:
    """An archive with pax fields, as they are, before an empty file."""
    head = archive({"p": b""}, type=b"x")[:BLOCK]
    size = f"{len(fields):011o}\0".encode()
    body = fields.ljust(-(-len(fields) // BLOCK) * BLOCK, b"\0")
    return signed(head[:124] + size + head[136:]) + body + archive({"a": b""})


@pytest.mark.parametrize("data", [
    b"", b"not a tar archive", bytes(511), b"\x1f\x8b" + bytes(1022),
    with_field(124, b"00000000000\0"),
    with_field(124, b"77777777777\0"),
    with_field(124, b"\x80" + b"\xff" * 11),
    with_field(124, b"\xff" * 12),
    with_field(124, b"-0000000001\0"),
    with_field(124, b"1_0        \0"),
    with_field(124, b"99         \0"),
    with_field(124, b"77777777777\0", kind=b"L"),
    with_field(124, b"77777777777\0", kind=b"x"),
    pax(b"0 path=x\n"), pax(b"5 path=x\n"), pax(b"99 path=x\n"), pax(b"path=x\n"), pax(b"9 path=xx"),
    pax(b"-9 path=x\n"),
    pax(b"11 size=-9\n"), pax(b"12 size=1e3\n"), pax(b"40 size=9999999999999999999999999999999\n"),
])  # fmt: skip
def test_headers_that_lie(tmp_path: Path, data: bytes) -> None:
    """Negative, endless and unreadable sizes, names and pax fields without end are refused, in no time."""
    assert code_of(data, tmp_path) == "archive.damaged"


def test_pax_fields_count(tmp_path: Path) -> None:
    """A name and a size in pax fields replace the header's."""
    assert listed(pax(b"13 path=ab/c\n"), tmp_path)[0].name == b"ab/c"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_members_or_a_reason(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed with checksums made right again give members within the file, or a refusal."""
    damaged = bytearray(data.draw(st.sampled_from([SOUND, PAX])))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 4 * BLOCK))] = data.draw(st.integers(0, 255))
    for at in range(0, len(damaged), BLOCK):
        if any(damaged[at : at + BLOCK]):
            damaged[at : at + BLOCK] = signed(bytes(damaged[at : at + BLOCK]))
    if (code := code_of(bytes(damaged), tmp_path)) is None:
        found = listed(bytes(damaged), tmp_path)
        assert all(0 < one.offset <= one.offset + one.size <= len(damaged) for one in found)
    else:
        assert code == "archive.damaged"
