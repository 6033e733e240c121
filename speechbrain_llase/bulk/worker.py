"""One model at work: units in, records out.

It is the local engine, and what each actor of the Ray engine runs.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speechbrain_llase.bulk.batcher import Outcome, enhance_many
from speechbrain_llase.bulk.container_items import (
    Contents,
    InsideOptions,
    renamed,
)
from speechbrain_llase.bulk.open_file import Stopped
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.records import (
    LOSS,
    Record,
    make_record,
    one_line,
)
from speechbrain_llase.bulk.run_settings import Description, describe_run
from speechbrain_llase.bulk.storage import local_copy
from speechbrain_llase.bulk.tables import enhance_table
from speechbrain_llase.bulk.tar_shards import enhance_shard
from speechbrain_llase.bulk.units import Unit
from speechbrain_llase.dataio.audio_formats import read_tags
from speechbrain_llase.dataio.audio_writer import write_voices
from speechbrain_llase.dataio.films import FILMS, add_picture
from speechbrain_llase.dataio.own_rate import at_own_rate, rate_kept
from speechbrain_llase.dataio.sound_file import Sound, open_sound
from speechbrain_llase.dataio.urls import local_path, show, whole
from speechbrain_llase.inference.loading import load_enhancer

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE
    from speechbrain_llase.inference.reports import Report

# libsndfile's names of the encodings that hold more; lossy ones have no width
WIDE_SUBTYPES = {
    "PCM_24": "24-bit",
    "PCM_32": "32-bit",
    "FLOAT": "32-bit float",
    "DOUBLE": "64-bit float",
    "ALAC_20": "20-bit",
    "ALAC_24": "24-bit",
    "ALAC_32": "32-bit",
    "DWVW_24": "24-bit",
}
NAMED = 5  # recordings of one container that its warnings name


class Worker:
    """Enhance units with one model."""

    def __init__(
        self,
        enhancer: "EnhanceLLaSE",
        run: Description,
        options: InsideOptions,
    ):
        self.enhancer = enhancer
        self.run = run
        self.options = options
        self.rate = enhancer.hparams.sample_rate
        self.losses: dict[str, str] = {}  # what open files lose
        self.tags: dict[str, dict[str, str]] = {}  # of open files
        self.copies: dict[str, str] = {}  # where those from URLs are read

    @classmethod
    def load(cls, model: dict[str, Any], options: InsideOptions) -> "Worker":
        """Load the model; its arguments are those of `load_enhancer`."""
        enhancer = load_enhancer(**model)
        source, precision = model["source"], model["precision"]
        run = describe_run(enhancer, source, precision)
        settings = run.settings | options.taken.settings
        return cls(enhancer, replace(run, settings=settings), options)

    def enhance(
        self,
        units: Collection[Unit],
        folder: OutputFolder,
        stop: Callable[[], bool] = lambda: False,
        progress: Callable[[Unit, int, int], None] | None = None,
        report: Callable[[Unit, "Report"], None] = lambda *_: None,
        watched: bool = False,
    ) -> Iterator[tuple[Unit, list[Record]]]:
        """Enhance units of any kinds; windows of several files run together.

        The work ends, with CannotGoOn, if the folder is lost. `progress` is
        called with a file, its samples done and its samples in all; `report`
        with each file that is `watched` (see `enhance_many`) and what its
        enhancement was like. Each unit is yielded as it ends, with its line;
        before that one stand those of the recordings that failed in it.
        """

        options = self.options

        def write(outcome: Outcome, blocks: Iterable[torch.Tensor]) -> None:
            tags, subtype = self.tags.get(outcome.job.name), options.subtype
            with ExitStack() as stack:  # the first one appears last
                blocks, rate = self.kept(outcome, blocks, stack)
                paths = [
                    stack.enter_context(folder.new_result(part))
                    for part in outcome.job.results
                ]
                write_voices(paths, blocks, rate, subtype, tags)
                self.add_pictures(outcome.job, paths)

        outcomes = enhance_many(
            self.enhancer,
            (unit for unit in units if unit.kind == "file"),
            self.open_source,
            write,
            watched,
            progress,
            stop,
            self.options.taken,
            self.open_beside if self.enhancer.stages.hears_reference else None,
        )
        for outcome in outcomes:
            if outcome.report:
                report(outcome.job, outcome.report)
            yield outcome.job, [self.describe(outcome)]
        for unit in units:
            if unit.kind != "file" and not stop():
                try:
                    yield unit, self.enhance_inside(unit, folder, stop)
                except Stopped:
                    return

    @contextmanager
    def open_source(self, unit: Unit) -> Iterator[str]:
        """Give a path to a file, its own or a copy's, and look into it."""
        source = whole(unit.source)
        with local_copy(source) as path:
            if str(path) != source:
                self.copies[unit.name] = str(path)
            self.losses[unit.name] = check_source(
                path, self.rate, self.options, Path(unit.name).suffix
            )
            self.tags[unit.name] = read_tags(path)
            yield str(path)

    @contextmanager
    def open_beside(self, unit: Unit) -> Iterator[str]:
        """Give a path to what is heard beside a file, its own or a copy's."""
        with local_copy(whole(unit.beside)) as path:
            refuse_special(str(path))
            yield str(path)

    def kept(
        self,
        outcome: Outcome,
        blocks: Iterable[torch.Tensor],
        stack: ExitStack,
    ) -> tuple[Iterable[torch.Tensor], int]:
        """Bring a result to its input's rate, if that is kept: blocks and rate.

        A file from elsewhere is fetched again.
        """
        taken = self.options.taken
        if not taken.keep_rate:
            return blocks, self.rate
        source = local_copy(whole(outcome.job.source))
        path = stack.enter_context(source)
        blocks = at_own_rate(blocks, path, taken, self.rate, outcome.warn)
        return blocks, rate_kept(path, taken, self.rate)

    def add_pictures(self, unit: Unit, paths: Sequence[Path]) -> None:
        """Put the picture of a film beside its results, where those are films.

        A film from elsewhere is fetched again: its copy is gone with its sound.
        """
        films = [path for path in paths if path.suffix.lower() in FILMS]
        if films:
            with local_copy(whole(unit.source)) as source:
                for path in films:
                    add_picture(path, source, self.options.taken.track)

    def describe(self, outcome: Outcome) -> Record:
        """Make a file's line."""
        unit = outcome.job
        loss = self.losses.pop(unit.name, "")
        self.tags.pop(unit.name, None)
        if loss and not outcome.error:
            outcome.warnings = (loss, *outcome.warnings)
        copy = self.copies.pop(unit.name, None) or whole(unit.source)
        if outcome.error:  # the line names the input already
            error = outcome.error.removeprefix(f"{copy} ")
            outcome.error = renamed(error, copy, unit.input)
        return make_record(outcome, self.run)

    def enhance_inside(
        self, unit: Unit, folder: OutputFolder, stop: Callable[[], bool]
    ) -> list[Record]:
        """Enhance a shard or a table."""
        enhance = enhance_shard if unit.kind == "shard" else enhance_table
        source, contents, error = whole(unit.source), Contents(), None
        try:
            refuse_special(source)
            with folder.new_result(unit) as path:
                contents = enhance(
                    self.enhancer, source, path, self.options, stop
                )
        except (OSError, RuntimeError, ValueError) as err:
            error = show(one_line(err))
        outcome = Outcome(
            unit,
            contents.seconds,
            contents.confidence,
            tuple(summary(contents)),
            contents.work_s,
            error,
        )
        failed = [
            make_record(Outcome(unit, error=reason), self.run, f"::{name}")
            for name, reason in contents.failures
        ]
        return [*failed, make_record(outcome, self.run)]


def refuse_special(source: str) -> None:
    """Refuse a pipe, which would block, and a broken link."""
    path = local_path(source)
    if path and not path.is_file():
        raise ValueError("not a regular file, or a broken link")


def summary(contents: Contents) -> Iterator[str]:
    """Tell what of a container went wrong, in few words."""
    if contents.failures:
        yield f"{len(contents.failures)} of {contents.items} recordings failed"
    yield from contents.warnings[:NAMED]
    if len(contents.warnings) > NAMED:
        yield f"and {len(contents.warnings) - NAMED} more warnings"


def check_source(
    path: Path, sample_rate: int, options: InsideOptions, ending: str = ".wav"
) -> str:
    """Look into a file; say what of it an output of an ending loses."""
    refuse_special(str(path))
    rate_kept(path, options.taken, sample_rate, ending)
    with open_sound(path, options.taken.track) as sound:
        return reduction(sound, sample_rate, options)


def reduction(sound: Sound, sample_rate: int, options: InsideOptions) -> str:
    """Say what of an input an output at `sample_rate` loses."""
    losses = []
    if sound.channels > 1 and options.taken.channels != "each":
        losses.append(f"{sound.channels} channels {LOSS} one")
    if sound.rate > sample_rate and not options.taken.keep_highs:
        losses.append(f"{sound.rate} Hz {LOSS} {sample_rate} Hz")
    if sound.subtype in WIDE_SUBTYPES and options.subtype in (None, "16"):
        losses.append(f"{WIDE_SUBTYPES[sound.subtype]} samples {LOSS} 16-bit")
    return ", ".join(losses)
