"""Keyed pseudonyms: ids, patients, studies and splits that nobody can compute without the key.

Every pseudonym is an HMAC-SHA256 (RFC 2104) of named parts. A plain hash would not do: hospital numbers are
few enough to try them all.

**Why** an id is two halves: the first depends on the file, the second on the plane within it. Rows sorted by id
then keep the slices of a volume together, so a worker unpacks each volume once.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medtrinity25m.errors import ConfigError

KEY_VARIABLE = "MEDTRINITY25M_KEY"
MIN_KEY_BYTES = 16  # 128 bits, what a random key needs to resist guessing
HALF = 16  # hex digits: 64 bits a half, so 25 million files collide with a chance of 2e-5 and planes never


@dataclass(frozen=True, repr=False)
class Key:
    """The secret of one release. Its `repr` never shows it."""

    secret: bytes

    def __repr__(self) -> str:
        return f"Key(id={self.public_id})"

    def digest(self, purpose: str, *parts: str) -> str:
        """Return 64 hex digits for `parts`; purposes never share a digest."""
        message = b"".join(len(part.encode()).to_bytes(8, "big") + part.encode() for part in (purpose, *parts))
        return hmac.new(self.secret, message, hashlib.sha256).hexdigest()

    def row_id(self, source: str, container: str, locator: str) -> str:
        """Return the 32 hex digits that name a row."""
        return self.digest("file", source, container)[:HALF] + self.digest("row", source, locator)[:HALF]

    def pseudonym(self, purpose: str, namespace: str, name: str) -> str:
        """Return the 16 hex digits that stand for a patient or a study."""
        return self.digest(purpose, namespace, name)[:HALF]

    def fraction(self, group: str) -> float:
        """Return a number in [0, 1) that depends on the group alone."""
        return int(self.digest("split", group)[:13], 16) / 16**13

    @property
    def public_id(self) -> str:
        """What may be written down to recognise the key again."""
        return self.digest("key id")[:HALF]


def find_key(key_file: Path | None, environment: Mapping[str, str] = os.environ) -> Key:
    """Return the key from a file, else from the environment variable `MEDTRINITY25M_KEY`.

    Raises:
        ConfigError: there is none, or it is shorter than 16 bytes; the message says how to make one.
    """
    recipe = (
        'make one with: python -c "import secrets; print(secrets.token_hex(32))" > medtrinity25m.key '
        f"and set key_file: medtrinity25m.key in the config, or export {KEY_VARIABLE}"
    )
    if key_file is not None:
        try:
            secret = key_file.read_bytes().strip()
        except OSError as error:
            raise ConfigError(f"key file {key_file}: {error.strerror}; {recipe}") from error
        where = f"key file {key_file}"
    else:
        secret = environment.get(KEY_VARIABLE, "").strip().encode()
        where = KEY_VARIABLE
    if not secret:
        raise ConfigError(f"no key for ids and pseudonyms; {recipe}. Keep it: without it ids cannot be made again")
    if len(secret) < MIN_KEY_BYTES:
        raise ConfigError(f"{where} holds {len(secret)} bytes, at least {MIN_KEY_BYTES} are needed; {recipe}")
    return Key(secret)
