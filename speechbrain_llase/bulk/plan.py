"""Which files are read and where their enhanced versions are written.

All decisions fall here, before a model is loaded: the inputs are found, every
output gets a name, and a plan that would lose a file is refused. Nothing is
written, no audio is opened, and every refusal is a `ValueError`.

Authors
 * The speechbrain_llase contributors 2026
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_llase.bulk.refusals import (
    look_at,
    refuse_clashes,
    refuse_lost_inputs,
    refuse_missing,
    refuse_outside,
)
from speechbrain_llase.dataio.audio_files import (
    AUDIO_SUFFIXES,
    find_audio,
    tell_left_out,
)
from speechbrain_llase.dataio.input_lists import is_list, read_list


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
    left_out: list[str]  # found, but of formats that cannot be read

    @property
    def remark(self) -> str:
        """Say what was left out, or nothing."""
        return tell_left_out(self.left_out)


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
            named = output_name(name or Path(relative))
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
