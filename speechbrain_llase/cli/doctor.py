"""`speechbrain-llase doctor`: the installation and a model, checked."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.cli.common import (
    add_device_options,
    find_model,
    non_empty,
    one_line,
    refuse,
)
from speechbrain_llase.inference.loading import pick_device

if TYPE_CHECKING:
    from speechbrain_llase.cli.checks import Finding


def add_parser(subparsers) -> None:
    """Describe the sub-command `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="check the installation and a model",
        description="Check versions, a model's files and that it runs. Of a file"
        " as downloaded, say which official file it is and what of it is used.",
        epilog="exit codes: 0 all is well, 1 something is wrong, 2 usage",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "source",
        nargs="?",
        default="llase_mini",
        type=non_empty,
        metavar="NAME|DIR|FILE",
        help="a packaged model's name, a folder, or an official file as it was"
        " downloaded (default: %(default)s)",
    )
    add_device_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase doctor`; return the exit code."""
    from speechbrain_llase.cli import checks, file_checks

    findings = [*checks.check_packages()]
    if os.path.isfile(args.source):
        findings += file_checks.check_file(Path(args.source))
        return report(findings)
    try:
        device = pick_device(args.device)
        source = find_model(args.source)
    except ValueError as err:
        return refuse(one_line(err))
    if os.path.isdir(source):
        findings += checks.check_folder(Path(source))
    findings += checks.check_run(args.source, device, args.precision)
    return report(findings)


def report(findings: "list[Finding]") -> int:
    """Print what was found; return the exit code."""
    for finding in findings:
        print(f"{'ok ' if finding.good else 'BAD'}  {finding.text}")
    return 0 if all(finding.good for finding in findings) else 1
