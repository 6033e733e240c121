"""The ledger of a run: its manifest, what it was made with, who is at work.

Beside `manifest.jsonl`, one line a file, lies `manifest.run.json`, which
describes the models and settings and tells how far the run is; while a process
works, a hidden lock file holds the record of the output that is about to
appear.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from speechbrain_llase.bulk.locking import BINARY, Lock
from speechbrain_llase.bulk.records import (
    Record,
    cut_torn_line,
    last_records,
    read_records,
    refuse_foreign,
)
from speechbrain_llase.bulk.run_settings import Description, differences
from speechbrain_llase.bulk.run_state import (
    RunState,
    read_state,
    remove_partials,
    state_path,
    write_text,
)

HOW = (
    "--overwrite makes all files again, --keep-others keeps what is there and "
    "goes on beside it, --manifest or --output name another place"
)


class Ledger:
    """The manifest of one run, open in one process.

    Arguments
    ---------
    path : Path
        The manifest, below a folder that exists.

    Raises
    ------
    ValueError
        Another process has it open, or nobody can lock it.
    """

    def __init__(self, path: Path):
        self.path = path
        self.run_path = state_path(path)
        self.lock = Lock(path.with_name(f".{path.name}.lock"))
        self.file = None
        self.lines: dict[str, tuple[str, str]] = {}  # output: status, input
        self.lost: set[str] = set()  # lines that are not true any more
        self.extra = 0  # lines that another one replaces
        self.settings: set[str | None] = set()  # of all lines
        self.state = RunState()
        self.pending = False  # an output may be there without its line

    @property
    def id(self) -> str:
        """Name the run, after `begin`, as its manifest does for good."""
        return self.state.id

    @property
    def overwrites(self) -> bool:
        """Tell whether outputs without a line are made again."""
        return self.state.overwrites

    @overwrites.setter
    def overwrites(self, value: bool) -> None:
        self.state.overwrites = value

    def begin(self, run: Description, overwrite: bool, others: bool) -> None:
        """Read what is there, and see whether this run may go on with it.

        Arguments
        ---------
        run : Description
            This run.
        overwrite : bool
            Forget what is there: every output is made again, in later
            processes of this run too.
        others : bool
            Accept lines of other models, settings and inputs.

        Raises
        ------
        ValueError
            The manifest is another run's, or no manifest.
        """
        refuse_foreign(self.path)
        if self.path.exists():
            for record in read_records(self.path):
                self.note(record)
        self.state = RunState.from_dict(self.read_state())
        is_void = overwrite or self.state.clears
        if not (is_void or others):
            self.refuse_others(run)
        for path in (self.path, self.run_path):
            remove_partials(path)
        if is_void:
            self.clear()
        self.state.runs[run.fingerprint] = run.as_dict()
        self.write_state()
        cut_torn_line(self.path)
        self.open()

    def clear(self) -> None:
        """Forget all lines; if that is cut short, the next process does it."""
        self.state.overwrites = self.state.clears = True
        self.state.finished = False
        self.write_state()
        self.lock.forget()
        write_text(self.path, [])
        self.state.runs, self.state.clears = {}, False
        self.lines, self.extra = {}, 0

    def plan(self, outputs: int) -> None:
        """Note how many lines there will be; the run is not finished."""
        self.state.planned, self.state.finished = outputs, False
        self.write_state()

    def open(self) -> None:
        """Open the manifest to append lines."""
        self.file = os.open(
            self.path,
            os.O_WRONLY | os.O_APPEND | os.O_CREAT | BINARY,
            0o644,
        )

    def write_state(self) -> None:
        """Write what the manifest is made with."""
        self.state.write(self.run_path)

    def read_state(self) -> dict[str, Any]:
        """Read what the manifest was made with; see `run_state`."""
        return read_state(self.run_path)

    def refuse_others(self, run: Description) -> None:
        """Refuse lines that were made otherwise, and name the differences."""
        owed = self.lock.found.get("record", {}).get("settings")
        found = (self.settings | {owed}) - {None, run.fingerprint}
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

    def recover(self, holds: Callable[[str], bool]) -> None:
        """Write the line that a killed process did not come to write.

        It had noted the record, and moved the complete output to its place:
        the temporary file is gone. `holds` tells what was in the folder.
        """
        note = self.lock.found
        if note:
            record = Record.from_dict(note["record"])
            partial = Path(note["partial"]).name
            partial = str(PurePosixPath(record.output).with_name(partial))
            status, _ = self.lines.get(record.output, (None, None))
            if status != "done" and not holds(partial) and holds(record.output):
                self.append(record)
        self.lock.forget()

    def expect(self, partial: Path, record: Record) -> None:
        """Note the record of an output that is about to appear."""
        self.lock.note(partial=str(partial), record=asdict(record))
        self.pending = True

    def give_up(self) -> None:
        """Forget what was expected; it has not appeared."""
        self.lock.clear()
        self.pending = False

    def append(self, *records: Record) -> None:
        """Write lines; a killed process does not lose them."""
        if self.state.finished:
            self.state.finished = False
            self.write_state()
        text = "".join(record.as_json() + "\n" for record in records)
        end = os.fstat(self.file).st_size
        try:
            left = memoryview(text.encode())
            while left:
                left = left[os.write(self.file, left) :]
        except OSError:
            os.ftruncate(self.file, end)  # no half line
            raise
        self.pending = False
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
            write_text(self.path, kept)
        finally:
            self.open()
        self.lost.clear()
        self.extra = 0

    def finish(self) -> None:
        """Note that the run has come to its end."""
        if self.overwrites or not self.state.finished:
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
            self.lock.release(keep_note=self.pending or bool(self.lock.found))

    def close_file(self) -> None:
        """Close the manifest, if it is open."""
        if self.file is not None:
            file, self.file = self.file, None
            os.close(file)
