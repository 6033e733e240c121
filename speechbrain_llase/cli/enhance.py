"""`speechbrain-llase enhance`: audio files in, enhanced files out.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from speechbrain_llase.bulk.plan import Job, plan_run
from speechbrain_llase.cli import enhance_units as engines
from speechbrain_llase.cli.common import (
    add_model_options,
    check_writable,
    model_options,
    non_empty,
    one_line,
    refuse,
    say,
)
from speechbrain_llase.cli.details import (
    add_watch_options,
    open_details,
    tell,
)
from speechbrain_llase.cli.engine_options import add_engine_options
from speechbrain_llase.cli.run_options import (
    add_run_options,
    manifest_path,
    pick_shard,
    refuse_taken,
)
from speechbrain_llase.cli.summary import Tally
from speechbrain_llase.inference.loading import load_enhancer

if TYPE_CHECKING:
    from speechbrain_llase.bulk.local_engine import LocalRun
    from speechbrain_llase.bulk.manifest import Ledger

HELP = """\
Make noisy speech recordings cleaner.

Each input gives one 16 kHz mono WAV file (PCM, 16 bit) of the input's length
and level. Names are kept: a.b.flac becomes a.b.wav, and the tree below an
INPUT folder is repeated below the output folder.
"""
EPILOG = """\
examples:
  speechbrain-llase enhance noisy.wav --output enhanced
      writes enhanced/noisy.wav
  speechbrain-llase enhance recordings/ --output enhanced --device cuda
      searches recordings/ to the bottom, e.g. recordings/day1/a.flac is
      written to enhanced/day1/a.wav; hidden files, links to folders and
      the output folder itself are left out
  speechbrain-llase enhance noisy/ --output enhanced --source llase
      uses the large released model, not the small embedded one
  speechbrain-llase enhance train.csv --output enhanced --column noisy_wav
      takes the paths out of a column of a list
  speechbrain-llase enhance noisy/ --output enhanced --shard 2/8
      enhances the second eighth; seven more machines do the others

lists of inputs:
  .txt         one file or folder a line
  .csv .tsv    a header and rows; the column is the one named wav, path,
               file, input, audio, audio_filepath, noisy_wav or the like
  .json(l)     an object a line, or one object of objects; keys as above
  .scp         Kaldi's: an id, which names the output, and a path; a command
               in a path's place is refused
Relative paths start at the current folder. Of CSV and JSON lists the tree
below the folder that all paths share is kept.

how a run survives:
  A file appears under its name when it is complete and on the disk. Then a
  line of JSON is added to the manifest: input, output, seconds, model,
  settings, confidence (mean log probability of a token, nats), status, error.
  After a crash, a kill, Ctrl-C or a full disk the same command goes on where
  it stopped; files that failed are tried again. An output that is there
  before a run begins is kept; --overwrite makes all again. A manifest of
  another model, of other settings or of other inputs is refused, unless
  --overwrite or --keep-others is given. Nothing begins if two inputs would
  share an output, or if an output would overwrite an input.
  Windows of several files run together (--batch-size); what a file gets does
  not depend on the others. Ctrl-C stops after the window at work, a second
  one at once. docs/folders.md of the repository says more.

exit codes: 0 all done, 1 some files failed (listed at the end), 2 nothing was
begun (wrong usage, or the model could not be loaded), 3 the run cannot go on
(a disk full or lost, a device that failed), 130 interrupted, 143 by SIGTERM.

licence: the codec among the official weights (--source llase) is
CC-BY-NC-4.0: no commercial use. A --source from strangers is a YAML file that
can run any code: use only those you trust.
"""


def add_parser(subparsers) -> None:
    """Describe the sub-command `enhance`."""
    parser = subparsers.add_parser(
        "enhance",
        help="enhance audio files",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        type=non_empty,
        metavar="INPUT",
        help="audio file, folder, or list of them",
    )
    add(
        "--output",
        required=True,
        type=non_empty,
        metavar="DIR",
        help="folder of the results, made if missing",
    )
    add_run_options(parser)
    add_engine_options(parser)
    add_watch_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase enhance`; return the exit code."""
    if engines.takes_over(args):
        return engines.run(args)
    output = Path(args.output)
    try:
        plan = plan_run(args.inputs, output, args.column)
        check_writable(output)
        manifest = manifest_path(args)
        refuse_taken(manifest, args.inputs, plan.jobs)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        jobs = pick_shard(plan.jobs, args.shard)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    if plan.remark:
        say(f"warning: {plan.remark}")
    from speechbrain_llase.bulk.manifest import Ledger

    try:
        ledger = Ledger(manifest)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    try:
        return run_with(args, jobs, ledger)
    finally:
        ledger.close()


def run_with(
    args: argparse.Namespace, jobs: list[Job], ledger: "Ledger"
) -> int:
    """Load the model and go on with the run; return the exit code."""
    try:
        enhancer = load_enhancer(**model_options(args))
    except ValueError as err:
        return refuse(one_line(err))
    except (OSError, RuntimeError, KeyError) as err:
        return refuse(f"{args.source} cannot be loaded: {one_line(err)}")
    if args.compute == "auto":
        say(f"weights are held in {enhancer.computes_in}")
    from speechbrain_llase.bulk.local_engine import LocalRun, find_rest
    from speechbrain_llase.bulk.output_folder import OutputFolder
    from speechbrain_llase.bulk.progress import Progress
    from speechbrain_llase.bulk.run_settings import describe_run
    from speechbrain_llase.bulk.stop_signals import Stopper

    description = describe_run(enhancer, args.source, args.precision)
    try:
        ledger.begin(description, args.overwrite, args.keep_others)
        folder = OutputFolder(Path(args.output), ledger.id)
        rest = find_rest(jobs, ledger, folder, args.keep_others)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    tally = Tally(len(jobs) - len(rest), str(ledger.path))
    with ExitStack() as stack:
        try:
            details = stack.enter_context(open_details(args.details))
        except OSError as err:
            return refuse(f"--details {args.details}: {err.strerror}")
        stopper = stack.enter_context(Stopper())
        progress = stack.enter_context(Progress(rest))
        work = LocalRun(
            enhancer, description, folder, ledger, stopper, progress
        )
        return enhance_all(work, rest, tally, details)


def enhance_all(
    work: "LocalRun", jobs: list[Job], tally: Tally, details: TextIO | None
) -> int:
    """Enhance all files and report; return the exit code."""
    from speechbrain_llase.bulk.open_file import CannotGoOn

    try:
        for outcome, record in work.enhance(jobs, watched=bool(details)):
            if outcome.report:
                tell(outcome.job, outcome.report, work.progress, details)
            tally.note(outcome.job, record)
            work.progress.end(outcome.job, outcome.seconds, bool(record.error))
            for warning in record.warnings:
                line = f"warning: {outcome.job.source}: {warning}"
                work.progress.write(line)
        if work.progress.done == len(jobs):
            work.finish()
    except CannotGoOn as err:
        say(f"error: {one_line(err)}")
        return 3
    finally:  # an interrupted run, too, says what it has done
        tally.work_s = work.progress.elapsed_s
        work.progress.close()
        tally.report()
    if work.progress.done < len(jobs):
        if work.stopper.signal == signal.SIGINT:
            raise KeyboardInterrupt
        say("terminated; the finished files are complete")
        return 128 + work.stopper.signal
    return 1 if tally.failed else 0
