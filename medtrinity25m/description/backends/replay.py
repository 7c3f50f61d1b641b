"""Recorded replies in the place of a model: the same release again, without a server and without a key.

A reply is found by the hash of its request. A request that was never answered gets `mllm.not_recorded`, and its row the
measured text: change a prompt, a picture or a fact, and the recorded reply no longer belongs to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medtrinity25m.description.exchange import Answer, Request
from medtrinity25m.description.replies import ReplyStore
from medtrinity25m.errors import ConfigError
from medtrinity25m.triplet import Frozen


class ReplayOptions(Frozen):
    """Where the replies lie, and the name of the model that gave them, which is part of every request."""

    replies: Path
    model: str


@dataclass(frozen=True)
class ReplayModel:
    """Answers from a folder of recorded replies and from nowhere else."""

    options: ReplayOptions

    def __post_init__(self) -> None:
        """Refuse a folder that is not there: every row would fall back without a word."""
        if not self.options.replies.is_dir():
            raise ConfigError(
                f"describe.replies: {self.options.replies} is no folder; give the folder of replies that a build kept"
            )

    @property
    def name(self) -> str:
        """The name of the model whose replies were recorded."""
        return self.options.model

    def answer(self, requests: Sequence[Request], /) -> list[Answer]:
        """Return the recorded answers, in order."""
        store = ReplyStore(self.options.replies)
        return [store.get(request) or _missing(request) for request in requests]


def _missing(request: Request) -> Answer:
    return Answer(failure="mllm.not_recorded", detail=f"no reply to request {request.sha256} is recorded")
