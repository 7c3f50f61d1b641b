"""`kind = "huggingface"`: files of a repository, by `huggingface_hub.snapshot_download`.

The commit is looked up first and everything is had from it, its files listed and, where the Hub publishes a SHA-256
(LFS), checked afterwards: the client compares lengths only.

**Why** the listing comes before the client: where `snapshot_download` cannot reach the repository it returns the
folder as it is, with a warning, although half of the files are missing.

What a killed process had of one file is lost (`huggingface_hub` names partial files at random); the files before it
stay. A connection that is cut is resumed within the file.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtrinity25m.downloads import HuggingFace
from medtrinity25m.errors import ConfigError, FetchError
from medtrinity25m.fetch.meter import folder_bytes
from medtrinity25m.fetch.patience import AgainError, persist
from medtrinity25m.fetch.place import Arrived
from medtrinity25m.fetch.tools import Tools
from medtrinity25m.release.workspace import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NAMED = 10  # names listed in a message
OWN = [".gitattributes"]  # of Git, not of the data


@dataclass(frozen=True)
class _Listed:
    """A file of the commit: its size in bytes, and its SHA-256 where the Hub publishes one."""

    size: int
    sha256: str | None


def arrive(table: HuggingFace, folder: Path, tools: Tools) -> Arrived:
    """Have the files of the repository that fit `files`, all of them where it is empty."""
    from huggingface_hub import snapshot_download

    found: list[tuple[str, dict[str, _Listed]]] = []
    page = _page(table)
    persist(table.repo, lambda: found.append(_list(table, tools, page)), lambda: 0, tools.patience, tools.meter)
    commit, files = found[0]
    total = sum(listed.size for listed in files.values())

    def attempt() -> None:
        with _told(table, page), disk_errors(folder):
            snapshot_download(
                table.repo,
                repo_type=table.repo_type,
                revision=commit,
                local_dir=folder,
                allow_patterns=list(table.files) or None,
                ignore_patterns=OWN,
                endpoint=tools.endpoints.huggingface,
            )
        for path in _wrong(folder, files):
            (folder / path).unlink(missing_ok=True)
            (folder / ".cache" / "huggingface" / "download" / f"{path}.metadata").unlink(missing_ok=True)
            raise AgainError(f"{path} is not what {page} lists")

    with tools.meter.watching(table.repo, folder, total):
        persist(table.repo, attempt, lambda: folder_bytes(folder), tools.patience, tools.meter)
    return Arrived(tuple(sorted(files)), {"repository": page, "revision": commit})


def _list(table: HuggingFace, tools: Tools, page: str) -> tuple[str, dict[str, _Listed]]:
    """Return the commit and its files that fit the patterns."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import filter_repo_objects  # type: ignore[attr-defined]

    api = HfApi(endpoint=tools.endpoints.huggingface)
    with _told(table, page):
        commit = api.repo_info(table.repo, repo_type=table.repo_type, revision=table.revision).sha
        items = api.list_repo_tree(table.repo, repo_type=table.repo_type, revision=commit, recursive=True)
        there = {item.path: _listed(item) for item in items if isinstance(item, RepoFile)}
    if commit is None:
        raise FetchError(f"{page} names no commit")
    chosen = filter_repo_objects(there, allow_patterns=list(table.files) or None, ignore_patterns=OWN)
    files = {path: there[path] for path in chosen}
    if not files:
        named = ", ".join(sorted(there)[:MAX_NAMED]) or "none"
        raise ConfigError(f"{page}: no file fits {', '.join(table.files)}; it has {len(there)} files: {named}")
    return commit, files


def _listed(item: Any) -> _Listed:
    return _Listed(item.size, None if item.lfs is None else item.lfs.sha256)


def _wrong(folder: Path, files: Mapping[str, _Listed]) -> list[str]:
    """Return the first file that is missing or not what was listed; an empty list when all are right."""
    for path, listed in files.items():
        place = folder / path
        if not place.is_file() or place.stat().st_size != listed.size:
            return [path]
        if listed.sha256 is not None:
            with place.open("rb") as handle:
                if hashlib.file_digest(handle, "sha256").hexdigest() != listed.sha256:
                    return [path]
    return []


def _page(table: HuggingFace) -> str:
    return f"https://huggingface.co/{'datasets/' if table.repo_type == 'dataset' else ''}{table.repo}"


@contextmanager
def _told(table: HuggingFace, page: str) -> Iterator[None]:
    """Turn the client's errors into ours: what to do, or what to try again."""
    from huggingface_hub import errors

    network: tuple[type[Exception], ...] = (OSError, *_transport_errors())
    login = "log in with `hf auth login` or set HF_TOKEN"
    try:
        yield
    except errors.GatedRepoError:
        raise ConfigError(f"{page} is gated: accept its conditions there, then {login}") from None
    except errors.RevisionNotFoundError:
        raise ConfigError(f"{page} has no revision {table.revision!r}; correct it in the source's TOML") from None
    except errors.RepositoryNotFoundError:
        raise ConfigError(f"{page} does not exist or is private; if you have access, {login}") from None
    except errors.OfflineModeIsEnabled:
        raise ConfigError("HF_HUB_OFFLINE is set; unset it to download from the Hugging Face Hub") from None
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise ConfigError(f"{page} refuses access ({code}); {login}") from None
        if 400 <= code < 500 and code not in (408, 429):
            raise FetchError(f"{page}: the Hub answers {code}") from None
        raise AgainError(f"the Hub answers {code}") from None
    except network as error:
        if getattr(error, "errno", None) is not None:
            raise  # of this machine, not of the network
        raise AgainError(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from None


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return what connections raise; the client changed its HTTP library twice, so we ask which one is loaded."""
    names = (("httpx2", "TransportError"), ("httpx", "TransportError"), ("requests", "RequestException"))
    return tuple(getattr(sys.modules[module], name) for module, name in names if module in sys.modules)
