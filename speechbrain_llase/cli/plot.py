"""The sub-command `plot`: see what enhancement did to a file."""

import argparse
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.cli.common import (
    add_model_options,
    model_options,
    non_empty,
    one_line,
    refuse,
)
from speechbrain_llase.inference.loading import load_enhancer

if TYPE_CHECKING:
    import numpy as np

    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.inference.confidence import Details

HELP = """\
Draw a recording before and after: both spectrograms on one dB scale, the level
of both over time and, with --source or --details, how sure the token model was.
"""
EPILOG = """\
examples:
  speechbrain-llase plot noisy.wav enhanced/noisy.wav
      writes noisy.png into the current folder
  speechbrain-llase plot noisy.wav enhanced/noisy.wav --source llase_mini \\
      --output picture.pdf
      runs the token model of llase_mini over noisy.wav for its confidence
  speechbrain-llase plot talk.flac enhanced/talk.wav --start 600 --stop 630
      draws half a minute of a long file

Any rate is resampled to 16 kHz and channels are averaged, as enhancement does.
The picture's ending names its format (.png, .pdf, .svg). Entropy is 0 where
the model was certain and 11.09 nats (dotted) where it knew nothing; the margin
says how much likelier the best token was than the second best.

exit codes: 0 done, 2 nothing was drawn. matplotlib is needed:
pip install "speechbrain_llase[demo]"
"""


def add_parser(subparsers) -> None:
    """Describe the sub-command `plot`."""
    parser = subparsers.add_parser(
        "plot",
        help="draw a recording before and after",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("noisy", type=non_empty, metavar="NOISY", help="audio file, before")
    add("enhanced", type=non_empty, metavar="ENHANCED", help="the same, after")
    add(
        "--output",
        type=non_empty,
        metavar="FILE",
        help="picture to write (default: ENHANCED's name with .png, in the"
        " current folder)",
    )
    add(
        "--details",
        type=Path,
        metavar="FILE",
        help="JSON lines that hold entropy and margin of NOISY's frames",
    )
    add(
        "--confidence",
        choices=["entropy", "margin"],
        default="entropy",
        help="what is drawn of it (default: %(default)s)",
    )
    add("--title", default="", help="written on top")
    add("--start", type=seconds, default=0.0, metavar="S", help="from here on")
    add("--stop", type=seconds, metavar="S", help="up to here")
    add_model_options(parser)
    parser.set_defaults(source=None)


def seconds(text: str) -> float:
    """Read a time in seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds, 0 or more"
        )
    return value


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase plot`; return the exit code."""
    output = Path(args.output or f"{Path(args.enhanced).stem}.png")
    try:
        check_usage(args, output)
        draw(args, output)
    except (ValueError, OSError, ImportError) as err:
        return refuse(one_line(err))
    except (RuntimeError, KeyError) as err:
        what = f"{args.source} cannot be loaded: " if args.source else ""
        return refuse(what + one_line(err))
    print(output)
    return 0


def check_usage(args: argparse.Namespace, output: Path) -> None:
    """Refuse what cannot be drawn, before any work."""
    from speechbrain_llase.dataio.audio_writer import check_writable

    if args.source and args.details:
        raise ValueError(
            "--source and --details both give confidence; choose one."
        )
    for name in (args.noisy, args.enhanced):
        if os.path.abspath(name) == os.path.abspath(output):
            raise ValueError(f"--output {output} is an input; name another.")
    check_writable(output)


def draw(args: argparse.Namespace, output: Path) -> None:
    """Measure both files and draw the picture."""
    from speechbrain_llase.evaluation.plot import plot_enhancement
    from speechbrain_llase.evaluation.plot_data import track_file

    part = args.start, args.stop
    tracks = [track_file(name, *part) for name in (args.noisy, args.enhanced)]
    confidence = None
    if args.details:
        confidence = read_frames(args.details, args.noisy, args.confidence)
    elif args.source:
        details = predict_details(
            load_enhancer(**model_options(args)), args.noisy
        )
        confidence = getattr(details, args.confidence).numpy()
    if confidence is not None:
        first, last = (round(50 * s) for s in (args.start, tracks[0].stop_s))
        confidence = confidence[first : last + 1]
    plot_enhancement(
        *tracks, output, confidence, args.confidence, title=args.title
    )


def predict_details(enhancer: "EnhanceLLaSE", path: str | Path) -> "Details":
    """Ask the token model of an enhancer how sure it is about a file.

    Nothing is decoded; the file is held in memory. There are 50 frames a
    second, on the CPU, and none for silence.
    """
    import torch

    from speechbrain_llase.dataio.audio_reader import read_blocks
    from speechbrain_llase.inference.confidence import measure_files

    noisy = torch.cat(list(read_blocks(path, enhancer.hparams.sample_rate)))
    plans, known = enhancer.stages.predict([noisy.to(enhancer.device)])
    return measure_files(enhancer.stages, known, plans)[0]


def read_frames(path: Path, noisy: str, kind: str) -> "np.ndarray":
    """Find a recording's frames, of entropy or margin, among JSON lines.

    Lines hold `input`, `entropy` and `margin`; a file with one line needs no
    `input`. Gives float32 (N,), nats, 50 a second. Raises a ValueError if no
    line is of this recording, or it holds no frames.
    """
    import numpy as np

    try:
        lines = [json.loads(x) for x in path.open(encoding="utf-8")]
    except json.JSONDecodeError as err:
        raise ValueError(f"{path} is not made of lines of JSON: {err}") from err
    if not all(isinstance(line, dict) for line in lines):
        raise ValueError(f"{path} has a line that is no JSON object.")
    wanted = os.path.abspath(noisy)
    found = [x for x in lines if os.path.abspath(x.get("input", "")) == wanted]
    found = found or [x for x in lines if len(lines) == 1 and "input" not in x]
    if not found:
        raise ValueError(
            f"{path} has {len(lines)} lines, none of which is of {noisy}."
        )
    values = found[-1].get(kind)
    if not isinstance(values, list):
        raise ValueError(
            f"{path} holds no {kind} of {noisy}'s frames. Write them from "
            "Python by report.as_json(frames=True), or use --source MODEL."
        )
    return np.asarray(values, dtype=np.float32)
