"""`load_dataset` for a MedTrinity-25M release, and what a script can and cannot do for it.

On every `datasets` from 3.6 the release folder loads by itself, with nothing of ours installed::

    from datasets import load_dataset
    load_dataset("medtrinity-25m", streaming=True)            # the folder `medtrinity25m demo` or `build` wrote
    load_dataset("medtrinity-25m", "ct", streaming=True)      # one modality, or one disease

On `datasets` 4 and later `load_dataset("loading_script.py")` raises "Dataset scripts are no longer supported": use the
folder as above, or the builder class below. On `datasets` before 4 this file also works as a script::

    load_dataset("loading_script.py", "ct", data_dir="medtrinity-25m", trust_remote_code=True)

Run it to see one row: `python loading_script.py [FOLDER [CONFIG]]`.
"""

from __future__ import annotations

import sys

from medtrinity25m.builder import MedTrinity25M as _MedTrinity25M
from medtrinity25m.builder import MedTrinityConfig


class MedTrinity25M(_MedTrinity25M):  # type: ignore[misc]  # the script loader wants a class defined in this module
    """The builder under the name that `datasets` before 4 looks for here."""


def main(folder: str = "medtrinity-25m", config: str = "all") -> None:
    """Print the first row of a release, pixels as Pillow describes them."""
    streams = MedTrinity25M(config_name=config, data_dir=folder).as_streaming_dataset()
    first = next(iter(streams.values()))
    print(next(iter(first)))


__all__ = ["MedTrinity25M", "MedTrinityConfig"]

if __name__ == "__main__":
    main(*sys.argv[1:])
