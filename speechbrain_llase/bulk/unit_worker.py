"""What an engine's worker does: units in, records out.

Authors
 * The speechbrain_llase contributors 2026
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from speechbrain_llase.bulk.batcher import Outcome, enhance_many, one_line
from speechbrain_llase.bulk.container_items import (
    Contents,
    InsideOptions,
    renamed,
)
from speechbrain_llase.bulk.open_file import CannotGoOn, Stopped
from speechbrain_llase.bulk.output_folder import FATAL, OutputFolder
from speechbrain_llase.bulk.records import Record, make_record
from speechbrain_llase.bulk.run_settings import Description
from speechbrain_llase.bulk.source_check import check_source
from speechbrain_llase.bulk.storage import local_copy, new_file
from speechbrain_llase.bulk.tables import enhance_table
from speechbrain_llase.bulk.tar_shards import enhance_shard
from speechbrain_llase.bulk.units import Unit
from speechbrain_llase.dataio.audio_writer import write_blocks
from speechbrain_llase.dataio.urls import local_path, show

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

NAMED = 5  # recordings of one container that its warnings name


class UnitWork:
    """Enhance units with one model.

    Arguments
    ---------
    enhancer : EnhanceLLaSE
        The model.
    run : Description
        What the results depend on.
    options : InsideOptions
        What is taken from shards and tables.
    stop : callable
        Asked often; true ends the work.
    mark : str
        Names the run in temporary files; see `new_file`.
    folder : OutputFolder, optional
        Where results go on this machine; the work ends if it is lost.
    """

    def __init__(
        self,
        enhancer: "EnhanceLLaSE",
        run: Description,
        options: InsideOptions,
        stop: Callable[[], bool] = lambda: False,
        mark: str = "",
        folder: OutputFolder | None = None,
    ):
        self.enhancer = enhancer
        self.run = run
        self.options = options
        self.stop = stop
        self.mark = mark
        self.folder = folder
        self.losses: dict[str, str] = {}  # what open files lose
        self.copies: dict[str, str] = {}  # where they are read

    def enhance(
        self, units: Sequence[Unit]
    ) -> Iterator[tuple[Unit, list[Record]]]:
        """Enhance units; windows of several files run together.

        Arguments
        ---------
        units : sequence of Unit
            Of any kinds.

        Yields
        ------
        unit : Unit
            As it ends.
        records : list of Record
            Its line; before it, one for each recording that failed in it.

        Raises
        ------
        CannotGoOn
            No unit could be written any more.
        """
        files = [unit for unit in units if unit.kind == "file"]
        outcomes = enhance_many(
            self.enhancer,
            files,
            self.open_source,
            self.write_result,
            stop=self.stop,
        )
        for outcome in outcomes:
            yield outcome.job, [self.describe(outcome)]
        for unit in units:
            if unit.kind != "file" and not self.stop():
                try:
                    yield unit, self.enhance_inside(unit)
                except Stopped:
                    return

    @contextmanager
    def open_source(self, unit: Unit) -> Iterator[str]:
        """Give a path to a file, its own or a copy's, and look into it."""
        with local_copy(unit.source) as path:
            self.copies[unit.name] = str(path)
            rate = self.enhancer.hparams.sample_rate
            self.losses[unit.name] = check_source(path, rate)
            yield str(path)

    def write_result(
        self, outcome: Outcome, blocks: Iterable[torch.Tensor]
    ) -> None:
        """Make a file's result appear."""
        rate = self.enhancer.hparams.sample_rate
        with (
            self.kept_going(outcome.job),
            new_file(outcome.job.target, self.mark) as path,
        ):
            write_blocks(path, blocks, rate)

    def describe(self, outcome: Outcome) -> Record:
        """Make a file's line."""
        unit = outcome.job
        loss = self.losses.pop(unit.name, "")
        if loss:
            outcome.warnings = (loss, *outcome.warnings)
        copy = self.copies.pop(unit.name, None)
        if outcome.error and copy:
            outcome.error = renamed(outcome.error, copy, unit.input)
        return make_record(outcome, unit.input, unit.name, self.run)

    def enhance_inside(self, unit: Unit) -> list[Record]:
        """Enhance a shard or a table."""
        enhance = enhance_shard if unit.kind == "shard" else enhance_table
        contents, error = Contents(), None
        try:
            with self.kept_going(unit):
                refuse_special(unit)
                contents = enhance(
                    self.enhancer,
                    unit.source,
                    unit.target,
                    self.options,
                    self.stop,
                    self.mark,
                )
        except (OSError, RuntimeError, ValueError) as err:
            error = show(one_line(err))
        whole = Outcome(
            unit,
            contents.seconds,
            contents.confidence,
            tuple(summary(contents)),
            contents.work_s,
            error,
        )
        failed = [
            make_record(
                Outcome(unit, error=reason),
                f"{unit.input}::{name}",
                f"{unit.name}::{name}",
                self.run,
            )
            for name, reason in contents.failures
        ]
        return [*failed, make_record(whole, unit.input, unit.name, self.run)]

    @contextmanager
    def kept_going(self, unit: Unit) -> Iterator[None]:
        """Tell a lost folder or a full disk from the trouble of one unit.

        Without this check a new folder would be made where the lost one was.
        """
        self.check_folder()
        try:
            yield
        except OSError as err:
            self.check_folder()
            if err.errno not in FATAL:
                raise
            raise CannotGoOn(
                f"{show(unit.target)} cannot be written ({err.strerror}). The "
                "finished files are complete: make room or mend the disk, and "
                "give the same command again."
            ) from err

    def check_folder(self) -> None:
        """Refuse to go on where the output folder is lost."""
        if self.folder:
            self.folder.check()


def refuse_special(unit: Unit) -> None:
    """Refuse a pipe, which would block, and a broken link."""
    path = local_path(unit.source)
    if path and not path.is_file():
        raise ValueError("not a regular file, or a broken link")


def summary(contents: Contents) -> Iterator[str]:
    """Tell what of a container went wrong, in few words."""
    if contents.failures:
        yield f"{len(contents.failures)} of {contents.items} recordings failed"
    yield from contents.warnings[:NAMED]
    if len(contents.warnings) > NAMED:
        yield f"and {len(contents.warnings) - NAMED} more warnings"
