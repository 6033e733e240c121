"""Plans that would lose a file are refused before anything begins.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from speechbrain_llase.dataio.audio_files import real

if TYPE_CHECKING:
    from speechbrain_llase.bulk.plan import Job

SHOWN = 10  # names in one message; the others are counted


class Pair(NamedTuple):
    """An input, which may be a URL, and its output on this machine."""

    source: str  # as it is told
    target: Path


def look_at(path: Path) -> tuple[tuple[int, int] | str, int]:
    """Tell what a file is, however it is written, and its size in bytes."""
    try:
        status = path.stat()
    except OSError:  # a broken link: only its name is left
        return os.path.abspath(path), 0
    return (status.st_dev, status.st_ino), status.st_size


def refuse_missing(paths: Iterable[Path]) -> None:
    """Refuse inputs that are neither a file nor a folder."""
    missing = [p for p in paths if not (p.is_file() or p.is_dir())]
    refuse(
        "No such file or folder (relative paths start at the current folder)",
        map(str, missing),
    )


def refuse_clashes(jobs: Iterable["Job | Pair"]) -> None:
    """Refuse two inputs with one output."""
    sources = defaultdict(list)
    for job in jobs:
        sources[os.path.normcase(job.target)].append(str(job.source))
    refuse(
        "Several inputs would be written to one output; rename them, give "
        "the folder above them as INPUT, or use one --output for each",
        (
            f"{target} <- {', '.join(names)}"
            for target, names in sources.items()
            if len(names) > 1
        ),
    )


def refuse_lost_inputs(jobs: Mapping[tuple, "Job | Pair"]) -> None:
    """Refuse an output that is an input or a folder; keys say what inputs are.

    Outputs in folders that are not there yet are neither.
    """
    inputs = {key: job.source for (key, _), job in jobs.items()}
    folders = {job.target.parent for job in jobs.values()}
    there = {folder for folder in folders if folder.is_dir()}
    lost, blocked = [], []
    for job in jobs.values():
        if job.target.parent not in there:
            continue
        key, _ = look_at(job.target)
        if key in inputs:
            lost.append(f"{job.target} <- {job.source}, over {inputs[key]}")
        elif job.target.is_dir():
            blocked.append(str(job.target))
    refuse("An output would overwrite an input; choose another --output", lost)
    refuse(
        "An output has the name of a folder; choose another --output", blocked
    )


def refuse_outside(jobs: Iterable["Job | Pair"], output: Path) -> None:
    """Refuse an output that a link would lead out of the output folder."""
    top = real(output)
    folders = {job.target.parent for job in jobs}
    refuse(
        f"A link leads out of the output folder {output}; choose another "
        "--output or remove the link",
        (
            f"{folder} -> {real(folder)}"
            for folder in sorted(folders)
            if not real(folder).is_relative_to(top)
        ),
    )


def refuse(reason: str, culprits: Iterable[str]) -> None:
    """Raise a ValueError that lists the culprits, if there are any."""
    culprits = list(culprits)
    if not culprits:
        return
    lines = culprits[:SHOWN]
    if len(culprits) > SHOWN:
        lines.append(f"... and {len(culprits) - SHOWN} more")
    raise ValueError("\n  ".join([f"{reason}:", *lines]))
