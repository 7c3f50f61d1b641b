"""Files by name, so that a template with `*` finds its file without walking through all of them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from operator import itemgetter
from pathlib import PurePosixPath

from medtrinity25m.errors import RefusedError
from medtrinity25m.readers.pattern import Wild, fill_wild

Names = list[tuple[str, str]]
"""(name, path), sorted."""


class FileIndex:
    """The files of a source, members of its archives among them, by name and by folder."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._all = frozenset(paths)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_folder: dict[str, list[str]] = defaultdict(list)
        for path in self._all:
            folder, _, name = path.rpartition("/")
            self._by_name[name].append(path)
            self._by_folder[folder].append(path)

    def __contains__(self, path: str) -> bool:
        return path in self._all

    def fitting(self, template: str, row: Mapping[str, object], where: str) -> list[str]:
        """Return the files a filled template fits, sorted; without `*`, the one it names, there or not.

        Raises:
            RefusedError: `table.column_missing`; `file.outside_root` for a name with `..`, which would be a second
                name of a file.
        """
        wild = fill_wild(template, row, where)
        if wild.wildcards:
            return sorted(path for path in self._near(wild) if wild.fits(path))
        path = PurePosixPath(str(wild))
        if ".." in path.parts:
            raise RefusedError("file.outside_root", f"{where}: {path} climbs with ..; write the path from the root")
        return [str(path)]

    def _near(self, wild: Wild) -> Collection[str]:
        """Return a few files among which all that fit are."""
        end, last = wild.literals[-1], wild.wildcards[-1]
        if "/" in end or last == "**/":
            return self._by_name.get(end.rpartition("/")[2], ())
        if last == "**":
            return self._all
        folder, slash, start = wild.literals[-2].rpartition("/")
        alone = len(wild.wildcards) == 1
        if not slash and not alone and wild.wildcards[-2] != "**/":
            start = ""  # the name begins with another wildcard
        near: list[Collection[str]] = [self._by_folder.get(folder, ())] if alone else []
        if start:
            near.append(_starting(self._names, start))
        if end:
            near.append(_starting(self._names_backwards, end[::-1]))
        return min(near, key=len, default=self._all)

    @cached_property
    def _names(self) -> Names:
        return sorted((path.rpartition("/")[2], path) for path in self._all)

    @cached_property
    def _names_backwards(self) -> Names:
        return sorted((path.rpartition("/")[2][::-1], path) for path in self._all)


def _starting(names: Names, start: str) -> list[str]:
    """Return the paths of the names that start so."""
    first = bisect_left(names, start, key=itemgetter(0))
    last = bisect_left(names, start + "\U0010ffff", first, key=itemgetter(0))
    return [path for _, path in names[first:last]]
