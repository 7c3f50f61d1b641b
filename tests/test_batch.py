"""Batch files: what a build would ask goes out once, sorted and within the limits; only its own results come back."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from medtrinity25m.description import batch
from medtrinity25m.description.backends.chat import Dialect
from medtrinity25m.description.batch import Collecting, begin, finish, read_results, write_requests
from medtrinity25m.description.exchange import Answer
from medtrinity25m.description.replies import NOT_RECORDED, Remembering, ReplyStore
from medtrinity25m.errors import ConfigError
from mllm_replies import Body, completion
from mllm_server import MllmServer, check
from test_openai import SCHEMA, question


@pytest.fixture
def store(tmp_path: Path) -> ReplyStore:
    return ReplyStore(tmp_path / "replies")


def lines(files):
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def served(requests: list[Body], fault: str = "ok") -> list[Body]:
    """What a batch server returns for these lines."""
    with MllmServer() as server:
        bodies = [completion(fault, line["body"], server) for line in requests]
    answers = zip(requests, bodies, strict=True)
    return [
        {"id": "x", "custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
        for line, body in answers
    ]


def put(path: Path, results: list[Body | str]) -> Path:
    text = [line if isinstance(line, str) else json.dumps(line) for line in results]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def test_requests_go_out_once_and_their_replies_come_back(tmp_path, store):
    """What is known is not asked; each line is a request as a server takes it; results are found by their request."""
    requests = [question(number) for number in (1, 2, 3, 2)]
    store.put(question(3), Answer(content="known"))
    written = write_requests(requests, tmp_path / "out", store)
    out = lines(written.files)
    for line in out:
        check(line["body"])
    counts = read_results([put(tmp_path / "results.jsonl", list(reversed(served(out))))], store)

    assert written.requests == 2
    assert [(line["method"], line["url"]) for line in out] == [("POST", "/v1/chat/completions")] * 2
    assert [line["custom_id"] for line in out] == sorted(question(number).sha256 for number in (1, 2))
    assert out[0]["body"]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (counts.lines, counts.kept, counts.known, counts.faults) == (2, 2, 0, {})
    assert json.loads(store.get(question(1)).content)["text"].startswith("The image")
    assert store.get(question(1)) != store.get(question(2))
    assert write_requests(requests, tmp_path / "next", store).files == ()


def test_a_file_holds_no_more_than_the_api_takes(tmp_path, store, monkeypatch):
    """By number and by bytes; the order is that of the hashes, whatever the order of asking."""
    requests = [question(number) for number in range(10)]
    monkeypatch.setattr(batch, "MAX_REQUESTS", 4)
    by_number = write_requests(requests, tmp_path / "a", store)
    again = write_requests(reversed(requests), tmp_path / "b", store)
    monkeypatch.setattr(batch, "MAX_BYTES", 3 * by_number.files[0].stat().st_size // 4)
    by_bytes = write_requests(requests, tmp_path / "c", store)
    monkeypatch.setattr(batch, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match=r"a request has \d+ bytes, a batch file takes 100"):
        write_requests(requests, tmp_path / "d", store)

    assert [len(lines([file])) for file in by_number.files] == [4, 4, 2]
    assert [file.name for file in by_number.files] == [f"requests-0000{number}.jsonl" for number in range(3)]
    assert [file.read_bytes() for file in by_number.files] == [file.read_bytes() for file in again.files]
    assert [len(lines([file])) for file in by_bytes.files] == [3, 3, 3, 1]


def test_the_limits_are_those_of_the_api():
    """50,000 requests and 200 MB."""
    assert (batch.MAX_REQUESTS, batch.MAX_BYTES) == (50_000, 200_000_000)


def test_a_build_with_a_collecting_model_loses_nothing_when_it_is_stopped(tmp_path, store):
    """Collected requests lie on disk; the next run adds the others; processes may share the folder."""
    begin(tmp_path)
    model = pickle.loads(pickle.dumps(Collecting("tiny", store, tmp_path, Dialect(response_format="none"))))
    store.put(question(2), Answer(content="known"))
    answers = model.answer([question(1), question(2)])
    begin(tmp_path)  # stopped here, and begun again
    Remembering(model, store).answer([question(1), question(4)])
    written = finish(tmp_path, store)

    assert [answer.failure for answer in answers] == [NOT_RECORDED, None]
    assert store.get(question(1)) is None
    assert model.name == "tiny"
    assert sorted(line["custom_id"] for line in lines(written.files)) == sorted(
        question(number).sha256 for number in (1, 4)
    )
    assert "response_format" not in lines(written.files)[0]["body"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["replies"]
    with pytest.raises(ConfigError, match="holds batch files already"):
        begin(tmp_path)


def test_only_results_of_requests_that_were_handed_out_are_taken(tmp_path, store):
    """An unknown id, somebody else's file, a broken line: each told by its line; the rest is kept."""
    out = lines(write_requests([question(number) for number in range(6)], tmp_path / "out", store).files)
    good = served(out)
    strange = {**good[0], "custom_id": question(99).sha256}
    expired = {
        "custom_id": good[1]["custom_id"],
        "response": None,
        "error": {"code": "batch_expired", "message": "late"},
    }
    busy = {"custom_id": good[2]["custom_id"], "response": {"status_code": 500, "body": {"error": {"message": "oops"}}}}
    results = [
        good[0],
        strange,
        expired,
        busy,
        "{",
        '{"custom_id": 3}',
        "",
        json.dumps(good[0])[:-40],
        good[3],
        good[3],
    ]
    counts = read_results([put(tmp_path / "results.jsonl", results)], store)

    assert (counts.lines, counts.kept, counts.known) == (9, 2, 1)
    assert counts.faults == {"unknown request": 1, "not answered": 2, "no result of a batch": 3}
    assert counts.lines == counts.kept + counts.known + sum(counts.faults.values())
    assert counts.told[0].startswith("results.jsonl:2: unknown request")
    assert "batch_expired" in counts.told[1]
    assert "oops" in counts.told[2]
    assert store.get(question(99)) is None
    assert write_requests([question(number) for number in range(6)], tmp_path / "next", store).requests == 4


@pytest.mark.parametrize(
    ("fault", "failure"), [("refusal", "mllm.refused"), ("length", "mllm.truncated"), ("null-choices", None)]
)
def test_results_are_judged_like_replies_of_a_server(fault, failure, tmp_path, store):
    """A refusal or a cut reply is kept with its reason; what is no completion stays open."""
    out = lines(write_requests([question()], tmp_path / "out", store).files)
    counts = read_results([put(tmp_path / "results.jsonl", served(out, fault))], store)

    assert (store.get(question()).failure if failure else store.get(question())) == failure
    assert counts.kept == (failure is not None)


def test_a_result_larger_than_any_reply_is_not_read_into_memory(tmp_path, store, monkeypatch):
    """It is skipped to its end; the next line is read."""
    out = lines(write_requests([question()], tmp_path / "out", store).files)
    monkeypatch.setattr(batch, "MAX_LINE", 5000)
    counts = read_results([put(tmp_path / "results.jsonl", ["x" * 50_000, *served(out)])], store)

    assert (counts.lines, counts.kept, counts.faults) == (2, 1, {"too long": 1})


def test_a_result_file_that_is_not_there_is_told(tmp_path, store):
    """With what to name instead."""
    for path in (tmp_path / "no.jsonl", tmp_path):
        with pytest.raises(ConfigError, match="name the files that the batch came back as"):
            read_results([path], store)
