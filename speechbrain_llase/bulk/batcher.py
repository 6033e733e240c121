"""Windows of several files share batches.

Files are opened until their windows fill a batch, run stage by stage, and
closed when they are through: memory grows neither with the length of a file
nor with the number of files.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from speechbrain_llase.bulk.open_file import (
    OpenFile,
    Stopped,
    Work,
    refuse_broken,
)
from speechbrain_llase.bulk.records import one_line
from speechbrain_llase.dataio.audio_reader import Taken
from speechbrain_llase.inference import reports

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

Opens = Callable[[Any], AbstractContextManager[str | Path | BinaryIO]]
Stage = Callable[[list], list]
Writes = Callable[["Outcome", Iterable[torch.Tensor]], None]


@dataclass
class Outcome:
    """What became of one job."""

    job: Any
    seconds: float = 0.0  # of audio
    confidence: float | None = None  # nats, mean log probability of a token
    warnings: tuple[str, ...] = ()
    work_s: float = 0.0
    error: str | None = None  # one line; None if the result is written
    gaps: int = 0  # of lost packets
    lost_s: float = 0.0  # in them
    report: reports.Report | None = None  # where the file was watched

    def warn(self, text: str) -> None:
        """Note what should be known of the result."""
        self.warnings = (*self.warnings, text)


def enhance_many(
    enhancer: "EnhanceLLaSE",
    jobs: Iterable[Any],
    open_source: Opens,
    write_result: Writes,
    watched: bool = False,
    progress: Callable[[Any, int, int], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    taken: Taken = Taken(),
    open_beside: Opens | None = None,
) -> Iterator[Outcome]:
    """Enhance many files; windows of one file or of several run together.

    `jobs` are taken one by one, whatever they are. `open_source` gives, for a
    job, a context manager with a path or an open, seekable binary file, and is
    left once the audio is read; so does `open_beside`, where a model hears a
    second file beside each. `write_result` takes the outcome so far and the
    result in blocks, float32 (T,), in [-1, 1], on the CPU, which it has to
    consume; (T, C) where each channel is `taken`, (T, 2) of two speakers.
    `watched` reports on every file, as
    `enhance_file(return_details=True)` does, one file at a time in memory;
    guard and candidates imply it. `progress` is called with a job, its samples
    done and its samples in all; `stop` is asked often, and once it is true,
    nothing more is begun or written.

    The outcome of each job is yielded as it ends. A job that raises OSError,
    RuntimeError or ValueError has failed, others are not concerned; after a
    stop the jobs that were open have none. CannotGoOn, which `write_result`
    may raise, too, says that no file could be written any more.
    """

    def check() -> None:
        if stop():
            raise Stopped

    if watched or enhancer.is_watched:
        opens = open_source, open_beside
        work = one_by_one(enhancer, jobs, opens, write_result, check, taken)
    else:
        batcher = WindowBatcher(
            enhancer,
            open_source,
            write_result,
            progress,
            check,
            taken,
            open_beside,
        )
        work = batcher.run(iter(jobs))
    try:
        yield from work
    except Stopped:
        return


class WindowBatcher:
    """Open files and their waiting windows; see `enhance_many`."""

    def __init__(
        self,
        enhancer: "EnhanceLLaSE",
        open_source: Opens,
        write_result: Writes,
        progress: Callable[[Any, int, int], None] | None,
        check: Callable[[], None],
        taken: Taken,
        open_beside: Opens | None = None,
    ):
        self.open_beside = open_beside
        self.enhancer = enhancer
        self.open_source = open_source
        self.write_result = write_result
        self.progress = progress
        self.check = check
        self.taken = taken
        self.batch = enhancer.hparams.window_batch
        # (file, place) by stage: what is nearest to its end goes first
        steps = reversed(enhancer.stages.steps)
        self.waiting = {stage: deque() for stage in steps}
        self.files = set()

    def run(self, jobs: Iterator[Any]) -> Iterator[Outcome]:
        """Yield outcomes until all jobs are through."""
        try:
            while True:
                self.check()
                stage = self.choose()
                if stage is None and (job := next(jobs, None)) is not None:
                    yield from self.open(job)
                    continue
                stage = stage or self.choose(least=1)
                if stage is None:
                    return
                yield from self.run_batch(stage)
        finally:
            for file in self.files:
                file.close()

    def choose(self, least: int = 0) -> Stage | None:
        """Give a stage for which as many windows wait, or a full batch."""
        for stage, line in self.waiting.items():
            if len(line) >= (least or self.batch):
                return stage
        return None

    def open(self, job: Any) -> Iterator[Outcome]:
        """Read a file and queue its first windows."""
        file = OpenFile(self.enhancer, job, self.check, self.progress)
        self.files.add(file)
        with Work(file) as work:
            with self.open_source(job) as source:
                file.read(source, self.taken)
            if self.open_beside:
                with self.open_beside(job) as source:
                    file.read_beside(source)
            file.begin()
        yield from self.queue(file, work.error)

    def queue(
        self, file: OpenFile, error: Exception | None
    ) -> Iterator[Outcome]:
        """Queue what a file wants next, or end it."""
        if file not in self.files:
            return  # it has failed already
        if error is None and file.wanted is not None:
            line = self.waiting[file.wanted.stage]
            line.extend((file, k) for k in range(file.missing))
            return
        yield self.end(file, error)

    def end(self, file: OpenFile, error: Exception | None) -> Outcome:
        """Write the result, close the file and say what became of it."""
        outcome = Outcome(file.job, file.seconds, file.confidence)
        if error is None:
            with Work(file) as work:
                blocks = file.finish()
                outcome.warnings = tuple(file.warnings)
                outcome.gaps, outcome.lost_s = file.lost
                outcome.work_s = file.work_s
                self.write_result(outcome, blocks)
            error = work.error
        self.files.remove(file)
        file.close()
        outcome.work_s = file.work_s
        outcome.error = one_line(error) if error else None
        return outcome

    def run_batch(self, stage: Stage) -> Iterator[Outcome]:
        """Run the oldest windows of a stage, and let their files go on."""
        line = self.waiting[stage]
        some = [line.popleft() for _ in range(min(self.batch, len(line)))]
        some = [item for item in some if item[0] in self.files]
        if not some:
            return
        windows = [file.wanted.windows[k] for file, k in some]
        start = time.perf_counter()
        answers = self.answer(stage, windows)
        share = (time.perf_counter() - start) / len(some)
        for (file, place), answer in zip(some, answers, strict=True):
            file.work_s += share
            if isinstance(answer, Exception):
                yield from self.queue(file, answer)
                continue
            file.answers[place] = answer
            file.missing -= 1
            if not file.missing and file in self.files:
                with Work(file) as work:
                    file.go_on(file.answers)
                yield from self.queue(file, work.error)

    def answer(self, stage: Stage, windows: list[Any]) -> list[Any | Exception]:
        """Run a stage; if the batch is too much for it, window by window."""
        try:
            return stage(windows)
        except RuntimeError as err:
            refuse_broken(err)
            if len(windows) == 1:
                return [err]
        return [self.answer(stage, [window])[0] for window in windows]


def one_by_one(
    enhancer: "EnhanceLLaSE",
    jobs: Iterable[Any],
    opens: tuple[Opens, Opens | None],
    write_result: Writes,
    check: Callable[[], None],
    taken: Taken,
) -> Iterator[Outcome]:
    """Enhance whole files with a report on each."""
    open_source, open_beside = opens
    rate = enhancer.hparams.sample_rate
    for job in jobs:
        check()
        file = OpenFile(enhancer, job, check)
        outcome = Outcome(job)
        with Work(file) as work:
            with ExitStack() as stack:
                source, model = stack.enter_context(open_source(job)), enhancer
                if open_beside:
                    other = stack.enter_context(open_beside(job))
                    model = enhancer.having(references=[other])
                wav, report = reports.enhance_file(
                    model, source, warn=file.warnings.append, taken=taken
                )
            outcome.warnings = tuple(file.warnings)
            outcome.report = report
            outcome.gaps = len(report.gaps)
            outcome.lost_s = sum(b - a for a, b in report.gaps) / rate
            outcome.work_s = time.perf_counter() - work.start
            outcome.seconds = len(wav) / rate
            if len(report.details):
                outcome.confidence = report.details.summary().log_prob
            write_result(outcome, [wav])
        file.close()
        outcome.work_s = file.work_s
        outcome.error = one_line(work.error) if work.error else None
        yield outcome
