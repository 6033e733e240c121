"""What a run of `enhance` tells: of each file, and of all in the end."""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from speechbrain_llase.bulk.records import LOSS
from speechbrain_llase.cli.common import say
from speechbrain_llase.dataio.urls import show

if TYPE_CHECKING:
    from speechbrain_llase.bulk.progress import Progress
    from speechbrain_llase.bulk.records import Record
    from speechbrain_llase.bulk.units import Unit
    from speechbrain_llase.inference.reports import Report

FAILURES_SHOWN = 50  # failures; the manifest has all


@dataclass
class RunSummary:
    """What one run has done so far."""

    skipped: int
    manifest: str
    done: int = 0
    reduced: int = 0  # files whose outputs hold less
    failed: int = 0
    failures: list[str] = field(default_factory=list)  # "path: reason"
    audio_s: float = 0.0
    work_s: float = 0.0  # loading the model not included

    def note(self, source: str, record: "Record") -> None:
        """Count one file, or a recording inside one."""
        if record.error:
            self.failed += 1
            if len(self.failures) < FAILURES_SHOWN:
                self.failures.append(f"{show(source)}: {record.error}")
            return
        self.done += 1
        self.audio_s += record.seconds
        self.reduced += any(LOSS in text for text in record.warnings)

    def report(self) -> None:
        """Print the failures, the warnings' number and one closing line."""
        for failure in self.failures:
            say(f"failed: {failure}")
        if self.failed > FAILURES_SHOWN:
            more = self.failed - FAILURES_SHOWN
            say(f"failed: and {more} more, see {self.manifest}")
        if self.reduced:
            say(
                "warning: outputs with fewer channels, a lower rate or fewer "
                f"bits than their inputs: {self.reduced} (named above)"
            )
        line = (
            f"{self.done} enhanced, {self.skipped} skipped (output exists), "
            f"{self.failed} failed; {self.audio_s:.1f} s of audio"
        )
        if self.audio_s:
            factor = self.work_s / self.audio_s
            line += f" in {self.work_s:.1f} s, real-time factor {factor:.3f}"
        print(line)


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
