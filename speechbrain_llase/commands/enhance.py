"""`speechbrain-llase enhance`: audio files in, enhanced files out.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from speechbrain_llase.commands.common import (
    add_model_options,
    check_writable,
    load_enhancer,
    non_empty,
    one_line,
    refuse,
    say,
)
from speechbrain_llase.commands.watch import (
    add_watch_options,
    open_details,
    tell,
)
from speechbrain_llase.files import Job, plan_jobs

if TYPE_CHECKING:
    from speechbrain.dataio.audio_io import AudioInfo
    from tqdm import tqdm

    from speechbrain_llase import EnhanceLLaSE

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
  speechbrain-llase enhance paths.txt --output enhanced
      paths.txt names one file or folder per line; blank lines and lines
      that begin with # are skipped, and relative paths start at the
      current folder
  speechbrain-llase enhance noisy/ --output enhanced --source llase
      uses the large released model, not the small embedded one

An existing output is kept and its input skipped, so an interrupted command
goes on where it stopped; --overwrite makes all again. Nothing begins if two
inputs would share an output, or if an output would overwrite an input.

exit codes: 0 all done, 1 some files failed (listed at the end), 2 nothing was
begun (wrong usage, or the model could not be loaded), 130 interrupted.

licence: the codec among the official weights (--source llase) is
CC-BY-NC-4.0: no commercial use. A --source from strangers is a YAML file that
can run any code: use only those you trust.
"""

# libsndfile's names of the encodings that hold more; lossy ones have no width
WIDE_SUBTYPES = {
    "PCM_24": "24-bit",
    "PCM_32": "32-bit",
    "FLOAT": "32-bit float",
    "DOUBLE": "64-bit float",
    "ALAC_20": "20-bit",
    "ALAC_24": "24-bit",
    "ALAC_32": "32-bit",
    "DWVW_24": "24-bit",
}


@dataclass
class Tally:
    """What one run has done so far."""

    done: int = 0
    skipped: int = 0
    reduced: int = 0  # inputs that held more than the output can
    failed: list[str] = field(default_factory=list)  # "path: reason"
    audio_s: float = 0.0
    work_s: float = 0.0  # loading the model not included


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
    parser.add_argument(
        "inputs",
        nargs="+",
        type=non_empty,
        metavar="INPUT",
        help="audio file, folder, or .txt list of paths",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=non_empty,
        metavar="DIR",
        help="folder of the results, made if missing",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="make existing outputs again"
    )
    add_watch_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase enhance`; return the exit code."""
    output = Path(args.output)
    try:
        jobs = plan_jobs(args.inputs, output)
        check_writable(output)
    except (OSError, ValueError) as err:
        return refuse(str(err))
    todo = [job for job in jobs if args.overwrite or not job.target.exists()]
    tally = Tally(skipped=len(jobs) - len(todo))
    try:
        enhancer = load_enhancer(args) if todo else None
    except ValueError as err:
        return refuse(one_line(err))
    except (OSError, RuntimeError, KeyError) as err:
        return refuse(f"{args.source} cannot be loaded: {one_line(err)}")
    if todo and args.compute == "auto":
        say(f"weights are held in {enhancer.computes_in}")
    try:
        with open_details(args.details) as details:
            enhance_all(enhancer, todo, tally, details)
    except OSError as err:
        return refuse(f"--details {args.details}: {err.strerror}")
    finally:  # an interrupted run, too, says what it has done
        report(tally)
    return 1 if tally.failed else 0


def enhance_all(
    enhancer: "EnhanceLLaSE",
    jobs: Sequence[Job],
    tally: Tally,
    details: TextIO | None = None,
) -> None:
    """Enhance file after file; a bad one is noted and the next one begun."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm(), tqdm(jobs, unit="file", disable=None) as bar:
        for job in bar:
            start = time.perf_counter()
            try:
                audio_s, lost = enhance_one(enhancer, job, bar, details)
            except (OSError, RuntimeError, ValueError) as err:
                tally.failed.append(f"{job.source}: {one_line(err)}")
                continue
            tally.work_s += time.perf_counter() - start
            tally.audio_s += audio_s
            tally.done += 1
            if lost:
                tally.reduced += 1
                bar.write(f"warning: {job.source}: {lost}", file=sys.stderr)
            bar.set_postfix_str(
                f"{tally.audio_s:.0f} s of audio, "
                f"{tally.audio_s / tally.work_s:.1f}x real time"
            )


def enhance_one(
    enhancer: "EnhanceLLaSE",
    job: Job,
    bar: "tqdm",
    details: TextIO | None = None,
) -> tuple[float, str]:
    """Enhance one file; return its seconds and what of it was reduced."""
    from speechbrain.dataio import audio_io

    if not job.source.is_file():  # a pipe would block, a broken link confuse
        raise ValueError("not a regular file, or a broken link")
    if not job.source.stat().st_size:
        raise ValueError("the file is empty")
    with job.source.open("rb"):
        pass  # the system's reason is clearer than the audio library's
    source = os.path.abspath(job.source)
    try:
        info = audio_io.info(source)
    except RuntimeError as err:
        reason = str(err).rpartition(": ")[2]
        raise ValueError(f"not readable as audio: {reason}") from err
    job.target.parent.mkdir(parents=True, exist_ok=True)
    bar.set_postfix_str(job.source.name)

    def progress(done: int, whole: int) -> None:
        bar.set_postfix_str(f"{job.source.name}: {100 * done // whole} %")

    if details or enhancer.is_watched:
        _, known = enhancer.enhance_file(
            source, str(job.target), return_details=True
        )
        tell(job, known, bar, details)
    else:
        enhancer.stream_file(source, str(job.target), progress)
    return info.duration, reduction(info, enhancer.hparams.sample_rate)


def reduction(info: "AudioInfo", sample_rate: int) -> str:
    """Say what of an input a mono 16-bit output at `sample_rate` loses."""
    losses = []
    if info.channels > 1:
        losses.append(f"{info.channels} channels averaged to one")
    if info.sample_rate > sample_rate:
        losses.append(f"{info.sample_rate} Hz reduced to {sample_rate} Hz")
    if info.subtype in WIDE_SUBTYPES:
        losses.append(
            f"{WIDE_SUBTYPES[info.subtype]} samples reduced to 16-bit"
        )
    return ", ".join(losses)


def report(tally: Tally) -> None:
    """Print the failures, the reduced inputs and one closing line."""
    for failure in tally.failed:
        say(f"failed: {failure}")
    if tally.reduced:
        say(
            "warning: inputs that held more than 16-bit mono output does: "
            f"{tally.reduced} (named above)"
        )
    line = (
        f"{tally.done} enhanced, {tally.skipped} skipped (output exists), "
        f"{len(tally.failed)} failed; {tally.audio_s:.1f} s of audio"
    )
    if tally.audio_s:
        factor = tally.work_s / tally.audio_s
        line += f" in {tally.work_s:.1f} s, real-time factor {factor:.3f}"
    print(line)
