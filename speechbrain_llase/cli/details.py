"""What `enhance` tells about confidence, guard and candidates."""

import argparse
import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from speechbrain_llase.dataio.urls import show

if TYPE_CHECKING:
    from speechbrain_llase.bulk.plan import Unit
    from speechbrain_llase.bulk.progress import Progress
    from speechbrain_llase.inference.reports import Report


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Add --guard and --details."""
    parser.add_argument(
        "--guard",
        action="store_true",
        help="pass the input through where enhancement would harm it, as the"
        " guard section of the model's YAML says; files are held in memory",
    )
    parser.add_argument(
        "--details",
        type=Path,
        metavar="FILE",
        help="append a line of JSON for each file: the token model's"
        " confidence, the guard's decisions; files are held in memory",
    )


def open_details(path: Path | None) -> AbstractContextManager[TextIO | None]:
    """Open the file of --details, or nothing."""
    if path is None:
        return nullcontext()
    try:  # names that are no UTF-8 are escaped as JSON does it
        return open(path, "a", encoding="utf-8", errors="backslashreplace")
    except OSError as err:
        raise ValueError(f"--details {path}: {err.strerror}") from err


def tell(
    unit: "Unit", report: "Report", bar: "Progress", details: TextIO | None
) -> None:
    """Write a report to --details, and what the guard did above the bar."""
    if details:
        paths = {"input": show(unit.source), "output": show(unit.target)}
        line = paths | json.loads(report.as_json())
        details.write(json.dumps(line, ensure_ascii=False) + "\n")
        details.flush()
    harmed = [d for d in report.decisions if d.reasons]
    if harmed:
        reasons = sorted({reason for d in harmed for reason in d.reasons})
        count = f"{len(harmed)} of {len(report.decisions)} parts"
        part = "the whole file" if len(report.decisions) == 1 else count
        bar.write(
            f"guard: {show(unit.source)}: held {part} back ({', '.join(reasons)})"
        )
