"""`speechbrain-llase enhance`: audio files in, enhanced files out."""

import argparse
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.bulk.manifest import (
    Manifest,
    manifest_name,
    manifest_path,
)
from speechbrain_llase.bulk.pairing import plan_task
from speechbrain_llase.bulk.progress import Progress
from speechbrain_llase.bulk.records import state_path
from speechbrain_llase.bulk.refusals import refuse_taken
from speechbrain_llase.bulk.units import Unit, UnitList
from speechbrain_llase.cli.common import (
    add_model_options,
    make_output,
    model_options,
    non_empty,
    one_line,
    refuse,
    say,
)
from speechbrain_llase.cli.run_options import (
    BESIDE,
    add_run_options,
    add_task_options,
)
from speechbrain_llase.cli.summary import RunSummary, open_details, tell
from speechbrain_llase.dataio.audio_formats import FORMATS, Format
from speechbrain_llase.dataio.urls import local_path, show
from speechbrain_llase.late_imports import collector_paused

if TYPE_CHECKING:
    from speechbrain_llase.bulk.ray_engine import RayEngine
    from speechbrain_llase.bulk.records import Record
    from speechbrain_llase.bulk.run import Stopper
    from speechbrain_llase.bulk.worker import Worker

HELP = """\
Make noisy speech recordings cleaner.

Each input gives one 16 kHz mono WAV file (PCM, 16 bit; see --format, --subtype
and --keep-rate) of the input's length and level, with its title and date. Names
are kept: a.b.flac becomes a.b.wav, and the tree below an INPUT folder is
repeated below the output folder.
"""
EPILOG = """\
examples:
  speechbrain-llase enhance noisy.wav --output enhanced
      writes enhanced/noisy.wav
  speechbrain-llase enhance noisy.mp3 --output clean.wav
      writes clean.wav; .flac, .mp3, .ogg, .m4a, .mp4 and .mkv likewise
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

  speechbrain-llase enhance mic/ --output near --source models/llase_g1 \\
      --task aec --reference loudspeaker/
      mic/day1/a.wav is heard with loudspeaker/day1/a.wav (or .flac, ...)
  speechbrain-llase enhance calls/ --output parted --source models/llase_g1 \\
      --task ss
      a.wav gives a_1.wav and a_2.wav

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
  not depend on the others, but for rounding where N is over 1. Ctrl-C stops
  after the window at work, a second one at once. docs/folders.md of the
  repository says more.

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
        metavar="DIR|FILE",
        help="folder of the results, made if missing; or, of one input, the"
        " sound file to write",
    )
    add_task_options(parser)
    add_run_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase enhance`; return the exit code."""
    try:
        say("looking for the inputs")
        refuse_task(args)
        written = Format(args.format, args.subtype)
        how = args.column, args.reference, args.task == "ss", say, written
        plan = plan_task(args.inputs, args.output, *how)
        refuse_details(args, plan.units)
        args.output = plan.units.top
        if folder := local_path(args.output):
            make_output(folder)
        name = manifest_name(args.shard, plan.only)
        path = Path(args.manifest or manifest_path(args.output, name))
        refuse_taken([path, state_path(path)], args.inputs, plan.units)
        path.parent.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(path, args.output)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    if plan.remark:
        say(plan.remark)
    if args.format == "same":
        tell_fallbacks(plan.units)
    try:
        units = pick_shard(plan.units, args.shard)
        return run_with(args, units, manifest, name)
    finally:
        manifest.close()


def run_with(
    args: argparse.Namespace, units: UnitList, manifest: Manifest, name: str
) -> int:
    """Load the model and go on with the run; return the exit code."""
    with collector_paused():
        from speechbrain_llase.bulk.manifest_copy import ManifestCopy
        from speechbrain_llase.bulk.output_folder import OutputFolder
        from speechbrain_llase.bulk.run import (
            Stopper,
            failed_inside,
            find_rest,
            write_lines,
        )

    copy = ManifestCopy(manifest, args.output, name, say)
    with ExitStack() as stack:
        try:
            copy.fetch()
            say(f"{len(units)} to enhance; loading the model {args.source}")
            engine = load_engine(args, stack)
            manifest.begin(engine.run, args.overwrite, args.keep_others)
            folder = OutputFolder(args.output, manifest.state.id)
            rest = find_rest(units, manifest, folder, args.keep_others)
            copy.copy()  # a place that cannot be written is known now
            details = stack.enter_context(open_details(args.details))
        except (OSError, ValueError) as err:
            return refuse(str(err))
        summary = RunSummary(len(units) - len(rest), str(manifest.path))
        for record in failed_inside(units, rest, manifest):  # of runs before
            summary.note(record.input, record)
        stopper = stack.enter_context(Stopper())
        progress = stack.enter_context(Progress(rest))
        ended = engine.enhance(
            rest,
            folder,
            stopper.is_asked,
            progress.move,
            lambda unit, report: tell(unit, report, progress, details),
            bool(details),
        )
        lines = write_lines(ended, len(rest), manifest, copy, folder)
        lines = stack.enter_context(closing(lines))
        return follow(lines, summary, progress, stopper)


def tell_fallbacks(units: UnitList) -> None:
    """Say which kinds of input --format same cannot write."""
    kinds = {
        Path(unit.source).suffix.lower()
        for unit in units
        if unit.kind == "file"
    }
    others = sorted(kinds - {f".{name}" for name in FORMATS})
    if others:
        say(f"--format same cannot write {', '.join(others)}: WAV in its place")


def refuse_details(args: argparse.Namespace, units: UnitList) -> None:
    """Refuse --details where it cannot be told."""
    if args.details is None:
        return
    others = args.engine == "ray" or args.task == "ss"
    if others or any(unit.kind != "file" for unit in units):
        raise ValueError(
            "--details is for files and the local engine, not for shards, "
            "tables, --engine ray and --task ss."
        )


def refuse_task(args: argparse.Namespace) -> None:
    """Refuse a task without its second input, and one with too many."""
    wanted = BESIDE.get(args.task)
    if wanted and args.reference is None:
        raise ValueError(
            f"--task {args.task} hears {wanted} beside each input: give "
            "--reference FILE|FOLDER|LIST|COLUMN."
        )
    if args.task == "ss" and args.channels == "each":
        raise ValueError(
            "--task ss gives two files of one channel: leave --channels each "
            "out."
        )
    if not wanted and args.reference is not None:
        raise ValueError(
            f"--reference is for --task {' and '.join(BESIDE)}, not for "
            f"{args.task}, which has one input."
        )


def pick_shard(units: UnitList, part: tuple[int, int] | None) -> UnitList:
    """Take every N-th unit, from the I-th on, in the order of the outputs."""
    if part is None:
        return units
    chosen = islice(units.by_name(), part[0] - 1, None, part[1])
    return UnitList(units.top, chosen)


def load_engine(
    args: argparse.Namespace, stack: ExitStack
) -> "Worker | RayEngine":
    """Load the model, here or on a cluster; ValueError says why not."""
    from speechbrain_llase.bulk import ray_engine, worker
    from speechbrain_llase.bulk.container_items import InsideOptions
    from speechbrain_llase.dataio.audio_reader import Taken

    model = model_options(args)
    kept = args.keep_rate, args.keep_highs
    taken = Taken(args.channels, args.track, *kept)
    options = InsideOptions(args.column, args.format, taken, args.subtype)
    cluster = ray_engine.Cluster(
        args.ray_address,
        args.actors,
        args.threads or 1,
        args.gpus_per_actor,
        args.files_per_task,
    )
    try:
        if args.engine == "ray":
            joined = ray_engine.joined(cluster, model, options, say)
            engine = stack.enter_context(joined)
        else:
            engine = worker.Worker.load(model, options)
    except ValueError as err:
        raise ValueError(one_line(err)) from err
    except (OSError, RuntimeError, KeyError) as err:
        raise ValueError(
            f"{args.source} cannot be loaded: {one_line(err)}"
        ) from err
    if args.compute == "auto":
        say(f"weights are held in {engine.run.settings['compute']}")
    return engine


def follow(
    lines: Iterator[tuple[Unit, list["Record"]]],
    summary: RunSummary,
    progress: Progress,
    stopper: "Stopper",
) -> int:
    """Tell of each unit as it ends, and of all; return the exit code."""
    from speechbrain_llase.bulk.open_file import CannotGoOn

    try:
        for unit, records in lines:
            for record in records:
                source = unit.source + record.input.removeprefix(unit.input)
                summary.note(source, record)
            last = records[-1]
            progress.end(unit, last.seconds, bool(last.error))
            if last.gaps:
                progress.write(
                    f"packet loss: {show(unit.source)}: {last.gaps} gaps, "
                    f"{last.lost_s:.2f} of {last.seconds:.2f} s"
                )
            for warning in last.warnings:
                progress.write(f"warning: {show(unit.source)}: {warning}")
    except CannotGoOn as err:
        say(f"error: the run cannot go on: {one_line(err)}")
        return 3
    finally:  # an interrupted run, too, says what it has done
        summary.work_s = progress.elapsed_s
        progress.close()
        summary.report()
    if progress.left:
        if stopper.signal == signal.SIGINT:
            raise KeyboardInterrupt
        say("terminated; the finished files are complete")
        return 128 + stopper.signal
    return 1 if summary.failed else 0
