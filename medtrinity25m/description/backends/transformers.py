"""A model of `transformers` from a folder: any that `AutoModelForImageTextToText` opens and that has a chat template.

LLaVA, Qwen-VL, MedGemma and their like are loaded from safetensors; no code of a folder is run, nothing is fetched. A
request becomes a conversation: the system message, and one user message with its texts and pictures in order. Where a
template knows no system role its words stand at the beginning of the user's. Temperature 0 decodes greedily; above it,
sampling is seeded by the request.

The model's name is the folder's name and the beginning of a hash over its files, so that rows and kept replies of
different weights never pass for each other.

**Why** one request at a time unless `batch` says otherwise: in a batch the shorter prompts are padded, and sums over
padded rows round differently, so a reply could depend on its neighbors, and after a stop its neighbors change. A larger
batch is faster on a GPU; then the kept replies, and not the model, make a resumed build repeat itself.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from medtrinity25m.description.exchange import Answer, Request, Usage
from medtrinity25m.errors import ConfigError, one_line
from medtrinity25m.triplet import Frozen

SYSTEM_END = "\n\n"  # between the system message and the user's, where they are one
NAME_DIGITS = 12  # of the hash over the files: 48 bits tell the models of any one lab apart


class TransformersOptions(Frozen):
    """A model in a folder, and how it is run.

    Args:
        path: the folder with `config.json`, weights, tokenizer and processor.
        device: `auto` takes a GPU where there is one.
        dtype: `auto` is bfloat16 on a GPU and float32 elsewhere.
        batch: requests that go through the model together.
    """

    path: Path
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    batch: int = Field(default=1, ge=1, le=256)


@dataclass(frozen=True)
class Loaded:
    """A model ready to be asked."""

    model: Any
    processor: Any
    device: str
    context: int | None
    """Tokens that prompt and reply may have together, where the model says so."""
    end: frozenset[int]
    """Tokens that end a reply."""


@dataclass(frozen=True)
class TransformersModel:
    """Answers by running a model in this process; it is loaded when first asked, once a process."""

    options: TransformersOptions

    def __post_init__(self) -> None:
        """Refuse what can be known to fail before anything is read."""
        missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"describe.backend transformers needs {' and '.join(missing)}: pip install 'medtrinity25m[models]'"
            )
        if not (self.options.path / "config.json").is_file():
            raise ConfigError(
                f"describe.path: {self.options.path} holds no config.json; give the folder of a downloaded model"
            )

    @property
    def name(self) -> str:
        """The folder's name and the beginning of a hash over its files."""
        folder = self.options.path.resolve()
        return f"{folder.name}@{_digest(folder)[:NAME_DIGITS]}"

    def answer(self, requests: Sequence[Request], /) -> list[Answer]:
        """Return one answer a request, in order.

        Raises:
            ConfigError: the folder holds no model that reads pictures, or one without a chat template.
        """
        answers: list[Answer] = []
        self.answer_each(requests, lambda _, answer: answers.append(answer))
        return answers

    def answer_each(self, requests: Sequence[Request], on_answer: Callable[[Request, Answer], None], /) -> None:
        """Answer in order, and tell each batch's answers when the batch is done."""
        loaded = _load(self.options)
        for start in range(0, len(requests), self.options.batch):
            batch = requests[start : start + self.options.batch]
            for request, answer in zip(batch, _answered(loaded, batch), strict=True):
                on_answer(request, answer)


@cache
def _digest(folder: Path) -> str:
    """Return a SHA-256 over names and contents of a model's files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            with path.open("rb") as handle:
                content = hashlib.file_digest(handle, "sha256").digest()
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()


@cache
def _load(options: TransformersOptions) -> Loaded:
    """Load model and processor of a folder."""
    import torch
    import transformers

    gpu = torch.cuda.is_available() if options.device == "auto" else options.device == "cuda"
    device = "cuda" if gpu else "cpu"
    dtype = ("bfloat16" if gpu else "float32") if options.dtype == "auto" else options.dtype
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    folder = str(options.path)
    transformers.utils.logging.disable_progress_bar()  # workers share one screen with the build's own progress
    try:
        processor = transformers.AutoProcessor.from_pretrained(folder, **local)
        auto = transformers.AutoModelForImageTextToText
        model = auto.from_pretrained(folder, **local, use_safetensors=True, dtype=getattr(torch, dtype))
        model = model.to(device).eval()
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise ConfigError(f"describe.path: {folder} cannot be loaded: {_first_line(error)}") from error
    tokenizer = getattr(processor, "tokenizer", processor)
    if not (getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)):
        raise ConfigError(f"describe.path: the model in {folder} has no chat template; use one tuned for conversation")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"  # a reply continues the prompt's last token, not its padding
    text = getattr(model.config, "text_config", model.config)
    ends = [model.generation_config.eos_token_id, tokenizer.eos_token_id]
    flat = [end for one in ends if one is not None for end in (one if isinstance(one, list) else [one])]
    return Loaded(model, processor, device, getattr(text, "max_position_embeddings", None), frozenset(flat))


def _answered(loaded: Loaded, requests: Sequence[Request]) -> list[Answer]:
    """Return the answers to requests that go through the model together."""
    answers: dict[int, Answer] = {}
    fitting: list[int] = []
    for index, request in enumerate(requests):
        length = int(_inputs(loaded, [request])["input_ids"].shape[1])
        if loaded.context is not None and length + request.max_tokens > loaded.context:
            detail = f"{length} tokens and {request.max_tokens} for the reply; the model holds {loaded.context}"
            answers[index] = Answer(failure="mllm.too_large", detail=detail)
        else:
            fitting.append(index)
    # what decodes alike goes together: a batch has one temperature and one limit
    alike: dict[tuple[float, int], list[int]] = {}
    for index in fitting:
        alike.setdefault((requests[index].temperature, requests[index].max_tokens), []).append(index)
    for indices in alike.values():
        together = _generated(loaded, [requests[index] for index in indices])
        answers.update(zip(indices, together, strict=True))
    return [answers[index] for index in range(len(requests))]


def _generated(loaded: Loaded, requests: Sequence[Request]) -> list[Answer]:
    """Return what the model writes to requests of one temperature and one limit."""
    import torch

    inputs = _inputs(loaded, requests).to(loaded.device, dtype=loaded.model.dtype)
    first = requests[0]
    how: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    if first.temperature > 0:
        torch.manual_seed(int(first.sha256[:15], 16))
        how = {"do_sample": True, "temperature": first.temperature}
    with torch.inference_mode():
        whole = loaded.model.generate(
            **inputs, max_new_tokens=first.max_tokens, pad_token_id=_tokenizer(loaded).pad_token_id, **how
        )
    prompt = inputs["input_ids"].shape[1]
    used = inputs["attention_mask"].sum(dim=1).tolist()
    return [_answer(loaded, row, int(tokens)) for row, tokens in zip(whole[:, prompt:].tolist(), used, strict=True)]


def _answer(loaded: Loaded, tokens: list[int], prompt_tokens: int) -> Answer:
    """Return what was written up to the first token that ends a reply; without one it was cut off."""
    end = next((at for at, token in enumerate(tokens) if token in loaded.end), None)
    written = tokens if end is None else tokens[:end]
    content = _tokenizer(loaded).decode(written, skip_special_tokens=True)
    usage = Usage(prompt_tokens=prompt_tokens, completion_tokens=len(written))
    if end is None:
        detail = f"no end after {len(tokens)} tokens"
        return Answer(failure="mllm.truncated", detail=detail, usage=usage, raw=content)
    return Answer(content=content, usage=usage, raw=content)


def _inputs(loaded: Loaded, requests: Sequence[Request]) -> Any:
    """Return the tensors of some requests, padded on the left."""
    from jinja2 import TemplateError

    def tokens(system: bool) -> Any:
        return loaded.processor.apply_chat_template(
            [_conversation(request, system) for request in requests],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )

    try:
        return tokens(system=True)
    except TemplateError:  # "System role not supported", in a template's own words
        return tokens(system=False)


def _conversation(request: Request, system: bool) -> list[dict[str, Any]]:
    """Return a request as messages; without a system role its words begin the user's."""
    user = [] if system else [_part(request.system + SYSTEM_END)]
    messages = [{"role": "user", "content": [*user, *(_part(part) for part in request.parts)]}]
    return [{"role": "system", "content": [_part(request.system)]}, *messages] if system else messages


def _part(part: str | bytes) -> dict[str, Any]:
    from PIL import Image

    if isinstance(part, str):
        return {"type": "text", "text": part}
    with Image.open(io.BytesIO(part)) as image:
        return {"type": "image", "image": image.convert("RGB")}


def _tokenizer(loaded: Loaded) -> Any:
    return getattr(loaded.processor, "tokenizer", loaded.processor)


def _first_line(error: BaseException) -> str:
    """Return the first line a library says about an error, or the error's name where it says nothing."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return one_line(said)
