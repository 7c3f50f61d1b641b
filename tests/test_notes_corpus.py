"""Our own notes: complete, in one voice, cited, and about what they say they are about."""

import re
from importlib.resources import files

import pytest

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge import notes_corpus
from medtrinity25m.knowledge.hpo import hpo_snippets
from medtrinity25m.knowledge.notes_corpus import note_snippets, notes, works
from medtrinity25m.knowledge.snippet import snippet_id
from medtrinity25m.registry import RESERVED, vocabulary

DISEASES = sorted(set(vocabulary("disease").terms) - set(RESERVED))
BRITISH = re.compile(
    r"tumour|oedem|haem|colour|\bcentre|\bfibre|\bgrey\b|anaem|leukaem|ischaem|oesoph|paediatr|foet|diarrhoe|"
    r"behaviour|favour|neighbour|labelled|\blitre|metre\b|mould\b|goitre|isation|programme\b|catalogue|sulph|"
    r"(?:character|visual|local|organ|general|recogn|normal|vascular|catheter)is(?:e|ing)|analys(?:e[ds]?|ing)\b",
    re.IGNORECASE,
)
ADVICE = re.compile(
    r"\b(?:treat\w*|therap\w*|recommend\w*|prescri\w*|antibiotic\w*|biops(?:y|ied) (?:is|should)|refer)\b"
)


@pytest.fixture(scope="module")
def snippets():
    return list(note_snippets())


def test_every_disease_of_the_vocabulary_has_a_note():
    """A query for any disease can be answered in our own words."""
    assert sorted(note.id for note in notes() if note.id in vocabulary("disease")) == DISEASES


def test_every_disease_has_a_passage_that_is_about_it(snippets):
    """Note or HPO definition: none of the vocabulary is without, and both corpora speak of most."""
    from_notes = {term for snippet in snippets for term in snippet.terms}
    from_hpo = {term for snippet in hpo_snippets() for term in snippet.terms}
    assert set(DISEASES) <= from_notes
    assert len(set(DISEASES) & from_hpo) > len(DISEASES) // 2


def test_every_modality_has_notes_on_its_picture_and_its_artifacts():
    """Two or more a modality: how brightness is worded, and what may deceive."""
    for modality in vocabulary("modality").terms:
        about = [note for note in notes() if modality in note.terms]
        assert len(about) >= 2, modality
        assert any("artifact" in note.text.casefold() for note in about), modality


def test_notes_are_about_their_own_term_only():
    """No note claims another disease: that would be cited for it."""
    for note in notes():
        diseases = [term for term in note.terms if term in vocabulary("disease")]
        assert diseases in ([], [note.id])
        assert all(any(term in vocabulary(kind) for kind in notes_corpus.KINDS) for term in note.terms)


def test_the_note_of_a_term_has_the_terms_name_as_title():
    """A title is what retrieval compares first; the vocabulary gives it."""
    for note in notes():
        for kind in notes_corpus.KINDS:
            if note.id in vocabulary(kind):
                assert note.title == vocabulary(kind)[note.id].name


def test_the_first_sentence_names_what_the_note_is_about():
    """A passage that is shown alone says what it speaks of, by name or synonym."""
    for note in notes():
        term = vocabulary("disease").terms.get(note.id)
        if term is not None:
            first = re.sub(r"[-\s]+", " ", re.split(r"(?<=[a-z\)])[.:]\s", note.text)[0].casefold())
            words = [re.sub(r"[-\s]+", " ", word.casefold()) for word in (term.name, *term.synonyms)]
            assert any(word in first for word in words), f"{note.id}: {first}"


def test_notes_are_short_and_none_is_written_twice():
    """40 to 110 words each; no two share title or text."""
    for note in notes():
        assert 40 <= len(note.text.split()) <= 110, note.id
    assert len({note.text for note in notes()}) == len({note.id for note in notes()}) == len(notes())
    assert len({note.title for note in notes()}) == len(notes())


def test_notes_are_plain_text_in_american_spelling():
    """One line of ASCII, no markup, no British spelling."""
    for note in notes():
        assert note.text.isascii(), note.id
        assert not re.search(r"[*_`#<>\n]|\s\s", note.text), note.id
        assert not BRITISH.search(note.text), f"{note.id}: {BRITISH.search(note.text)}"


def test_notes_describe_and_do_not_advise():
    """What an image shows, never what to do about it."""
    for note in notes():
        assert not ADVICE.search(note.text.casefold()), f"{note.id}: {ADVICE.search(note.text.casefold())}"


def test_every_note_cites_works_that_are_listed_and_every_listed_work_is_cited():
    """A work is written once, with whether it was looked up."""
    cited = {key for note in notes() for key in note.cites}
    assert cited == set(works())
    for note in notes():
        assert note.cites
        assert len(set(note.cites)) == len(note.cites)
        assert note.checked
    assert len({work.reference for work in works().values()}) == len(works())


def test_a_work_names_an_author_or_publisher_and_a_year():
    """A reader can find it."""
    for work in works().values():
        assert work.id == "icd-10-cm" or re.search(r"\b(?:19|20)\d\d\b", work.reference), work.id


def test_passages_carry_license_place_and_citations(snippets):
    """Citations stand in the locator, so that a model does not repeat them as its own reading."""
    assert len({snippet.id for snippet in snippets}) == len(snippets) == len(notes())
    for snippet in snippets:
        assert (snippet.corpus, snippet.license) == ("medtrinity25m-notes", "CC-BY-4.0")
        assert snippet.id == snippet_id(snippet.corpus, snippet.title, snippet.text)
        place, cited = snippet.locator.split("; cites: ")
        file, note = place.split("#")
        assert f'id = "{note}"' in (files("medtrinity25m").joinpath(*file.split("/")[1:])).read_text(encoding="utf-8")
        assert all(work.reference in cited for work in works().values() if work.id in _note(note).cites)
        assert not any(work.reference in snippet.text for work in works().values())


def test_passages_come_in_the_same_order_each_time(snippets):
    """By file, then as written."""
    assert list(note_snippets()) == snippets
    names = [snippet.locator.split("#")[0] for snippet in snippets]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ('id = "pneumonia"\ncites = ["nobody-1900"]', "nobody-1900"),
        ('id = "pneumonia"\ntitle = "Pneumonia"\ncites = ["robbins"]', "leave out title"),
        ('id = "something"\ncites = ["robbins"]', "give it a title"),
        ('id = "something"\ntitle = "x"\nterms = ["pneumonia"]\ncites = ["robbins"]', "no modality and no organ"),
        ('id = "pneumonia"\ncites = []', "cites"),
        ('id = "pneumonia"\ncites = ["robbins"]\ntreatment = "x"', "treatment"),
    ],
)
def test_a_note_that_cannot_be_used_is_refused_by_name(tmp_path, monkeypatch, note, said):
    """A file that is wrong is a config error that names the file and the fault."""
    folder = tmp_path / "knowledge" / "notes"
    folder.mkdir(parents=True)
    original = files("medtrinity25m") / "knowledge" / "notes" / "works.toml"
    (folder / "works.toml").write_text(original.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "wrong.toml").write_text(f'checked = "x"\n\n[[note]]\n{note}\ntext = "Text."\n', encoding="utf-8")
    monkeypatch.setattr(notes_corpus, "files", lambda package: tmp_path)
    monkeypatch.setattr(notes_corpus, "_fields", notes_corpus._fields.__wrapped__)
    with pytest.raises(ConfigError, match="notes/wrong.toml") as caught:
        list(note_snippets())
    assert said in str(caught.value)


def _note(note_id):
    return next(note for note in notes() if note.id == note_id)
