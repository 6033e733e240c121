"""The command `speechbrain-llase`: paths and printing.

Results are printed on standard output, the progress bar, warnings and errors
on standard error. Exit codes: 0 all done, 1 some files failed, 2 nothing was
begun (wrong usage, or the model could not be loaded), 3 the run cannot go
on (a full disk), 130 interrupted.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from speechbrain_llase import __version__
from speechbrain_llase.cli.common import say

COMMANDS = [
    "enhance",
    "manifest",
    "convert",
    "download",
    "models",
    "doctor",
    "evaluate",
    "benchmark_dns",
    "publish",
    "plot",
    "demo",
]  # modules of `commands`


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments, or those of the process.

    Gives the exit code. After a Ctrl-C a process whose own arguments these
    are lets no second one in: it ends now, without a traceback.

    Example
    -------
    >>> main(["enhance", "missing.wav", "--output", "enhanced"])
    2
    """
    try:
        args = build_parser().parse_args(argv)
        return args.run(args)
    except KeyboardInterrupt:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("interrupted; the finished files are complete")
        if argv is not None:  # a caller goes on
            signal.signal(signal.SIGINT, before)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line; each sub-command sets `run`."""
    parser = argparse.ArgumentParser(
        prog="speechbrain-llase",
        description="LLaSE, a generative speech enhancer for SpeechBrain.",
        epilog="'speechbrain-llase COMMAND --help' explains a command.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = import_module(f"speechbrain_llase.cli.{name}")
        command.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
