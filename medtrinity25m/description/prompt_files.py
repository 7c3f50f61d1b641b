"""The prompts as files: Markdown in `medtrinity25m/prompts/`, a version in the first line, sections under `##`.

A section's text goes to the model word for word but for its `$names`, which are filled in once: what is filled in is
not looked at again, so a value can hold `$` without meaning anything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

DESCRIBING = ("describe.", "variant.", "again", "repair")
"""How the names of the describer's files begin; `judge` is another's."""

_HEADER = re.compile(r"<!-- (?P<name>[a-z.]+), version (?P<version>[0-9]+) -->\n")
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class PromptFile:
    """One prompt file: its name without `.md`, its version, its sections and the SHA-256 of its bytes."""

    name: str
    version: int
    sections: Mapping[str, str]
    sha256: str

    def fill(self, section: str, **values: object) -> str:
        """Return a section with its `$names` filled in; a name without a value is a KeyError."""
        return Template(self.sections[section]).substitute(values)


@cache
def prompt_file(name: str) -> PromptFile:
    """Return a packaged prompt file.

    Raises:
        ValueError: its first line does not say `<!-- <name>, version <number> -->`.
    """
    raw = (files("medtrinity25m") / "prompts" / f"{name}.md").read_bytes()
    text = raw.decode()
    header = _HEADER.match(text)
    if header is None or header["name"] != name:
        raise ValueError(f"prompts/{name}.md must begin with <!-- {name}, version N -->")
    titles_and_texts = _SECTION.split(text[header.end() :])[1:]
    sections = {title: body.strip() for title, body in zip(titles_and_texts[::2], titles_and_texts[1::2], strict=True)}
    return PromptFile(name, int(header["version"]), sections, hashlib.sha256(raw).hexdigest())


def prompt_sha256(names: Iterable[str]) -> str:
    """Return one SHA-256 over the names and contents of prompt files, whatever their order."""
    lines = [f"{name} {prompt_file(name).sha256}\n" for name in sorted(set(names))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def prompts_sha256() -> str:
    """Return one SHA-256 over every file a describing prompt may be made of: what a resumed build must share."""
    names = [entry.name.removesuffix(".md") for entry in (files("medtrinity25m") / "prompts").iterdir()]
    return prompt_sha256(name for name in names if name.startswith(DESCRIBING))
