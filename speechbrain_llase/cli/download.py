"""`speechbrain-llase download`: the official files, fetched and converted."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.cli.common import add_command, one_line, refuse, say
from speechbrain_llase.cli.convert import (
    add_conversion_options,
    convert_files,
    print_made,
)
from speechbrain_llase.pretrained.official import MODELS, ON_HUB

if TYPE_CHECKING:
    from speechbrain_llase.pretrained.download import Download

HELP = """\
Fetch the official files of a model once, and make one slim folder of them.

The files (7.3 GB for llase, 8.1 GB for llase_g1) come from the Hugging Face hub
into a folder of their own, with their checksums. What breaks off is taken up
again by the same command. Then they are converted as `speechbrain-llase
convert` does, and deleted: the folder (1.1 GB, 2.4 GB) is all that stays,
unless --cache names a place to keep them.
"""
EPILOG = """\
example:
  speechbrain-llase download llase --output models/llase
  speechbrain-llase enhance noisy.wav --output enhanced --source models/llase

exit codes: 0 done, 1 a file could not be fetched or converted, 2 usage.

licence: the Xcodec2 weights are CC-BY-NC-4.0 (no commercial use). You are
asked before anything is fetched; --accept-licences answers yes.
"""


def add_parser(subparsers) -> None:
    """Describe the sub-command `download`."""
    summary = "fetch a model's official files and convert them"
    parser = add_command(subparsers, "download", run, summary, HELP, EPILOG)
    add = parser.add_argument
    add("name", choices=list(MODELS), help="which model")
    add_conversion_options(parser)
    add(
        "--encoder",
        action="store_true",
        help="convert the encoding half of Xcodec2 too, for training; it is in"
        " the same file",
    )
    add(
        "--cache",
        type=Path,
        metavar="DIR",
        help="keep the files as fetched, in this folder (default: they are in"
        " official_files beside the output until they are converted)",
    )
    add(
        "--take",
        action="append",
        default=[],
        choices=list(ON_HUB),
        metavar="FILE",
        help="take another official file of the same part; may be given"
        f" several times: {', '.join(ON_HUB)}",
    )
    add(
        "--endpoint",
        metavar="URL",
        help="a mirror of the hub (default: $HF_ENDPOINT, else huggingface.co)",
    )
    add(
        "--accept-licences",
        action="store_true",
        help="do not ask; you accept the licences that are shown",
    )


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase download`; return the exit code."""
    from speechbrain_llase.pretrained import download
    from speechbrain_llase.pretrained.convert import check_output

    cache = args.cache or args.output.parent / "official_files"
    try:
        check_output(args.output)
    except FileExistsError as err:
        return refuse(one_line(err))
    try:
        source = args.name, cache, args.endpoint, args.take
        downloads = list(download.plan(*source))
        folder = download.folder_size(downloads, args.dtype, args.encoder)
        print_plan(downloads, folder, is_kept=args.cache is not None)
        if not accepted(args):
            return refuse(
                "the licences were not accepted: say yes, or --accept-licences"
            )
        download.check_space(downloads, cache, args.output, folder)
        files = {d.source.part: download.fetch(d) for d in downloads}
        if args.encoder:
            files.setdefault("w2v_bert", files["codec"])
        say(f"converting; until that is done, the files stay in {cache}")
        manifest = convert_files(args, files)
    except (ValueError, OSError) as err:
        say(f"error: {one_line(err)}")
        return 1
    if not args.cache:
        download.discard(downloads, cache)
    print_made(manifest, args.output)
    return 0


def print_plan(downloads: "list[Download]", folder: int, is_kept: bool) -> None:
    """Print each file with its size and licence, and the room they take."""
    for download in downloads:
        source = download.source
        state = f"{download.size / 1e6:.1f} MB"
        if not download.remaining:
            state += ", there already"
        elif download.remaining < download.size:
            state += f", {download.remaining / 1e6:.1f} MB of it to fetch"
        print(f"{source}  {state}")
        print(f"  licence: {source.licence}")
        if warning := source.differs(download.size):
            say(f"warning: {source} has {warning}")
    fetched = sum(d.remaining for d in downloads) / 1e6
    total = (sum(d.size for d in downloads) + folder) / 1e6
    stays = total if is_kept else folder / 1e6
    print(
        f"to fetch: {fetched:.1f} MB; on disk at most {total:.1f} MB, "
        f"{stays:.1f} MB of it to stay"
    )


def accepted(args: argparse.Namespace) -> bool:
    """Take the option or the user's word."""
    if args.accept_licences:
        return True
    if not sys.stdin.isatty():
        return False
    answer = input("Fetch these files under their licences? [y/N] ")
    return answer.strip().lower() in ("y", "yes")
