"""The manifest of a run: what is done, what it was made with, who is at work.

Beside `manifest.jsonl`, one line for each file, lies `manifest.run.json`, which
describes the models and settings and tells how far the run is; while a process
works, a hidden lock file keeps others out.
"""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from speechbrain_llase.bulk.locking import BINARY, Lock
from speechbrain_llase.bulk.records import (
    Record,
    RunState,
    cut_torn_line,
    last_records,
    read_records,
    read_state,
    refuse_foreign,
    remove_partials,
    state_path,
    write_whole_text,
)
from speechbrain_llase.bulk.run_settings import Description, differences
from speechbrain_llase.dataio.urls import local_path, name_of, show, whole
from speechbrain_llase.dataio.whole_files import no_link

HOW = (
    "--overwrite makes all files again, --keep-others keeps what is there and "
    "goes on beside it, --manifest or --output name another place"
)
OUTPUT_DIGITS = 8  # of an output's hash


def manifest_name(part: tuple[int, int] | None, only: str | None = None) -> str:
    """Name the manifest of a run, of its I-th of N parts, or of one result.

    Example
    -------
    >>> manifest_name((2, 8)), manifest_name(None, "clean.wav")
    ('manifest-2of8.jsonl', '.clean.wav.manifest.jsonl')
    """
    if only:
        return f".{only}.manifest.jsonl"
    return "manifest-{}of{}.jsonl".format(*part) if part else "manifest.jsonl"


def manifest_path(output: str, name: str) -> Path:
    """Place the manifest on this machine.

    Example
    -------
    >>> manifest_path("clean", "manifest.jsonl").as_posix()
    'clean/manifest.jsonl'
    >>> manifest_path("s3://bucket/day1/clean/", "manifest.jsonl").as_posix()
    'clean-d2ca0949.manifest.jsonl'
    """
    path = local_path(output)
    if path:
        return path / name
    output = show(whole(output))
    digest = hashlib.sha256(output.encode()).hexdigest()[:OUTPUT_DIGITS]
    return Path(f"{name_of(output)}-{digest}.{name}")


class Manifest:
    """The manifest of one run, open in one process.

    An `output` that is a URL is noted beside the manifest; a folder may be
    moved, and its manifest lies in it. ValueError: another process has the
    manifest open, or nobody can lock it.
    """

    def __init__(self, path: Path, output: str):
        self.path = path
        self.state_path = state_path(path)
        self.output = None if local_path(output) else show(whole(output))
        self.lock = Lock(path.with_name(f".{path.name}.lock"))
        self.file = None
        self.lines: dict[str, tuple[str, str]] = {}  # output: status, input
        self.lost: set[str] = set()  # lines that are not true any more
        self.extra = 0  # lines that another one replaces
        self.settings: set[str | None] = set()  # of all lines
        self.state = RunState()

    def begin(self, run: Description, overwrite: bool, others: bool) -> None:
        """Read what is there, and see whether this run may go on with it.

        `overwrite` forgets what is there: every output is made again, in later
        processes of this run too. `others` accepts lines of other models,
        settings and inputs. ValueError: the manifest is another run's, or no
        manifest.
        """
        refuse_foreign(self.path)
        self.state = self.read_state()
        if self.path.exists():
            for record in read_records(self.path):
                self.note(record)
        is_void = overwrite or self.state.clears
        if not (is_void or others):
            self.refuse_others(run)
        for path in (self.path, self.state_path):
            remove_partials(path)
        if is_void:
            self.clear()
        self.state.runs[run.fingerprint] = run.as_dict()
        self.state.output = self.output
        self.write_state()
        cut_torn_line(self.path)
        self.open()

    def clear(self) -> None:
        """Forget all lines; if that is cut short, the next process does it."""
        self.state.overwrites = self.state.clears = True
        self.state.finished = False
        self.write_state()
        write_whole_text(self.path, [])
        self.state.runs, self.state.clears = {}, False
        self.lines, self.extra = {}, 0

    def plan(self, outputs: int, digest: str) -> None:
        """Note how many outputs there will be; the run is not finished.

        Whatever appears from now on is ours: see `may_replace`.
        """
        self.state.planned, self.state.plan = outputs, digest
        self.state.finished = False
        self.write_state()

    def may_replace(self, digest: str) -> bool:
        """Tell whether outputs without a line are made again.

        They are where a run overwrites, and where one of the same plan did not
        come to its end: it had given a line to whatever was there before.
        """
        is_same = self.state.finished is False and self.state.plan == digest
        return self.state.overwrites or is_same

    def open(self) -> None:
        """Open the manifest to append lines."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | BINARY
        self.file = no_link(self.path, flags)

    def write_state(self) -> None:
        """Write what the manifest is made with."""
        self.state.write(self.state_path)

    def read_state(self) -> RunState:
        """Read what the manifest was made with; refuse that of another output."""
        state = read_state(self.state_path)
        if self.output and state.output not in (None, self.output):
            raise ValueError(
                f"{self.path} is the manifest of another output, "
                f"{state.output}. Name another --manifest."
            )
        return state

    def refuse_others(self, run: Description) -> None:
        """Refuse lines that were made otherwise, and name the differences."""
        found = self.settings - {None, run.fingerprint}
        if not found:
            return
        runs = self.state.runs
        theirs = next((runs[x] for x in found if x in runs), None)
        lines = [f"settings {', '.join(sorted(found))} are unknown"]
        if theirs is not None:
            lines = differences(theirs, run.as_dict())
        raise ValueError(
            f"{self.path} is the manifest of another run. {HOW}.\n  "
            + "\n  ".join(lines)
        )

    def note(self, record: Record) -> None:
        """Remember the last line of each output."""
        self.extra += record.output in self.lines
        self.lines[record.output] = record.status, record.input
        self.settings.add(record.settings)

    def append(self, *records: Record) -> None:
        """Write lines; a killed process does not lose them."""
        text = "".join(record.as_json() + "\n" for record in records)
        end = os.fstat(self.file).st_size
        try:
            left = memoryview(text.encode())
            while left:
                left = left[os.write(self.file, left) :]
        except OSError:
            os.ftruncate(self.file, end)  # no half line
            raise
        for record in records:
            self.note(record)

    def sync(self) -> None:
        """Return once all lines are on the disk."""
        os.fsync(self.file)

    def forget(self, outputs: Iterable[str]) -> None:
        """Drop the lines of outputs that are gone."""
        for output in outputs:
            del self.lines[output]
            self.lost.add(output)
        self.tidy()

    def tidy(self) -> None:
        """Leave one line for each output: its last one."""
        if not self.lost and not self.extra:
            return
        kept = last_records(self.path)
        kept = (r.as_json() + "\n" for r in kept if r.output not in self.lost)
        self.close_file()  # some systems replace no open file
        try:
            write_whole_text(self.path, kept)
        finally:
            self.open()
        self.lost.clear()
        self.extra = 0

    def finish(self) -> None:
        """Note that the run has come to its end."""
        self.state.overwrites, self.state.finished = False, True
        self.write_state()

    def close(self) -> None:
        """Tidy up, close the manifest and let go of the lock."""
        try:
            with suppress(OSError):  # a full disk; the manifest is whole
                if self.file is not None:
                    self.tidy()
                    self.sync()
        finally:
            self.close_file()
            self.lock.release()

    def close_file(self) -> None:
        """Close the manifest, if it is open."""
        if self.file is not None:
            file, self.file = self.file, None
            os.close(file)
