"""Units: what is enhanced and resumed as one - a file, a shard or a table.

URLs, tar shards, parquet and Arrow files, and any input whose results go to a
URL, are planned by `unit_plan`. All else is planned by `files.plan_run`, whose
plan is taken over here for engines that need units.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from speechbrain_llase.bulk.plan import Plan
from speechbrain_llase.dataio.audio_files import walk
from speechbrain_llase.dataio.input_lists import Entry, is_list, read_list
from speechbrain_llase.dataio.urls import is_url, name_of, show

SHARDS = (".tar", ".tar.gz", ".tgz")
TABLES = (".parquet", ".arrow")


@dataclass(frozen=True)
class Unit:
    """One file, shard or table."""

    source: str  # URL, or absolute path
    target: str  # the same of its result
    name: str  # the result below the output, with slashes
    size: int = 0  # bytes of the source

    @property
    def kind(self) -> str:
        """Tell by its name: "file", "shard" or "table"."""
        return kind_of(self.source)

    @property
    def input(self) -> str:
        """The source, as the manifest names it."""
        return show(self.source)


def kind_of(place: str) -> str:
    """Tell by its name what a place holds.

    Example
    -------
    >>> [kind_of(p) for p in ("a.wav", "s3://b/0.tar", "a.PARQUET", "a.tgz")]
    ['file', 'shard', 'table', 'shard']
    """
    name = place.partition("?")[0] if is_url(place) else place
    if name.lower().endswith(SHARDS):
        return "shard"
    return "table" if name.lower().endswith(TABLES) else "file"


def is_elsewhere(
    inputs: Iterable[str], output: str, column: str | None = None
) -> bool:
    """Tell whether a plan needs URLs, shards or tables."""
    if is_url(output):
        return True
    for given in inputs:
        if is_url(given) or kind_of(given) != "file":
            return True
        try:
            if any(holds_units(e.path, output) for e in expand(given, column)):
                return True
        except (OSError, ValueError):  # is told by whoever plans
            continue
    return False


def holds_units(place: str, output: str) -> bool:
    """Tell whether one input is, or a folder holds, what needs units."""
    if is_url(place) or kind_of(place) != "file":
        return True
    names = walk(Path(place), Path(output))
    return any(kind_of(path.name) != "file" for path in names)


def expand(place: str, column: str | None) -> list[Entry]:
    """Read a list of inputs, or give the one input that it is."""
    if not is_list(Path(name_of(place))):
        return [Entry(place)]
    if is_url(place):
        from speechbrain_llase.bulk.storage import local_copy

        with local_copy(place) as path:
            return read_list(path, column)
    path = Path(place)
    return read_list(path, column) if path.is_file() else [Entry(place)]


def take_over(plan: Plan) -> list[Unit]:
    """Turn a plan of local files into units."""
    return [
        Unit(
            os.path.abspath(job.source),
            os.path.abspath(job.target),
            job.name,
            job.size,
        )
        for job in plan.jobs
    ]
