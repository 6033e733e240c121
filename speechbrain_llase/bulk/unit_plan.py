"""Which units there are, and where their results go.

As in `files`, all decisions fall before a model is loaded: a plan that would
lose a file is refused.

Authors
 * The speechbrain_llase contributors 2026
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from speechbrain_llase.bulk.listing import Found, list_files
from speechbrain_llase.bulk.plan import Plan, output_name
from speechbrain_llase.bulk.refusals import (
    Pair,
    look_at,
    refuse,
    refuse_clashes,
    refuse_lost_inputs,
    refuse_outside,
)
from speechbrain_llase.bulk.units import (
    SHARDS,
    TABLES,
    Unit,
    expand,
    kind_of,
)
from speechbrain_llase.dataio.audio_files import (
    AUDIO_SUFFIXES,
    UNREADABLE,
    real,
)
from speechbrain_llase.dataio.urls import (
    join,
    local_path,
    show,
    split_glob,
    whole,
)


def plan_units(
    inputs: Sequence[str],
    output: str,
    column: str | None = None,
    left_out: list[str] | None = None,
) -> list[Unit]:
    """Find what there is to do, and name its results.

    Arguments
    ---------
    inputs : sequence of str
        URLs or paths: files, folders, patterns, and lists of them; see
        `read_list`.
    output : str
        URL or path of the folder of the results, which is not searched,
        unless an input lies in it. A file given by name lands directly in
        it; the tree below a folder, a pattern or a CSV or JSON list is kept.
    column : str, optional
        Of CSV and JSON lists.
    left_out : list of str, optional
        Gets what is `UNREADABLE`.

    Returns
    -------
    units : list of Unit
        In the order given, folders sorted by name.

    Raises
    ------
    ValueError
        An input holds nothing, two results have one name, or a result would
        lie over an input, over a folder or outside `output`.
    OSError
        There is no such input, or no access.
    """
    output = whole(output)
    units = {}
    for given in inputs:
        for entry in expand(given, column):
            for found in find(whole(entry.path), output, left_out):
                unit = name_result(found, entry.name, output)
                units[identify(unit.source), unit.name] = unit
    refuse_losses(units, output)
    return list(units.values())


def identify(place: str) -> tuple[int, int] | str:
    """Tell what a file is, however it is written."""
    path = local_path(place)
    return look_at(path)[0] if path else place


def find(
    place: str, output: str, left_out: list[str] | None = None
) -> list[Found]:
    """Find the audio, shards and tables of one input."""
    found = list_files(place)
    if len(found) == 1 and found[0].place == place:
        return found
    kept, others = [], []
    for file in outside(found, split_glob(place)[0], output):
        suffix = PurePosixPath(file.key).suffix.lower()
        if kind_of(file.key) != "file" or suffix in AUDIO_SUFFIXES:
            kept.append(file)
        elif suffix in UNREADABLE:
            others.append(show(file.place))
    if left_out is not None:
        left_out.extend(others)
    if not kept:
        remark = Plan([], others).remark
        raise ValueError(
            f"{show(place)} holds no audio, shard or table; files with these "
            f"endings are looked for: {' '.join(sorted(AUDIO_SUFFIXES))} "
            f"{' '.join(SHARDS + TABLES)}" + (f". {remark}." if remark else "")
        )
    return kept


def outside(found: list[Found], top: str, output: str) -> list[Found]:
    """Leave out what lies in the output, unless all below `top` does."""
    if lies_in(top, output):
        return found
    folders = {file.place.rpartition("/")[0] for file in found}
    skipped = {folder for folder in folders if lies_in(folder, output)}
    return [f for f in found if f.place.rpartition("/")[0] not in skipped]


def lies_in(folder: str, output: str) -> bool:
    """Tell whether a folder is the output or below it, whatever links say."""
    path, top = local_path(folder), local_path(output)
    if path and top:
        return real(path).is_relative_to(real(top))
    return f"{folder}/".startswith(f"{output}/")


def name_result(found: Found, given: str | None, output: str) -> Unit:
    """Name the result of one file, shard or table; a list may have named it.

    Example
    -------
    >>> found = Found("/data/a/0.tar", "0.tar", 1)
    >>> [name_result(found, n, "/c").name for n in (None, "a/0.tar", "id")]
    ['0.tar', 'a/0.tar', 'id.tar']
    """
    kind, name = kind_of(found.key), given or found.key
    if kind == "file":
        name = output_name(Path(name)).as_posix()
    elif kind != kind_of(name):
        name += next(x for x in SHARDS + TABLES if has_ending(found.key, x))
    if kind == "table":
        name = str(PurePosixPath(name).with_suffix(".parquet"))
    target = join(output, name)
    return Unit(found.place, target, name, max(found.size, 0))


def has_ending(name: str, ending: str) -> bool:
    """Tell whether a file's name ends so, in small or large letters."""
    return name.lower().endswith(ending)


def refuse_losses(units: Mapping[tuple, Unit], output: str) -> None:
    """Refuse plans in which a file would be lost; keys say what inputs are.

    On this machine links are followed; elsewhere names are compared.
    """
    folder = local_path(output)
    if folder:
        pairs = {
            key: Pair(unit.input, local_path(unit.target))
            for key, unit in units.items()
        }
        refuse_clashes(pairs.values())
        refuse_lost_inputs(pairs)
        refuse_outside(pairs.values(), folder)
        return
    sources = defaultdict(list)
    for unit in units.values():
        sources[unit.target].append(unit.source)
    refuse(
        "Several inputs would be written to one output; rename them, give "
        "the folder above them as INPUT, or use one --output for each",
        (
            f"{show(target)} <- {show(', '.join(names))}"
            for target, names in sources.items()
            if len(names) > 1
        ),
    )
    inputs = {name for names in sources.values() for name in names}
    refuse(
        "An output would overwrite an input; choose another --output",
        (show(target) for target in sources if target in inputs),
    )
