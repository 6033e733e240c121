"""Which files are read and where their enhanced versions are written.

All decisions fall here, before a model is loaded: the inputs are found, every
output gets a name, and a plan that would lose a file is refused. Nothing is
written, no audio is opened, and every refusal is a `ValueError`.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .rf64 .w64 .flac .mp3 .ogg .oga .opus .aif .aiff .aifc .au"
    " .snd .sph .caf".split()  # codespell:ignore caf
)
LIST_SUFFIX = ".txt"
SHOWN = 10  # names in one message; the others are counted


@dataclass(frozen=True)
class Job:
    """One file to enhance."""

    source: Path  # as it was given or found
    target: Path  # its WAV file below the output folder


def plan_jobs(inputs: Sequence[str], output: Path) -> list[Job]:
    """Find the audio files and name their outputs.

    Arguments
    ---------
    inputs : sequence of str
        Audio files, folders, and `.txt` lists of both, one path a line.
        Relative paths, those in a list too, start at the current folder.
    output : Path
        The folder of the results. A file given by name lands directly in it;
        a folder's tree is kept below it. Where it lies inside an input
        folder, it is not searched.

    Returns
    -------
    list of Job
        In the order given, each folder sorted by name. The same file twice
        under the same name is one job.

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
    >>> (job,) = plan_jobs([str(tmp / "noisy")], tmp / "clean")
    >>> job.target.relative_to(tmp).as_posix()
    'clean/day1/a.b.wav'
    """
    paths = read_lists(inputs)
    refuse_missing(paths)
    jobs = [
        Job(source, output / output_name(relative))
        for path in paths
        for source, relative in find_audio(path, output)
    ]
    jobs = list(
        {(identity(job.source), job.target): job for job in jobs}.values()
    )
    refuse_clashes(jobs)
    refuse_lost_inputs(jobs)
    refuse_outside(jobs, output)
    return jobs


def read_lists(inputs: Iterable[str]) -> list[Path]:
    """Replace each `.txt` list among the inputs by the paths it names."""
    paths = []
    for path in map(Path, inputs):
        if is_list(path) and path.is_file():
            paths.extend(read_list(path))
        else:
            paths.append(path)
    return paths


def read_list(path: Path) -> list[Path]:
    """Read a list of paths; blank lines and `#` comments are skipped."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise ValueError(
            f"{path} is not UTF-8 text. A {LIST_SUFFIX} input is a list of "
            "paths, one per line."
        ) from err
    lines = (line.strip() for line in text.split("\n"))
    paths = [Path(line) for line in lines if line and line[0] != "#"]
    if not paths:
        raise ValueError(f"{path} names no file. Write one path per line.")
    for inner in filter(is_list, paths):
        raise ValueError(
            f"{path} names another list, {inner}. Give both lists as inputs."
        )
    return paths


def is_list(path: Path) -> bool:
    """Tell by its name whether a path is a list; folders are never one."""
    return path.suffix.lower() == LIST_SUFFIX and not path.is_dir()


def find_audio(path: Path, output: Path) -> Iterator[tuple[Path, Path]]:
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
    for source in walk_audio(path, real(output)):
        found = True
        yield source, source.relative_to(path)
    if not found:
        raise ValueError(
            f"The folder {path} holds no audio. Files with these endings are "
            f"looked for: {' '.join(sorted(AUDIO_SUFFIXES))}"
        )


def walk_audio(folder: Path, skipped: Path) -> Iterator[Path]:
    """Yield the audio files below a folder, without those in `skipped`."""
    for root, folders, names in os.walk(folder, onerror=refuse_unlisted):
        folders[:] = sorted(
            name
            for name in folders
            if name[0] != "." and real(Path(root, name)) != skipped
        )
        for name in sorted(names):
            suffix = os.path.splitext(name)[1].lower()
            if name[0] != "." and suffix in AUDIO_SUFFIXES:
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


def identity(path: Path) -> tuple[int, int] | str:
    """Tell files apart by what they are, not by how they are written."""
    try:
        status = path.stat()
    except OSError:  # a broken link: only its name is left
        return os.path.abspath(path)
    return status.st_dev, status.st_ino


def real(path: Path) -> Path:
    """Follow every link; unlike `Path.resolve`, a loop of links is no error."""
    return Path(os.path.realpath(path))


def refuse_missing(paths: Iterable[Path]) -> None:
    """Refuse inputs that are neither a file nor a folder."""
    missing = [p for p in paths if not (p.is_file() or p.is_dir())]
    refuse(
        "No such file or folder (relative paths start at the current folder)",
        map(str, missing),
    )


def refuse_clashes(jobs: Iterable[Job]) -> None:
    """Refuse two inputs with one output."""
    sources = defaultdict(list)
    for job in jobs:
        sources[os.path.normcase(job.target)].append(str(job.source))
    refuse(
        "Several inputs would be written to one output; rename them, give "
        "the folder above them as INPUT, or use one --output for each",
        (
            f"{target} <- {', '.join(names)}"
            for target, names in sources.items()
            if len(names) > 1
        ),
    )


def refuse_lost_inputs(jobs: Sequence[Job]) -> None:
    """Refuse an output that is an input or a folder."""
    inputs = {identity(job.source): job.source for job in jobs}
    refuse(
        "An output would overwrite an input; choose another --output",
        (
            f"{job.target} <- {job.source}, over {inputs[identity(job.target)]}"
            for job in jobs
            if identity(job.target) in inputs
        ),
    )
    refuse(
        "An output has the name of a folder; choose another --output",
        (str(job.target) for job in jobs if job.target.is_dir()),
    )


def refuse_outside(jobs: Iterable[Job], output: Path) -> None:
    """Refuse an output that a link would lead out of the output folder."""
    top = real(output)
    folders = {job.target.parent for job in jobs}
    refuse(
        f"A link leads out of the output folder {output}; choose another "
        "--output or remove the link",
        (
            f"{folder} -> {real(folder)}"
            for folder in sorted(folders)
            if not real(folder).is_relative_to(top)
        ),
    )


def refuse(reason: str, culprits: Iterable[str]) -> None:
    """Raise a ValueError that lists the culprits, if there are any."""
    culprits = list(culprits)
    if not culprits:
        return
    lines = culprits[:SHOWN]
    if len(culprits) > SHOWN:
        lines.append(f"... and {len(culprits) - SHOWN} more")
    raise ValueError("\n  ".join([f"{reason}:", *lines]))
