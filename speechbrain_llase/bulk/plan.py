"""What a run does: its units, and where their results go.

All decisions fall here, before a model is loaded: the inputs are found, every
result gets a name, and a plan that would lose a file is refused. No result is
written, no audio is opened.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath

from speechbrain_llase.bulk.refusals import (
    is_missing,
    look_at,
    refuse_losses,
    refuse_missing,
)
from speechbrain_llase.bulk.storage import list_files, local_copy
from speechbrain_llase.bulk.units import (
    SHARD_ENDINGS,
    TABLE_ENDINGS,
    Unit,
    UnitList,
    kind_of,
)
from speechbrain_llase.dataio.audio_files import (
    AUDIO_SUFFIXES,
    find_audio,
    keep_audio,
    real_path,
    tell_left_out,
)
from speechbrain_llase.dataio.audio_formats import FORMATS, Format
from speechbrain_llase.dataio.input_lists import Entry, is_list, read_list
from speechbrain_llase.dataio.urls import (
    local_path,
    name_of,
    show,
    split_glob,
)


@dataclass(frozen=True)
class Plan:
    """All units of a run."""

    units: UnitList
    left_out: list[str]  # found, but of formats that cannot be read
    only: str | None = None  # name of the one result, where that was asked for

    @property
    def remark(self) -> str:
        """Say what was left out, or nothing."""
        return tell_left_out(self.left_out)


def plan_run(
    inputs: Sequence[str],
    output: str,
    column: str | None = None,
    beside: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    written: Format = Format(),
) -> Plan:
    """Find what there is to do, and name its results.

    `inputs` are URLs or paths: files, folders, patterns, and lists of them;
    see `read_list`. Relative paths, those in a list too, start at the current
    folder. The `output` folder is not searched, unless an input lies in it. A
    file given by name lands directly in it; the tree below a folder, a pattern
    or a CSV or JSON list is kept. Units stand in the order given, folders
    sorted by name; the same file twice under the same name is one unit. What
    is heard `beside` each file is another column of its list. `say` is told
    which inputs were lists. Results are `written` in a format; an `output`
    that is named like a sound file is the one result, of one input.

    ValueError: an input is missing or holds nothing, two results have one
    name, or a result would lie over an input, over a folder or outside
    `output`. OSError: there is no such input behind a URL, or no access.

    Example
    -------
    >>> tmp = Path(getfixture("tmpdir"))
    >>> (tmp / "noisy" / "day1").mkdir(parents=True)
    >>> (tmp / "noisy" / "day1" / "a.b.flac").touch()
    >>> (unit,) = plan_run([str(tmp / "noisy")], str(tmp / "clean")).units
    >>> Path(unit.target).relative_to(tmp).as_posix()
    'clean/day1/a.b.wav'
    """
    top, only = split_output(tidy(output))
    how = column, beside, say
    given = [entry for place in inputs for entry in read_input(place, *how)]
    refuse_missing(entry.path for entry in given)
    left_out, units = [], UnitList(top)
    named = name_units(given, top, left_out, written)
    units.extend(the_one(named, only) if only else named)
    refuse_losses(units, top)
    return Plan(units, left_out, only)


def split_output(output: str) -> tuple[str, str | None]:
    """Tell the folder of the results, and the name of the one that is a file.

    Example
    -------
    >>> split_output("a/clean.wav"), split_output("s3://b/clean.v1")
    (('a', 'clean.wav'), ('s3://b/clean.v1', None))
    """
    path, name = local_path(output), name_of(output)
    ending = PurePosixPath(name).suffix.lower()[1:]
    if ending not in FORMATS or path and path.is_dir():
        return output, None
    if path:
        return str(path.parent), path.name
    return output.rpartition("/")[0], name


def the_one(
    named: Iterable[tuple[str, Unit]], name: str
) -> Iterator[tuple[str, Unit]]:
    """Give the one result its name; a ValueError if there are several."""
    units = list(islice(named, 2))
    if len(units) > 1 or units[0][1].kind != "file":
        raise ValueError(
            f"--output {name} names one sound file, and there are several "
            "results, or a shard or table. Name a folder."
        )
    ((identity, unit),) = units
    yield identity, replace(unit, name=name)


def name_units(
    given: Iterable[Entry], top: str, left_out: list[str], written: Format
) -> Iterator[tuple[str, Unit]]:
    """Find what entries hold: what each file is, and the unit."""
    for entry in given:
        for source, key, size in find(tidy(entry.path), top, left_out):
            name = name_result(key, entry.name, written.ending(key))
            identity, here = look_at(source)
            beside = entry.beside and tidy(entry.beside)
            yield identity, Unit(source, top, name, size or here, beside)


def tidy(place: str) -> str:
    """Write a place as briefly as it was meant.

    Example
    -------
    >>> tidy("./a//b/"), tidy("file:///a/"), tidy("s3://bucket/a/")
    ('a/b', '/a', 's3://bucket/a')
    """
    path = local_path(place)
    return str(path) if path else place.rstrip("/")


def read_input(
    place: str,
    column: str | None,
    beside: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Entry]:
    """Read a list of inputs, or give the one input that it is."""
    path = local_path(place)
    if not is_list(path or Path(name_of(place))) or path and not path.is_file():
        return [Entry(place)]
    with local_copy(place) as path:
        entries = read_list(path, column)
        others = read_list(path, beside) if beside is not None else None
    if all(map(is_missing, (entry.path for entry in entries))):
        raise ValueError(
            f"{show(place)} is taken for a list of inputs, by its ending, but "
            f"none of its {len(entries)} lines names a file or folder that is "
            f"there; the first is {entries[0].path!r}. Relative paths start "
            "at the current folder."
        )
    say(f"reading {len(entries)} inputs from the list {show(place)}")
    if others is None:
        return entries
    pairs = zip(entries, others, strict=True)
    return [replace(one, beside=other.path) for one, other in pairs]


def find(
    place: str, output: str, left_out: list[str]
) -> Iterator[tuple[str, str, int]]:
    """Yield place, name below the input and bytes of what an input holds."""
    path, (top, is_glob) = local_path(place), split_glob(place)
    if path and (path.exists() or not is_glob):
        skipped = local_path(output)
        for file, key in find_audio(
            path, skipped, left_out, SHARD_ENDINGS + TABLE_ENDINGS
        ):
            yield str(file), key, 0
        return
    found = list_files(place)
    if [file[0] for file in found] == [place]:
        yield from found
        return
    found = outside(found, top, output)
    yield from keep_audio(
        found, show(place), left_out, SHARD_ENDINGS + TABLE_ENDINGS
    )


def outside(
    found: Iterable[tuple[str, str, int]], top: str, output: str
) -> list[tuple[str, str, int]]:
    """Leave out what lies in the output, unless all below `top` does."""
    found = list(found)
    if lies_in(top, output):
        return found
    folders = {place.rpartition("/")[0] for place, _, _ in found}
    skipped = {folder for folder in folders if lies_in(folder, output)}
    return [f for f in found if f[0].rpartition("/")[0] not in skipped]


def lies_in(folder: str, output: str) -> bool:
    """Tell whether a folder is the output or below it, whatever links say."""
    path, top = local_path(folder), local_path(output)
    if path and top:
        return real_path(path).is_relative_to(real_path(top))
    return f"{folder}/".startswith(f"{output}/")


def name_result(key: str, given: str | None = None, ending: str = "wav") -> str:
    """Name the result of a file, shard or table; a list may have named it.

    Example
    -------
    >>> [name_result(key) for key in ("a.b.wav", "1/a.FLAC", "take.2")]
    ['a.b.wav', '1/a.wav', 'take.2.wav']
    >>> [name_result("0.tar", name) for name in (None, "a/0.tar", "id")]
    ['0.tar', 'a/0.tar', 'id.tar']
    """
    kind, name = kind_of(key), given or key
    path = PurePosixPath(name)
    if kind == "file":
        is_audio = path.suffix.lower() in AUDIO_SUFFIXES
        if is_audio:
            return str(path.with_suffix(f".{ending}"))
        return f"{path}.{ending}"
    if kind != kind_of(name):
        name += next(
            x for x in SHARD_ENDINGS + TABLE_ENDINGS if key.lower().endswith(x)
        )
    if kind == "table":
        name = str(PurePosixPath(name).with_suffix(".parquet"))
    return name
