"""The local engine: one process, one model, files on this machine.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from speechbrain_llase.bulk.batcher import Outcome, enhance_many
from speechbrain_llase.bulk.manifest import HOW, Ledger
from speechbrain_llase.bulk.output_folder import OutputFolder
from speechbrain_llase.bulk.plan import Job
from speechbrain_llase.bulk.records import Record, make_record
from speechbrain_llase.bulk.refusals import refuse
from speechbrain_llase.bulk.run_settings import Description
from speechbrain_llase.bulk.source_check import check_source
from speechbrain_llase.bulk.stop_signals import Stopper

if TYPE_CHECKING:
    from speechbrain_llase.bulk.progress import Progress
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

SYNC_S = 1.0  # between two waits for names and lines


def find_rest(
    jobs: Sequence[Job], ledger: Ledger, folder: OutputFolder, others: bool
) -> list[Job]:
    """Compare plan, manifest and folder; bring the manifest up to date.

    - A line and its output: the file is done.
    - A line without its output: the line is dropped, the file made again.
    - A line that says "failed": the file is tried again.
    - An output without a line: if the run before was killed just then, its
      line is written; else the file is somebody's, is kept, and gets a line
      that says so. In a run with `--overwrite` it is made again.

    Arguments
    ---------
    jobs : sequence of Job
        The plan.
    ledger : Ledger
        After `begin`.
    folder : OutputFolder
        Where the outputs are.
    others : bool
        Accept outputs of other inputs.

    Returns
    -------
    rest : list of Job
        What is to be done, in order.

    Raises
    ------
    ValueError
        An output was made of another input.
    """
    ledger.recover(lambda name: folder.holds(folder.top / name))
    rest, gone, kept, clashes = [], [], [], []
    for job in jobs:
        status, source = ledger.lines.get(job.name, (None, None))
        is_there = folder.holds(job.target)
        if status in ("done", "kept"):
            if not is_there:
                gone.append(job.name)
                rest.append(job)
            elif status == "done" and source != os.path.abspath(job.source):
                clashes.append(f"{job.target} <- {job.source}, not {source}")
        elif is_there and status is None and not ledger.overwrites:
            kept.append(Record(os.path.abspath(job.source), job.name, "kept"))
        else:
            rest.append(job)
    if not others:
        refuse(f"Outputs were made of other inputs. {HOW}", clashes)
    ledger.plan(len(jobs))
    ledger.forget(gone)
    if kept:
        ledger.append(*kept)
    return rest


class LocalRun:
    """Enhance local files and keep the manifest.

    Arguments
    ---------
    enhancer : EnhanceLLaSE
        The model.
    run : Description
        What the outputs depend on.
    folder : OutputFolder
        Where they appear.
    ledger : Ledger
        Gets a line for each.
    stopper : Stopper
        Says when to stop.
    progress : Progress
        Is told how far each file is.
    """

    def __init__(
        self,
        enhancer: "EnhanceLLaSE",
        run: Description,
        folder: OutputFolder,
        ledger: Ledger,
        stopper: Stopper,
        progress: "Progress",
    ):
        self.enhancer = enhancer
        self.run = run
        self.folder = folder
        self.ledger = ledger
        self.stopper = stopper
        self.progress = progress
        self.synced = time.monotonic()
        self.losses: dict[str, str] = {}  # of open files
        self.records: dict[str, Record] = {}  # of files just written

    def enhance(
        self, jobs: Iterable[Job], watched: bool = False
    ) -> Iterator[tuple[Outcome, Record]]:
        """Enhance files.

        Arguments
        ---------
        jobs : iterable of Job
            What `find_rest` gave.
        watched : bool
            Report on every file; see `enhance_many`.

        Yields
        ------
        outcome : Outcome
            Of each file, as it ends.
        record : Record
            Its line, which is in the manifest.
        """
        outcomes = enhance_many(
            self.enhancer,
            jobs,
            self.open_source,
            self.write_result,
            watched,
            self.progress.move,
            self.stopper.is_asked,
        )
        for outcome in outcomes:
            name = outcome.job.name
            self.losses.pop(name, None)
            record = self.records.pop(name, None)
            if outcome.error:
                record = self.describe(outcome)
                with self.folder.watched():
                    self.ledger.append(record)
            if time.monotonic() - self.synced > SYNC_S:
                self.sync()
            yield outcome, record
        self.sync()

    def sync(self) -> None:
        """Bring lines and names to the disk; the samples are there already.

        Only a machine that is lost, not a process, could lose them.
        """
        with self.folder.watched():
            self.ledger.sync()
        self.folder.sync()
        self.synced = time.monotonic()

    def finish(self) -> None:
        """Note that the run has come to its end."""
        with self.folder.watched():
            self.ledger.finish()

    @contextmanager
    def open_source(self, job: Job) -> Iterator[str]:
        """Check a file before the audio library sees it."""
        rate = self.enhancer.hparams.sample_rate
        self.losses[job.name] = check_source(job.source, rate)
        yield os.path.abspath(job.source)

    def write_result(
        self, outcome: Outcome, blocks: Iterable[torch.Tensor]
    ) -> None:
        """Make the output appear, and its line."""
        target = outcome.job.target
        rate = self.enhancer.hparams.sample_rate
        partial = self.folder.make(target, blocks, rate)
        record = self.describe(outcome)
        with self.stopper.held():
            try:
                with self.folder.watched(partial):
                    self.ledger.expect(partial, record)
                self.folder.move(partial, target)
            except BaseException:
                self.ledger.give_up()
                raise
            with self.folder.watched():
                self.ledger.append(record)
        self.records[outcome.job.name] = record

    def describe(self, outcome: Outcome) -> Record:
        """Make the line of an outcome."""
        job = outcome.job
        source = os.path.abspath(job.source)
        record = make_record(outcome, source, job.name, self.run)
        loss = self.losses.get(job.name)
        if not loss:
            return record
        return replace(record, warnings=(loss, *record.warnings))
