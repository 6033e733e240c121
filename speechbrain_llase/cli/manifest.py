"""`speechbrain-llase manifest`: what became of a run, all shards together."""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.cli.common import refuse, say

if TYPE_CHECKING:
    from speechbrain_llase.bulk.records import Record

HELP = """\
Read the manifests of a run by `enhance`: how many files are done, how much
audio, which shards have not begun or not ended, which files failed, and how
sure the token model was.
"""
EPILOG = """\
examples:
  speechbrain-llase manifest enhanced
      reads enhanced/manifest.jsonl, or manifest-1of8.jsonl and so on
  speechbrain-llase manifest enhanced --join all.jsonl
      writes one line for each file, of all shards, sorted by output

exit codes: 0 all done, 1 some files failed, a shard has not begun or a run has
not come to its end, 2 there is no manifest.
"""
FAILED_SHOWN = 20  # failures


def add_parser(subparsers) -> None:
    """Describe the sub-command `manifest`."""
    parser = subparsers.add_parser(
        "manifest",
        help="say what became of a run of enhance",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="DIR|FILE",
        help="output folder of a run, or its manifests",
    )
    parser.add_argument(
        "--join", type=Path, metavar="FILE", help="write all lines to one file"
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase manifest`; return the exit code."""
    from speechbrain_llase.bulk.merged_manifests import (
        list_manifests,
        missing_shards,
        read_run,
        unfinished,
    )
    from speechbrain_llase.bulk.records import write_whole_text

    try:
        paths = list(list_manifests(args.paths))
        records = read_run(paths)
        begun = unfinished(paths)
        if args.join:
            lines = (records[x].as_json() + "\n" for x in sorted(records))
            write_whole_text(args.join, lines)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    print_figures(records)
    missing = missing_shards(paths)
    if missing:
        say(f"warning: shards that have not begun: {', '.join(missing)}")
    for run in begun:
        say(f"warning: not finished, or still at work: {run}")
    failed = [x for x in records.values() if x.status == "failed"]
    for record in failed[:FAILED_SHOWN]:
        say(f"failed: {record.input}: {record.error}")
    if len(failed) > FAILED_SHOWN:
        say(f"failed: and {len(failed) - FAILED_SHOWN} more")
    return 1 if failed or missing or begun else 0


def print_figures(records: dict[str, "Record"]) -> None:
    """Print the figures of a run."""
    counts = Counter(record.status for record in records.values())
    done = [x for x in records.values() if x.status == "done"]
    hours = sum(record.seconds for record in done) / 3600
    print(
        f"{counts['done']} done, {counts['kept']} kept (there before), "
        f"{counts['failed']} failed; {hours:.2f} h of audio"
    )
    work_h = sum(record.work_s for record in done) / 3600
    if hours:
        print(f"{work_h:.2f} h of work, real-time factor {work_h / hours:.3f}")
    sure = sorted(x.confidence for x in done if x.confidence is not None)
    if sure:
        low, middle, high = (
            sure[int(share * (len(sure) - 1))] for share in (0.1, 0.5, 0.9)
        )
        print(
            "confidence (mean log probability of a token, nats): a tenth "
            f"below {low:.2f}, half below {middle:.2f}, a tenth above "
            f"{high:.2f}"
        )
    models = Counter((x.model, x.settings) for x in done)
    for (model, settings), count in sorted(models.items()):
        print(f"{count} by {model}, settings {settings}")
