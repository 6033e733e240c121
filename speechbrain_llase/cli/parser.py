"""The command `speechbrain-llase`: paths and printing.

Results are printed on standard output, the progress bar, warnings and errors
on standard error. Exit codes: 0 all done, 1 some files failed, 2 nothing was
begun (wrong usage, or the model could not be loaded), 3 the run cannot go
on (a full disk), 130 interrupted.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from speechbrain_llase import __version__
from speechbrain_llase.cli.common import say

COMMANDS = [
    "enhance",
    "live",
    "manifest",
    "convert",
    "download",
    "export",
    "models",
    "doctor",
    "evaluate",
    "benchmark_dns",
    "publish",
    "plot",
    "demo",
]  # modules of `cli`
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments, or those of the process.

    Gives the exit code. After a Ctrl-C a process whose own arguments these
    are lets no second one in: it ends now, without a traceback.

    Example
    -------
    >>> main(["enhance", "missing.wav", "--output", "enhanced"])
    2
    """
    if argv is None:
        wait_asleep()
    given = sys.argv[1:] if argv is None else argv
    try:
        args = build_parser(given).parse_args(given)
        return args.run(args)
    except KeyboardInterrupt:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("interrupted; the finished files are complete")
        if argv is not None:  # a caller goes on
            signal.signal(signal.SIGINT, before)
        return 130


def wait_asleep() -> None:
    """Let threads that have nothing to do sleep at once, and not spin.

    OpenMP reads this when torch is imported. Of short files, spinning takes
    more of the CPU than the work. What the user has set stays.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def build_parser(argv: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Describe the command line; each sub-command sets `run`.

    For arguments that begin with the name of a sub-command, only that one is
    there: the others would be imported for nothing.
    """
    names = [x for x in COMMANDS if [x.replace("_", "-")] == list(argv[:1])]
    parser = argparse.ArgumentParser(
        prog="speechbrain-llase",
        description="LLaSE, a generative speech enhancer for SpeechBrain.",
        epilog="'speechbrain-llase COMMAND --help' explains a command.",
    )
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {__version__}"
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in names or COMMANDS:
        command = import_module(f"speechbrain_llase.cli.{name}")
        command.add_parser(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
