"""A run: what is left of the plan, the lines of what ends, and its stop."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from speechbrain_llase.bulk.manifest import HOW, Manifest
from speechbrain_llase.bulk.manifest_copy import ManifestCopy
from speechbrain_llase.bulk.open_file import CannotGoOn
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.records import Record, read_records
from speechbrain_llase.bulk.refusals import refuse_any
from speechbrain_llase.bulk.units import Unit, UnitList

SYNC_S = 1.0  # between two waits for lines to be on the disk
SIGNALS = (signal.SIGINT, signal.SIGTERM)
ASKED = (
    "\nspeechbrain-llase: stopping after the window at work; "
    "once more stops at once\n"
)


def find_rest(
    units: UnitList,
    manifest: Manifest,
    folder: OutputFolder,
    others: bool,
) -> UnitList:
    """Compare plan, manifest and results; bring the manifest up to date.

    - A line and its result: the unit is done.
    - A line without its result: the line is dropped, the unit done again.
    - A line that says "failed": the unit is tried again, be there an older
      result or not.
    - A result without a line: a killed process of this plan did not come to
      write it, so it is made again; else it is somebody's, is kept, and gets
      a line that says so. In a run with `--overwrite` it is made again.

    What is to be done is returned in order. A result that was made of another
    input is a ValueError, unless `others` are accepted.
    """
    digest = digest_of(units)
    may_replace = manifest.may_replace(digest)
    rest, kept = UnitList(units.top), UnitList(units.top)
    gone, clashes = [], []
    for unit in units:
        status, source = manifest.lines.get(unit.name, (None, None))
        is_there = all(folder.holds(part.name) for part in unit.results)
        if status in ("done", "kept"):
            if not is_there:
                gone.append(unit.name)
                rest.append(unit)
            elif status == "done" and source != unit.input:
                clashes.append(f"{unit.target} <- {unit.source}, not {source}")
        elif is_there and status is None and not may_replace:
            kept.append(unit)
        else:
            rest.append(unit)
    if not others:
        refuse_any(f"Outputs were made of other inputs. {HOW}", clashes)
    for unit in kept:
        manifest.append(Record(unit.input, unit.name, "kept"))
    manifest.sync()  # before the plan is noted, see `may_replace`
    manifest.plan(len(units), digest)
    manifest.forget([*gone, *lines_inside(rest, manifest)])
    return rest


def digest_of(units: UnitList) -> str:
    """Tell plans apart by the names of their results, in any order."""
    digest = hashlib.sha256()
    for unit in units.by_name():
        digest.update(unit.name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def lines_inside(units: Iterable[Unit], manifest: Manifest) -> list[str]:
    """Name the lines of recordings inside shards that are made again."""
    names = {unit.name for unit in units if unit.kind != "file"}
    return [line for line in manifest.lines if unit_of(line, names)]


def unit_of(line: str, names: Collection[str]) -> str | None:
    """Find the shard or table that the line of a recording belongs to.

    Example
    -------
    >>> unit_of("0.tar::a::b.wav", {"0.tar"}), unit_of("0.tar", {"0.tar"})
    ('0.tar', None)
    """
    parts = line.split("::")
    heads = ("::".join(parts[:end]) for end in range(1, len(parts)))
    return next((head for head in heads if head in names), None)


def failed_inside(
    units: Iterable[Unit], rest: Iterable[Unit], manifest: Manifest
) -> list[Record]:
    """Find the recordings that failed in shards and tables that are done."""
    done = {unit.name for unit in units if unit.kind != "file"}
    done -= {unit.name for unit in rest}
    failed = {
        line
        for line, (status, _) in manifest.lines.items()
        if status == "failed" and unit_of(line, done)
    }
    if not failed:
        return []
    latest = {record.output: record for record in read_records(manifest.path)}
    return [record for name, record in latest.items() if name in failed]


def write_lines(
    ended: Iterable[tuple[Unit, list[Record]]],
    count: int,
    manifest: Manifest,
    copy: ManifestCopy,
    folder: OutputFolder,
) -> Iterator[tuple[Unit, list[Record]]]:
    """Write the lines of each unit as it ends, and pass both on.

    `ended` is what `enhance` of an engine yields; once `count` units have
    ended, the run is finished. CannotGoOn: the folder is lost, or the manifest
    cannot be written any more.
    """
    synced_s = time.monotonic()
    try:
        for unit, records in ended:
            if not records[-1].error:
                folder.check_result(unit)
            with lines_are_kept(manifest, folder):
                manifest.append(*records)
                if time.monotonic() - synced_s > SYNC_S:
                    manifest.sync()
                    synced_s = time.monotonic()
            copy.copy_now_and_then()
            count -= 1
            yield unit, records
        with lines_are_kept(manifest, folder):
            manifest.sync()
            if not count:
                manifest.finish()
    finally:
        copy.copy_now_and_then(is_last=True)


@contextmanager
def lines_are_kept(manifest: Manifest, folder: OutputFolder) -> Iterator[None]:
    """End the run where its manifest cannot be written."""
    try:
        yield
    except OSError as err:
        folder.check()
        raise CannotGoOn.writing(manifest.path, err) from err


class Stopper:
    """Listen for signals in a `with` block.

    The first one is noted in `signal`, the second one raises
    KeyboardInterrupt.
    """

    def __init__(self):
        self.signal: int | None = None
        self.before = {}

    def __enter__(self) -> "Stopper":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self.before[number] = signal.signal(number, self.hear)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.signal is None:
            self.signal = number
            os.write(2, ASKED.encode())  # print may be at work itself
        else:
            raise KeyboardInterrupt

    def is_asked(self) -> bool:
        """Tell whether a signal has come."""
        return self.signal is not None
