"""A run over units: what is there, and what is left to do.

Authors
 * The speechbrain_llase contributors 2026
"""

import hashlib
from collections.abc import Collection, Sequence

from speechbrain_llase.bulk.listing import list_files
from speechbrain_llase.bulk.manifest import HOW, Ledger
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.records import Record, read_records
from speechbrain_llase.bulk.refusals import refuse
from speechbrain_llase.bulk.storage import is_partial, remove
from speechbrain_llase.bulk.units import Unit
from speechbrain_llase.dataio.urls import local_path


class ResultFolder:
    """Where the results of units appear, on this machine or elsewhere.

    Temporary files that killed processes of the run left there are removed.

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
            there = list_files(output, hidden=True)
        except FileNotFoundError:
            return  # nothing is there yet
        for found in there:
            if is_partial(found.key.rpartition("/")[2], self.mark):
                remove(found.place)
            else:
                self.names.add(found.key)

    def check(self) -> None:
        """Refuse to go on where a folder of this machine is lost."""
        if self.here:
            self.here.check()

    def holds(self, unit: Unit) -> bool:
        """Tell whether a result was there when the run began."""
        if self.here:
            return self.here.holds(local_path(unit.target))
        return unit.name in self.names


def find_rest(
    units: Sequence[Unit], ledger: Ledger, folder: ResultFolder, others: bool
) -> list[Unit]:
    """Compare plan, manifest and results; bring the manifest up to date.

    The rules are those of `local.find_rest`; what failed is tried again, be
    there an older result or not. While the run is at work its manifest is
    marked, so that after a kill results without a line, which workers have
    written and could not tell of, are made again, not kept as somebody's.

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
        elif is_there and status is None and not ledger.overwrites:
            kept.append(Record(unit.input, unit.name, "kept"))
        else:
            rest.append(unit)
    if not others:
        refuse(f"Outputs were made of other inputs. {HOW}", clashes)
    ledger.plan(len(units))
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
    return [line for line in ledger.lines if unit_of(line, names)]


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
    units: Sequence[Unit], rest: Sequence[Unit], ledger: Ledger
) -> list[Record]:
    """Find the recordings that failed in units that are done.

    Arguments
    ---------
    units, rest : sequence of Unit
        The plan, and what of it is to be done.
    ledger : Ledger
        After `find_rest`.

    Returns
    -------
    records : list of Record
        Their lines.
    """
    done = {unit.name for unit in units} - {unit.name for unit in rest}
    failed = {
        line
        for line, (status, _) in ledger.lines.items()
        if status == "failed" and unit_of(line, done)
    }
    if not failed:
        return []
    latest = {record.output: record for record in read_records(ledger.path)}
    return [record for name, record in latest.items() if name in failed]
