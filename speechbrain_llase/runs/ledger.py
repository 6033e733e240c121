"""The ledger of a run: its manifest, what it was made with, who is at work.

Beside `manifest.jsonl`, one line a file, lies `manifest.run.json`, which
describes the models and settings; while a process works, a hidden lock file
holds the record of the output that is about to appear.

Authors
 * The speechbrain_llase contributors 2026
"""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speechbrain_llase.audio import sync_folder
from speechbrain_llase.runs.description import Description
from speechbrain_llase.runs.locking import Lock
from speechbrain_llase.runs.records import Record, read_records

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
        Another process has it open.
    """

    def __init__(self, path: Path):
        self.path = path
        self.run_path = path.with_suffix(".run.json")
        self.lock = Lock(path.with_name(f".{path.name}.lock"))
        self.file = None
        self.lines: dict[str, tuple[str, str]] = {}  # output: status, input
        self.lost: set[str] = set()  # lines that are not true any more
        self.extra = 0  # lines that another one replaces
        self.overwrites = False
        self.pending = False  # an output may be there without its line

    def begin(self, run: Description, overwrite: bool, others: bool) -> None:
        """Read what is there and see whether this run may go on with it.

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
        state = self.read_state()
        runs = {} if overwrite else state.get("runs", {})
        self.overwrites = overwrite or bool(state.get("overwrites"))
        found = set()
        if not overwrite and self.path.exists():
            for record in read_records(self.path):
                self.note(record)
                found.add(record.settings)
        if not others:
            self.refuse_others(run, runs, found - {None, run.fingerprint})
        self.runs = runs | {run.fingerprint: run.as_dict()}
        self.write_state()
        if overwrite:
            self.lock.found = {}
            write_text(self.path, [])
        else:
            cut_torn_line(self.path)
        self.open()

    def open(self) -> None:
        """Open the manifest to append lines."""
        self.file = os.open(
            self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
        )

    def write_state(self) -> None:
        """Write what the manifest is made with."""
        state = {"overwrites": self.overwrites, "runs": self.runs}
        write_text(self.run_path, [json.dumps(state, indent=1), "\n"])

    def read_state(self) -> dict[str, Any]:
        """Read what the manifest was made with."""
        try:
            state = json.loads(self.run_path.read_text(encoding="utf-8"))
            if isinstance(state["runs"], dict):
                return state
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError):
            pass
        raise ValueError(
            f"{self.run_path} does not describe a run. Remove it, or name "
            "another --manifest."
        )

    def refuse_others(
        self, run: Description, runs: dict[str, Any], found: set[str]
    ) -> None:
        """Refuse lines that were made otherwise, and name the differences."""
        if not found:
            return
        ours = run.as_dict()
        theirs = next((runs[x] for x in found if x in runs), None)
        differences = [f"settings {', '.join(sorted(found))} are unknown"]
        if theirs is not None:
            differences = [
                f"{key}: {theirs.get(key)!r} there, {ours.get(key)!r} now"
                for key in sorted(theirs.keys() | ours.keys())
                if theirs.get(key) != ours.get(key)
            ]
        raise ValueError(
            f"{self.path} is the manifest of another run. {HOW}.\n  "
            + "\n  ".join(differences)
        )

    def note(self, record: Record) -> None:
        """Remember the last line of each output."""
        self.extra += record.output in self.lines
        self.lines[record.output] = record.status, record.input

    def recover(self, holds: Callable[[str], bool]) -> None:
        """Write the line that a killed process did not come to write.

        It had noted the record, and then moved the complete output to its
        place: the temporary file is gone.
        """
        note = self.lock.found
        if not note.get("record") or Path(note["partial"]).exists():
            return
        record = Record.from_dict(note["record"])
        status, _ = self.lines.get(record.output, (None, None))
        if status != "done" and holds(record.output):
            self.append(record)

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
        last = {r.output: k for k, r in enumerate(read_records(self.path))}
        kept = (
            record.as_json() + "\n"
            for k, record in enumerate(read_records(self.path))
            if last[record.output] == k and record.output not in self.lost
        )
        os.close(self.file)
        write_text(self.path, kept)
        self.open()
        self.lost.clear()
        self.extra = 0

    def finish(self) -> None:
        """Note that the run has come to its end."""
        if self.overwrites:
            self.overwrites = False
            self.write_state()

    def close(self) -> None:
        """Tidy up, close the manifest and let go of the lock."""
        if self.file is not None:
            with suppress(OSError):  # a full disk; the manifest is whole
                self.tidy()
                self.sync()
            os.close(self.file)
        self.lock.release(keep_note=self.pending)


def write_text(path: Path, lines: Iterable[str]) -> None:
    """Write a whole file beside its place, then move it there."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that has no end."""
    if not path.exists():
        return
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            cut = file.read(end - start).rfind(b"\n")
            if cut >= 0:
                end = start + cut + 1
                break
            end = start
        file.truncate(end)
