"""Who describes: the `describe` table of the build config, one model a backend.

::

    describe:
      backend: openai                    # measured (default), openai, transformers or replay
      endpoint: http://127.0.0.1:8000/v1
      model: Qwen/Qwen2.5-VL-7B-Instruct
      prompt: {pictures: both, max_side: 1024}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from medtrinity25m.description.backends.openai import OpenAIModel, OpenAIOptions
from medtrinity25m.description.backends.replay import ReplayModel, ReplayOptions
from medtrinity25m.description.backends.transformers import TransformersModel, TransformersOptions
from medtrinity25m.description.exchange import Model
from medtrinity25m.description.prompting import Prompting
from medtrinity25m.description.replies import Remembering, ReplyStore
from medtrinity25m.triplet import Frozen


class DescribeMeasured(Frozen):
    """No model: the texts say what was measured."""

    backend: Literal["measured"] = "measured"


class DescribeOpenAI(OpenAIOptions):
    """A server that speaks OpenAI's protocol: vLLM, SGLang, TGI, llama.cpp, hosted ones."""

    backend: Literal["openai"]
    prompt: Prompting = Prompting()


class DescribeTransformers(TransformersOptions):
    """A model in a folder, run in the worker's own process."""

    backend: Literal["transformers"]
    prompt: Prompting = Prompting()


class DescribeReplay(ReplayOptions):
    """Replies that a former build kept."""

    backend: Literal["replay"]
    prompt: Prompting = Prompting()


DescribeOptions = Annotated[
    DescribeMeasured | DescribeOpenAI | DescribeTransformers | DescribeReplay, Field(discriminator="backend")
]


def model_of(options: DescribeOptions, replies: Path) -> Model | None:
    """Return who is asked, replies kept in the folder `replies` before they are read; None for `measured`.

    Raises:
        ConfigError: a package or a folder is missing.
    """
    match options:
        case DescribeOpenAI():
            return Remembering(OpenAIModel(options), ReplyStore(replies))
        case DescribeTransformers():
            return Remembering(TransformersModel(options), ReplyStore(replies))
        case DescribeReplay():
            return ReplayModel(options)
        case _:
            return None
