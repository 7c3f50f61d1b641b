"""`kind = "synapse"`: a file, folder or project of Synapse, by `synapseclient` 4.14 or newer.

The client checks each file's MD5 and resumes within a file; what stands complete is not fetched again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from medtrinity25m.downloads import Synapse
from medtrinity25m.errors import ConfigError, FetchError
from medtrinity25m.fetch.meter import folder_bytes
from medtrinity25m.fetch.patience import AgainError, persist
from medtrinity25m.fetch.place import Arrived
from medtrinity25m.fetch.tools import Tools, missing_package
from medtrinity25m.release.workspace import disk_errors

TOKENS = "https://www.synapse.org/PersonalAccessTokens"
LOGIN = f"make a token with view and download at {TOKENS} and put it into SYNAPSE_AUTH_TOKEN or ~/.synapseConfig"
NETWORK = ("RequestException", "TransportError", "SynapseTimeoutError", "SynapseMd5MismatchError")
CLIENT_FILES = (".synapseCache", "SYNAPSE_METADATA_MANIFEST.tsv")


class Client(Protocol):
    """What is asked of Synapse, logged in."""

    def get(self, entity: str, folder: Path) -> None:
        """Have a file, or everything below a folder or project, in `folder`; raise at the first failure."""


def arrive(table: Synapse, folder: Path, tools: Tools, client: Client | None = None) -> Arrived:
    """Have the entity with everything below it."""
    page = f"https://www.synapse.org/Synapse:{table.entity}"
    folder.mkdir(parents=True, exist_ok=True)
    with _told(page):
        synapse = client or Real(folder)

    def attempt() -> None:
        with _told(page), disk_errors(folder):
            synapse.get(table.entity, folder)

    with tools.meter.watching(table.entity, folder):
        persist(table.entity, attempt, lambda: folder_bytes(folder), tools.patience, tools.meter)
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    files = sorted(path.as_posix() for path in found if path.parts[0] not in CLIENT_FILES)
    return Arrived(tuple(files), {"page": page})


class Real:
    """The client's object interface, logged in with the token it finds in its usual places."""

    def __init__(self, folder: Path) -> None:
        try:
            import synapseclient
        except ImportError:
            raise missing_package("synapseclient", "Synapse", extra="synapse") from None
        # its cache in the home folder would hold links to files that are moved away afterwards
        cache = str(folder / CLIENT_FILES[0])
        self._synapse = synapseclient.Synapse(silent=True, skip_checks=True, cache_root_dir=cache, cache_client=False)
        self._synapse.login(silent=True)

    def get(self, entity: str, folder: Path) -> None:
        """See `Client`."""
        from synapseclient import operations
        from synapseclient.models import File, Folder, Project
        from synapseclient.models.services.storable_entity_components import FailureStrategy

        options = operations.FileOptions(download_location=str(folder), if_collision="overwrite.local")
        found = operations.get(entity, file_options=options, synapse_client=self._synapse)
        if isinstance(found, Folder | Project):
            found.sync_from_synapse(
                path=str(folder),
                failure_strategy=FailureStrategy.RAISE_EXCEPTION,
                include_activity=False,
                manifest="suppress",
                synapse_client=self._synapse,
            )
        elif not isinstance(found, File):
            kind = type(found).__name__
            raise FetchError(f"{entity} is a {kind}; give the file, folder or project that holds the data")


@contextmanager
def _told(page: str) -> Iterator[None]:
    """Turn the client's errors into ours; they are known by name, so that tests need no synapseclient."""
    try:
        yield
    except Exception as error:
        told = _meaning(error, page)
        if told is None:
            raise
        raise told from None


def _meaning(error: Exception, page: str) -> Exception | None:
    names = {kind.__name__ for kind in type(error).__mro__}
    code = getattr(getattr(error, "response", None), "status_code", None)
    first = str(error).strip().partition("\n")[0]
    if "SynapseAuthenticationError" in names or code == 401:
        return ConfigError(f"Synapse wants a login for {page}: {LOGIN}")
    if "SynapseUnmetAccessRestrictions" in names or "SynapseAuthorizationError" in names or code == 403:
        return ConfigError(f"Synapse refuses {page}: accept the conditions of use there while logged in")
    if "SynapseNotFoundError" in names or code == 404:
        return FetchError(f"{page} does not exist; check the entity in the source's TOML")
    if names.intersection(NETWORK) or "SynapseHTTPError" in names:
        return AgainError(f"{type(error).__name__}: {first}")
    return FetchError(f"{page}: {type(error).__name__}: {first}") if "SynapseError" in names else None
