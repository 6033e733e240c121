"""Which files are read and where their enhanced versions are written.

All decisions fall here, before a model is loaded: the inputs are found, every
output gets a name, and a plan that would lose a file is refused. Nothing is
written, no audio is opened, and every refusal is a `ValueError`.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from speechbrain_llase.bulk.refusals import (
    look_at,
    real,
    refuse_clashes,
    refuse_lost_inputs,
    refuse_missing,
    refuse_outside,
)
from speechbrain_llase.dataio.input_lists import is_list, read_list

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .rf64 .w64 .flac .mp3 .ogg .oga .opus .aif .aiff .aifc .au"
    " .snd .sph .caf".split()  # codespell:ignore caf
)
UNREADABLE = frozenset(  # sound and films that libsndfile does not read
    ".m4a .m4b .aac .ac3 .wma .amr .ape .mka .mkv .mov .mp4 .webm .wv".split()
)


@dataclass(frozen=True)
class Job:
    """One file to enhance."""

    source: Path  # as it was given or found
    target: Path  # its WAV file below the output folder
    name: str = ""  # that file below the output folder, with slashes
    size: int = 0  # bytes of the source


@dataclass(frozen=True)
class Plan:
    """All files of a run."""

    jobs: list[Job]
    left_out: list[str | Path]  # found, but of formats that cannot be read

    @property
    def remark(self) -> str:
        """Say what was left out, or nothing."""
        if not self.left_out:
            return ""
        kinds = Counter(
            PurePosixPath(path).suffix.lower() for path in self.left_out
        )
        counts = (f"{kind}: {n}" for kind, n in sorted(kinds.items()))
        return (
            f"{len(self.left_out)} files are left out, for their formats "
            f"cannot be read ({', '.join(counts)}), such as "
            f"{self.left_out[0]}; convert them to WAV or FLAC first"
        )


def plan_jobs(inputs: Sequence[str], output: Path) -> list[Job]:
    """Find the audio files and name their outputs; see `plan_run`."""
    return plan_run(inputs, output).jobs


def plan_run(
    inputs: Sequence[str], output: Path, column: str | None = None
) -> Plan:
    """Find the audio files and name their outputs.

    Arguments
    ---------
    inputs : sequence of str
        Audio files, folders, and lists of them; see `read_list`. Relative
        paths, those in a list too, start at the current folder.
    output : Path
        The folder of the results. A file given by name lands directly in it;
        a folder's tree is kept below it, and so is that of a CSV or JSON
        list. Where it lies inside an input folder, it is not searched.
    column : str, optional
        Of CSV and JSON lists.

    Returns
    -------
    plan : Plan
        Jobs in the order given, each folder sorted by name. The same file
        twice under the same name is one job.

    Raises
    ------
    ValueError
        If an input is missing or holds no audio, or if an output would be
        written twice, over an input, over a folder or outside `output`.

    Example
    -------
    >>> tmp = Path(getfixture("tmpdir"))
    >>> (tmp / "noisy" / "day1").mkdir(parents=True)
    >>> (tmp / "noisy" / "day1" / "a.b.flac").touch()
    >>> (job,) = plan_run([str(tmp / "noisy")], tmp / "clean").jobs
    >>> job.target.relative_to(tmp).as_posix()
    'clean/day1/a.b.wav'
    """
    given = list(list_inputs(inputs, column))
    refuse_missing(path for path, _ in given)
    left_out = []
    jobs = {}
    for path, name in given:
        for source, relative in find_audio(path, output, left_out):
            named = output_name(name or relative)
            key, size = look_at(source)
            job = Job(source, output / named, named.as_posix(), size)
            jobs[key, job.name] = job
    refuse_clashes(jobs.values())
    refuse_lost_inputs(jobs)
    refuse_outside(jobs.values(), output)
    return Plan(list(jobs.values()), left_out)


def list_inputs(
    inputs: Iterable[str], column: str | None
) -> Iterator[tuple[Path, Path | None]]:
    """Yield every path, and its output's name where a list says it."""
    for path in map(Path, inputs):
        if not (is_list(path) and path.is_file()):
            yield path, None
            continue
        for entry in read_list(path, column):
            yield Path(entry.path), entry.name and Path(entry.name)


def find_audio(
    path: Path, output: Path, left_out: list[Path] | None = None
) -> Iterator[tuple[Path, Path]]:
    """Yield the audio that one input stands for.

    Arguments
    ---------
    path : Path
        A file, taken whatever its suffix, or a folder, which is searched
        to the bottom for `AUDIO_SUFFIXES`. Hidden files and folders are
        ignored, and links to folders are not followed.
    output : Path
        A folder that is not searched, unless `path` is this folder or lies
        in it.
    left_out : list of Path, optional
        Gets what is `UNREADABLE`.

    Yields
    ------
    tuple of (Path, Path)
        The file, and its path relative to the input that it belongs to.

    Raises
    ------
    ValueError
        If a folder holds no audio or cannot be listed.
    """
    if not path.is_dir():
        yield path, Path(path.name)
        return
    found = False
    others = []
    for source in walk_audio(path, real(output), others):
        found = True
        yield source, source.relative_to(path)
    if left_out is not None:
        left_out.extend(others)
    if not found:
        remark = Plan([], others).remark
        raise ValueError(
            f"The folder {path} holds no audio. Files with these endings are "
            f"looked for: {' '.join(sorted(AUDIO_SUFFIXES))}"
            + (f". {remark}." if remark else "")
        )


def walk_audio(
    folder: Path, skipped: Path, others: list[Path]
) -> Iterator[Path]:
    """Yield the audio below a folder, without `skipped`; others are kept."""
    for path in walk(folder, skipped):
        suffix = os.path.splitext(path.name)[1].lower()
        if suffix in AUDIO_SUFFIXES:
            yield path
        elif suffix in UNREADABLE:
            others.append(path)


def walk(folder: Path, skipped: Path) -> Iterator[Path]:
    """Yield the files below a folder, without hidden ones and `skipped`."""
    for root, folders, names in os.walk(folder, onerror=refuse_unlisted):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and real(Path(root, name)) != skipped
        )
        for name in sorted(names):
            if name[0] != ".":
                yield Path(root, name)


def refuse_unlisted(err: OSError) -> None:
    """Refuse a folder whose content cannot be seen."""
    raise ValueError(
        f"The folder {err.filename} cannot be listed: {err.strerror}."
    ) from err


def output_name(relative: Path) -> Path:
    """Name the result of one input file.

    Arguments
    ---------
    relative : Path
        Path relative to the input that it belongs to.

    Returns
    -------
    Path
        The same path with the ending `.wav`, which replaces a known audio
        ending and is added to any other.

    Example
    -------
    >>> [str(output_name(Path(n))) for n in ("a.b.wav", "a.FLAC", "take.2")]
    ['a.b.wav', 'a.wav', 'take.2.wav']
    """
    if relative.suffix.lower() in AUDIO_SUFFIXES:
        return relative.with_suffix(".wav")
    return relative.with_name(relative.name + ".wav")
