"""`speechbrain-llase convert`: official files in, one slim folder out."""

import argparse
from pathlib import Path

from speechbrain_llase.cli.common import (
    add_command,
    add_folder,
    one_line,
    positive,
    refuse,
    say,
)
from speechbrain_llase.pretrained.official import DTYPES

HELP = """\
Make one self-contained folder of the official files.

Any published layout is taken, recognised by content, whatever the files are
called: WavLM-Large in unilm's or Hugging Face's form, LLaSE's best.pt.tar or
LLaSE-G1's model.pt.tar, Xcodec2 as published by transformers or by its authors. `speechbrain-llase
doctor FILE` says what a file is. Only what enhancement uses is written. The
result is read back and compared before it appears.
"""
EPILOG = """\
example:
  speechbrain-llase convert --wavlm WavLM-Large.pt --lm best.pt.tar \\
      --codec model.safetensors --output llase
  speechbrain-llase enhance noisy.wav --output enhanced --source llase

exit codes: 0 done, 1 a file does not fit or cannot be written, 2 usage.

licence: the Xcodec2 weights are CC-BY-NC-4.0 (no commercial use), and so is
what is converted from them; manifest.json in the folder says so.
"""
TAKEN = {  # option -> what it takes
    "--wavlm": "WavLM-Large: pytorch_model.bin or WavLM-Large.pt",
    "--lm": "LLaSE's token LM: best.pt.tar, or LLaSE-G1's: model.pt.tar",
    "--codec": "Xcodec2: model.safetensors or the training checkpoint",
    "--w2v-bert": "w2v-BERT 2.0, to convert the encoding half too, for training",
}


def add_parser(subparsers) -> None:
    """Describe the sub-command `convert`."""
    summary = "make one slim folder of the official files"
    parser = add_command(subparsers, "convert", run, summary, HELP, EPILOG)
    for option, file in TAKEN.items():
        parser.add_argument(
            option,
            required=option != "--w2v-bert",
            type=Path,
            metavar="FILE",
            help=file,
        )
    add_conversion_options(parser)


def add_new_folder(parser: argparse.ArgumentParser, dtype: str) -> None:
    """Add --output and --dtype of a model folder to make."""
    text = "folder to make; it must not exist, or be empty"
    add_folder(parser, "--output", text)
    parser.add_argument(
        "--dtype",
        default=dtype,
        choices=list(DTYPES),
        help="of the weights written (default: %(default)s)",
    )


def add_conversion_options(parser: argparse.ArgumentParser) -> None:
    """Add what `download` takes too: the output and its form."""
    add_new_folder(parser, "bfloat16")
    for option, owner in (("--lm-heads", "LM"), ("--codec-heads", "codec")):
        parser.add_argument(
            option,
            type=positive,
            metavar="N",
            help=f"attention heads of the {owner}: 16 at the official width, "
            "required at others, since no tensor tells",
        )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out tensors that nobody knows, by their names in the file "
        "(* and ? stand for any letters); may be given several times. What is "
        "missing cannot be left out",
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase convert`; return the exit code."""
    files = {"wavlm": args.wavlm, "lm": args.lm, "codec": args.codec}
    if args.w2v_bert:
        files["w2v_bert"] = args.w2v_bert
    missing = [str(path) for path in files.values() if not path.is_file()]
    if missing:
        return refuse(f"there is no file {', '.join(missing)}")
    try:
        print_made(convert_files(args, files), args.output)
    except FileExistsError as err:
        return refuse(one_line(err))
    except (ValueError, OSError) as err:
        say(f"error: {one_line(err)}")
        return 1
    return 0


def convert_files(args: argparse.Namespace, files: dict[str, Path]) -> dict:
    """Convert as the options say; give the manifest."""
    from speechbrain_llase.pretrained.convert import convert

    how = args.dtype, args.lm_heads, args.codec_heads
    return convert(files, args.output, *how, ignore=args.ignore)


def print_made(manifest: dict, output: Path) -> None:
    """Print what was written, and the licences."""
    for name, about in manifest["files"].items():
        print(f"{output / name}  {about['bytes'] / 1e6:.1f} MB")
    for name, about in manifest.get("sources", {}).items():
        print(f"licence of {name} ({about['file']}): {about['licence']}")
