"""What sub-commands share: options, loading, printing, exit codes."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from speechbrain_llase.bulk.records import one_line as one_line


def add_command(subparsers, name: str, run, summary: str, about: str, end: str):
    """Add the parser of a sub-command, whose texts keep their lines."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=about,
        epilog=end,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_folder(parser: argparse.ArgumentParser, option: str, text: str) -> None:
    """Add an option that needs a folder."""
    parser.add_argument(
        option, required=True, type=Path, metavar="DIR", help=text
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `load_enhancer` reads."""
    add_device_options(parser)
    add = parser.add_argument
    add(
        "--source",
        default="llase_mini",
        type=non_empty,
        metavar="NAME|DIR|URL|ORG/NAME",
        help="a packaged model's name, a model folder, or where to fetch one"
        " (default: %(default)s)",
    )
    add(
        "--compute",
        choices=["auto", "float32", "bfloat16", "int8"],
        help="what the weights are held in: bfloat16 and int8 are faster and"
        " less exact, auto is bfloat16 where the device is fast at it"
        " (default: the model's own)",
    )
    add(
        "--refine",
        action="store_true",
        help="put the refiner of llase_mini, which hears the noisy wave, too,"
        " behind the decoder of a model that has none",
    )
    add(
        "--generative",
        type=fraction,
        metavar="X",
        help="of refined models: from 0, what the input says, to 1, what the"
        " token model would say (default: the model's own, 0.5)",
    )
    add(
        "--batch-size",
        type=positive,
        metavar="N",
        help="windows that run together, of one file or of several: on a GPU"
        " more is faster, and takes more memory (default: the model's own)",
    )
    add(
        "--threads",
        type=positive,
        metavar="N",
        help="CPU threads (default: PyTorch's choice)",
    )


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Add --device and --precision."""
    add = parser.add_argument
    add(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:1, mps (default: cuda if there is one, else cpu)",
    )
    add(
        "--precision",
        default="fp32",
        choices=["fp32", "fp16", "bf16"],
        help="of the networks' arithmetic (default: %(default)s)",
    )


def non_empty(text: str) -> str:
    """Refuse an empty path, which would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name is not allowed")
    return text


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number above zero"
        )
    return int(text)


def fraction(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not in 0 to 1")
    return number


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """What `load_enhancer` is to be called with."""
    names = "source device precision compute batch_size threads guard"
    names = f"{names} refine generative task passes mix".split()
    return {name: getattr(args, name) for name in names if hasattr(args, name)}


def make_output(folder: Path) -> None:
    """Make the output folder and try to write in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as err:
        raise ValueError(
            f"--output {folder} cannot be written: {err.strerror}. Choose a "
            "folder that you may write in."
        ) from err


def refuse(reason: str) -> int:
    """Say why nothing was begun; return the exit code."""
    say(f"error: {reason}")
    return 2


def say(line: str) -> None:
    """Print on standard error."""
    print(f"speechbrain-llase: {line}", file=sys.stderr)
