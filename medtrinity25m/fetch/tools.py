"""What every client is given beside its table and the folder to fill."""

from __future__ import annotations

from dataclasses import dataclass, field

from medtrinity25m.errors import ConfigError
from medtrinity25m.fetch.meter import Meter
from medtrinity25m.fetch.patience import Patience


@dataclass(frozen=True)
class Endpoints:
    """Where the services are; None leaves it to the service's own client."""

    zenodo: str = "https://zenodo.org"
    huggingface: str | None = None


@dataclass(frozen=True)
class Tools:
    """Progress, patience and addresses.

    Args:
        homepage: of the source, for the sentence that says where to log in.
    """

    meter: Meter = field(default_factory=Meter)
    patience: Patience = field(default_factory=Patience)
    endpoints: Endpoints = field(default_factory=Endpoints)
    homepage: str = "the source's homepage"


def missing_package(package: str, service: str, extra: str = "fetch") -> ConfigError:
    """Return the error for a client that is not installed.

    **Why** Synapse has an extra of its own: its client pins OpenTelemetry so narrowly that indexes without just the
    right releases can install nothing that comes along with it.
    """
    return ConfigError(f"{service} needs the package {package}: pip install 'medtrinity25m[{extra}]'")
