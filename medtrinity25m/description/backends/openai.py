"""`backend: openai`: any server of the chat-completions protocol: vLLM, SGLang, TGI, llama.cpp, hosted ones.

::

    describe:
      backend: openai
      endpoint: http://127.0.0.1:8000/v1
      model: Qwen/Qwen3-VL-8B-Instruct

Every request ends as an `Answer`, or the run stops with one message: a `ConfigError` where nobody could be asked (key,
model, redirect), a `FetchError` where the server stopped answering; the same command then goes on.

**Why**

- *The SDK's retries are off.* They know neither a deadline nor the other calls; `patience` does.
- *One connection a request.* A server or proxy that sends a response twice would otherwise have the second one read as
  the answer to the next image: on a connection kept alive nothing tells them apart. A connection costs milliseconds,
  a description seconds.
- *No proxy of the environment, no redirect.* Pictures go to the address that was checked, and the key with them.
- *A client a batch.* A client lives in one event loop; kept between batches it would need a thread of its own, and
  sockets would be left open where a build is stopped.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field, SecretStr, field_validator

from medtrinity25m.description.backends.chat import Dialect, Trouble, body_of, judge, ordered_pause_of, probe_of
from medtrinity25m.description.backends.patience import Breaker, Pace
from medtrinity25m.description.egress import endpoint_fault, is_loopback, shown
from medtrinity25m.description.exchange import Answer, Request
from medtrinity25m.errors import ConfigError, FetchError, one_line
from medtrinity25m.fetch.patience import GO_ON

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_BODY = 4 << 20  # bytes; a reply of 32,000 tokens has a hundred thousand
CONNECT_S = 15.0  # a host that answers at all does so at once; the rest of a try's time is for the model
NO_KEY = "none"  # the SDK wants some key; servers that need none ignore it

OnAnswer = Callable[[Request, Answer], None]


class OpenAIOptions(Dialect):
    """The endpoint, and how long it is borne with.

    `concurrency` counts calls in flight a process (a probe may come on top); vLLM batches them, so that 8 cost little
    more time than one.
    `tries` counts failures of one request, orders to wait aside; a server that answers others and fails at this one 8
    times, over a quarter of a minute, will not answer it. `timeout_s` is for one try as a whole, `deadline_s` for all
    tries of a request; `patience_s` is how long a server may answer nobody before the run stops.
    """

    endpoint: str
    model: str = Field(min_length=1)
    api_key_env: str | None = "OPENAI_API_KEY"
    """The variable that holds the key; on this machine a server may do without, others need it or `null` here."""
    concurrency: int = Field(default=8, ge=1, le=512)
    tries: int = Field(default=8, ge=1)
    timeout_s: float = Field(default=120, gt=0)
    deadline_s: float = Field(default=900, gt=0)
    patience_s: float = Field(default=600, gt=0)

    @field_validator("endpoint")
    @classmethod
    def _plain(cls, endpoint: str) -> str:
        if (fault := endpoint_fault(endpoint)) is not None:
            raise ValueError(fault)
        return endpoint


@dataclass(frozen=True)
class OpenAIModel:
    """A model behind an endpoint; pickles, and holds neither key nor socket."""

    options: OpenAIOptions
    pace: Pace = field(default_factory=Pace)

    @property
    def name(self) -> str:
        """The model's name at its server."""
        return self.options.model

    def ready(self) -> None:
        """Say what is missing on this machine, sending nothing.

        Raises:
            ConfigError: the SDK is not installed, or there is no key that can be used.
        """
        if importlib.util.find_spec("openai") is None:
            raise ConfigError("the openai package is missing: pip install 'medtrinity25m[mllm]'")
        _key(self.options)

    def answer(self, requests: Sequence[Request], /) -> list[Answer]:
        """Return one answer a request, in order."""
        answers: dict[str, Answer] = {}
        self.answer_each(requests, lambda request, answer: answers.update({request.sha256: answer}))
        return [answers[request.sha256] for request in requests]

    def answer_each(self, requests: Sequence[Request], on_answer: OnAnswer, /) -> None:
        """Ask each different request once; `on_answer` is called with each answer the moment it is there.

        Raises:
            ConfigError: nobody could be asked at all.
            FetchError: the server stopped answering.
        """
        self.ready()
        unique = {request.sha256: request for request in requests}
        _run(_Call(self.options, self.pace).all(list(unique.values()), on_answer))


class _Call:
    """The asking of one batch."""

    def __init__(self, options: OpenAIOptions, pace: Pace) -> None:
        self._options, self._pace = options, pace
        self._key = _key(options)
        self._seats = asyncio.Semaphore(options.concurrency)
        self._where = f"{shown(options.endpoint)}, model {options.model}"
        self._breaker = Breaker(self._where, pace, options.patience_s, self._probe)

    async def all(self, requests: Sequence[Request], on_answer: OnAnswer) -> None:
        """Ask all requests at once, as far as there are seats."""

        async def one(request: Request) -> None:
            on_answer(request, await self._ask(request))

        async with _client(self._options, self._key) as self._client:
            try:
                async with asyncio.TaskGroup() as group:
                    for request in requests:
                        group.create_task(one(request))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None

    async def _ask(self, request: Request) -> Answer:
        """Ask until there is an answer, or proof that this request gets none."""
        failed = turns = 0
        spent_s = 0.0
        spared = False
        while True:
            async with self._seats:
                await self._breaker.closed(request)
                began = time.monotonic()
                said = await self._once(request, self._options.deadline_s - spent_s)
            spent_s += time.monotonic() - began
            if isinstance(said, Answer):
                self._breaker.good()
                return said
            if said.kind in ("stop", "wrong"):
                return await self._refused(request, said)
            self._breaker.bad()
            turns += 1
            failed += said.kind == "again"
            pause = self._pause(turns, said)
            if failed < self._options.tries and spent_s + pause < self._options.deadline_s:
                await asyncio.sleep(pause)
                spent_s += pause
                continue
            if spared or self._breaker.last_good > began or (await self._breaker.proof(request)).at_once:
                return self._lost(said, f"{turns} tries")
            failed, spent_s, spared = 0, 0.0, True  # the server was down: its fault, so the request starts anew, once

    def _pause(self, turns: int, said: Trouble) -> float:
        if said.ordered_s is not None and said.ordered_s > self._options.patience_s:
            raise FetchError(f"{self._where}: {said.reason}; it orders a pause of {said.ordered_s:,.0f} s; {GO_ON}")
        return self._pace.wait(turns, self._breaker.in_a_row, said.ordered_s)

    async def _refused(self, request: Request, said: Trouble) -> Answer:
        """Tell a request that its server cannot digest from a config that no request gets by with.

        Raises:
            ConfigError: nobody is answered.
        """
        if said.kind == "wrong":
            if self._breaker.last_good > -math.inf:
                return self._lost(said, "refused")
            if (await self._breaker.proof(request)).answered:
                return self._lost(said, "refused")
        raise ConfigError(f"{self._where}: {said.reason}; {_advice(said, self._options)}")

    def _lost(self, said: Trouble, how: str) -> Answer:
        """Return the answer of a request that gets none although the server answers others."""
        return Answer(failure="mllm.unavailable", detail=one_line(f"{how}: {said.reason}"), raw=said.raw)

    async def _probe(self, request: Request) -> Answer | Trouble:
        return await self._once(probe_of(request), self._options.timeout_s)

    async def _once(self, request: Request, left_s: float) -> Answer | Trouble:
        """Send one request and judge what comes back."""
        import openai

        limit_s = min(self._options.timeout_s, max(left_s, 0.0))
        try:
            async with asyncio.timeout(limit_s):
                asked = self._client.chat.completions.with_raw_response
                got = (await asked.create(**body_of(request, self._options))).http_response
        except TimeoutError:
            return Trouble("again", f"no whole answer within {limit_s:g} s")
        except openai.APIStatusError as error:
            got = error.response
        except (openai.OpenAIError, OSError) as error:
            return self._unreached(error)
        said = judge(got.status_code, self._scrubbed(got.content), ordered_pause_of(got.headers))
        if isinstance(said, Answer) and said.content is not None:  # once more: it may have been spelled with escapes
            return said.with_(content=self._scrubbed(said.content.encode()).decode())
        return said

    def _unreached(self, error: BaseException) -> Trouble:
        """Say why no response came."""
        cause: BaseException = error
        while (deeper := cause.__cause__ or cause.__context__) is not None:
            cause = deeper
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Trouble("stop", f"its certificate cannot be verified: {cause.verify_message}")
        said = str(error.__cause__ or error) or str(cause) or type(cause).__name__
        return Trouble("again", one_line(self._scrubbed(said.encode()).decode()))

    def _scrubbed(self, text: bytes) -> bytes:
        """Take the key out of what a server said: some repeat it."""
        key = self._key.get_secret_value()
        return text if key == NO_KEY else text.replace(key.encode(), b"[key]")


def _advice(said: Trouble, options: OpenAIOptions) -> str:
    """Say what to do about a refusal of everything."""
    status = said.reason.removeprefix("HTTP ")[:3]
    variable = options.api_key_env or "its variable in `api_key_env`"
    if status.startswith("3"):
        return "it points elsewhere; name the address that answers itself, nothing is sent on"
    known = {
        "401": f"check the key in {variable}",
        "402": "the account has no credit left",
        "403": f"the key in {variable} may not use this model",
        "404": "check `model` and that `endpoint` ends as the server's documentation says, mostly in /v1",
        "429": "the account has no credit left",
        "its": "use a certificate this machine knows",
    }
    dialect = ", ".join(f"{name}: {getattr(options, name)}" for name in Dialect.model_fields)
    return known.get(status, f"it refuses a harmless request of this form, too; see its log, and {dialect}")


def _key(options: OpenAIOptions) -> SecretStr:
    """Return the key.

    Raises:
        ConfigError: there is none, it is no header value, or it would travel readable; the message does not hold it.
    """
    here = is_loopback(options.endpoint)
    if options.api_key_env is None:
        return SecretStr(NO_KEY)
    key = os.environ.get(options.api_key_env, "").strip()
    name, where = options.api_key_env, shown(options.endpoint)
    if not key and here:
        return SecretStr(NO_KEY)
    if not key:
        raise ConfigError(f"{where} needs a key: export {name}, or write api_key_env: null if it asks for none")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError(f"{name} holds no key: keys are printable ASCII without spaces")
    if not here and options.endpoint.startswith("http:"):
        raise ConfigError(f"the key in {name} would travel readable to {where}; use https, or write api_key_env: null")
    return SecretStr(key)


def _client(options: OpenAIOptions, key: SecretStr) -> AsyncOpenAI:
    """Return a client that reads bounded bodies and knows nothing but `options`."""
    import openai

    class Bounded(openai.DefaultAsyncHttpxClient):
        """Reads a response up to `MAX_BODY`; organization and project of the environment are not sent."""

        async def send(self, request: Any, **more: Any) -> Any:
            for name in ("openai-organization", "openai-project"):
                request.headers.pop(name, None)
            response = await super().send(request, **(more | {"stream": True}))
            body = bytearray()
            try:
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > MAX_BODY:
                        raise openai.OpenAIError(f"the body has more than {MAX_BODY:,} bytes")
            finally:
                await response.aclose()
            framing = ("content-encoding", "content-length", "transfer-encoding")
            headers = [(name, value) for name, value in response.headers.items() if name not in framing]
            return type(response)(response.status_code, headers=headers, content=bytes(body), request=request)

    timeout = openai.Timeout(options.timeout_s, connect=min(CONNECT_S, options.timeout_s))
    return openai.AsyncOpenAI(
        base_url=options.endpoint,
        api_key=key.get_secret_value(),
        max_retries=0,
        timeout=timeout,
        default_headers={"Connection": "close", "Accept-Encoding": "identity"},
        http_client=Bounded(trust_env=False, follow_redirects=False, timeout=timeout),
    )


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end; in a thread where an event loop runs already, as in notebooks."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
