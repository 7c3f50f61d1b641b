"""The endpoint backend against a real server that misbehaves: every request gets an answer or a reason, once."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import ssl
import subprocess
import threading
import time
from email.utils import formatdate

import pytest

from medtrinity25m.description.backends.chat import probe_of
from medtrinity25m.description.backends.openai import OpenAIModel, OpenAIOptions
from medtrinity25m.description.backends.patience import Pace
from medtrinity25m.description.exchange import Request
from medtrinity25m.errors import ConfigError, FetchError
from mllm_replies import words
from mllm_server import MllmServer
from tiny_models import need

pytestmark = need("openai")
KEY = "sk-canary-0123456789"
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
QUICK = Pace(first_wait_s=0.01, longest_wait_s=0.05)
PICTURE = probe_of(Request(model="tiny", system="", parts=(b"",), reply_schema={}, prompt_sha256="")).parts[0]


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def question(number=0, **more):
    fields = {"model": "tiny", "system": "Describe.", "parts": (f"image {number}", PICTURE), "reply_schema": SCHEMA}
    return Request(**(fields | {"prompt_sha256": "0" * 64} | more))


def asking(server, **options):
    """A model with short timeouts."""
    url = server if isinstance(server, str) else server.url
    short = {"timeout_s": 0.5, "deadline_s": 5, "patience_s": 2, "tries": 4}
    return OpenAIModel(OpenAIOptions(endpoint=url, model="tiny", **(short | options)), QUICK)


def own_words(server, request):
    """What the server says to this request and to no other."""
    body = next(body for body in server.bodies if body["messages"][1]["content"][0]["text"] == request.parts[0])
    return json.dumps({"text": words(body)})


def test_a_request_arrives_as_the_protocol_has_it_and_its_reply_comes_back():
    """System message, parts in order with pictures as data URLs, schema enforced, limit, seed; usage is counted."""
    with MllmServer(key=KEY) as server:
        (answer,) = asking(server).answer([question(attempt=2)])
        body = server.bodies[0]

    assert json.loads(answer.content) == {"text": words(body)}
    assert (answer.failure, answer.usage.prompt_tokens, answer.usage.completion_tokens) == (None, 100, 20)
    assert json.loads(answer.raw)["choices"][0]["message"]["content"] == answer.content
    assert [part["type"] for part in body["messages"][1]["content"]] == ["text", "image_url"]
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.1, 1024, 2)


def test_a_server_that_knows_other_keys_gets_those():
    """Neither schema nor `max_tokens` is sent where the options say so."""
    with MllmServer() as server:
        asking(server, response_format="none", length_key="max_completion_tokens").answer([question()])
        asking(server, response_format="json_object").answer([question()])

    assert "response_format" not in server.bodies[0]
    assert "max_tokens" not in server.bodies[0]
    assert server.bodies[0]["max_completion_tokens"] == 1024
    assert server.bodies[1]["response_format"] == {"type": "json_object"}


def test_a_third_of_the_calls_fails_and_every_request_is_answered_once():
    """M01, M02, M04, M05: rate limits, errors, resets, half bodies, HTML, silence: none lost, mixed or paid twice."""
    kinds = ("429", "429-after", "500", "503", "reset", "reset-mid", "half-json", "html", "refusal", "twice")
    faults = dict.fromkeys(kinds, 0.03) | {"silence": 0.005}
    requests = [question(number) for number in range(120)]
    with MllmServer(faults, seed=3) as server:
        answers = asking(server, tries=8, deadline_s=30).answer(requests)
        expected = [own_words(server, request) for request in requests]

    met = [fault for fault, _ in server.log]
    assert sum(fault != "ok" for fault in met) > 0.25 * len(requests)
    assert {answer.failure for answer in answers} == {None, "mllm.refused"}
    assert sum(answer.failure == "mllm.refused" for answer in answers) == met.count("refusal")
    assert all(answer.content in (None, words) for answer, words in zip(answers, expected, strict=True))
    assert max(server.paid.values()) == 1
    assert server.most_flying <= 8 + 1


@pytest.mark.parametrize(
    "fault",
    [
        *("408", "409", "425", "429", "500", "502", "503", "504", "reset", "reset-mid", "silence", "trickle", "short"),
        *("chunked-garbage", "half-sse", "half-json", "html", "empty", "endless"),
        *("null-choices", "no-choices", "null-content", "no-reason"),
    ],
)
def test_what_may_pass_is_asked_again(fault):
    """M03, M04, M05: a reply counts only when it came whole; a slow or silent server is left at the time limit."""
    with MllmServer(first=(fault,)) as server:
        (answer,) = asking(server).answer([question()])

        assert answer.content == own_words(server, question())
        assert [met for met, _ in server.log] == [fault, "ok"]


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("refusal", "mllm.refused"),
        ("filter", "mllm.refused"),
        ("length", "mllm.truncated"),
        ("context", "mllm.too_large"),
        ("413", "mllm.too_large"),
    ],
)
def test_what_will_not_pass_is_an_answer_with_its_reason(fault, failure):
    """M07, M11: asked once, the reason told, the body kept."""
    with MllmServer({fault: 1.0}) as server:
        (answer,) = asking(server).answer([question()])

    assert (answer.content, answer.failure) == (None, failure)
    assert answer.detail
    assert answer.raw
    assert len(server.log) == 1


@pytest.mark.parametrize("fault", ["401", "402", "403", "404", "quota", "redirect", "400"])
def test_what_no_request_gets_past_stops_at_once_with_one_message(fault):
    """M10, M12: key, credit, model, redirect, a form the server does not know; the key is in no message."""
    told = []
    with MllmServer({fault: 1.0}, key=KEY) as server, MllmServer() as elsewhere:
        server.location = elsewhere.url + "/chat/completions"
        with pytest.raises(ConfigError, match=re.escape(server.url.removesuffix("/v1"))) as stopped:
            asking(server).answer_each([question(number) for number in range(40)], lambda *told_: told.append(told_))

    assert len(server.log) <= 3 * 8
    assert not elsewhere.log
    assert not told
    assert KEY not in str(stopped.value)


@pytest.mark.parametrize("pause", ["1", "date"])
def test_an_ordered_pause_is_kept(pause):
    """M01: Retry-After in seconds and as a date."""
    with MllmServer(first=("429-after",)) as server:
        server.retry_after = formatdate(time.time() + 2, usegmt=True) if pause == "date" else pause
        began = time.time()
        (answer,) = asking(server, deadline_s=9, patience_s=9).answer([question()])

    assert answer.content
    assert server.times[1] - server.times[0] >= 0.99 or pause == "date"
    assert time.time() - began >= 0.99
    assert time.time() - began < 4


def test_a_pause_that_nobody_waits_for_ends_the_run():
    """An order of an hour is longer than our patience: the run stops and says so, nothing is marked as failed."""
    told = []
    stops = pytest.raises(FetchError, match=r"orders a pause of 3,600 s; the same command")
    with MllmServer({"429-after": 1.0}, retry_after="3600") as server, stops:
        asking(server).answer_each([question()], lambda *answer: told.append(answer))
    assert not told


def test_pauses_grow_and_are_drawn():
    """Full jitter: nobody comes back with all others. They double only while the server fails at everybody."""
    for failures, in_a_row, limit in ((1, 1, 1), (4, 4, 8), (40, 40, 60), (4, 1, 4), (1, 40, 1)):
        waits = [Pace().wait(failures, in_a_row) for _ in range(200)]
        assert 0.8 * limit < max(waits) <= limit
        assert min(waits) < 0.2 * limit
        assert min(Pace().wait(failures, in_a_row, ordered_s=5) for _ in range(50)) >= 5


def poison(fault):
    """A fault that only the request about image 3 meets."""
    return lambda body: fault if body["messages"][1]["content"][0]["text"] == "image 3" else None


@pytest.mark.parametrize("fault", ["500", "reset", "429", "null-content", "400"])
@pytest.mark.parametrize("numbers", [range(8), [3]], ids=["among others", "alone"])
def test_one_that_no_server_can_digest_is_told_from_an_outage(fault, numbers):
    """It ends as `mllm.unavailable`, alone in a batch too, because a harmless request of the same form is answered."""
    with MllmServer(fault_of=poison(fault)) as server:
        answers = asking(server, deadline_s=0.6).answer([question(number) for number in numbers])

    failures = dict(zip(numbers, (answer.failure for answer in answers), strict=True))
    assert failures == dict.fromkeys(numbers) | {3: "mllm.unavailable"}
    assert answers[list(numbers).index(3)].detail


def test_many_that_fail_at_the_end_of_a_batch_are_no_outage():
    """Twenty failures in a row open the breaker; probes close it, and the run goes on."""

    def fault_of(body):
        return "500" if body["messages"][1]["content"][0]["text"].startswith("image") else None

    with MllmServer(fault_of=fault_of) as server:
        answers = asking(server, deadline_s=30).answer([question(number) for number in range(6)])

    assert [answer.failure for answer in answers] == ["mllm.unavailable"] * 6
    assert len(server.log) <= 6 * 4 * 2 + 30


def test_one_that_brings_the_server_down_each_time_does_not_hold_the_run():
    """After an outage a request starts anew, once."""
    back_at = 0.0

    def fault_of(body):
        nonlocal back_at
        if body["messages"][1]["content"][0]["text"] == "image 3":
            back_at = time.monotonic() + 0.05
            return "reset"
        return "503" if time.monotonic() < back_at else None

    with MllmServer(fault_of=fault_of) as server:
        model = OpenAIModel(asking(server, deadline_s=60, tries=8, patience_s=30).options, Pace(0.05, 0.2))
        answers = model.answer([question(number) for number in range(5)])

    assert [answer.failure for answer in answers] == [None, None, None, "mllm.unavailable", None]


def test_an_outage_pauses_the_run():
    """M02: while the server is down it is hardly asked; when it is back every request is answered, in time."""
    with MllmServer() as server:
        server.down = True
        threading.Timer(0.8, lambda: setattr(server, "down", False)).start()
        answers = asking(server, patience_s=10).answer([question(number) for number in range(40)])

    down = [fault for fault, _ in server.log].count("503")
    assert all(answer.content for answer in answers)
    assert 10 <= down <= 10 + 8 + 3 * 0.8 / 0.025  # what opens the breaker, what was in flight, probes
    assert max(server.paid.values()) == 1


def test_a_server_that_comes_up_late_is_waited_for():
    """M02: connections are refused at first."""
    with MllmServer() as server:
        port = server.server_port
    late = MllmServer(port=port)
    late.server_close()

    def start():
        time.sleep(0.4)
        return MllmServer(port=port).__enter__()

    found = []
    thread = threading.Thread(target=lambda: found.append(start()))
    thread.start()
    try:
        (answer,) = asking(f"http://127.0.0.1:{port}/v1", patience_s=10).answer([question()])
    finally:
        thread.join()
        found[0].__exit__()
    assert answer.content


@pytest.mark.parametrize("endpoint", ["http://nowhere.invalid/v1", "https://127.0.0.1:{port}/v1", "http://127.0.0.1:9"])
def test_an_endpoint_that_is_not_there_ends_the_run_after_patience(endpoint):
    """M02: no such name, no TLS, nobody listening: told once, and the same command goes on."""
    with MllmServer() as server:
        url = endpoint.format(port=server.server_port)
        began = time.monotonic()
        with pytest.raises(FetchError, match=r"gives no answer: .+; the same command goes on"):
            asking(url, patience_s=0.3, api_key_env=None, timeout_s=3).answer([question(number) for number in range(9)])
    assert time.monotonic() - began < 10


def test_a_certificate_nobody_vouches_for_stops_at_once(tmp_path):
    """Waiting does not mend a certificate."""
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", *files]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("the openssl command is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with MllmServer() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with pytest.raises(ConfigError, match="certificate cannot be verified"):
            asking(f"https://localhost:{server.server_port}/v1").answer([question()])
    assert not server.log


def test_all_tries_of_a_request_end_at_its_deadline():
    """M03: 429 for ever is no failure that counts, but time does."""
    with MllmServer(fault_of=poison("429")) as server:
        began = time.monotonic()
        answers = asking(server, deadline_s=0.5).answer([question(3), question(4)])

    assert [answer.failure for answer in answers] == ["mllm.unavailable", None]
    assert time.monotonic() - began < 3
    assert [fault for fault, _ in server.log].count("429") > 4


def test_calls_in_flight_are_bounded_and_used():
    """No more than `concurrency`, and no fewer while there is work; the same request twice is asked once."""
    with MllmServer(delay_s=0.05) as server:
        requests = [question(number) for number in range(12)]
        answers = asking(server, concurrency=3).answer(requests + requests)

    assert server.most_flying == 3
    assert len(server.log) == 12
    assert answers[:12] == answers[12:]


def test_each_answer_is_told_the_moment_it_is_there():
    """The first is told while the last is still open."""
    told = []
    slow = threading.Event()

    def describe(body):
        if body["messages"][1]["content"][0]["text"] == "image 1":
            slow.wait(5)
        return {"text": "done"}

    def on_answer(request, answer):
        told.append(request.parts[0])
        slow.set()

    with MllmServer(describe=describe) as server:
        asking(server, timeout_s=9).answer_each([question(1), question(0)], on_answer)
    assert told == ["image 0", "image 1"]


def test_a_response_that_is_sent_twice_is_no_answer_to_the_next_request():
    """M08: the second copy is never read as somebody else's reply."""
    requests = [question(number) for number in range(10)]
    with MllmServer({"twice": 1.0}) as server:
        answers = asking(server, concurrency=1).answer(requests)
        assert [answer.content for answer in answers] == [own_words(server, request) for request in requests]


def test_it_works_in_a_notebook_and_in_a_worker():
    """Where an event loop runs already, and after a journey through pickle."""
    with MllmServer() as server:
        model = pickle.loads(pickle.dumps(asking(server)))

        async def notebook():
            return model.answer([question()])

        assert asyncio.run(notebook())[0].content
        assert model.name == "tiny"
