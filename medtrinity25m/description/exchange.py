"""What is sent to a multimodal model and what comes back, the same for every backend.

A `Request` holds everything that can change the reply, so its hash names the reply: what was once answered is never
asked again. An `Answer` is what the model gave, or the reason why there is nothing to use; it is never an exception,
because one image must not stop the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import Field

from medtrinity25m.triplet import Frozen


class Request(Frozen):
    """One question about one image.

    Args:
        model: the model's name as the server or the library knows it.
        system: the system message.
        parts: the user message in order: text, or the bytes of a PNG or JPEG.
        reply_schema: JSON Schema that the reply must follow.
        prompt_sha256: of the prompt files, for the row's provenance.
        temperature, max_tokens: sampling; `attempt` is 0 for the first try and tells further samples apart.
    """

    model: str
    system: str
    parts: tuple[str | bytes, ...]
    reply_schema: dict[str, Any]
    prompt_sha256: str
    temperature: float = 0.1
    max_tokens: int = 1024
    attempt: int = Field(default=0, ge=0)

    @property
    def sha256(self) -> str:
        """Hash over everything that can change the reply; pictures count by their own hash."""
        parts = [part if isinstance(part, str) else {"sha256": hashlib.sha256(part).hexdigest()} for part in self.parts]
        whole = self.model_dump(exclude={"parts"}) | {"parts": parts}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


class Usage(Frozen):
    """Tokens that were counted by whoever answered."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Answer(Frozen):
    """What came back: `content`, or `failure` with its reason code and one sentence in `detail`.

    Failures: `mllm.refused` (refusal or content filter), `mllm.truncated` (finish_reason length), `mllm.bad_json`,
    `mllm.schema` (both set later, by whoever reads the content), `mllm.too_large` (the context does not hold it),
    `mllm.unavailable` (the server failed at this request although it answers others), `mllm.not_recorded` (replay).
    """

    content: str | None = None
    failure: str | None = None
    detail: str | None = None
    usage: Usage = Usage()
    raw: str = ""
    """The body as it came, for whoever wants to look again; UTF-8, undecodable bytes escaped."""

    @property
    def sha256(self) -> str:
        """Hash of the content, for the row's provenance."""
        return hashlib.sha256((self.content or "").encode()).hexdigest()


class Model(Protocol):
    """Anything that answers requests; `name` goes into the rows."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    def answer(self, requests: Sequence[Request], /) -> list[Answer]:
        """Return one answer a request, in order.

        Raises:
            ConfigError: nobody could be asked at all (no such model, bad key, redirect): stop before row 1.
            FetchError: the server stopped answering; the same command resumes.
        """
        ...
