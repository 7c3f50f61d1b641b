"""Fetching: real clients against a server on loopback that misbehaves, hostile archives, killed processes."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from http_server import Mishap, Page, Server, hub_pages, serving
from medtrinity25m.__main__ import app
from medtrinity25m.downloads import Idc, Kaggle, Synapse
from medtrinity25m.errors import ConfigError, DiskError, FetchError, LockedError
from medtrinity25m.fetch import Fetched, fetch, idc, kaggle, synapse, terms
from medtrinity25m.fetch.meter import Meter
from medtrinity25m.fetch.paths import safe_path
from medtrinity25m.fetch.patience import Patience, ordered_pause
from medtrinity25m.fetch.tools import Endpoints, Tools
from medtrinity25m.fetch.transfer import _may_redirect
from medtrinity25m.fetch.unpack import Limits, unpack
from medtrinity25m.readers.safe import Jail
from medtrinity25m.registry import Source, parse_source

DATA = bytes(range(256)) * 8192  # 2 MiB
SHA = hashlib.sha256(DATA).hexdigest()
TOML = """
id = "drawn"
title = "Drawn"
license = "CC-BY-4.0"
redistribution = "images"
egress = "any"
modality = "ct"
homepage = "https://example.org/drawn"
[layout]
kind = "folder_per_class"
images = "{label}/*.png"
"""
HASTY = Patience(connect_s=2, read_s=0.5, slow_s=0.4, slow_bytes_per_s=1000, tries=4, wait_s=0.01, longest_wait_s=0.02)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def tools(server: Server) -> Tools:
    said = Console(file=io.StringIO(), width=1000)
    return Tools(meter=Meter(said), patience=HASTY, endpoints=Endpoints(zenodo=server.url, huggingface=server.url))


def said(tools: Tools) -> str:
    return tools.meter.console.file.getvalue()


def source(*tables: dict[str, Any], **more: Any) -> Source:
    about = {
        "id": "drawn", "title": "Drawn", "license": "CC-BY-4.0", "redistribution": "images", "egress": "any",
        "modality": "ct", "homepage": "https://example.org/drawn", "citation": "Doe 2020",
        "layout": {"kind": "folder_per_class", "images": "{label}/*.png"},
    }  # fmt: skip
    return parse_source({**about, "download": list(tables), **more}, "drawn.toml")


def one(server: Server, page: Page, name: str = "a.bin", **options: Any) -> dict[str, Any]:
    server.pages[f"/{name}"] = page
    return {"kind": "http", "url": f"{server.url}/{name}", **options}


class TestHttp:
    def test_three_cuts_cost_not_one_byte_twice(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """The connection is cut three times; the file is right and each byte was served once."""
        cuts = [Mishap(cut_after=700_001), Mishap(cut_after=3), Mishap(cut_after=900_000)]
        table = one(server, Page(DATA, mishaps=cuts), sha256=SHA)
        assert fetch(source(table), tmp_path / "x", tools=tools).news
        assert (tmp_path / "x/a.bin").read_bytes() == DATA
        assert server.served["/a.bin"] == len(DATA)
        assert server.ranges == [None, "bytes=700001-", "bytes=700004-", "bytes=1600004-"]
        assert said(tools).count("the connection was cut") == 3

    def test_a_wrong_checksum_is_fetched_anew_once(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """Damaged bytes of the right length are thrown away and the file comes whole the second time."""
        table = one(server, Page(DATA, mishaps=[Mishap(data=b"x" + DATA[1:])]), sha256=SHA)
        fetch(source(table), tmp_path / "x", tools=tools)
        assert (tmp_path / "x/a.bin").read_bytes() == DATA
        assert server.pages["/a.bin"].times == 2
        assert f"expected {SHA}" in said(tools)

    def test_cuts_and_a_wrong_checksum_together(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """Three cuts within a damaged file, then the file again: both mends work in one run."""
        bad = b"x" + DATA[1:]
        mishaps = [Mishap(data=bad, cut_after=500_000), *[Mishap(data=bad, cut_after=100_000)] * 2, Mishap(data=bad)]
        table = one(server, Page(DATA, mishaps=mishaps), md5=hashlib.md5(DATA).hexdigest())
        fetch(source(table), tmp_path / "x", tools=tools)
        assert (tmp_path / "x/a.bin").read_bytes() == DATA
        assert server.served["/a.bin"] == 2 * len(DATA)

    def test_a_checksum_wrong_twice_is_an_error_that_names_both(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """Nothing is left to be taken for the file, and the message holds what was expected and what came."""
        table = one(server, Page(DATA[:-1] + b"!"), sha256=SHA)
        got = hashlib.sha256(DATA[:-1] + b"!").hexdigest()
        with pytest.raises(FetchError, match=f"sha256 is {got}, expected {SHA}, twice"):
            fetch(source(table), tmp_path / "x", tools=tools)
        assert server.pages["/a.bin"].times == 2
        assert not (tmp_path / "x").exists()
        assert not list((tmp_path / "x.fetch").rglob("a.bin*"))

    def test_a_file_that_changed_between_attempts_is_not_glued_together(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """If-Range makes the server send the whole new file; without a checksum nothing else would notice."""
        page = Page(DATA, etag='"new"', mishaps=[Mishap(cut_after=1000, data=bytes(len(DATA)))])
        table = one(server, page)
        state = _begin(server, page, table, tools, tmp_path)
        assert state["etag"] == '"old"'
        fetch(source(table), tmp_path / "x", tools=tools)
        assert (tmp_path / "x/a.bin").read_bytes() == DATA
        assert server.seen_headers[-1]["If-Range"] == '"old"'

    def test_a_server_that_ignores_if_range_is_found_out(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """A part of the new file under the new ETag is refused, and the file begun anew."""
        page = Page(DATA, etag='"new"', honours_if_range=False)
        page.mishaps = [Mishap(cut_after=1000, data=bytes(len(DATA)))]
        table = one(server, page)
        _begin(server, page, table, tools, tmp_path)
        fetch(source(table), tmp_path / "x", tools=tools)
        assert (tmp_path / "x/a.bin").read_bytes() == DATA
        assert "the server's file changed" in said(tools)

    def test_a_server_without_ranges_is_started_over(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """It answers 200 to a Range request: the first part is not kept in front."""
        table = one(server, Page(DATA, ranges=False, mishaps=[Mishap(cut_after=500_000)]))
        fetch(source(table), tmp_path / "x", tools=tools)
        assert (tmp_path / "x/a.bin").read_bytes() == DATA
        assert server.served["/a.bin"] == len(DATA) + 500_000

    def test_nothing_to_tell_versions_apart_means_starting_over(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """Without ETag, date and checksum no Range is asked for."""
        table = one(server, Page(DATA, etag=None, mishaps=[Mishap(cut_after=500_000)]))
        fetch(source(table), tmp_path / "x", tools=tools)
        assert server.ranges == [None, None]

    @pytest.mark.parametrize(
        ("page", "condition"),
        [
            (Page(DATA, etag=None, modified="Mon, 02 Mar 2020 10:00:00 GMT"), "Mon, 02 Mar 2020 10:00:00 GMT"),
            (Page(DATA, etag='W/"weak"', modified="Mon, 02 Mar 2020 10:00:00 GMT"), "Mon, 02 Mar 2020 10:00:00 GMT"),
            (Page(DATA, etag='"strong"'), '"strong"'),
        ],
    )
    def test_the_condition_is_one_the_standard_allows(
        self, server: Server, tools: Tools, tmp_path: Path, page: Page, condition: str
    ) -> None:
        """A weak ETag may not stand in If-Range; the date does."""
        page.mishaps = [Mishap(cut_after=10)]
        fetch(source(one(server, page)), tmp_path / "x", tools=tools)
        assert server.seen_headers[1]["If-Range"] == condition
        assert (tmp_path / "x/a.bin").read_bytes() == DATA

    def test_a_cut_in_a_chunked_answer_is_noticed(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """No length is announced; the missing last chunk tells, and the rest is asked for."""
        table = one(server, Page(DATA, chunked=True, mishaps=[Mishap(cut_after=600_000)]))
        fetch(source(table), tmp_path / "x", tools=tools)
        assert (tmp_path / "x/a.bin").read_bytes() == DATA
        assert server.served["/a.bin"] == len(DATA)

    def test_a_length_the_server_does_not_keep_is_an_error(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """It promises ten bytes more than it has, each time: no file of the shorter length is accepted."""
        table = one(server, Page(DATA, ranges=False, mishaps=[Mishap(claim=len(DATA) + 10)] * 9))
        with pytest.raises(FetchError, match="cut, 4 times in a row"):
            fetch(source(table), tmp_path / "x", tools=replace_patience(tools, worthwhile_bytes=len(DATA) * 2))
        assert not (tmp_path / "x").exists()

    def test_retry_after_is_honoured(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """429 with one second: the next request comes no sooner."""
        table = one(server, Page(DATA, mishaps=[Mishap(status=429, headers={"Retry-After": "1"})]), sha256=SHA)
        begin = time.monotonic()
        fetch(source(table), tmp_path / "x", tools=tools)
        assert time.monotonic() - begin >= 1.0
        assert "the server answers 429" in said(tools)

    def test_a_pause_of_hours_is_told_and_not_waited_for(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """The server orders a pause beyond our patience."""
        table = one(server, Page(DATA, mishaps=[Mishap(status=503, headers={"Retry-After": "7200"})]))
        with pytest.raises(FetchError, match="503, for 7,200 s; the same command goes on from here later"):
            fetch(source(table), tmp_path / "x", tools=tools)

    def test_retry_after_may_be_a_date(self) -> None:
        """Seconds, an HTTP date, and what is neither."""
        assert ordered_pause("12") == 12.0
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        assert 98 < (ordered_pause(later) or 0) <= 100
        assert ordered_pause("soon") is None
        assert ordered_pause(None) is None

    def test_pauses_grow_and_have_jitter(self) -> None:
        """Doubled each time up to the cap, never below half, not always the same."""
        patience = Patience(wait_s=1, longest_wait_s=60)
        for attempt, full in ((1, 1), (3, 4), (20, 60)):
            waits = {patience.wait(attempt) for _ in range(50)}
            assert len(waits) > 1
            assert all(full / 2 <= wait <= full for wait in waits)

    def test_errors_of_the_server_are_borne_with_to_a_limit(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """Three 500s do not matter; the fourth in a row ends it."""
        fetch(source(one(server, Page(DATA, mishaps=[Mishap(status=500)] * 3))), tmp_path / "x", tools=tools)
        table = one(server, Page(DATA, mishaps=[Mishap(status=500)] * 4), name="b.bin")
        with pytest.raises(FetchError, match="b.bin: the server answers 500, 4 times in a row"):
            fetch(source(table), tmp_path / "y", tools=tools)

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (404, "404 Not Found; the file was moved"),
            (403, "refuses access .403.: log in .* at https://example.org/drawn"),
        ],
    )
    def test_what_waiting_does_not_mend_is_told_at_once(
        self, server: Server, tools: Tools, tmp_path: Path, status: int, words: str
    ) -> None:
        """One request, one sentence that says what to do."""
        with pytest.raises(FetchError, match=words):
            fetch(source(one(server, Page(status=status))), tmp_path / "x", tools=tools)
        assert server.pages["/a.bin"].times == 1

    def test_a_login_page_in_place_of_the_file_is_no_file(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """200 with HTML: without a checksum it would pass for the data."""
        page = Page(b"<html>please log in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
        with pytest.raises(FetchError, match="web page in place of the file"):
            fetch(source(one(server, page, name="a.zip")), tmp_path / "x", tools=tools)

    def test_a_stalled_connection_is_left_and_resumed(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """Nothing comes for longer than the read timeout."""
        table = one(server, Page(DATA, mishaps=[Mishap(cut_after=100_000, stall_s=1.5)]))
        fetch(source(table), tmp_path / "x", tools=tools)
        assert server.ranges[1] == "bytes=100000-"
        assert (tmp_path / "x/a.bin").read_bytes() == DATA

    def test_a_trickle_is_left_as_well(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """A byte now and then keeps every timeout of a socket quiet."""
        table = one(server, Page(DATA[:500], mishaps=[Mishap(trickle_s=0.02)]))
        begin = time.monotonic()
        fetch(source(table), tmp_path / "x", tools=tools)
        assert time.monotonic() - begin < 5  # it would take ten seconds
        assert "bytes a second" in said(tools)
        assert (tmp_path / "x/a.bin").read_bytes() == DATA[:500]

    def test_redirects_on_this_host_are_followed(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """From one path to another, and the resumed request takes the same way."""
        server.pages["/real"] = Page(DATA, mishaps=[Mishap(cut_after=9)])
        fetch(source(one(server, Page(location="/real"), sha256=SHA)), tmp_path / "x", tools=tools)
        assert server.served["/real"] == len(DATA)

    @pytest.mark.parametrize(
        ("target", "words"),
        [("http://example.org/a.bin", "not HTTPS"), ("/a.bin", "redirects"), ("file:///etc/passwd", "not HTTPS")],
    )
    def test_other_redirects_are_not(
        self, server: Server, tools: Tools, tmp_path: Path, target: str, words: str
    ) -> None:
        """Plain HTTP elsewhere, circles, other schemes: refused before a connection is made."""
        with pytest.raises(FetchError, match=words):
            fetch(source(one(server, Page(location=target))), tmp_path / "x", tools=tools)

    @pytest.mark.parametrize(
        ("old", "new", "allowed"),
        [
            ("https://a.org/x", "https://b.org/x", True),
            ("http://a.org/x", "https://b.org/x", True),
            ("http://a.org/x", "http://a.org/y", True),
            ("http://127.0.0.1:1/x", "http://localhost:2/y", True),
            ("https://a.org/x", "http://a.org/x", False),
            ("http://a.org/x", "http://b.org/x", False),
            ("http://a.org/x", "http://127.0.0.1/x", False),
            ("https://a.org/x", "https://[::1]/x", False),
            ("https://a.org/x", "ftp://a.org/x", False),
        ],
    )
    def test_where_a_redirect_may_lead(self, old: str, new: str, allowed: bool) -> None:
        """HTTPS anywhere but to this machine, HTTP on the same host, loopback to loopback."""
        assert _may_redirect(old, new) is allowed

    def test_a_disk_without_room_is_told_before_the_first_byte(
        self, server: Server, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The announced length is compared with what is free."""
        table = one(server, Page(DATA))
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(DiskError, match="needs 2,097,152 more bytes and 1,000 are free"):
            fetch(source(table), tmp_path / "x", tools=tools)

    def test_a_disk_that_fills_up_is_told_and_gone_on_from(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """A write fails in the middle; after that the same call fetches the rest only."""
        table = one(server, Page(DATA), sha256=SHA)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        try:
            with pytest.raises(DiskError, match="a.bin.part"):
                fetch(source(table), tmp_path / "x", tools=tools)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        fetch(source(table), tmp_path / "x", tools=tools)
        assert server.ranges == [None, "bytes=1048576-"]
        assert (tmp_path / "x/a.bin").read_bytes() == DATA

    def test_a_file_without_length_and_checksum_is_not_passed_over_in_silence(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """An old server ends the file by closing the connection: a cut would look the same."""
        page = Page(DATA, etag=None, framed=False)
        fetch(source(one(server, page)), tmp_path / "x", tools=tools)
        assert "neither length nor checksum" in said(tools)

    @pytest.mark.parametrize("name", ["../a", "/etc/a", "a\0b", ""])
    def test_a_name_from_the_table_stays_in_the_folder(
        self, server: Server, tools: Tools, tmp_path: Path, name: str
    ) -> None:
        """A TOML comes from a stranger as well."""
        with pytest.raises(ConfigError, match="give `name` in the table"):
            fetch(source({"kind": "http", "url": f"{server.url}/", "name": name}), tmp_path / "x", tools=tools)


def replace_patience(tools: Tools, **changes: Any) -> Tools:
    patience = Patience(**{**vars(tools.patience), **changes})
    return Tools(meter=tools.meter, patience=patience, endpoints=tools.endpoints)


def _begin(server: Server, page: Page, table: dict[str, Any], tools: Tools, tmp_path: Path) -> dict[str, Any]:
    """Let a first process get the beginning of an older file and give up."""
    page.etag, later = '"old"', page.etag
    page.mishaps += [Mishap(status=404)]
    with pytest.raises(FetchError):
        fetch(source(table), tmp_path / "x", tools=tools)
    page.etag = later
    note = next((tmp_path / "x.fetch").rglob("a.bin.part.json"))
    return json.loads(note.read_text())


class TestPlace:
    def test_the_destination_holds_the_files_and_nothing_else(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """No note of ours is in the way of a layout; they lie beside it."""
        fetch(source(one(server, Page(DATA), sha256=SHA)), tmp_path / "deep/x", tools=tools)
        assert Jail(tmp_path / "deep/x").files() == ["a.bin"]
        notes = json.loads((tmp_path / "deep/x.fetch/fetched.json").read_text())
        assert notes["license"] == "CC-BY-4.0"
        assert notes["downloads"][0]["sha256"] == SHA

    def test_the_same_command_again_asks_the_server_nothing(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """What is there is known from the notes."""
        table = one(server, Page(DATA))
        first = fetch(source(table), tmp_path / "x", tools=tools)
        second = fetch(source(table), tmp_path / "x", tools=tools)
        assert first == Fetched(tmp_path / "x", 1, len(DATA), news=True)
        assert second == Fetched(tmp_path / "x", 1, len(DATA), news=False)
        assert server.pages["/a.bin"].times == 1

    def test_a_second_table_adds_to_the_folder(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """A source that gained a download brings only that."""
        first = one(server, Page(DATA))
        fetch(source(first), tmp_path / "x", tools=tools)
        second = one(server, Page(b"more"), "b.bin")
        fetch(source(first, second), tmp_path / "x", tools=tools)
        assert Jail(tmp_path / "x").files() == ["a.bin", "b.bin"]
        assert server.pages["/a.bin"].times == 1

    def test_a_file_that_is_gone_is_fetched_again(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """The notes say it must be there."""
        table = one(server, Page(DATA))
        fetch(source(table), tmp_path / "x", tools=tools)
        (tmp_path / "x/a.bin").unlink()
        assert fetch(source(table), tmp_path / "x", tools=tools).news
        assert (tmp_path / "x/a.bin").read_bytes() == DATA

    def test_a_file_somebody_changed_is_left_alone(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """It may be work; the message names it."""
        table = one(server, Page(DATA))
        fetch(source(table), tmp_path / "x", tools=tools)
        (tmp_path / "x/a.bin").write_text("mine")
        with pytest.raises(ConfigError, match=r"x/a.bin has 4 bytes and was fetched with 2,097,152; remove it"):
            fetch(source(table), tmp_path / "x", tools=tools)

    def test_a_folder_with_other_files_is_refused(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """Nothing is mixed with what a person keeps there."""
        (tmp_path / "x").mkdir()
        (tmp_path / "x/mine.txt").write_text("mine")
        with pytest.raises(ConfigError, match="already holds files"):
            fetch(source(one(server, Page(DATA))), tmp_path / "x", tools=tools)
        assert not server.ranges

    def test_an_empty_folder_is_used(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """As `mkdir` leaves it."""
        (tmp_path / "x").mkdir()
        fetch(source(one(server, Page(DATA))), tmp_path / "x", tools=tools)
        assert Jail(tmp_path / "x").files() == ["a.bin"]

    def test_two_downloads_of_one_name_that_differ_are_an_error(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """Neither silently wins."""
        first = one(server, Page(b"one"))
        second = one(server, Page(b"two"), "b.bin") | {"name": "a.bin"}
        with pytest.raises(FetchError, match="a.bin is there already and differs"):
            fetch(source(first, second), tmp_path / "x", tools=tools)

    def test_two_at_once_cannot_meet(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """The second is told who holds the folder."""
        from medtrinity25m.fetch.place import Place

        with Place(tmp_path / "x").locked(), pytest.raises(LockedError, match=f"by process {os.getpid()} on"):
            fetch(source(one(server, Page(DATA))), tmp_path / "x", tools=tools)

    def test_a_killed_process_is_gone_on_from(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """SIGKILL in the middle of a file; the next process asks for the rest only."""
        table = one(server, Page(DATA, throttle_s=0.01), sha256=SHA)
        child = _start(source(table), tmp_path / "x")
        part = _wait_for(tmp_path, "a.bin.part", lambda path: path.stat().st_size > 300_000)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        there = part.stat().st_size
        assert 300_000 < there < len(DATA)
        assert not (tmp_path / "x").exists()
        server.pages["/a.bin"].throttle_s = 0
        fetch(source(table), tmp_path / "x", tools=tools)
        assert (tmp_path / "x/a.bin").read_bytes() == DATA
        assert server.ranges[-1] == f"bytes={there}-"
        assert server.bodies[-1] == len(DATA) - there

    def test_a_process_killed_while_unpacking_is_gone_on_from(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """The archive is not fetched again, members that stand are not written again, the result is whole."""
        members = {f"case{index:03}/image.png": os.urandom(4000) for index in range(400)}
        table = one(server, Page(_zip(members)), name="a.zip", unpack=True)
        child = _start(source(table), tmp_path / "x")
        first = _wait_for(tmp_path, "image.png", lambda path: path.stat().st_size == 4000)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        inode = first.stat().st_ino if first.exists() else None
        result = fetch(source(table), tmp_path / "x", tools=tools)
        assert result.files == 400
        assert all((tmp_path / "x" / name).read_bytes() == data for name, data in members.items())
        assert server.pages["/a.zip"].times == 1
        assert inode is None or (tmp_path / "x" / first.relative_to(first.parents[1])).stat().st_ino == inode

    def test_a_kill_between_two_renames_loses_nothing(
        self, server: Server, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stopped at every rename in turn, the next run ends with the same folder and no second download."""
        tables = [
            one(server, Page(_zip({"a/1.png": b"1", "a/2.png": b"2"})), "a.zip", unpack=True),
            one(server, Page(b"three"), "three.bin"),
        ]
        renames = 0
        real = Path.rename

        def rename(self: Path, target: Path) -> Path:
            nonlocal renames
            renames += 1
            if renames == stop:
                raise KeyboardInterrupt
            return real(self, target)

        monkeypatch.setattr(Path, "rename", rename)
        for stop in range(1, 20):
            renames, dest = 0, tmp_path / f"x{stop}"
            for page in server.pages.values():
                page.times = 0
            try:
                fetch(source(*tables), dest, tools=tools)
            except KeyboardInterrupt:
                fetch(source(*tables), dest, tools=tools)
            assert Jail(dest).files() == ["a/1.png", "a/2.png", "three.bin"]
            assert [page.times for page in server.pages.values()] == [1, 1]
            if renames < stop:
                break
        assert stop > 3


def _start(wanted: Source, dest: Path, script: str = "", **environment: str) -> subprocess.Popen[str]:
    """Fetch in a process of its own."""
    given = wanted.model_dump_json(exclude_defaults=True)
    program = f"""
import json, sys
from pathlib import Path
from medtrinity25m.registry import parse_source
from medtrinity25m.fetch import fetch
from medtrinity25m.fetch.tools import Endpoints, Tools
from medtrinity25m.fetch.patience import Patience
from medtrinity25m.errors import MedTrinityError
source = parse_source(json.loads({given!r}), "x.toml")
tools = Tools(patience=Patience(tries=4, wait_s=0.01))
{script}
try:
    done = fetch(source, Path({str(dest)!r}), tools=tools)
    print(json.dumps([done.files, done.size, done.news]))
except MedTrinityError as error:
    print(f"{{type(error).__name__}}: {{error}}", file=sys.stderr)
    sys.exit(error.exit_code)
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "KAGGLE", "SYNAPSE"))}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**kept, "HOME": str(dest.parent), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for(folder: Path, name: str, ready: Callable[[Path], bool]) -> Path:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for path in folder.rglob(name):
            if ready(path):
                return path
        time.sleep(0.005)
    raise AssertionError(f"{name} did not come")


class TestTerms:
    def test_license_access_and_citation_are_said_before_the_first_request(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """One line, also when the download then fails."""
        with pytest.raises(FetchError):
            fetch(source({"kind": "http", "url": f"{server.url}/gone"}), tmp_path / "x", tools=tools)
        assert said(tools).splitlines()[0] == "Drawn: license CC-BY-4.0; access open; to cite: Doe 2020"

    def test_a_license_nobody_checked_is_called_so(self) -> None:
        """The placeholder's name would tell a reader nothing."""
        unsure = source(license="LicenseRef-unverified", redistribution="recipe-only")
        assert "license not verified, read it at https://example.org/drawn" in terms(unsure)

    def test_what_no_program_can_fetch_says_how_to_get_it(self, tmp_path: Path) -> None:
        """Exit code 2, the sentence of the TOML and the page."""
        closed = source(access="click-through", get_it="Register and download train.zip.")
        with pytest.raises(
            ConfigError, match=r"Register and download train.zip. \(https://example.org/drawn\)"
        ) as told:
            fetch(closed, tmp_path / "x")
        assert told.value.exit_code == 2
        assert not (tmp_path / "x.fetch").exists()

    def test_the_rest_to_be_had_by_hand_is_told_at_the_end(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """A source may have both."""
        both = source(one(server, Page(DATA)), get_it="Ask for the masks.")
        assert fetch(both, tmp_path / "x", tools=tools).notes == ("to be had by hand: Ask for the masks.",)


class TestCommand:
    """The verb of the command line."""

    def test_a_toml_is_fetched(self, server: Server, tmp_path: Path) -> None:
        """Terms, progress and the sum on standard error."""
        one(server, Page(DATA))
        (tmp_path / "drawn.toml").write_text(TOML + f'[[download]]\nkind = "http"\nurl = "{server.url}/a.bin"\n')
        done = CliRunner().invoke(app, ["fetch", str(tmp_path / "drawn.toml"), str(tmp_path / "x")])
        assert done.exit_code == 0, done.output
        assert "license CC-BY-4.0" in done.stderr
        assert "1 files, 2,097,152 bytes" in done.stderr
        again = CliRunner().invoke(app, ["fetch", str(tmp_path / "drawn.toml"), str(tmp_path / "x")])
        assert "nothing to do" in again.stderr

    def test_what_has_to_be_had_by_hand_exits_with_2(self, tmp_path: Path) -> None:
        """And says how."""
        (tmp_path / "drawn.toml").write_text('get_it = "Register there."\n' + TOML)
        done = CliRunner().invoke(app, ["fetch", str(tmp_path / "drawn.toml"), str(tmp_path / "x")])
        assert done.exit_code == 2
        assert "cannot be fetched by program: Register there." in done.stderr

    def test_an_unknown_id_brings_the_nearest(self, tmp_path: Path) -> None:
        """A typing error."""
        done = CliRunner().invoke(app, ["fetch", "mni125", str(tmp_path / "x")])
        assert done.exit_code == 2
        assert "mni152" in done.stderr

    def test_a_failing_server_exits_with_69(self, server: Server, tmp_path: Path) -> None:
        """So that a script can try later."""
        (tmp_path / "drawn.toml").write_text(TOML + f'[[download]]\nkind = "http"\nurl = "{server.url}/gone"\n')
        assert CliRunner().invoke(app, ["fetch", str(tmp_path / "drawn.toml"), str(tmp_path / "x")]).exit_code == 69


class TestMeter:
    def test_lines_tell_size_rate_and_time_left(self, server: Server, tmp_path: Path) -> None:
        """Where there is no terminal."""
        meter = Meter(Console(file=io.StringIO(), width=200), line_s=0.0)
        fetch(source(one(server, Page(DATA))), tmp_path / "x", tools=Tools(meter=meter))
        lines = [line for line in meter.console.file.getvalue().splitlines() if line.startswith("a.bin: ")]
        assert lines[-1].startswith("a.bin: 2.1 MB of 2.1 MB, ")
        assert lines[-1].endswith("/s, 0 s left")

    def test_a_terminal_gets_a_bar(self, server: Server, tmp_path: Path) -> None:
        """With bytes and rate."""
        meter = Meter(Console(file=io.StringIO(), width=120, force_terminal=True))
        fetch(source(one(server, Page(DATA))), tmp_path / "x", tools=Tools(meter=meter))
        shown = meter.console.file.getvalue()
        assert "━" in shown
        assert "2.1/2.1 MB" in shown

    def test_quiet_is_quiet(self, server: Server, tmp_path: Path) -> None:
        """Nothing at all."""
        meter = Meter(Console(file=io.StringIO()), quiet=True, line_s=0.0)
        fetch(source(one(server, Page(DATA))), tmp_path / "x", tools=Tools(meter=meter))
        assert meter.console.file.getvalue() == ""


def _zip(members: dict[str, bytes], **options: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _tar(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in members.items():
            if isinstance(data, tarfile.TarInfo):
                archive.addfile(data)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def opened(tmp_path: Path, tools: Tools) -> Callable[..., list[str]]:
    """Unpack bytes under a name into `tmp_path / "in/tree"`; return what was left out."""

    def run(data: bytes, name: str = "a.zip", **limits: int) -> list[str]:
        archive = tmp_path / name
        archive.write_bytes(data)
        (tmp_path / "in").mkdir(exist_ok=True)
        return unpack(archive, tmp_path / "in/tree", tools.meter, Limits(**limits))

    return run


def _unpacked(tmp_path: Path) -> dict[str, bytes]:
    root = tmp_path / "in/tree"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


GOOD = {"a/1.png": b"one" * 1000, "a/b/2.png": b"", "ü.txt": b"three"}


class TestUnpack:
    @pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
    def test_every_kind_is_unpacked(self, opened: Any, tmp_path: Path, name: str) -> None:
        """The same files from each."""
        kind = name.rpartition(".")[2]
        data = _zip(GOOD) if kind == "zip" else _tar(GOOD, "w" if kind == "tar" else f"w:{kind}")
        assert opened(data, name) == []
        assert _unpacked(tmp_path) == GOOD

    def test_zstandard_needs_its_package_and_says_so(self, opened: Any, tmp_path: Path) -> None:
        """A sentence with the command; with the package, the files."""
        try:
            import zstandard
        except ImportError:
            with pytest.raises(ConfigError, match=r"pip install 'medtrinity25m\[fetch\]'"):
                opened(b"\x28\xb5\x2f\xfd" + bytes(100), "a.tar.zst")
        else:
            opened(zstandard.ZstdCompressor().compress(_tar(GOOD)), "a.tar.zst")
            assert _unpacked(tmp_path) == GOOD

    @pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "a/\x01b", "x" * 250])
    @pytest.mark.parametrize("pack", [_zip, _tar])
    def test_a_name_that_leads_out_stops_it(self, opened: Any, tmp_path: Path, name: str, pack: Any) -> None:
        """Nothing is written outside, and the archive's and the member's names are told."""
        with pytest.raises(FetchError, match="a.zip: the member"):
            opened(pack({name: b"x"}))
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "a.zip"]
        assert not (tmp_path.parent / "evil").exists()

    def test_names_are_paths_below_the_folder(self) -> None:
        """Backslashes of Windows programs are separators, empty parts and dots fall away."""
        assert safe_path("a\\b//./c.png") == "a/b/c.png"

    def test_links_and_devices_are_left_out_and_named(self, opened: Any, tmp_path: Path) -> None:
        """A link to a folder outside and a file through it: neither the link is made nor the file put there."""
        outside = tmp_path / "outside"
        outside.mkdir()
        members = {
            "link": _link("link", str(outside)),
            "link/evil": b"evil",
            "hard": _link("hard", "/etc/passwd", tarfile.LNKTYPE),
            "dev": _link("dev", "", tarfile.CHRTYPE),
            "pipe": _link("pipe", "", tarfile.FIFOTYPE),
        }
        assert opened(_tar(members), "a.tar") == ["link", "hard", "dev", "pipe"]
        assert not list(outside.iterdir())
        assert _unpacked(tmp_path) == {"link/evil": b"evil"}

    def test_a_link_in_a_zip_is_left_out(self, opened: Any, tmp_path: Path) -> None:
        """Its mode says what it is."""
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(info, "/etc/passwd")
            archive.writestr("file", "x")
        assert opened(out.getvalue()) == ["link"]
        assert _unpacked(tmp_path) == {"file": b"x"}

    def test_a_zip_that_counts_bytes_twice_is_refused_before_the_first_byte(self, opened: Any, tmp_path: Path) -> None:
        """A hundred entries share one megabyte of zeros: beyond what deflate can do."""
        with pytest.raises(FetchError, match="a bomb"):
            opened(_overlapping_zip(100, 1 << 20))
        assert not (tmp_path / "in/tree").exists()

    @pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
    def test_more_than_the_limit_is_refused(self, opened: Any, tmp_path: Path, name: str) -> None:
        """By what a zip declares, and by what comes out of a tar."""
        members = {f"{index}.bin": bytes(100_000) for index in range(20)}
        data = _zip(members) if name == "a.zip" else _tar(members, "w:gz")
        with pytest.raises(FetchError, match="a bomb"):
            opened(data, name, unpacked_bytes=1_000_000)
        assert sum(map(len, _unpacked(tmp_path).values())) <= 1_000_000

    def test_a_zip_may_not_lie_about_its_sizes(self, opened: Any) -> None:
        """A member that unpacks to more than its entry says is damaged."""
        data = bytearray(_zip({"a": bytes(100_000)}))
        at = data.rindex(b"PK\x01\x02") + 24
        data[at : at + 4] = (10).to_bytes(4, "little")
        with pytest.raises(FetchError, match="damaged"):
            opened(bytes(data))

    def test_too_many_members_are_refused(self, opened: Any) -> None:
        """A million empty files fill a disk as well."""
        members = {f"{index}": b"" for index in range(30)}
        for name, data in (("a.zip", _zip(members)), ("a.tar", _tar(members))):
            with pytest.raises(FetchError, match="files"):
                opened(data, name, members=20)

    def test_a_header_that_wants_all_memory_is_refused(self, opened: Any) -> None:
        """A long name of 4 GB is announced in a tar of a kilobyte."""
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 32
        data = info.tobuf(tarfile.GNU_FORMAT) + bytes(2048)
        with pytest.raises(FetchError, match="a header of 4,294,967,296 bytes"):
            opened(data, "a.tar")

    @pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
    def test_a_truncated_archive_is_refused_at_every_length(self, opened: Any, tmp_path: Path, name: str) -> None:
        """Wherever it ends early, between two members as well, it does not pass for whole."""
        kind = name.rpartition(".")[2]
        data = _zip(GOOD) if kind == "zip" else _tar(GOOD, "w" if kind == "tar" else f"w:{kind}")
        end = len(data.rstrip(b"\0")) if kind == "tar" else len(data)
        cuts = {*range(0, end, max(1, end // 25)), *(range(0, end, 512) if kind == "tar" else ()), end - 1}
        for cut in sorted(cuts):
            shutil.rmtree(tmp_path / "in", ignore_errors=True)
            with pytest.raises(FetchError):
                opened(data[:cut], name)

    def test_a_tar_damaged_in_the_middle_is_not_taken_for_its_end(self, opened: Any) -> None:
        """`tarfile` alone returns the first member and no error."""
        data = bytearray(_tar({"a": b"x" * 600, "b": b"y", "c": b"z"}))
        data[512 * 3 + 148 : 512 * 3 + 156] = b"\0" * 8
        with pytest.raises(FetchError, match="no member and no end mark at byte 1,536"):
            opened(bytes(data), "a.tar")

    def test_damage_in_the_middle_of_a_zip_is_told(self, opened: Any) -> None:
        """The checksum of the member does not fit."""
        data = bytearray(_zip({"a": os.urandom(5000)}))
        data[2000] ^= 1
        with pytest.raises(FetchError, match="a.zip is damaged or ends early"):
            opened(bytes(data))

    def test_a_file_that_is_no_archive_is_told(self, opened: Any) -> None:
        """A web page named .zip."""
        with pytest.raises(FetchError, match="damaged or ends early"):
            opened(b"<html>" + b"no such file" * 100)

    def test_a_password_is_told(self, opened: Any) -> None:
        """Nothing here asks for one."""
        data = bytearray(_zip({"a": b"x"}))
        data[data.rindex(b"PK\x01\x02") + 8] |= 1
        with pytest.raises(FetchError, match="locked with a password"):
            opened(bytes(data))

    def test_two_members_of_one_name_that_differ_are_an_error(self, opened: Any) -> None:
        """Neither silently wins; two alike are one file."""
        opened(_tar({"a": b"x"})[:1024] + _tar({"a": b"x"}), "a.tar")
        with pytest.raises(FetchError, match="differs"):
            opened(_tar({"a": b"y"}), "a.tar")

    def test_a_file_and_a_folder_of_one_name_are_an_error(self, opened: Any) -> None:
        """Whichever comes first."""
        with pytest.raises(FetchError, match="is a file and a folder"):
            opened(_tar({"a": b"x", "a/b": b"y"}), "a.tar")

    def test_what_stands_is_compared_and_not_written_again(self, opened: Any, tmp_path: Path) -> None:
        """The second call keeps the files of the first."""
        opened(_zip(GOOD))
        inodes = {path: path.stat().st_ino for path in (tmp_path / "in/tree").rglob("*") if path.is_file()}
        opened(_zip(GOOD))
        assert {path: path.stat().st_ino for path in inodes} == inodes


def _overlapping_zip(entries: int, size: int) -> bytes:
    """A zip whose entries all point to the same packed bytes."""
    data = _zip({"0": bytes(size)})
    at = data.index(b"PK\x01\x02")
    entry, tail = data[at : data.index(b"PK\x05\x06")], bytearray(data[data.index(b"PK\x05\x06") :])
    directory = b"".join(entry[:-1] + bytes([65 + index % 26]) for index in range(entries))
    tail[8:12] = entries.to_bytes(2, "little") * 2
    tail[12:16] = len(directory).to_bytes(4, "little")
    return data[:at] + directory + bytes(tail)


class TestZenodo:
    @staticmethod
    def put(server: Server, files: dict[str, bytes], record: int = 7, **options: Any) -> None:
        listed = [
            {"key": key, "size": len(data), "checksum": f"md5:{hashlib.md5(data).hexdigest()}", "links": {"self": "…"}}
            for key, data in files.items()
        ]
        server.put_json(f"/api/records/{record}", {"id": record, "files": listed, "metadata": {}}, **options)
        for key, data in files.items():
            server.pages[f"/api/records/{record}/files/{key}/content"] = Page(data)

    def test_files_that_fit_are_fetched_and_archives_unpacked(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """A zip is unpacked, an .npz (a zip too) stays what it is, a file nobody asked for stays there."""
        npz = _zip({"images.npy": b"x"})
        self.put(server, {"a b.zip": _zip({"c/1.png": b"1"}), "d.npz": npz, "notes.pdf": b"no"})
        table = {"kind": "zenodo", "record": 7, "files": ["*.zip", "d.npz"], "unpack": True}
        fetch(source(table), tmp_path / "x", tools=tools)
        assert Jail(tmp_path / "x").files() == ["c/1.png", "d.npz"]
        assert (tmp_path / "x/d.npz").read_bytes() == npz
        notes = json.loads((tmp_path / "x.fetch/fetched.json").read_text())
        assert notes["downloads"][0]["about"] == {"record": "https://zenodo.org/records/7"}

    def test_the_published_md5_is_checked(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """Other bytes of the same length are refused."""
        self.put(server, {"a.bin": DATA})
        server.pages["/api/records/7/files/a.bin/content"].data = DATA[::-1]
        with pytest.raises(FetchError, match="md5 is .*, expected .*, twice"):
            fetch(source({"kind": "zenodo", "record": 7}), tmp_path / "x", tools=tools)

    def test_a_file_of_another_size_is_refused_at_once(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """The record announces it."""
        self.put(server, {"a.bin": DATA})
        server.pages["/api/records/7/files/a.bin/content"].data = DATA + b"!"
        with pytest.raises(FetchError, match="2,097,153 bytes where 2,097,152 were announced"):
            fetch(source({"kind": "zenodo", "record": 7}), tmp_path / "x", tools=tools)

    def test_the_number_of_a_concept_leads_to_the_newest_version(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """Files are asked from the version it redirects to."""
        self.put(server, {"a.bin": DATA}, record=9)
        server.pages["/api/records/7"] = Page(location="/api/records/9")
        fetch(source({"kind": "zenodo", "record": 7}), tmp_path / "x", tools=tools)
        assert server.served["/api/records/9/files/a.bin/content"] == len(DATA)

    def test_a_pattern_that_fits_nothing_names_what_is_there(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """A typing error in the TOML."""
        self.put(server, {"train.zip": b"x", "test.zip": b"y"})
        table = {"kind": "zenodo", "record": 7, "files": ["trian.zip"]}
        with pytest.raises(ConfigError, match="no file 'trian.zip'; it has 2 files: train.zip, test.zip"):
            fetch(source(table), tmp_path / "x", tools=tools)

    @pytest.mark.parametrize("answer", [{"id": 7}, {"id": 7, "files": [{"key": "a"}]}, ["no"]])
    def test_a_record_without_files_is_told(self, server: Server, tools: Tools, tmp_path: Path, answer: Any) -> None:
        """Restricted records list none."""
        server.put_json("/api/records/7", answer)
        with pytest.raises(FetchError, match="records/7 lists no files"):
            fetch(source({"kind": "zenodo", "record": 7}), tmp_path / "x", tools=tools)

    def test_a_key_that_leads_out_is_refused(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """The server's names are a stranger's too."""
        self.put(server, {"../evil": b"x"})
        with pytest.raises(FetchError, match="leads out of the folder"):
            fetch(source({"kind": "zenodo", "record": 7}), tmp_path / "x", tools=tools)


class TestHub:
    """The real huggingface_hub against a stand-in of the Hub."""

    FILES = {"data/train.parquet": DATA, "data/odd [1].txt": b"text", "README.md": b"# hi", ".gitattributes": b"*"}
    TABLE = {"kind": "huggingface", "repo": "acme/scans"}
    RESOLVE = "/datasets/acme/scans/resolve/" + "a" * 40

    @pytest.fixture(autouse=True)
    def _online(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The suite runs with HF_HUB_OFFLINE; loopback is no network."""
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def test_a_dataset_comes_whole_over_a_cut_connection(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """The client goes on at its last 10 MiB; its own notes are not in the folder, the commit is in ours."""
        large = DATA * 12
        hub_pages(server, "acme/scans", {**self.FILES, "large.bin": large}, lfs=("data/train.parquet", "large.bin"))
        server.pages[f"{self.RESOLVE}/large.bin"].mishaps = [Mishap(cut_after=22 << 20)]
        del server.pages["/api/datasets/acme/scans/revision/main"]  # where it may have moved on after the listing
        fetch(source(self.TABLE), tmp_path / "x", tools=tools)
        assert {name: (tmp_path / "x" / name).read_bytes() for name in Jail(tmp_path / "x").files()} == {
            "README.md": b"# hi", "data/odd [1].txt": b"text", "data/train.parquet": DATA, "large.bin": large,
        }  # fmt: skip
        assert server.served[f"{self.RESOLVE}/large.bin"] == len(large) + (2 << 20)
        notes = json.loads((tmp_path / "x.fetch/fetched.json").read_text())
        assert notes["downloads"][0]["about"]["revision"] == "a" * 40

    def test_only_files_that_fit_are_fetched(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """Patterns as the Hub's client understands them."""
        hub_pages(server, "acme/scans", self.FILES)
        fetch(source({**self.TABLE, "files": ["data/*.txt"]}), tmp_path / "x", tools=tools)
        assert Jail(tmp_path / "x").files() == ["data/odd [1].txt"]
        assert server.served[f"{self.RESOLVE}/data/train.parquet"] == 0

    def test_a_pattern_that_fits_nothing_names_what_is_there(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """A typing error in the TOML."""
        hub_pages(server, "acme/scans", self.FILES)
        with pytest.raises(ConfigError, match=r"no file fits \*.zip; it has 4 files: .gitattributes, README.md"):
            fetch(source({**self.TABLE, "files": ["*.zip"]}), tmp_path / "x", tools=tools)

    def test_a_file_with_other_bytes_than_the_hub_lists_is_fetched_again(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """The client compares lengths only; we compare the SHA-256 of LFS files."""
        hub_pages(server, "acme/scans", self.FILES, lfs=("data/train.parquet",))
        page = server.pages[f"{self.RESOLVE}/data/train.parquet"]
        page.mishaps = [Mishap(data=DATA[::-1])]
        fetch(source(self.TABLE), tmp_path / "x", tools=tools)
        assert "data/train.parquet is not what" in said(tools)
        assert (tmp_path / "x/data/train.parquet").read_bytes() == DATA
        assert page.times == 2

    @pytest.mark.parametrize("where", ["/resolve/", "/api/"])
    def test_a_gated_repository_says_where_to_accept_its_terms(
        self, server: Server, tools: Tools, tmp_path: Path, where: str
    ) -> None:
        """Whether listing or files answer 403; the token is sent and not printed."""
        hub_pages(server, "acme/scans", self.FILES)
        for path, page in server.pages.items():
            if where in path:
                page.status, page.headers = 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask first"}
        gated = "https://huggingface.co/datasets/acme/scans is gated: accept its conditions there, then log in"
        with pytest.raises(ConfigError, match=gated) as told:
            fetch(source(self.TABLE), tmp_path / "x", tools=tools)
        assert "hf_secret" not in f"{told.value}{said(tools)}"
        assert server.seen_headers[0]["authorization"] == "Bearer hf_secret"

    def test_an_outage_after_a_first_run_is_not_taken_for_a_whole_folder(
        self, server: Server, tools: Tools, tmp_path: Path
    ) -> None:
        """`snapshot_download` returns the half-filled folder with a warning in that case."""
        hub_pages(server, "acme/scans", self.FILES)
        server.pages[f"{self.RESOLVE}/data/train.parquet"].status = 410
        with pytest.raises(FetchError):
            fetch(source(self.TABLE), tmp_path / "x", tools=tools)
        for page in server.pages.values():
            page.status = 410
        with pytest.raises(FetchError, match="the Hub answers 410"):
            fetch(source(self.TABLE), tmp_path / "x", tools=tools)
        assert not (tmp_path / "x").exists()

    def test_a_repository_that_is_not_there_is_told(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """Or private; both look the same."""
        with pytest.raises(ConfigError, match="does not exist or is private"):
            fetch(source(self.TABLE), tmp_path / "x", tools=tools)

    def test_a_revision_that_is_not_there_is_told(self, server: Server, tools: Tools, tmp_path: Path) -> None:
        """With its name."""
        hub_pages(server, "acme/scans", self.FILES)
        missing = Page(status=404, headers={"X-Error-Code": "RevisionNotFound"})
        server.pages["/api/datasets/acme/scans/revision/v9"] = missing
        with pytest.raises(ConfigError, match="has no revision 'v9'"):
            fetch(source({**self.TABLE, "revision": "v9"}), tmp_path / "x", tools=tools)

    def test_an_offline_setting_is_named(
        self, server: Server, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Clusters set it for their jobs."""
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set"):
            fetch(source(self.TABLE), tmp_path / "x", tools=tools)


class _Answer(Exception):
    """An error with an HTTP answer, as the clients raise them."""

    def __init__(self, code: int) -> None:
        self.response = SimpleNamespace(status_code=code)
        super().__init__(f"{code}")


class RequestException(_Answer):
    """Named as the one of requests."""


class TestKaggle:
    """A stand-in beside the protocol: what is asked of kagglehub, and what is made of what it brings and raises."""

    class Client:
        """What kagglehub does to the disk."""

        def __init__(self, errors: list[Exception] | None = None) -> None:
            self.errors = errors or []
            self.calls: list[tuple[str, str]] = []

        def dataset_download(self, handle: str) -> str:
            return self._have("datasets", handle, f"datasets/{handle}/versions/3")

        def competition_download(self, handle: str) -> str:
            return self._have("competitions", handle, f"competitions/{handle}")

        def _have(self, kind: str, handle: str, place: str) -> str:
            self.calls.append((kind, handle))
            if self.errors:
                raise self.errors.pop(0)
            folder = Path(os.environ["KAGGLEHUB_CACHE"], place)
            (folder / "train").mkdir(parents=True)
            (folder / "train/1.png").write_bytes(b"1")
            folder.with_name("3.complete").touch()
            return str(folder)

    def test_a_dataset_comes_without_the_cache_around_it(self, tools: Tools, tmp_path: Path) -> None:
        """The files' place in the cache is not their place in the destination; the version is remembered."""
        client = self.Client([RequestException(503)])
        brought = kaggle.arrive(Kaggle(kind="kaggle", handle="me/scans"), tmp_path, tools, client)
        assert brought.files == ("datasets/me/scans/versions/3/train/1.png",)
        assert brought.root == "datasets/me/scans/versions/3"
        assert brought.about == {"page": "https://www.kaggle.com/datasets/me/scans", "version": "3"}
        assert client.calls == [("datasets", "me/scans")] * 2
        assert "KAGGLEHUB_CACHE" not in os.environ

    def test_a_competition_is_asked_for_by_name(self, tools: Tools, tmp_path: Path) -> None:
        """The other function of the client."""
        client = self.Client()
        brought = kaggle.arrive(Kaggle(kind="kaggle", competition="rsna"), tmp_path, tools, client)
        assert client.calls == [("competitions", "rsna")]
        assert brought.root == "competitions/rsna"

    @pytest.mark.parametrize(
        ("error", "kind", "words"),
        [
            (RequestException(401), ConfigError, "wants a login .* KAGGLE_API_TOKEN"),
            (RequestException(403), ConfigError, "accept its terms there"),
            (RequestException(404), FetchError, "answers 404; check the handle"),
            (RequestException(500), FetchError, "4 times in a row"),
        ],
    )
    def test_what_kaggle_refuses_says_what_to_do(
        self, tools: Tools, tmp_path: Path, error: Exception, kind: type[Exception], words: str
    ) -> None:
        """One sentence each."""
        with pytest.raises(kind, match=words):
            kaggle.arrive(Kaggle(kind="kaggle", handle="me/scans"), tmp_path, tools, self.Client([error] * 4))

    def test_the_package_is_asked_for_by_name(
        self, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without it, one sentence with the command."""
        monkeypatch.setitem(sys.modules, "kagglehub", None)
        with pytest.raises(ConfigError, match=r"needs the package kagglehub: pip install 'medtrinity25m\[fetch\]'"):
            kaggle.arrive(Kaggle(kind="kaggle", handle="me/scans"), tmp_path, tools)

    def test_the_real_client_resumes_its_archive(self, server: Server, tmp_path: Path) -> None:
        """Where kagglehub is installed: a stand-in of Kaggle cuts the archive once; whole MiB are kept."""
        pytest.importorskip("kagglehub")
        image = os.urandom(3 << 20)
        archive = _zip({"train/1.png": image}, compresslevel=0)
        server.put_json("/api/v1/datasets.DatasetApiService/GetDataset", {"currentVersionNumber": 3})
        page = Page(archive, headers={"Accept-Ranges": "bytes"}, mishaps=[Mishap(cut_after=5 << 19)])
        server.pages["/api/v1/datasets.DatasetApiService/DownloadDataset"] = page
        script = f"""
import kagglesdk.kaggle_env as env
env._env_to_endpoint[env.KaggleEnv.LOCAL] = {server.url!r}
"""
        table = {"kind": "kaggle", "handle": "me/scans"}
        child = _start(source(table), tmp_path / "x", script, KAGGLE_API_ENVIRONMENT="LOCALHOST")
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
        assert (tmp_path / "x/train/1.png").read_bytes() == image
        assert Jail(tmp_path / "x").files() == ["train/1.png"]
        assert server.bodies[-1] == len(archive) - (2 << 20)


class TestSynapse:
    """A stand-in beside the protocol, and the signatures of the real client where it is installed."""

    @pytest.mark.parametrize(
        ("name", "kind", "words"),
        [
            ("SynapseNoCredentialsError", ConfigError, "wants a login .* SYNAPSE_AUTH_TOKEN"),
            ("SynapseUnmetAccessRestrictions", ConfigError, "accept the conditions of use there"),
            ("SynapseNotFoundError", FetchError, "Synapse:syn1 does not exist"),
            ("SynapseTimeoutError", FetchError, "4 times in a row"),
            ("SynapseMalformedEntityError", FetchError, "SynapseMalformedEntityError: why"),
        ],
    )
    def test_what_synapse_refuses_says_what_to_do(
        self, tools: Tools, tmp_path: Path, name: str, kind: type[Exception], words: str
    ) -> None:
        """One sentence each; errors are known by the names of their classes."""
        base = type("SynapseError", (Exception,), {})
        base = type("SynapseAuthenticationError", (base,), {}) if "Credentials" in name else base
        error = type(name, (base,), {})

        class Client:
            def get(self, entity: str, folder: Path) -> None:
                raise error("why\nand a trace")

        with pytest.raises(kind, match=words):
            synapse.arrive(Synapse(kind="synapse", entity="syn1"), tmp_path / "x", tools, Client())

    def test_everything_below_the_entity_comes_but_the_clients_cache(self, tools: Tools, tmp_path: Path) -> None:
        """Files in folders keep their places."""

        class Client:
            def get(self, entity: str, folder: Path) -> None:
                for path in ("a/1.nii.gz", "2.csv", ".synapseCache/9/2.csv"):
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path).write_text(entity)

        brought = synapse.arrive(Synapse(kind="synapse", entity="syn1"), tmp_path, tools, Client())
        assert brought.files == ("2.csv", "a/1.nii.gz")

    def test_the_calls_fit_the_installed_client(self) -> None:
        """Where synapseclient is installed: every argument we give exists."""
        pytest.importorskip("synapseclient", minversion="4.14")
        from synapseclient import Synapse as Login
        from synapseclient import operations
        from synapseclient.models import Folder, Project

        inspect.signature(Login).bind(silent=True, skip_checks=True, cache_root_dir="x", cache_client=False)
        inspect.signature(Login.login).bind(None, silent=True)
        options = operations.FileOptions(download_location="x", if_collision="overwrite.local")
        inspect.signature(operations.get).bind("syn1", file_options=options, synapse_client=None)
        for kind in (Folder, Project):
            given = {"failure_strategy": 1, "include_activity": False, "manifest": "suppress", "synapse_client": None}
            inspect.signature(kind.sync_from_synapse_async).bind(None, path="x", **given)  # the other takes anything

    def test_the_package_is_asked_for_by_name(
        self, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without it, one sentence with the command."""
        monkeypatch.setitem(sys.modules, "synapseclient", None)
        with pytest.raises(ConfigError, match=r"package synapseclient: pip install 'medtrinity25m\[synapse\]'"):
            synapse.arrive(Synapse(kind="synapse", entity="syn1"), tmp_path / "x", tools)


class TestIdc:
    """A stand-in beside the protocol, and the real client where it is installed."""

    class Client:
        """Two collections, and downloads of which the first `failing` leave out a series."""

        version = "v25"

        def __init__(self, failing: int = 0) -> None:
            self.failing = failing
            self.asked: list[list[str]] = []

        def collections(self) -> list[str]:
            return ["lidc_idri", "nlst"]

        def results(self, collection: str) -> list[str]:
            return ["nodules"] if collection == "lidc_idri" else []

        def series(self, collection: str, result: str | None) -> list[idc.Series]:
            known = {
                ("lidc_idri", None): [idc.Series("1.1", 2, 8, "CC BY 3.0"), idc.Series("1.2", 1, 4, "CC BY-NC 3.0")],
                ("lidc_idri", "nodules"): [idc.Series("1.3", 1, 4, "CC BY 4.0")],
            }
            return known.get((collection, result), [])

        def download(self, uids: list[str], folder: Path, *, bars: bool) -> None:
            self.asked.append(uids)
            for uid in uids[: len(uids) - self.failing]:
                place = folder / "lidc_idri/p/s" / f"CT_{uid}"
                place.mkdir(parents=True, exist_ok=True)
                for index in range(2 if uid == "1.1" else 1):
                    (place / f"{index}.dcm").write_bytes(b"dicm")
            self.failing = max(0, self.failing - 1)

    def test_series_are_counted_and_the_missing_asked_for_again(self, tools: Tools, tmp_path: Path) -> None:
        """The client logs what failed and returns; files and bytes of the index tell."""
        client = self.Client(failing=1)
        brought = idc.arrive(Idc(kind="idc", collection="lidc_idri"), tmp_path, tools, client)
        assert client.asked == [["1.1", "1.2"], ["1.2"]]
        assert len(brought.files) == 3
        assert brought.about == {"idc_version": "v25", "licenses": "CC BY 3.0, CC BY-NC 3.0"}
        assert "2 series, 12 bytes, CC BY 3.0, CC BY-NC 3.0" in said(tools)

    def test_a_file_that_is_short_is_asked_for_again(self, tools: Tools, tmp_path: Path) -> None:
        """A process killed while it wrote leaves the right number of files."""
        client = self.Client()
        client.download(["1.1", "1.2"], tmp_path, bars=False)
        (tmp_path / "lidc_idri/p/s/CT_1.1/0.dcm").write_bytes(b"d")
        idc.arrive(Idc(kind="idc", collection="lidc_idri"), tmp_path, tools, client)
        assert client.asked[1:] == [["1.1"]]

    def test_an_analysis_result_is_named_behind_its_collection(self, tools: Tools, tmp_path: Path) -> None:
        """Others made it, under a licence of its own."""
        brought = idc.arrive(Idc(kind="idc", collection="lidc_idri/nodules"), tmp_path, tools, self.Client())
        assert brought.files == ("lidc_idri/p/s/CT_1.3/0.dcm",)

    @pytest.mark.parametrize(
        ("collection", "words"),
        [("lidc_irdi", "no collection 'lidc_irdi'; nearest: lidc_idri"), ("lidc_idri/lungs", "results: nodules")],
    )
    def test_a_name_that_is_not_there_brings_the_nearest(
        self, tools: Tools, tmp_path: Path, collection: str, words: str
    ) -> None:
        """Of collections, and of analysis results."""
        with pytest.raises(ConfigError, match=words):
            idc.arrive(Idc(kind="idc", collection=collection), tmp_path, tools, self.Client())

    def test_want_of_room_is_a_disk_error(self, tools: Tools, tmp_path: Path) -> None:
        """The client looks before it downloads."""
        client = self.Client()
        short = type("IDCClientInsufficientDiskSpaceError", (Exception,), {})

        def download(*_: Any, **__: Any) -> None:
            raise short("Insufficient disk space. Need 5 GB, but only 1 GB available.")

        client.download = download
        with pytest.raises(DiskError, match="Need 5 GB"):
            idc.arrive(Idc(kind="idc", collection="lidc_idri"), tmp_path, tools, client)

    @pytest.mark.slow  # the index has a million series
    def test_the_real_index_and_downloader(
        self, server: Server, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where idc-index is installed: LIDC-IDRI from its index, then a series from a stand-in of the bucket.

        One file is refused once; the second call of s5cmd fetches that one only.
        """
        pytest.importorskip("idc_index")
        client = idc.Real()
        images, nodules = client.series("lidc_idri", None), client.series("lidc_idri", "dicom_lidc_idri_nodules")
        assert len(images) >= 1018
        assert not {one.uid for one in images} & {one.uid for one in nodules}
        assert all(one.files > 0 and one.size > 0 for one in (*images, *nodules))
        assert "dicom_lidc_idri_nodules" in client.results("lidc_idri")
        files = {f"uuid-1/{index}.dcm": os.urandom(2000 + index) for index in range(4)}
        monkeypatch.setattr("idc_index.index.aws_endpoint_url", server.url)
        client._client.index = _bucket(server, files)
        server.pages["/idc-open-data/uuid-1/3.dcm"].mishaps = [Mishap(status=403)]
        brought = idc.arrive(Idc(kind="idc", collection="drawn"), tmp_path, tools, client)
        assert brought.files == tuple(f"drawn/p1/1.2/CT_1.2.3/{index}.dcm" for index in range(4))
        assert all(server.served[f"/idc-open-data/{key}"] == len(data) for key, data in files.items())

    def test_the_package_is_asked_for_by_name(
        self, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without it, one sentence with the command."""
        monkeypatch.setitem(sys.modules, "idc_index", None)
        with pytest.raises(ConfigError, match="needs the package idc-index"):
            idc.arrive(Idc(kind="idc", collection="lidc_idri"), tmp_path, tools)


def _bucket(server: Server, files: dict[str, bytes]) -> Any:
    """Serve files as S3 does and return the index of one series that holds them."""
    import pandas as pd

    date = "2020-01-01T00:00:00.000Z"
    listed = "".join(
        f"<Contents><Key>{key}</Key><LastModified>{date}</LastModified><ETag>x</ETag><Size>{len(data)}</Size></Contents>"
        for key, data in files.items()
    )
    xml = f"<ListBucketResult><Name>idc-open-data</Name><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
    server.pages["/idc-open-data"] = Page(xml.encode(), headers={"Content-Type": "application/xml"})
    for key, data in files.items():
        server.pages[f"/idc-open-data/{key}"] = Page(data, modified="Wed, 01 Jan 2020 00:00:00 GMT")
    line = {
        "collection_id": "drawn", "analysis_result_id": None, "PatientID": "p1", "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": "1.2.3", "Modality": "CT", "instanceCount": len(files), "license_short_name": "CC BY 4.0",
        "aws_bucket": "idc-open-data", "crdc_series_uuid": "uuid-1", "series_aws_url": "s3://idc-open-data/uuid-1/*",
        "series_size_MB": sum(map(len, files.values())) / 1e6,
    }  # fmt: skip
    return pd.DataFrame([line])


def test_an_http_table_without_unpack_keeps_its_archive(server: Server, tools: Tools, tmp_path: Path) -> None:
    """Layouts read some archives as they are."""
    fetch(source(one(server, Page(_zip({"a": b"x"})), name="a.zip")), tmp_path / "x", tools=tools)
    assert Jail(tmp_path / "x").files() == ["a.zip"]


def test_an_archive_without_a_telling_name_is_unpacked_when_asked(server: Server, tools: Tools, tmp_path: Path) -> None:
    """Addresses such as /ndownloader/files/123 name nothing."""
    fetch(source(one(server, Page(_zip({"a": b"x"})), name="123", unpack=True)), tmp_path / "x", tools=tools)
    assert Jail(tmp_path / "x").files() == ["a"]
