"""`speechbrain-llase publish`: a training in, a model folder out."""

import argparse
from pathlib import Path

from speechbrain_llase.cli.common import add_command, one_line, refuse, say
from speechbrain_llase.cli.convert import add_new_folder, print_made

HELP = """\
Write the best weights of a training as a model folder.

RUN is the output folder of a recipe's train.py; its checkpoint of lowest
validation loss is taken. Low-rank updates are merged into the weights. The
result is read back and compared before it appears. README.md in it is a model
card that hubs read: complete it before you pass the model on.

The run's YAML is loaded, which runs what it says: publish your own runs.
"""
EPILOG = """\
example:
  speechbrain-llase publish results/finetune_mini/1 --output tuned
  speechbrain-llase enhance noisy.wav --output enhanced --source tuned

exit codes: 0 done, 1 the checkpoint does not fit or cannot be written, 2 usage.
"""


def add_parser(subparsers) -> None:
    """Describe the sub-command `publish`."""
    summary = "make a model folder of a training"
    parser = add_command(subparsers, "publish", run, summary, HELP, EPILOG)
    parser.add_argument(
        "source",
        type=Path,
        metavar="RUN",
        help="output folder of a training, or one CKPT+ folder in it",
    )
    add_new_folder(parser, "float16")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        metavar="X",
        help="how far to go from the base's token LM (0) to the trained one "
        "(1): less forgets less; not after a training from nothing (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--keep-refiner",
        action="store_true",
        help="keep the refiner of the base, if it has one; it was trained on "
        "what the base's token LM says, so measure with and without it",
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase publish`; return the exit code."""
    if not args.source.is_dir():
        return refuse(f"there is no folder {args.source}")
    if not 0 < args.share <= 1:
        return refuse(f"--share is above 0 and at most 1, not {args.share}")
    from speechbrain_llase.pretrained.publish import publish

    try:
        manifest = publish(
            args.source, args.output, args.dtype, args.share, args.keep_refiner
        )
    except (FileExistsError, FileNotFoundError) as err:
        return refuse(one_line(err))
    except (ValueError, OSError) as err:
        say(f"error: {one_line(err)}")
        return 1
    print_made(manifest, args.output)
    return 0
