"""Models of transformers from a folder: made small from a configuration, and one taught to answer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import cases
from medtrinity25m.caption import CoarseCaption
from medtrinity25m.description.backends.transformers import TransformersModel, TransformersOptions
from medtrinity25m.description.describe import Describe
from medtrinity25m.description.exchange import Request
from medtrinity25m.description.prompt import question_for
from medtrinity25m.description.prompting import Prompting
from medtrinity25m.description.replies import Remembering, ReplyStore
from medtrinity25m.errors import ConfigError
from test_describe import before, honest, words_of
from tiny_llava import NO_SYSTEM, TEMPLATE, teach, tiny_llava
from tiny_models import need

pytestmark = need("torch", "transformers")
ASKING = Prompting(pictures="boxed", max_tokens=300)


def request(maker: Any, name: str = "tiny", **options: Any) -> Request:
    asking = ASKING.with_(**options)
    return question_for(CoarseCaption()(maker()), [], asking, name).request


def corpus() -> list[str]:
    """Words the tokenizer is trained on: prompts and their replies."""
    requests = [request(maker) for maker in cases.MAKERS]
    replies = [json.dumps(honest(words_of(one)), ensure_ascii=False) for one in requests]
    return [*(words_of(one) for one in requests), *replies, requests[0].system] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA with random weights."""
    import torch

    torch.set_num_threads(1)
    return tiny_llava(tmp_path_factory.mktemp("models") / "tiny", corpus())


@pytest.fixture(scope="module")
def taught(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, taught to describe one kind of picture."""
    import shutil

    from medtrinity25m.description.backends.transformers import _conversation

    place = tmp_path_factory.mktemp("models") / "taught"
    shutil.copytree(folder, place)
    one = request(cases.bare)
    reply = json.dumps(honest(words_of(one)), ensure_ascii=False)
    assert teach(place, [(_conversation(one, True), reply)], steps=40) < 0.1
    return place


def test_a_model_that_learned_to_answer_describes(taught, tmp_path):
    """From pixels to a checked row, and the reply is kept: the second run loads nothing."""
    store = ReplyStore(tmp_path / "replies")
    model = Remembering(TransformersModel(TransformersOptions(path=taught)), store)
    stage = Describe(model, "transformers", ASKING)
    (made,) = stage([before(cases.bare)])
    (again,) = stage([before(cases.bare)])

    assert made.provenance.describer == "transformers"
    assert made.provenance.model.startswith("taught@")
    assert made.caption == honest(words_of(request(cases.bare)))["caption"]
    assert made.exchange.completion_tokens > 20
    assert made.digest() == again.digest()


def test_a_model_that_says_nothing_of_use_costs_no_row(folder):
    """Random weights write no JSON: the row has its measured text and says why."""
    model = TransformersModel(TransformersOptions(path=folder))
    rows = Describe(model, "transformers", ASKING.with_(max_tokens=64))([before(cases.ct), before(cases.bare)])

    assert [row.provenance.fallback for row in rows] == ["mllm.truncated", "mllm.truncated"]
    assert [row.caption for row in rows] == [cases.ct().caption, cases.bare().caption]


def test_greedy_decoding_repeats_and_sampling_is_seeded_by_the_request(folder):
    """The same request gets the same reply, whatever the temperature; another attempt is another sample."""
    model = TransformersModel(TransformersOptions(path=folder))
    greedy, warm = request(cases.ct, max_tokens=64), request(cases.ct, max_tokens=64, temperature=0.9)

    def raw(*requests: Request) -> list[str]:
        return [answer.raw for answer in model.answer(requests)]

    assert raw(greedy, warm) == raw(greedy, warm)
    assert raw(warm)[0] != raw(warm.with_(attempt=1))[0]
    assert raw(greedy) == raw(greedy.with_(attempt=1))


def test_a_batch_is_padded_on_the_left_and_answers_in_order(folder):
    """Prompts of different lengths go through the model together, each continued where it ends."""
    requests = [request(maker, max_tokens=64) for maker in (cases.bare, cases.mr, cases.ct, cases.fundus)]
    alone = TransformersModel(TransformersOptions(path=folder)).answer(requests)
    together = TransformersModel(TransformersOptions(path=folder, batch=3)).answer(requests)

    assert [one.usage.prompt_tokens for one in alone] == [one.usage.prompt_tokens for one in together]
    assert len({one.usage.prompt_tokens for one in alone}) == 4
    assert [one.raw for one in alone] == [one.raw for one in together]


def test_two_pictures_stand_where_the_prompt_has_them(folder):
    """Each picture becomes its sixteen tokens."""
    model = TransformersModel(TransformersOptions(path=folder))
    one, two = request(cases.ct, max_tokens=64), request(cases.ct, max_tokens=64, pictures="both")
    fewer = two.with_(parts=tuple(part for part in two.parts if part != two.parts[3]))
    counted = [answer.usage.prompt_tokens for answer in model.answer([one, two, fewer])]

    assert counted[1] - counted[2] == 17, "a picture and the line break behind it"
    assert all(answer.failure == "mllm.truncated" for answer in model.answer([one, two]))


def test_what_does_not_fit_the_context_is_too_large(folder):
    """Prompt and reply are counted before anything is run."""
    (answer,) = TransformersModel(TransformersOptions(path=folder)).answer([request(cases.ct, max_tokens=4000)])

    assert answer.failure == "mllm.too_large"
    assert "4000 for the reply; the model holds 4096" in answer.detail


def test_a_template_without_a_system_role_gets_its_words_in_the_users(tmp_path, folder):
    """Some models refuse the role; the prompt is the same length and a role's name shorter."""
    other = tiny_llava(tmp_path / "plain", corpus(), template=NO_SYSTEM + TEMPLATE)
    ask = [request(cases.bare, max_tokens=64)]
    (with_role,) = TransformersModel(TransformersOptions(path=folder)).answer(ask)
    (without,) = TransformersModel(TransformersOptions(path=other)).answer(ask)

    assert 0 < with_role.usage.prompt_tokens - without.usage.prompt_tokens < 10


def test_the_name_tells_weights_apart_and_holds_no_path(folder, taught, tmp_path):
    """Rows and kept replies of different weights never pass for each other."""
    import shutil

    moved = tmp_path / "elsewhere" / "tiny"
    shutil.copytree(folder, moved)
    names = [TransformersModel(TransformersOptions(path=path)).name for path in (folder, taught, moved)]

    assert names[0] == names[2]
    assert names[0].partition("@")[2] != names[1].partition("@")[2]
    assert not any(os.sep in name for name in names)


def test_a_folder_that_holds_no_usable_model_is_said_before_row_one(tmp_path, folder):
    """Missing, not a model that reads pictures, or without a chat template: one message each."""
    import shutil

    with pytest.raises(ConfigError, match="holds no config.json"):
        TransformersModel(TransformersOptions(path=tmp_path))

    blind = tmp_path / "blind"
    blind.mkdir()
    (blind / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ConfigError, match="cannot be loaded"):
        TransformersModel(TransformersOptions(path=blind)).answer([request(cases.bare)])

    mute = tmp_path / "mute"
    shutil.copytree(folder, mute)
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="no chat template"):
        TransformersModel(TransformersOptions(path=mute)).answer([request(cases.bare)])
