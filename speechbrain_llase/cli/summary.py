"""What a run of `enhance` has done, in words."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from speechbrain_llase.cli.common import say
from speechbrain_llase.dataio.urls import show

if TYPE_CHECKING:
    from speechbrain_llase.bulk.records import Record

FAILURES_SHOWN = 50  # failures; the manifest has all


@dataclass
class RunSummary:
    """What one run has done so far."""

    skipped: int
    manifest: str
    done: int = 0
    reduced: int = 0  # files with a warning
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
        self.reduced += bool(record.warnings)

    def report(self) -> None:
        """Print the failures, the warnings' number and one closing line."""
        for failure in self.failures:
            say(f"failed: {failure}")
        if self.failed > FAILURES_SHOWN:
            more = self.failed - FAILURES_SHOWN
            say(f"failed: and {more} more, see {self.manifest}")
        if self.reduced:
            say(
                "warning: outputs that hold less than their inputs did: "
                f"{self.reduced} (named above)"
            )
        line = (
            f"{self.done} enhanced, {self.skipped} skipped (output exists), "
            f"{self.failed} failed; {self.audio_s:.1f} s of audio"
        )
        if self.audio_s:
            factor = self.work_s / self.audio_s
            line += f" in {self.work_s:.1f} s, real-time factor {factor:.3f}"
        print(line)
