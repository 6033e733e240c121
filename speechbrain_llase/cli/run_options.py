"""Options of `enhance` that concern many files, and what they mean.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from speechbrain_llase.bulk.plan import Job
from speechbrain_llase.bulk.refusals import look_at, refuse
from speechbrain_llase.bulk.run_state import state_path
from speechbrain_llase.cli.common import non_empty
from speechbrain_llase.dataio.input_lists import is_list


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what concerns many files."""
    add = parser.add_argument
    add("--overwrite", action="store_true", help="make existing outputs again")
    add(
        "--keep-others",
        action="store_true",
        help="go on beside outputs of another model, of other settings or of"
        " other inputs, and keep them",
    )
    add(
        "--column",
        type=non_empty,
        metavar="NAME",
        help="where the paths are in CSV and JSON lists (default: found by"
        " its name)",
    )
    add(
        "--manifest",
        type=non_empty,
        metavar="FILE",
        help="where the lines go (default: manifest.jsonl in the output"
        " folder, with --shard 2/8 manifest-2of8.jsonl)",
    )
    add(
        "--shard",
        type=shard,
        metavar="I/N",
        help="only the I-th of N parts of the files sorted by output",
    )


def shard(text: str) -> tuple[int, int]:
    """Read I/N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    part, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= part <= count:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not I/N with I from 1 to N, such as 2/8"
        )
    return part, count


def pick_shard(jobs: list[Job], part: tuple[int, int] | None) -> list[Job]:
    """Take every N-th job, from the I-th on, in the order of the outputs."""
    if part is None:
        return jobs
    return sorted(jobs, key=lambda job: job.name)[part[0] - 1 :: part[1]]


def manifest_path(args: argparse.Namespace) -> Path:
    """Name the manifest."""
    path = Path(args.manifest or Path(args.output, "manifest.jsonl"))
    if args.shard and not args.manifest:
        name = "{}-{}of{}{}".format(path.stem, *args.shard, path.suffix)
        path = path.with_name(name)
    return path


def refuse_taken(
    manifest: Path, inputs: Sequence[str], jobs: Iterable[Job]
) -> None:
    """Refuse a manifest that would take the place of another file.

    Arguments
    ---------
    manifest : Path
        What stands beside it is looked at, too; see `state_path`.
    inputs : sequence of str
        Of the command, among them lists.
    jobs : iterable of Job
        All of the plan.

    Raises
    ------
    ValueError
        It is an input, a list of inputs or an output.
    """
    ours = manifest, state_path(manifest)
    lists = {look_at(path)[0] for path in map(Path, inputs) if is_list(path)}
    names = {
        os.path.abspath(x) for job in jobs for x in (job.source, job.target)
    }
    refuse(
        "The manifest would take the place of an input, of an output or of a "
        "list; choose another --manifest",
        (
            str(path)
            for path in ours
            if look_at(path)[0] in lists or os.path.abspath(path) in names
        ),
    )
