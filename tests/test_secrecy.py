"""What goes to an endpoint is what the config says; the key goes there in its header and to no other place."""

from __future__ import annotations

import logging
import pickle
import traceback

import pytest
from pydantic import ValidationError

from medtrinity25m.description.backends.openai import OpenAIOptions
from medtrinity25m.errors import ConfigError, MedTrinityError
from mllm_server import MllmServer
from test_openai import KEY, asking, question
from tiny_models import need

pytestmark = need("openai")


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_nothing_of_the_environment_is_sent_or_followed(monkeypatch):
    """No proxy, no organization: pictures go to the address of the config, and what goes is in the config."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-canary")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-canary")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    with MllmServer() as server:
        (answer,) = asking(server).answer([question()])

    assert answer.content
    assert "canary" not in str({**server.headers[0], "authorization": ""})
    assert server.headers[0]["connection"] == "close"


@pytest.mark.parametrize("fault", ["secret", "401", "400", "html", "redirect", "reset", "500"])
def test_the_key_is_nowhere(fault, caplog, capfd):
    """M14: not in answers, messages, tracebacks with their locals, logs at debug level, pickles or reprs."""
    logging.getLogger("openai").setLevel(logging.DEBUG)
    caplog.set_level(logging.DEBUG)
    seen = []
    with MllmServer({fault: 1.0}, key=KEY) as server:
        model = asking(server, patience_s=0.2)
        try:
            seen += [repr(answer) for answer in model.answer([question()])]
        except MedTrinityError as error:
            whole = traceback.TracebackException.from_exception(error, capture_locals=True)
            seen += [*whole.format(), repr(error.__context__)]
    seen += [repr(model), str(model), pickle.dumps(model).decode("latin-1"), caplog.text, *capfd.readouterr()]
    logging.getLogger("openai").setLevel(logging.NOTSET)

    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert not [text for text in seen if KEY in text]


@pytest.mark.parametrize(
    ("endpoint", "key", "words"),
    [
        ("https://api.example.com/v1", "", "needs a key: export OPENAI_API_KEY"),
        ("http://node17:8000/v1", KEY, "would travel readable to http://node17:8000"),
        ("https://api.example.com/v1", f"{KEY}\nX: y", "holds no key"),
        ("https://api.example.com/v1", f"{KEY} ä", "holds no key"),
    ],
)
def test_a_key_that_cannot_be_used_is_told_before_anything_is_sent(endpoint, key, words, monkeypatch):
    """Missing, readable on its way, or no header value at all; never repeated in the message."""
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match=words) as stopped:
        asking(endpoint).ready()
    assert KEY not in str(stopped.value)


def test_a_server_on_this_machine_needs_no_key(monkeypatch):
    """Nor does one whose config says so."""
    monkeypatch.delenv("OPENAI_API_KEY")
    asking("http://127.0.0.1:8000/v1").ready()
    asking("http://node17:8000/v1", api_key_env=None).ready()


def test_the_package_is_asked_for_by_its_extra(monkeypatch):
    """Without the SDK: how to get it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'medtrinity25m\[mllm\]'"):
        asking("http://127.0.0.1:8000/v1").ready()


@pytest.mark.parametrize(
    "endpoint", ["ftp://host/v1", f"https://user:{KEY}@host/v1", f"https://host/v1?key={KEY}", "host", "https://"]
)
def test_an_endpoint_is_a_plain_address(endpoint):
    """No user name, no query: a key in an address ends in logs. The message does not repeat it."""
    with pytest.raises(ValidationError) as refused:
        OpenAIOptions(endpoint=endpoint, model="tiny")
    assert KEY not in refused.value.errors(include_input=False)[0]["msg"]
