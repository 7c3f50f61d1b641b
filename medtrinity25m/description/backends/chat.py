"""The chat-completions protocol without a network: a request becomes a body, a response becomes a verdict.

The same bodies go to a server and into batch files, and both kinds of results are judged here.

**Why** the response is judged from its bytes and not by the SDK's types: the SDK builds its objects without validating
them, so half a reply of the right shape would pass for a whole one.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from medtrinity25m.description.exchange import Answer, Request, Usage
from medtrinity25m.errors import one_line
from medtrinity25m.triplet import Frozen

FINISHED = ("stop", "eos_token", "stop_sequence")
"""`finish_reason` of a reply that ended by itself; the last two are words of TGI."""

TOO_LARGE = re.compile(
    r"context[ _](length|size|window)|exceed_context|max_model_len|maximum (model|context|input|prompt) length"
    r"|`inputs` tokens|(prompt|input|request|image|payload)\b[^.]{0,60}\b(too (large|long|big)|longer than)",
    re.IGNORECASE,
)
"""How OpenAI, vLLM, SGLang, TGI and llama.cpp say that a request does not fit their context."""

UNPAID = ("insufficient_quota", "billing_hard_limit_reached")
FILTERED = ("content_filter", "content_policy_violation")
PROBE_TOKENS = 16  # enough to prove that the server answers; the smallest limit that every hosted model takes


class Dialect(Frozen):
    """What servers of the protocol differ in.

    `response_format`: `json_schema` has the server enforce the schema, `json_object` only that it is JSON, `none` says
    nothing, for servers that refuse the key. `image_detail` is OpenAI's; others ignore it. `length_key` names the
    limit: hosted reasoning models take `max_completion_tokens` only, TGI and older servers `max_tokens` only.
    """

    response_format: Literal["json_schema", "json_object", "none"] = "json_schema"
    image_detail: Literal["auto", "low", "high"] = "auto"
    length_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"


@dataclass(frozen=True)
class Trouble:
    """Why there is no answer.

    `again`: the next try may bring one. `throttled`: so may it, and the server is well, only busy. `wrong`: the server
    refuses the request, for what the config says or for what is in it. `stop`: nobody will be answered.
    """

    kind: Literal["again", "throttled", "wrong", "stop"]
    reason: str
    ordered_s: float | None = None
    raw: str = ""


def body_of(request: Request, dialect: Dialect) -> dict[str, Any]:
    """Return the JSON body that asks `request`; `attempt` is its seed, so that another attempt is another sample."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [
            {"role": "system", "content": request.system},
            {"role": "user", "content": [_part(part, dialect) for part in request.parts]},
        ],
        "temperature": request.temperature,
        "seed": request.attempt,
        dialect.length_key: request.max_tokens,
    }
    if dialect.response_format == "json_schema":
        schema = {"name": "reply", "strict": True, "schema": request.reply_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.response_format == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _part(part: str | bytes, dialect: Dialect) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = "png" if part.startswith(b"\x89PNG") else "jpeg"
    url = f"data:image/{kind};base64,{base64.b64encode(part).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": dialect.image_detail}}


def probe_of(request: Request) -> Request:
    """Return a request of the same form that nothing can be wrong with: gray pictures, one word, few tokens."""
    from PIL import Image

    gray = io.BytesIO()
    Image.new("L", (64, 64), 128).save(gray, "PNG")
    parts = tuple("ping" if isinstance(part, str) else gray.getvalue() for part in request.parts)
    return request.with_(system="ping", parts=parts, max_tokens=PROBE_TOKENS, attempt=0)


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def judge(status: int, body: bytes, ordered_s: float | None = None) -> Answer | Trouble:
    """Say what a response comes to.

    Args:
        status: of HTTP.
        body: whole, as it came.
        ordered_s: the pause that the server asks for, in seconds.
    """
    raw = body.decode("utf-8", "backslashreplace")
    if 200 <= status < 300:
        return _completion(body, raw)
    message, code = _error(body, raw)
    said = one_line(f"HTTP {status}: {message}" if message else f"HTTP {status}")
    if status == 413 or (
        status in (400, 422, 429) and (code == "context_length_exceeded" or TOO_LARGE.search(message))
    ):
        return Answer(failure="mllm.too_large", detail=said, raw=raw)
    if code in FILTERED:
        return Answer(failure="mllm.refused", detail=said, raw=raw)
    if code in UNPAID or status in (401, 402, 403, 404) or 300 <= status < 400:
        return Trouble("stop", said, raw=raw)
    if status == 429 or (status == 503 and ordered_s is not None):
        return Trouble("throttled", said, ordered_s, raw)
    if status in (408, 409, 425) or status >= 500:
        return Trouble("again", said, ordered_s, raw)
    return Trouble("wrong", said, raw=raw)


def _completion(body: bytes, raw: str) -> Answer | Trouble:
    try:
        completion = _Completion.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = " ".join([*map(str, first["loc"]), first["msg"]])
        return Trouble("again", one_line(f"the body is no chat completion: {where}"), raw=raw)
    choice = completion.choices[0]
    counted = completion.usage or _Usage()
    usage = Usage(prompt_tokens=counted.prompt_tokens or 0, completion_tokens=counted.completion_tokens or 0)
    if choice.message.refusal or choice.finish_reason == "content_filter":
        detail = one_line(choice.message.refusal or "the server's content filter stopped the reply")
        return Answer(failure="mllm.refused", detail=detail, usage=usage, raw=raw)
    if choice.finish_reason == "length":
        detail = f"the reply ended at the limit of tokens, after {usage.completion_tokens}; raise max_tokens"
        return Answer(failure="mllm.truncated", detail=detail, usage=usage, raw=raw)
    if choice.finish_reason not in FINISHED:
        return Trouble("again", one_line(f"the reply did not finish: finish_reason {choice.finish_reason!r}"), raw=raw)
    if not choice.message.content:
        return Trouble("again", "the reply is empty", raw=raw)
    return Answer(content=choice.message.content, usage=usage, raw=raw)


class _Fault(BaseModel):
    message: str | None = None
    code: str | int | None = None


class _Error(BaseModel):
    error: _Fault | str | None = None
    message: str | None = None
    detail: Any = None


def _error(body: bytes, raw: str) -> tuple[str, str]:
    """Return message and code of an error body: as the protocol has it, as TGI or FastAPI do, or its first words."""
    try:
        told = _Error.model_validate_json(body)
    except ValidationError:
        return raw[:200].strip(), ""
    if isinstance(told.error, _Fault):
        return told.error.message or "", str(told.error.code or "")
    return told.error or told.message or str(told.detail or ""), ""


def ordered_pause_of(headers: Mapping[str, str]) -> float | None:
    """Return the Retry-After of a response, in seconds from now."""
    from medtrinity25m.fetch.patience import ordered_pause

    value = headers.get("retry-after")
    return ordered_pause(value) if value is not None and value.isascii() else None
