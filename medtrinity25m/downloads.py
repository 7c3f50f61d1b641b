"""Where a source can be had by program: the `[[download]]` tables of its TOML, one model a service.

`medtrinity25m.fetch` runs them. Nothing here opens a connection.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from medtrinity25m.triplet import Frozen


class Http(Frozen):
    """One file by HTTPS. A published checksum is checked; without one only the length is."""

    kind: Literal["http"]
    url: str = Field(pattern=r"^https?://")
    name: str | None = None
    """File name to write; by default the last part of the URL's path."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    unpack: bool = False


class Zenodo(Frozen):
    """The files of a Zenodo record, with the checksums Zenodo publishes."""

    kind: Literal["zenodo"]
    record: int = Field(gt=0)
    files: tuple[str, ...] = ()
    unpack: bool = False


class HuggingFace(Frozen):
    """Files of a Hugging Face repository that fit the patterns; all of them without patterns."""

    kind: Literal["huggingface"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    repo_type: Literal["dataset", "model"] = "dataset"
    revision: str | None = None
    files: tuple[str, ...] = ()
    unpack: bool = False


class Kaggle(Frozen):
    """A Kaggle dataset by its handle, `owner/name`, or the files of a competition."""

    kind: Literal["kaggle"]
    handle: str | None = Field(default=None, pattern=r"^[\w-]+/[\w-]+$")
    competition: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Kaggle:
        if (self.handle is None) == (self.competition is None):
            raise ValueError("give handle or competition, one of the two")
        return self


class Synapse(Frozen):
    """A folder or project of Synapse."""

    kind: Literal["synapse"]
    entity: str = Field(pattern=r"^syn\d+$")
    unpack: bool = False


class Idc(Frozen):
    """A collection of the NCI Imaging Data Commons, which holds most of TCIA."""

    kind: Literal["idc"]
    collection: str


Download = Http | Zenodo | HuggingFace | Kaggle | Synapse | Idc
DOWNLOADS = (Http, Zenodo, HuggingFace, Kaggle, Synapse, Idc)
