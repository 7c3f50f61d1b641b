"""Which pictures may go to which endpoint: a source marked `local-only` is sent to this machine and nowhere else.

Checked when a build is planned, before a socket opens. An address counts as this machine only where nothing is left to
interpret: `localhost` by that very name, 127.0.0.0/8 in four decimal parts, `::1`. Nothing is resolved, because a name
may resolve otherwise a second later; and a URL that two parsers could read differently (user names, backslashes, short
or hexadecimal addresses) is no loopback address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from medtrinity25m.errors import ConfigError
from medtrinity25m.registry import Source

_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?"
)
_LOOPBACK = re.compile(rf"localhost|127\.{_BYTE}\.{_BYTE}\.{_BYTE}|\[::1\]", re.IGNORECASE)
_PORTS = {"http": "80", "https": "443"}


def check_egress(sources: Iterable[Source], endpoints: Mapping[str, str], allow: Sequence[str] = ()) -> None:
    """Refuse to send pictures or words of a `local-only` source anywhere but to this machine.

    Args:
        sources: those that are built from.
        endpoints: URL by the place in the config that names it (`describe.endpoint`).
        allow: origins, `https://host[:port]`, that the source's terms allow: servers of one's own institution.

    Raises:
        ConfigError: an endpoint is neither on this machine nor allowed, or `allow` holds something else than origins.
    """
    allowed = {_allowed(entry, number) for number, entry in enumerate(allow, start=1)}
    guarded = sorted(source.id for source in sources if source.egress == "local-only")
    for place, url in endpoints.items():
        if guarded and not is_loopback(url) and origin(url) not in allowed:
            listed = ", ".join(guarded[:3]) + (f" and {len(guarded) - 3} more" if len(guarded) > 3 else "")
            raise ConfigError(
                f"{place}: {shown(url)} is not on this machine, and {listed} may not be sent to others "
                "(egress = local-only); use an endpoint on localhost, leave the source out, or, where its terms allow "
                "this very server, list the server's origin in `egress_allow`"
            )


def is_loopback(url: str) -> bool:
    """Say whether `url` certainly leads to this machine."""
    parts = _URL.fullmatch(url)
    return parts is not None and _LOOPBACK.fullmatch(parts["host"]) is not None


def origin(url: str) -> str | None:
    """Return scheme, host and port of `url`, or None where it cannot be told for certain."""
    parts = _URL.fullmatch(url)
    if parts is None:
        return None
    return f"{parts['scheme']}://{parts['host'].lower()}:{int(parts['port'] or _PORTS[parts['scheme']])}"


def shown(url: str) -> str:
    """Return a URL for a message: its origin, never a user name, password or query."""
    return origin(url) or "an address that is not plain http(s)://host[:port]/path"


def endpoint_fault(url: str) -> str | None:
    """Say why `url` cannot be an endpoint, or return None; the words hold nothing of it, it may hold a secret."""
    if _URL.fullmatch(url) is None:
        return "write http(s)://host[:port]/path, without user name, query or fragment; a key goes into the environment"
    return None


def _allowed(entry: str, number: int) -> str:
    parts = _URL.fullmatch(entry)
    known = origin(entry)
    if parts is None or known is None or parts["path"]:
        raise ConfigError(f"egress_allow: entry {number} is no origin; write https://host or https://host:port")
    return known
