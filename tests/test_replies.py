"""Replies are kept the moment they arrive, the first one stands, and nothing is paid for twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from medtrinity25m.description.exchange import Answer, Usage
from medtrinity25m.description.replies import NOT_RECORDED, Remembering, ReplyStore
from medtrinity25m.errors import FetchError
from mllm_server import MllmServer
from test_openai import asking, question

SAID = Answer(content='{"text": "Größe 3 mm\\u2028"}', usage=Usage(prompt_tokens=7), raw="raw")


class Oracle:
    """A model that says something else each time; `telling` ones are tested over a real server."""

    name = "oracle"

    def __init__(self, failure=None):
        self.asked, self.failure = [], failure

    def answer(self, requests, /):
        self.asked += requests
        said = [None if self.failure else f"{time.monotonic_ns()}" for _ in requests]
        return [Answer(content=content, failure=self.failure) for content in said]


def test_a_reply_is_kept_and_found_by_its_request(tmp_path):
    """Every field comes back; another request finds nothing; only the owner may read."""
    store = ReplyStore(tmp_path / "replies")

    assert store.get(question()) is None
    assert store.put(question(), SAID) is SAID
    assert ReplyStore(tmp_path / "replies").get(question()) == SAID
    assert store.get(question(attempt=1)) is None
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_first_reply_stands(tmp_path):
    """Who comes second gets the first one's, so that both write the same rows."""
    store = ReplyStore(tmp_path)
    store.put(question(), SAID)

    assert store.put(question(), Answer(content="other")) == SAID
    assert store.get(question()) == SAID


def _put(folder, number):
    return ReplyStore(Path(folder)).put(question(), Answer(content=f"{number}")).content


def test_processes_that_ask_the_same_agree_on_one_reply(tmp_path):
    """Four at once, the same reply for all."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        stands = pool.starmap(_put, [(str(tmp_path), number) for number in range(40)])

    assert set(stands) == {ReplyStore(tmp_path).get(question()).content}
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("spoil", ["flip", "cut", "empty", "other", "list", "deep"])
def test_a_damaged_reply_counts_as_not_there(spoil, tmp_path):
    """A flipped letter, a torn file, somebody else's reply: asked again, and kept whole."""
    store = ReplyStore(tmp_path)
    store.put(question(), SAID)
    store.put(question(1), Answer(content="about another image"))
    file, other = (next(tmp_path.rglob(f"{question(number).sha256}.json")) for number in (0, 1))
    text = file.read_text(encoding="utf-8")
    spoilt = {
        "flip": text.replace("3 mm", "8 mm"),
        "cut": text[:-9],
        "empty": "",
        "other": other.read_text(encoding="utf-8"),
        "list": "[]",
        "deep": "[" * 100_000,
    }
    file.write_text(spoilt[spoil], encoding="utf-8")

    assert store.get(question()) is None
    assert store.put(question(), SAID) == SAID
    assert store.get(question()) == SAID


def test_without_hard_links_replies_are_kept_all_the_same(tmp_path, monkeypatch):
    """File systems that have none say so."""

    def link(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    ReplyStore(tmp_path).put(question(), SAID)
    assert ReplyStore(tmp_path).get(question()) == SAID


def test_only_what_is_unknown_is_asked(tmp_path):
    """M09: replies that differ each time come back the same, in the order of the requests, twice asked or once."""
    oracle = Oracle()
    model = Remembering(oracle, ReplyStore(tmp_path))
    first = model.answer([question(1), question(2), question(1)])
    second = model.answer([question(3), question(2), question(1)])

    assert [request.parts[0] for request in oracle.asked] == ["image 1", "image 2", "image 3"]
    assert first[0] == first[2]
    assert second[1:] == [first[1], first[0]]
    assert model.name == "oracle"


@pytest.mark.parametrize(("failure", "again"), [("mllm.unavailable", 0), ("mllm.refused", 0), (NOT_RECORDED, 1)])
def test_failures_are_kept_but_for_what_was_never_asked(failure, again, tmp_path):
    """A resumed build gets the same failure; a request that only waits for its batch is no failure."""
    for _ in range(2):
        oracle = Oracle(failure)
        (answer,) = Remembering(oracle, ReplyStore(tmp_path)).answer([question()])
        assert answer.failure == failure
    assert len(oracle.asked) == again


def test_what_arrived_before_the_run_stopped_is_kept(tmp_path):
    """The server goes away in the middle: answers that came are there, and the same call goes on."""
    pytest.importorskip("openai")
    requests = [question(number) for number in range(30)]
    with MllmServer() as server:
        describe = threading.Lock()

        def fail_late(body):
            with describe:
                server.down = server.down or sum(server.paid.values()) >= 12
            return

        server.describe = fail_late
        model = Remembering(asking(server, patience_s=0.3), ReplyStore(tmp_path))
        with pytest.raises(FetchError, match="the same command goes on"):
            model.answer(requests)
        kept = {at: answer for at, request in enumerate(requests) if (answer := model.store.get(request))}
        paid = dict(server.paid)
        server.down, server.describe = False, None
        answers = model.answer(requests)

    assert 12 <= len(kept) < 30
    assert sum(paid.values()) == len(kept)
    assert all(answers[at] == answer for at, answer in kept.items())
    assert max(server.paid.values()) == 1


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_openai import asking, question
from medtrinity25m.description.replies import Remembering, ReplyStore
model = Remembering(asking({url!r}, concurrency=4, timeout_s=10), ReplyStore(Path({folder!r})))
for first in range(0, 48, 16):
    model.answer([question(number) for number in range(first, first + 16)])
"""


def test_a_killed_run_pays_at_most_for_the_calls_in_flight(tmp_path):
    """C23: kill -9 three times: no more than the calls in flight are paid again, and nothing that was kept changes."""
    pytest.importorskip("openai")
    seen: dict[str, bytes] = {}
    kills = 3
    with MllmServer(delay_s=0.08) as server:
        server.describe = lambda body: f'{{"text": "{time.monotonic_ns()}"}}'
        code = RUN.format(tests=str(Path(__file__).parent), url=server.url, folder=str(tmp_path))
        for kill in range(kills + 1):
            before = sum(server.paid.values())
            with subprocess.Popen([sys.executable, "-c", code]) as run:
                while kill < kills and run.poll() is None and sum(server.paid.values()) < before + 9:
                    time.sleep(0.005)
                if kill < kills:
                    run.send_signal(signal.SIGKILL)
            kept = {path.name: path.read_bytes() for path in tmp_path.rglob("*.json")}
            assert kept.items() >= seen.items()
            assert kill == kills or 0 < len(kept) < 48
            seen = kept
        paid = sum(server.paid.values())

    store = ReplyStore(tmp_path)
    assert run.returncode == 0
    assert all(store.get(question(number)) for number in range(48))
    assert 48 <= paid <= 48 + 4 * kills
