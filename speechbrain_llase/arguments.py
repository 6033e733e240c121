"""The arguments of the command `speechbrain-llase` and their help.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
from pathlib import Path

from speechbrain_llase import __version__

ENHANCE_HELP = """\
Make noisy speech recordings cleaner.

Each input gives one 16 kHz mono WAV file (PCM, 16 bit) of the input's length
and level. Names are kept: a.b.flac becomes a.b.wav, and the tree below an
INPUT folder is repeated below the output folder.
"""
ENHANCE_EPILOG = """\
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

CONVERT_HELP = """\
Make one self-contained folder of the official files.

Any published layout is taken, recognised by content, whatever the files are
called: WavLM-Large in unilm's or Hugging Face's form, LLaSE's best.pt.tar,
Xcodec2 as published by transformers or by its authors. Only what enhancement
uses is written. The result is read back and compared before it appears.
"""
CONVERT_EPILOG = """\
example:
  speechbrain-llase convert --wavlm WavLM-Large.pt --lm best.pt.tar \\
      --codec model.safetensors --output llase
  speechbrain-llase enhance noisy.wav --output enhanced --source llase

exit codes: 0 done, 1 a file does not fit or cannot be written, 2 usage.

licence: the Xcodec2 weights are CC-BY-NC-4.0 (no commercial use), and so is
what is converted from them; manifest.json in the folder says so.
"""
CONVERT_FILES = {  # option -> what it takes
    "--wavlm": "WavLM-Large: pytorch_model.bin or WavLM-Large.pt",
    "--lm": "LLaSE's token LM: best.pt.tar",
    "--codec": "Xcodec2: model.safetensors or the training checkpoint",
    "--w2v-bert": "w2v-BERT 2.0, to convert the encoding half too, for training",
}


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line; each sub-command sets `command`."""
    parser = argparse.ArgumentParser(
        prog="speechbrain-llase",
        description="LLaSE, a generative speech enhancer for SpeechBrain.",
        epilog="'speechbrain-llase COMMAND --help' explains a command.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_enhance(commands)
    add_convert(commands)
    add_doctor(commands)
    return parser


def add_enhance(commands) -> None:
    """Add the sub-command `enhance`."""
    parser = commands.add_parser(
        "enhance",
        help="enhance audio files",
        description=ENHANCE_HELP,
        epilog=ENHANCE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command="enhance")
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
    add_model_options(parser)


def add_convert(commands) -> None:
    """Add the sub-command `convert`."""
    parser = commands.add_parser(
        "convert",
        help="make one slim folder of the official files",
        description=CONVERT_HELP,
        epilog=CONVERT_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command="convert")
    for option, file in CONVERT_FILES.items():
        parser.add_argument(
            option,
            required=option != "--w2v-bert",
            type=Path,
            metavar="FILE",
            help=file,
        )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder to make; it must not exist, or be empty",
    )
    parser.add_argument(
        "--dtype",
        default="bfloat16",
        choices=["bfloat16", "float16", "float32"],
        help="of the weights written (default: %(default)s)",
    )
    for option, owner in (("--lm-heads", "LM"), ("--codec-heads", "codec")):
        parser.add_argument(
            option,
            type=positive,
            metavar="N",
            help=f"attention heads of the {owner}: 16 at the official width, "
            "required at others, since no tensor tells",
        )


def add_doctor(commands) -> None:
    """Add the sub-command `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="check the installation and a model",
        description="Check versions, a model's files and that it runs.",
        epilog="exit codes: 0 all is well, 1 something is wrong, 2 usage",
    )
    parser.set_defaults(command="doctor")
    parser.add_argument(
        "source",
        nargs="?",
        default="llase_mini",
        type=non_empty,
        metavar="NAME|DIR",
        help="a packaged model's name or a folder (default: %(default)s)",
    )
    add_device_options(parser)


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
        "--batch-size",
        type=positive,
        metavar="N",
        help="windows of one file that run together: more is faster and takes"
        " more memory (default: the model's own)",
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
        help="cpu, cuda, cuda:1, ... (default: cuda if there is one, else cpu)",
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
