"""The manifest of a run over units, and its copy beside the results.

The manifest lies on the machine that drives the run, as that of a run over
local files. Where results go to a URL, it is copied there from time to time,
so that another machine can go on. Copies are counted in `manifest.run.json`:
the one with the higher number is the newer one, whatever clocks and sizes say.

Authors
 * The speechbrain_llase contributors 2026
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speechbrain_llase.bulk.listing import find_size
from speechbrain_llase.bulk.manifest import Ledger
from speechbrain_llase.bulk.run_settings import Description
from speechbrain_llase.bulk.run_state import RunState, read_state
from speechbrain_llase.bulk.storage import local_copy, new_file, write_bytes
from speechbrain_llase.dataio.urls import (
    join,
    local_path,
    name_of,
    show,
    whole,
)

EVERY_S = 60.0  # between two copies of the manifest
DIGITS = 8  # of an output's hash


class TiedLedger(Ledger):
    """A ledger that says which URL its results are at.

    Arguments
    ---------
    path : Path
        The manifest; see `Ledger`.
    output : str
        URL or path of the results. Nothing is said of a path: the folder may
        be moved, and its manifest lies in it.
    """

    def __init__(self, path: Path, output: str):
        super().__init__(path)
        self.output = None if local_path(output) else show(whole(output))

    def refuse_other_output(self) -> None:
        """Refuse the manifest of another output."""
        known = self.read_state().get("output")
        if self.output and known not in (None, self.output):
            raise ValueError(
                f"{self.path} is the manifest of another output, {known}. "
                "Name another --manifest."
            )

    def begin(self, run: Description, overwrite: bool, others: bool) -> None:
        """See `Ledger.begin`; a manifest of another output is refused."""
        self.refuse_other_output()
        super().begin(run, overwrite, others)
        if self.output:
            self.add(output=self.output)

    def add(self, **more: Any) -> None:
        """Write more beside the manifest."""
        self.state.others.update(more)
        self.write_state()


class Mirror:
    """A manifest here, and its copy beside the results.

    Arguments
    ---------
    ledger : TiedLedger
        The manifest on this machine.
    output : str
        URL or path of the results; nothing is copied to a path.
    name : str
        Of the copy.
    say : callable
        Is told, in one line, when a copy cannot be made.
    """

    def __init__(
        self,
        ledger: TiedLedger,
        output: str,
        name: str,
        say: Callable[[str], None],
    ):
        self.ledger = ledger
        self.say = say
        self.copied = time.monotonic()
        self.place = self.state_place = None
        if ledger.output:
            self.place = join(output, name)
            self.state_place = join(output, state_name(name))

    def fetch(self) -> None:
        """Take over the copy that is there, if it is newer.

        Raises
        ------
        ValueError
            What is there does not describe a run, or the manifest here is
            that of another output.
        """
        if not self.place:
            return
        self.ledger.refuse_other_output()
        state = state_at(self.state_place)
        here = self.ledger.path.exists()
        if here and copies_of(state) <= copies_of(self.ledger.read_state()):
            return
        if find_size(self.place) is None:
            return
        with (
            local_copy(self.place) as source,
            new_file(str(self.ledger.path)) as copy,
        ):
            shutil.copyfile(source, copy)
        if state:  # it lies beside the results, wherever they were moved
            state["output"] = self.ledger.output
            RunState.from_dict(state).write(self.ledger.run_path)

    def copy(self) -> None:
        """Copy the manifest.

        Raises
        ------
        OSError
            The place cannot be written.
        """
        if not self.place:
            return
        state = self.ledger.state.as_dict()
        state["copies"] = copies_of(state) + 1
        write_bytes(self.state_place, json.dumps(state, indent=1).encode())
        with new_file(self.place) as copy:
            shutil.copyfile(self.ledger.path, copy)
        self.ledger.add(copies=state["copies"])
        self.copied = time.monotonic()

    def copy_now_and_then(self, is_last: bool = False) -> None:
        """Copy the manifest if the last copy is old."""
        if not is_last and time.monotonic() - self.copied < EVERY_S:
            return
        try:
            self.copy()
        except OSError as err:
            self.copied = time.monotonic()
            self.say(f"the manifest is not copied: {err}")


def copies_of(state: dict[str, Any]) -> int:
    """Tell how often a manifest was copied."""
    copies = state.get("copies")
    return copies if isinstance(copies, int) else 0


def state_at(place: str) -> dict[str, Any]:
    """Read what a copied manifest was made with; nothing, if nothing is there.

    Raises
    ------
    ValueError
        It does not describe a run.
    """
    if find_size(place) is None:
        return {}
    with local_copy(place) as path:
        try:
            return read_state(path)
        except ValueError as err:
            raise ValueError(
                f"{show(place)} does not describe a run. Remove it, or choose "
                "another --output."
            ) from err


def manifest_name(part: tuple[int, int] | None) -> str:
    """Name the manifest of a run, or of its I-th of N parts."""
    return "manifest-{}of{}.jsonl".format(*part) if part else "manifest.jsonl"


def state_name(name: str) -> str:
    """Name what describes the run of a manifest."""
    return Path(name).with_suffix(".run.json").name


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
    digest = hashlib.sha256(output.encode()).hexdigest()[:DIGITS]
    return Path(f"{name_of(output)}-{digest}.{name}")
