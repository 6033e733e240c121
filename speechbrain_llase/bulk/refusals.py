"""Plans that would lose a file are refused before anything begins."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.dataio.audio_files import real_path
from speechbrain_llase.dataio.input_lists import is_list
from speechbrain_llase.dataio.urls import (
    is_url,
    local_path,
    show,
    split_glob,
    whole,
)

if TYPE_CHECKING:
    from speechbrain_llase.bulk.units import Unit, UnitList

CULPRITS_SHOWN = 10  # names in one message; the others are counted


def look_at(place: str) -> tuple[str, int]:
    """Tell what a file is, however it is written, and its size in bytes."""
    path = local_path(place) if is_url(place) else place
    if path is None:
        return place, 0
    try:
        status = os.stat(path)
    except OSError:  # a broken link: only its name is left
        return os.path.abspath(path), 0
    return f"{status.st_dev}:{status.st_ino}", status.st_size


def refuse_missing(places: Iterable[str]) -> None:
    """Refuse paths that are neither a file nor a folder nor a pattern."""
    refuse_any(
        "No such file or folder (relative paths start at the current folder)",
        filter(is_missing, places),
    )


def is_missing(place: str) -> bool:
    """Tell whether a path is neither a file nor a folder nor a pattern."""
    path = None if split_glob(place)[1] else local_path(place)
    return path is not None and not (path.is_file() or path.is_dir())


def refuse_losses(units: "UnitList", output: str) -> None:
    """Refuse plans in which a file would be lost.

    Two results have one name, or a result would lie over an input, over a
    folder or outside `output`. On this machine links are followed; elsewhere
    names are compared.
    """
    refuse_clashes(units)
    is_far = is_url(output)
    if not is_far and not os.path.isdir(output):
        return  # nothing is there that a result could meet
    if not is_far:
        targets = (os.path.dirname(unit.target) for unit in units)
        refuse_outside((folder for folder, _ in groupby(targets)), output)
    refuse_overwriting(units, units, output)
    refuse_any(
        "An output has the name of a folder; choose another --output",
        (
            unit.target
            for unit in in_old_folders(units, output)
            if os.path.isdir(unit.target)
        ),
    )


def refuse_overwriting(
    units: Iterable["Unit"], inputs: "UnitList", output: str
) -> None:
    """Refuse results that would lie over what inputs are read from."""
    refuse_any(
        "An output would overwrite an input; choose another --output",
        (
            show(f"{unit.target} <- {unit.source}, over {source}")
            for unit in in_old_folders(units, output)
            if (source := inputs.source_of(look_at(unit.target)[0]))
        ),
    )


def in_old_folders(units: Iterable["Unit"], output: str) -> Iterator["Unit"]:
    """Yield those whose results may lie over something."""
    for folder, some in groupby(units, lambda u: os.path.dirname(u.target)):
        if is_url(output) or os.path.isdir(folder):
            yield from some


def refuse_clashes(units: "UnitList") -> None:
    """Refuse two inputs with one output."""
    found = groupby(units.clashing(), lambda u: os.path.normcase(u.target))
    refuse_any(
        "Several inputs would be written to one output; rename them, give "
        "the folder above them as INPUT, or use one --output for each",
        (
            show(f"{target} <- {', '.join(unit.source for unit in some)}")
            for target, some in found
        ),
    )


def refuse_outside(folders: Iterable[str], output: str) -> None:
    """Refuse outputs that a link would lead out of the output folder."""
    top = real_path(Path(output))
    refuse_any(
        f"A link leads out of the output folder {output}; choose another "
        "--output or remove the link",
        sorted(
            {
                f"{folder} -> {real}"
                for folder in folders
                if not (real := real_path(Path(folder))).is_relative_to(top)
            }
        ),
    )


def refuse_taken(
    paths: Sequence[Path], inputs: Iterable[str], units: Iterable["Unit"]
) -> None:
    """Refuse a manifest that would take the place of another file.

    `paths` are the manifest and what stands beside it; none may be an input, a
    list of inputs or an output.
    """
    lists = {look_at(x)[0] for x in inputs if is_list(Path(x))}
    ours = {os.path.abspath(path) for path in paths}
    taken = {
        place
        for unit in units
        for place in (whole(unit.source), whole(unit.target))
        if place in ours
    }
    refuse_any(
        "The manifest would take the place of an input, of an output or of a "
        "list; choose another --manifest",
        (
            str(path)
            for path in paths
            if look_at(str(path))[0] in lists or os.path.abspath(path) in taken
        ),
    )


def refuse_any(reason: str, culprits: Iterable[str]) -> None:
    """Raise a ValueError that lists the culprits, if there are any."""
    culprits = iter(culprits)
    lines = list(islice(culprits, CULPRITS_SHOWN))
    if not lines:
        return
    if more := sum(1 for _ in culprits):
        lines.append(f"... and {more} more")
    raise ValueError("\n  ".join([f"{reason}:", *lines]))
