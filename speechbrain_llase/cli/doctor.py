"""`speechbrain-llase doctor`: the installation and a model, checked.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import os
from pathlib import Path

from speechbrain_llase.cli.common import (
    add_device_options,
    find_model,
    non_empty,
    one_line,
    refuse,
)
from speechbrain_llase.inference.loading import pick_device


def add_parser(subparsers) -> None:
    """Describe the sub-command `doctor`."""
    parser = subparsers.add_parser(
        "doctor",
        help="check the installation and a model",
        description="Check versions, a model's files and that it runs.",
        epilog="exit codes: 0 all is well, 1 something is wrong, 2 usage",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "source",
        nargs="?",
        default="llase_mini",
        type=non_empty,
        metavar="NAME|DIR",
        help="a packaged model's name or a folder (default: %(default)s)",
    )
    add_device_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase doctor`; return the exit code."""
    from speechbrain_llase.cli import checks

    try:
        device = pick_device(args.device)
        source = find_model(args.source)
    except ValueError as err:
        return refuse(one_line(err))
    findings = [*checks.check_packages()]
    if os.path.isdir(source):
        findings += checks.check_folder(Path(source))
    findings += checks.check_run(args.source, device, args.precision)
    for finding in findings:
        print(f"{'ok ' if finding.good else 'BAD'}  {finding.text}")
    return 0 if all(finding.good for finding in findings) else 1
