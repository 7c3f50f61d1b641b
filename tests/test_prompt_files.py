"""The prompts are files with a version; what is sent is their sections, and their hash goes into every row."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from medtrinity25m.description import prompt_files as module
from medtrinity25m.description.prompt_files import prompt_file, prompt_sha256, prompts_sha256

NAMES = sorted(entry.name.removesuffix(".md") for entry in (files("medtrinity25m") / "prompts").iterdir()
               if entry.name.endswith(".md"))  # fmt: skip
OURS = [name for name in NAMES if name != "judge"]


@pytest.mark.parametrize("name", OURS)
def test_every_prompt_has_a_version_and_sections(name):
    """The first line names file and version; it is not sent."""
    prompt = prompt_file(name)

    assert prompt.version >= 1
    assert prompt.sections
    assert all(text and "<!--" not in text for text in prompt.sections.values())


def test_every_variant_answers_the_same_four_questions():
    """A modality changes the words of the task, not its parts."""
    variants = [name for name in OURS if name.startswith("variant.")]

    assert len(variants) == 5
    assert {frozenset(prompt_file(name).sections) for name in variants} == {
        frozenset({"global_question", "region_look", "region_question", "relation_question"})
    }


def test_values_are_filled_in_once():
    """A `$` in a value means nothing."""
    filled = prompt_file("repair").fill("contradiction", said="$expected $said", field="caption", expected="$field")

    assert 'Text: "$expected $said" (in caption)' in filled
    assert "Recorded or measured: $field" in filled


def test_the_hash_depends_on_which_files_and_not_on_their_order():
    """The same files give the same hash; one more gives another."""
    one = prompt_sha256(["describe.system", "describe.user"])

    assert one == prompt_sha256(["describe.user", "describe.system", "describe.user"])
    assert one != prompt_sha256(["describe.system", "describe.user", "again"])
    assert re.fullmatch(r"[0-9a-f]{64}", one)


def test_a_build_is_bound_to_all_prompts_of_the_describer_and_to_no_others():
    """Another word in any of them is another build; the judge's prompt shapes no row."""
    assert prompts_sha256() == prompt_sha256(OURS)


def test_a_file_without_its_header_is_refused(tmp_path, monkeypatch):
    """A prompt that says no version, or another file's name, is a mistake of whoever edits it."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "again.md").write_text("<!-- repair, version 1 -->\n## a\nb\n")
    monkeypatch.setattr(module, "files", lambda _: tmp_path)

    with pytest.raises(ValueError, match=r"again\.md must begin with"):
        module.prompt_file.__wrapped__("again")
