"""Everything that can go wrong, as one tree.

::

    MedTrinityError                 base; `exit_code` is what the command line exits with
    ├── ConfigError                 2   the config, a source TOML or a vocabulary is wrong
    │   ├── UnknownTermError        2   a word outside the vocabulary; names the nearest known ones
    │   └── ResumeRefusedError      2   the folder was begun with another config, key or version
    ├── GateFailedError             3   the build finished but must not be used
    ├── FetchError                 69   a server failed, or sent what it should not
    ├── DiskError                  74   no space, read-only, I/O error while writing
    ├── LockedError                75   another process is building the same folder
    └── RefusedError                    one record cannot be used; becomes a quarantine row, never an exit

A user who drives the package from Python writes::

    try:
        build(config)
    except MedTrinityError as error:
        sys.exit(f"{error}")

Exit codes 69, 74 and 75 are EX_UNAVAILABLE, EX_IOERR and EX_TEMPFAIL of BSD sysexits.h.
"""

from __future__ import annotations


class MedTrinityError(Exception):
    """Base of every error the package raises on purpose."""

    exit_code = 1


class ConfigError(MedTrinityError):
    """The config file, a source TOML or a vocabulary cannot be used as written."""

    exit_code = 2


class UnknownTermError(ConfigError):
    """A word that is in no vocabulary; the message names the nearest known terms."""


class ResumeRefusedError(ConfigError):
    """The output folder was begun under other conditions; the message lists what differs."""


class GateFailedError(MedTrinityError):
    """A law of the build does not hold (row balance, nothing written, a hash that differs)."""

    exit_code = 3


class FetchError(MedTrinityError):
    """A server did not deliver, or delivered something that cannot be used.

    Args:
        detail: one sentence: which file, what was expected, what came, what to do. Text of servers and names of
            archive members end up in it, so it is made one printable line.
    """

    exit_code = 69

    def __init__(self, detail: str) -> None:
        super().__init__(one_line(detail))


class DiskError(MedTrinityError):
    """The disk refused a write: full, read-only or broken."""

    exit_code = 74


class LockedError(MedTrinityError):
    """Another process holds the output folder."""

    exit_code = 75


MAX_DETAIL = 500  # a reason is read in a table; hostile headers may hold megabytes


def one_line(text: str) -> str:
    """Return `text` as one printable line of at most 500 characters: line ends and control characters made visible."""
    flat = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: 2 * MAX_DETAIL])
    return flat[:MAX_DETAIL]


def located(path: str, detail: str) -> str:
    """Return a sentence that names the file it is about."""
    return detail if path in detail else f"{path}: {detail}"


class RefusedError(MedTrinityError):
    """One file or record cannot be used.

    Args:
        code: reason as `module.what`, a stable public name (`dicom.truncated`).
        detail: one sentence for a person: what was found, where, and what to do.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = one_line(detail)
        super().__init__(f"{code}: {self.detail}")

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, str]]:
        return type(self), (self.code, self.detail)
