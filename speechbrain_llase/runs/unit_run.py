"""A run over units: what is left to do, where its manifest is kept.

The manifest lies on the machine that drives the run, as that of a run over
local files. Where results go to a URL, it is copied there from time to time,
so that another machine can go on.

Authors
 * The speechbrain_llase contributors 2026
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from speechbrain_llase.runs.ledger import HOW, Ledger
from speechbrain_llase.runs.listing import find_size, list_files
from speechbrain_llase.runs.output_folder import OutputFolder
from speechbrain_llase.runs.places import is_url, join, local_path, name_of
from speechbrain_llase.runs.records import Record
from speechbrain_llase.runs.refusals import refuse
from speechbrain_llase.runs.storage import new_file, open_stream
from speechbrain_llase.runs.units import Unit

EVERY_S = 60.0  # between two copies of the manifest


class ResultFolder:
    """Where the results of units appear, on this machine or elsewhere.

    Arguments
    ---------
    output : str
        URL or path.
    owner : str
        Names the run; see `OutputFolder`.
    """

    def __init__(self, output: str, owner: str):
        path = local_path(output)
        self.here = OutputFolder(path, owner) if path else None
        self.mark = hashlib.sha256(owner.encode()).hexdigest()[:8]
        self.names = set()
        if self.here:
            self.mark = self.here.mark
            return
        try:
            self.names = {found.key for found in list_files(output)}
        except FileNotFoundError:
            pass  # nothing is there yet

    def holds(self, unit: Unit) -> bool:
        """Tell whether a result was there when the run began."""
        if self.here:
            return self.here.holds(local_path(unit.target))
        return unit.name in self.names


def find_rest(
    units: Sequence[Unit], ledger: Ledger, folder: ResultFolder, others: bool
) -> list[Unit]:
    """Compare plan, manifest and results; bring the manifest up to date.

    The rules are those of `local.find_rest`. While the run is at work its
    manifest is marked, so that after a kill results without a line, which
    workers have written and could not tell of, are made again, not kept as
    somebody's.

    Arguments
    ---------
    units : sequence of Unit
        The plan.
    ledger : Ledger
        After `begin`.
    folder : ResultFolder
        Where results are.
    others : bool
        Accept results of other inputs.

    Returns
    -------
    rest : list of Unit
        What is to be done, in order.

    Raises
    ------
    ValueError
        A result was made of another input.
    """
    rest, gone, kept, clashes = [], [], [], []
    for unit in units:
        status, source = ledger.lines.get(unit.name, (None, None))
        is_there = folder.holds(unit)
        if status in ("done", "kept"):
            if not is_there:
                gone.append(unit.name)
                rest.append(unit)
            elif status == "done" and source != unit.input:
                clashes.append(f"{unit.name} <- {unit.input}, not {source}")
        elif is_there and not ledger.overwrites:
            kept.append(Record(unit.input, unit.name, "kept"))
        else:
            rest.append(unit)
    if not others:
        refuse(f"Outputs were made of other inputs. {HOW}", clashes)
    ledger.forget([*gone, *lines_inside(rest, ledger)])
    if kept:
        ledger.append(*kept)
    if rest and not ledger.overwrites:
        ledger.overwrites = True
        ledger.write_state()
    return rest


def lines_inside(units: Sequence[Unit], ledger: Ledger) -> list[str]:
    """Name the lines of recordings inside shards that are made again."""
    names = {unit.name for unit in units}
    return [line for line in ledger.lines if line.rpartition("::")[0] in names]


class Mirror:
    """A manifest here, and its copy beside the results.

    Arguments
    ---------
    path : Path
        The manifest on this machine.
    output : str
        URL or path of the results; nothing is copied to a path.
    name : str
        Of the copy.
    say : callable
        Is told, in one line, when a copy cannot be made.
    """

    def __init__(
        self, path: Path, output: str, name: str, say: Callable[[str], None]
    ):
        self.say = say
        self.pairs = []  # on this machine, there
        self.copied = time.monotonic()
        if is_url(output) and not local_path(output):
            run_path = path.with_suffix(".run.json")
            there = Path(name).with_suffix(".run.json").name
            self.pairs = [(run_path, join(output, there))]
            self.pairs.append((path, join(output, name)))

    def fetch(self) -> None:
        """Take over the copy that is there, if it knows more."""
        if not self.pairs:
            return
        path, place = self.pairs[-1]
        known = path.stat().st_size if path.exists() else -1
        if (find_size(place) or -1) <= known:
            return
        for path, place in self.pairs:
            with open_stream(place) as source, new_file(str(path)) as copy:
                with open(copy, "wb") as target:
                    shutil.copyfileobj(source, target)

    def copy(self) -> None:
        """Copy the manifest.

        Raises
        ------
        OSError
            The place cannot be written.
        """
        for path, place in self.pairs:
            if path.exists() and path.stat().st_size:
                with new_file(place) as copy:
                    shutil.copyfile(path, copy)
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


def manifest_name(part: tuple[int, int] | None) -> str:
    """Name the manifest of a run, or of its I-th of N parts."""
    return "manifest-{}of{}.jsonl".format(*part) if part else "manifest.jsonl"


def manifest_path(output: str, name: str) -> Path:
    """Place the manifest on this machine."""
    path = local_path(output)
    return path / name if path else Path(f"{name_of(output)}.{name}")
