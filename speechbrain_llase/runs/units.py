"""Units: what is enhanced and resumed as one - a file, a shard or a table.

Inputs that only this module understands are URLs, tar shards, parquet and
Arrow files, and any input whose results go to a URL. All else is planned by
`files.plan_run`, whose plan is taken over here for engines that need units.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from speechbrain_llase.files import AUDIO_SUFFIXES, Plan, output_name
from speechbrain_llase.runs.listing import Found, list_files
from speechbrain_llase.runs.lists import Entry, is_list, read_list
from speechbrain_llase.runs.places import (
    is_url,
    join,
    local_path,
    name_of,
    show,
)
from speechbrain_llase.runs.refusals import refuse

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
            entries = expand(given, column)
        except (OSError, ValueError):  # is told by whoever plans
            continue
        if any(is_url(e.path) or kind_of(e.path) != "file" for e in entries):
            return True
    return False


def expand(place: str, column: str | None) -> list[Entry]:
    """Read a list of inputs, or give the one input that it is."""
    if not is_list(Path(name_of(place))):
        return [Entry(place)]
    if is_url(place):
        from speechbrain_llase.runs.storage import local_copy

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


def plan_units(
    inputs: Sequence[str], output: str, column: str | None = None
) -> list[Unit]:
    """Find what there is to do, and name its results.

    Arguments
    ---------
    inputs : sequence of str
        URLs or paths: files, folders, patterns, and lists of them; see
        `read_list`.
    output : str
        URL or path of the folder of the results; what lies in it is no
        input. A file given by name lands directly in it; the tree below a
        folder or a pattern is kept.
    column : str, optional
        Of CSV and JSON lists.

    Returns
    -------
    units : list of Unit
        In the order given, folders sorted by name.

    Raises
    ------
    ValueError
        An input holds nothing, two results have one name, or a result would
        overwrite an input.
    OSError
        There is no such input, or no access.
    """
    output = whole(output)
    units = {}
    for given in inputs:
        for entry in expand(given, column):
            for found in find(whole(entry.path), output):
                unit = name_result(found, entry.name, output)
                units[unit.source, unit.name] = unit
    refuse_losses(units.values())
    return list(units.values())


def whole(place: str) -> str:
    """Give a place a name that holds in every process."""
    path = local_path(place)
    return os.path.abspath(path) if path else place.rstrip("/")


def find(place: str, output: str) -> list[Found]:
    """Find the audio, shards and tables of one input."""
    found = list_files(place)
    if len(found) == 1 and found[0].place == place:
        return found
    kept = [
        file
        for file in found
        if not file.place.startswith(output + "/")
        and (
            kind_of(file.key) != "file"
            or PurePosixPath(file.key).suffix.lower() in AUDIO_SUFFIXES
        )
    ]
    if not kept:
        raise ValueError(
            f"{show(place)} holds no audio, shard or table; files with these "
            f"endings are looked for: {' '.join(sorted(AUDIO_SUFFIXES))} "
            f"{' '.join(SHARDS + TABLES)}"
        )
    return kept


def name_result(found: Found, given: str | None, output: str) -> Unit:
    """Name the result of one file, shard or table."""
    name = found.key
    if kind_of(name) == "file":
        name = output_name(Path(given or name)).as_posix()
    elif kind_of(name) == "table":
        name = str(PurePosixPath(name).with_suffix(".parquet"))
    target = join(output, name)
    return Unit(found.place, target, name, max(found.size, 0))


def refuse_losses(units: Iterable[Unit]) -> None:
    """Refuse plans in which a file would be lost."""
    sources = defaultdict(list)
    for unit in units:
        sources[unit.target].append(unit.source)
    refuse(
        "Several inputs would be written to one output; rename them, give "
        "the folder above them as INPUT, or use one --output for each",
        (
            f"{show(target)} <- {show(', '.join(names))}"
            for target, names in sources.items()
            if len(names) > 1
        ),
    )
    inputs = {name for names in sources.values() for name in names}
    refuse(
        "An output would overwrite an input; choose another --output",
        (show(target) for target in sources if target in inputs),
    )
