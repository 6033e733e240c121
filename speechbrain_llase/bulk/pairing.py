"""Plans of tasks with a second input, or with two outputs.

What is heard beside a file is one file for all, a file of its name in another
folder or list, or stands in the same row of its own list.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from speechbrain_llase.bulk.plan import (
    Plan,
    find,
    name_result,
    plan_run,
    read_input,
    tidy,
)
from speechbrain_llase.bulk.refusals import (
    look_at,
    refuse_any,
    refuse_losses,
    refuse_missing,
    refuse_overwriting,
)
from speechbrain_llase.bulk.units import Unit, UnitList
from speechbrain_llase.dataio.audio_formats import Format
from speechbrain_llase.dataio.input_lists import TABLE_SUFFIXES
from speechbrain_llase.dataio.urls import local_path, show, split_glob


def plan_task(
    inputs: Sequence[str],
    output: str,
    column: str | None = None,
    reference: str | None = None,
    separates: bool = False,
    say: Callable[[str], None] = lambda line: None,
    written: Format = Format(),
) -> Plan:
    """Find what there is to do; see `plan_run`.

    Arguments
    ---------
    inputs, output, column, say, written
        As of `plan_run`.
    reference : str, optional
        What is heard beside the inputs: a file, which serves all, a folder, a
        pattern or a list, of which that of the same name does (the ending
        aside), or the name of a column of the lists among the inputs.
    separates : bool
        Whether the result of `a.wav` is `a_1.wav` and `a_2.wav`.

    Raises
    ------
    ValueError
        As `plan_run`; an input has no partner or several; an input is a shard
        or a table; an output would overwrite a partner.
    """
    by_row = reference is not None and is_column(reference, inputs)
    beside = reference if by_row else None
    plan = plan_run(inputs, output, column, beside, say, written)
    units = plan.units
    if reference is None and not separates:
        return plan
    refuse_any(
        "A second input or output needs files, not shards or tables",
        (unit.source for unit in units if unit.kind != "file"),
    )
    if reference is not None:
        if not by_row:
            units = find_partners(units, reference, column)
        refuse_overwriting(units, partners_of(units), units.top)
    if separates and plan.only:
        raise ValueError(
            f"--output {plan.only} names one sound file, and there are two "
            "results. Name a folder."
        )
    units = in_two(units) if separates else units
    return replace(plan, units=units)


def is_column(reference: str, inputs: Sequence[str]) -> bool:
    """Tell whether a reference names a column of a list among the inputs."""
    path = local_path(reference)
    if path is None or path.exists() or split_glob(reference)[1]:
        return False
    return any(Path(place).suffix.lower() in TABLE_SUFFIXES for place in inputs)


def find_partners(
    units: UnitList, reference: str, column: str | None
) -> UnitList:
    """Give every unit the reference, or that of its name in it."""
    found = UnitList(units.top)
    found.extend(name_partners(reference, column, units.top))
    if [unit.source for unit in found] == [tidy(reference)]:
        return with_partners(units, lambda unit: [tidy(reference)])
    return with_partners(units, lambda unit: found.sources_of(stem(unit.name)))


def name_partners(
    reference: str, column: str | None, top: str
) -> Iterator[tuple[str, Unit]]:
    """Yield the files of a reference by their names without an ending."""
    entries = read_input(reference, column)
    refuse_missing(entry.path for entry in entries)
    for entry in entries:
        for source, key, _ in find(tidy(entry.path), top, []):
            yield stem(name_result(key, entry.name)), Unit(source, top, source)


def with_partners(
    units: UnitList, sources_of: Callable[[Unit], list[str]]
) -> UnitList:
    """Put the one partner that each unit has to it."""
    refuse_any(
        "These inputs have no partner of their name in --reference",
        (show(unit.source) for unit in units if not sources_of(unit)),
    )
    refuse_any(
        "These inputs have several partners of their name in --reference",
        (
            show(f"{unit.source}: {', '.join(sources_of(unit))}")
            for unit in units
            if len(sources_of(unit)) > 1
        ),
    )
    paired = UnitList(units.top)
    paired.extend(
        (look_at(unit.source)[0], replace(unit, beside=sources_of(unit)[0]))
        for unit in units
    )
    return paired


def partners_of(units: UnitList) -> UnitList:
    """List what is heard beside units, with what each is."""
    partners = UnitList(units.top)
    partners.extend(
        (look_at(unit.beside)[0], replace(unit, source=unit.beside))
        for unit in units
    )
    return partners


def in_two(units: UnitList) -> UnitList:
    """Name the results of two speakers; refuse what would lose a file."""
    firsts, seconds = UnitList(units.top), UnitList(units.top)
    for unit in units:
        what, name = look_at(unit.source)[0], stem(unit.name)
        ending = PurePosixPath(unit.name).suffix
        names = {
            "name": f"{name}_1{ending}",
            "second": f"{name}_2{ending}",
        }
        firsts.extend([(what, replace(unit, **names))])
        seconds.extend([(what, replace(unit, name=names["second"]))])
    refuse_losses(firsts, units.top)
    refuse_losses(seconds, units.top)
    return firsts


def stem(name: str) -> str:
    """Leave the ending of a result's name out.

    Example
    -------
    >>> stem("day1/a.b.wav")
    'day1/a.b'
    """
    return str(PurePosixPath(name).with_suffix(""))
