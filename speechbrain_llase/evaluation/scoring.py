"""Scores of clips: every row, every measure, every refusal."""

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from speechbrain_llase import metrics
from speechbrain_llase.evaluation.clips import Clip, Skip, as_wave

MEASURES = ("dnsmos", "pesq", "estoi", "si-sdr", "words", "speaker", "level")
OF_TASKS = {"plc": ("plcmos",), "aec": ("aecmos", "erle")}  # beside those
PACKAGES = {  # measure or offline model -> what it imports, how to get it
    "dnsmos": ("speechmos", "pip install 'speechmos==0.0.1.1' onnxruntime"),
    **dict.fromkeys(
        ("aecmos", "plcmos"),
        ("speechmos", "pip install 'speechmos==0.0.1.1' librosa onnxruntime"),
    ),
    "pesq": ("pesq", "pip install pesq==0.0.4 (it needs a C compiler)"),
    "estoi": ("pystoi", "pip install 'pystoi>=0.4,<0.5'"),
    metrics.OFFLINE_ASR: ("pocketsphinx", "pip install 'pocketsphinx>=5,<6'"),
    metrics.OFFLINE_SPEAKER: (
        "resemblyzer",
        "pip install Resemblyzer==0.1.4 'setuptools<81'",
    ),
    "whisper": ("faster_whisper", "pip install 'faster-whisper>=1.1,<2'"),
}
AHEAD = 4  # clips a process that are made before the first is scored
LENGTH_TOLERANCE = 1600  # samples; waves that differ by more do not compare
_worker = {}  # the scorer of a process, built once


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, and by which models."""

    asr: str  # see `metrics.load_reader`
    speaker: str  # see `metrics.load_speaker`
    without: tuple[str, ...] = ()  # of MEASURES
    device: str = "cpu"  # of SpeechBrain models
    cache: Path | None = None  # folder of readings; None keeps none
    task: str = "se"  # adds the measures of OF_TASKS

    @property
    def wanted(self) -> list[str]:
        """The measures that are taken."""
        names = (*MEASURES, *OF_TASKS.get(self.task, ()))
        return [name for name in names if name not in self.without]


@dataclasses.dataclass(frozen=True)
class Scores:
    """What one clip was given."""

    clip: Clip  # without its waves
    rows: dict[str, dict[str, float]]  # row -> column -> figure
    skipped: list[Skip]
    # row -> samples beyond full scale, which were clipped, where there are any
    beyond: dict[str, int] = dataclasses.field(default_factory=dict)


def find_missing(settings: Settings) -> dict[str, str]:
    """Find measures whose package is not installed, with how it can be had."""
    models = {"words": settings.asr, "speaker": settings.speaker}
    names = {x: models.get(x, x).partition(":")[0] for x in settings.wanted}
    needs = {x: PACKAGES.get(name) for x, name in names.items()}
    return {x: y[1] for x, y in needs.items() if y and not is_installed(y[0])}


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return find_spec(module) is not None
    except ValueError:  # None stands in its place
        return False


class Scorer:
    """Score clips with measures that are built once.

    The reference of word differences and voices is the row "clean", or
    "noisy" where there is none. Samples are compared with "clean" alone.

    Arguments
    ---------
    settings : Settings
        What to build.

    Raises
    ------
    ImportError
        If a package is missing; with the pip line.
    ValueError
        If a model cannot be had.
    """

    def __init__(self, settings: Settings):
        wanted = settings.wanted
        plain = {
            "dnsmos": lambda: metrics.DNSMOS(num_threads=1),
            "plcmos": metrics.PLCMOS,
            "level": lambda: metrics.check_level,
        }
        self._aecmos = metrics.AECMOS() if "aecmos" in wanted else None
        self._erle = metrics.erle if "erle" in wanted else None
        against_clean = {
            "pesq": metrics.PESQ,
            "estoi": metrics.ESTOI,
            "si-sdr": metrics.SISDR,
        }
        self._plain = {k: x() for k, x in plain.items() if k in wanted}
        self._against_clean = {
            k: x() for k, x in against_clean.items() if k in wanted
        }
        self._speaker = self._words = None
        if "speaker" in wanted:
            self._speaker = metrics.load_speaker(
                settings.speaker, settings.device
            )
        if "words" in wanted:
            reader = metrics.load_reader(settings.asr, settings.device)
            if settings.cache:
                reader = metrics.CachedReader(reader, settings.cache)
            self._words = metrics.WordDifference(reader)

    def __call__(self, clip: Clip) -> Scores:
        """Score one clip, whose rows are files or waves.

        A file that cannot be read skips the clip; a measure that refuses a wave
        leaves one figure out. What reaches beyond full scale, as decoders and
        resamplers make it, is clipped and counted.
        """
        about = dataclasses.replace(clip, waves={}, beside=None)
        try:
            given = {k: as_wave(x) for k, x in clip.waves.items()}
            beside = None if clip.beside is None else as_wave(clip.beside)
        except ValueError as err:
            return Scores(about, {}, [Skip(clip.name, "", "", str(err))])
        waves = {k: x.clip(-1, 1) for k, x in given.items()}
        beside = beside if beside is None else beside.clip(-1, 1)
        counts = {k: int((abs(x) > 1).sum()) for k, x in given.items()}
        beyond = {k: count for k, count in counts.items() if count}
        rows, skipped = {row: {} for row in waves}, []
        rows |= self._words_of(waves, clip, skipped)

        def add(row: str, column: str, measure: Callable, *args) -> None:
            try:
                figure = measure(*args)
            except ValueError as err:
                skipped.append(Skip(clip.name, row, column, str(err)))
                return
            named = figure if isinstance(figure, dict) else {column: figure}
            rows[row].update(named)

        reference = "clean" if "clean" in waves else "noisy"
        for row, wave in waves.items():
            for column, measure in self._plain.items():
                add(row, column, measure, wave)
            if row != "clean" and "clean" in waves:
                for column, measure in self._against_clean.items():
                    pair = wave, waves["clean"]
                    add(row, column, compared, measure, *pair)
            self._add_echo(add, row, waves, beside)
            if self._speaker:
                add(row, "speaker", self._speaker, wave, waves[reference])
            if "level" in self._plain:
                rows[row]["missing"] = len(waves["noisy"]) - len(wave)
        return Scores(about, rows, skipped, beyond)

    def _add_echo(
        self,
        add: Callable,
        row: str,
        waves: Mapping[str, np.ndarray],
        beside: np.ndarray | None,
    ) -> None:
        """Measure what is left of an echo, and of the rest."""
        if row == "clean":
            return
        if self._aecmos and beside is not None:
            add(row, "aecmos", self._aecmos, waves[row], waves["noisy"], beside)
        if self._erle and row != "noisy":
            add(row, "erle", self._erle, waves[row], waves["noisy"])

    def _words_of(
        self, waves: Mapping[str, np.ndarray], clip: Clip, skipped: list[Skip]
    ) -> dict[str, dict]:
        """Read every row and count its edits."""
        rows, readings = {row: {} for row in waves}, {}
        if not self._words:
            return rows
        for row, wave in waves.items():
            try:
                readings[row] = self._words.read(wave)
            except ValueError as err:
                skipped.append(Skip(clip.name, row, "words", str(err)))
        references = {
            "": readings.get("clean" if "clean" in waves else "noisy")
        }
        if clip.text is not None:
            references["text_"] = metrics.normalise_words(clip.text)
        for row, words in readings.items():
            for name, reference in references.items():
                if reference is None:
                    continue
                found = self._words.compare(words, reference)
                rows[row][f"{name}edits"] = found.edits
                rows[row][f"{name}words"] = found.words
        return rows


def compared(measure: Callable, wave: np.ndarray, clean: np.ndarray) -> float:
    """Compare the samples (T,) of two waves, over the length that both have.

    Released systems are some frames short. Raises a ValueError if they
    differ by more than 0.1 s, so that one may be another clip.
    """
    differ = abs(len(wave) - len(clean))
    if differ > LENGTH_TOLERANCE:
        raise ValueError(
            f"The wave has {len(wave)} samples and the clean one {len(clean)}; "
            f"more than {LENGTH_TOLERANCE} apart do not compare."
        )
    common = min(len(wave), len(clean))
    return measure(wave[:common], clean[:common])


def score_clips(
    clips: Iterable[Clip], settings: Settings, jobs: int = 1
) -> Iterator[Scores]:
    """Score clips in their order.

    Arguments
    ---------
    clips : iterable of Clip
        May be made on the way: only a few are taken ahead.
    settings : Settings
        What to measure.
    jobs : int
        Processes; 1 scores in this one.

    Yields
    ------
    scores : Scores

    Raises
    ------
    ImportError, ValueError
        If a measure cannot be built; before any clip is taken.
    """
    scorer = Scorer(settings)
    if jobs == 1:
        yield from map(scorer, clips)
        return
    del scorer  # it has shown that all can be built
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs, spawn, initializer=_start, initargs=(settings,)
    ) as pool:
        pending: list[Future] = []
        for clip in clips:
            pending.append(pool.submit(_score, clip))
            if len(pending) > AHEAD * jobs:
                yield pending.pop(0).result()
        for future in pending:
            yield future.result()


def _start(settings):
    """Build the scorer of a process, which takes one core."""
    torch.set_num_threads(1)
    _worker["scorer"] = Scorer(settings)


def _score(clip):
    return _worker["scorer"](clip)
