"""The `describe` table of a config: one model a backend, and who is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from medtrinity25m.description.backends.openai import OpenAIModel
from medtrinity25m.description.backends.replay import ReplayModel
from medtrinity25m.description.backends.transformers import TransformersModel
from medtrinity25m.description.options import DescribeOptions, model_of
from medtrinity25m.description.replies import Remembering
from medtrinity25m.errors import ConfigError

ADAPTER: TypeAdapter[Any] = TypeAdapter(DescribeOptions)
LOCAL = "http://127.0.0.1:8000/v1"


def options(**table: Any) -> Any:
    return ADAPTER.validate_python(table)


def test_measured_asks_nobody(tmp_path):
    """The default needs no model, and takes no option of one."""
    assert model_of(options(backend="measured"), tmp_path) is None
    with pytest.raises(ValidationError, match="prompt"):
        options(backend="measured", prompt={"max_side": 512})


def test_a_server_is_asked_through_the_kept_replies(tmp_path):
    """Its replies are kept in the folder that is given."""
    model = model_of(options(backend="openai", endpoint=LOCAL, model="tiny"), tmp_path)

    assert isinstance(model, Remembering)
    assert isinstance(model.inner, OpenAIModel)
    assert (model.name, model.store.folder) == ("tiny", tmp_path)


def test_a_folder_and_a_record_are_asked_by_their_backends(tmp_path):
    """A model in a folder keeps its replies, too; a replay reads where it is told."""
    (tmp_path / "llava").mkdir()
    (tmp_path / "llava" / "config.json").write_text("{}")
    local = model_of(options(backend="transformers", path=tmp_path / "llava"), tmp_path / "replies")
    replay = model_of(options(backend="replay", replies=tmp_path, model="tiny"), tmp_path / "other")

    assert isinstance(local, Remembering)
    assert isinstance(local.inner, TransformersModel)
    assert isinstance(replay, ReplayModel)
    assert replay.options.replies == tmp_path


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"backend": "gpt"}, "does not match any of the expected tags"),
        ({"backend": "openai", "model": "tiny"}, "endpoint"),
        ({"backend": "openai", "model": "tiny", "endpoint": LOCAL, "prompt": {"pictures": "three"}}, "pictures"),
        ({"backend": "transformers", "path": "x", "trust_remote_code": True}, "Extra inputs"),
        ({"backend": "replay", "replies": "x"}, "model"),
    ],
)
def test_a_wrong_table_is_told_by_its_key(table, said):
    """A key of another backend, a missing one, a word that is none."""
    with pytest.raises(ValidationError, match=said):
        options(**table)


def test_a_folder_that_is_not_there_is_said_before_anything_is_read(tmp_path):
    """Every row would fall back without a word."""
    with pytest.raises(ConfigError, match="describe.path"):
        model_of(options(backend="transformers", path=Path("nowhere")), tmp_path)
    with pytest.raises(ConfigError, match="describe.replies"):
        model_of(options(backend="replay", replies="nowhere", model="tiny"), tmp_path)
