"""`speechbrain-llase export`: a model that runs without PyTorch."""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from speechbrain_llase.cli.common import (
    add_command,
    add_folder,
    fraction,
    non_empty,
    one_line,
    refuse,
    say,
)

HELP = """\
Write a model's networks as ONNX files, and beside them a program that enhances
WAV files with numpy and onnxruntime alone:

  python FOLDER/enhance.py noisy.wav enhanced.wav
"""
EPILOG = """\
examples:
  speechbrain-llase export llase_mini --output exported
  speechbrain-llase export llase_mini --output small --compute int8

exit codes: 0 done, 1 the model cannot be exported, 2 usage.
"""
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def add_parser(subparsers) -> None:
    """Describe the sub-command `export`."""
    summary = "write a model as ONNX files that run without PyTorch"
    parser = add_command(subparsers, "export", run, summary, HELP, EPILOG)
    add = parser.add_argument
    add(
        "source",
        type=non_empty,
        metavar="NAME|DIR|URL|ORG/NAME",
        help="a packaged model's name, a model folder, or where to fetch one",
    )
    text = "folder to make; it must not exist, or be empty"
    add_folder(parser, "--output", text)
    add(
        "--generative",
        type=fraction,
        metavar="X",
        help="the refiner's knob, from 0 to 1 (default: the model's own)",
    )
    add(
        "--compute",
        choices=["float32", "int8"],
        default="float32",
        help="int8: smaller files, less exact (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase export`; return the exit code."""
    code = export(
        args.source, args.output, args.generative, compute=args.compute
    )
    if code == 0:
        print(f"python {args.output}/enhance.py noisy.wav enhanced.wav")
    return code


def export(
    source: str,
    output: Path,
    generative: float | None = None,
    add: Callable[[Path], None] = lambda folder: None,
    compute: str = "float32",
) -> int:
    """Export a model into a new folder, after `add`; return the exit code."""
    if not all(map(find_spec, NEEDED)):
        return refuse(
            "exporting needs onnx, onnxscript and onnxruntime: pip install "
            '"speechbrain_llase[export]"'
        )
    from speechbrain_llase.export.folder import export_model
    from speechbrain_llase.inference.loading import load_enhancer
    from speechbrain_llase.pretrained.convert import new_folder

    try:
        with new_folder(output) as folder:
            add(folder)
            say(f"exporting {source}: a minute or two")
            model = load_enhancer(
                source, device="cpu", compute="float32", generative=generative
            )
            export_model(model, folder, compute)
    except FileExistsError as err:
        return refuse(one_line(err))
    except (OSError, RuntimeError, KeyError, ValueError) as err:
        say(f"error: {one_line(err)}")
        return 1
    return 0
