"""One file at work: read, run window by window, brought to its level."""

import errno
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from speechbrain_llase.dataio.audio_reader import Taken, read_blocks
from speechbrain_llase.dataio.sample_buffer import SampleSpool, SpeakerSpools
from speechbrain_llase.inference.long_files import (
    restored_blocks,
    window_steps,
)
from speechbrain_llase.inference.window_stream import (
    Steps,
    Wanted,
    WindowStream,
)
from speechbrain_llase.processing.packet_loss import GapCounter

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

FULL = (errno.ENOSPC, errno.EDQUOT)


class CannotGoOn(Exception):
    """What no other file would survive either: a full disk, a lost folder."""

    @classmethod
    def writing(cls, place: str | Path, err: OSError) -> "CannotGoOn":
        """Say what cannot be written, and what to do."""
        return cls(
            f"{place} cannot be written ({err.strerror}). The finished files "
            "are complete: make room or mend the disk, and give the same "
            "command again."
        )


BROKEN = getattr(torch, "AcceleratorError", ())  # a device that failed


class Stopped(Exception):
    """The caller asked to stop."""


class OpenFile:
    """A file whose windows wait for their turn.

    `job` names it to the caller; `check` is called often and raises `Stopped`
    to end the work; `progress` is called with the job, samples done and in
    all.
    """

    def __init__(
        self,
        model: "EnhanceLLaSE",
        job: Any,
        check: Callable[[], None],
        progress: Callable[[Any, int, int], None] | None = None,
    ):
        self.model = model
        self.job = job
        self.check = check
        self.progress = progress
        self.noisy, self.enhanced = SampleSpool(), model.stages.new_spool()
        self.other: SampleSpool | None = None  # heard beside it
        self.gaps = GapCounter() if model.stages.conceals else None
        self.windows = WindowStream(model.stages, scored=True)
        self.later: list[SampleSpool] = []  # channels whose turn comes
        self.through: list[tuple] = []  # noisy, enhanced, windows of others
        self.steps: Steps[None] | None = None
        self.wanted: Wanted | None = None  # what it waits for
        self.answers: list[Any] = []  # of the windows that it waits for
        self.missing = 0  # answers to come
        self.warnings: list[str] = []
        self.work_s = 0.0

    def read(self, source: str | Path | BinaryIO, taken: Taken) -> None:
        """Read the whole file into a spool a channel, and find its peak."""
        rate = self.model.hparams.sample_rate

        def check(seconds: float) -> None:
            self.check()
            if self.progress:
                self.progress(self.job, 0, max(round(seconds * rate), 1))

        for block in read_blocks(
            source, rate, taken, self.warnings.append, check
        ):
            columns = block.unbind(1) if block.dim() > 1 else [block]
            while len(self.later) + 1 < len(columns):
                self.later.append(SampleSpool())
            spools = [self.noisy, *self.later]
            for spool, column in zip(spools, columns, strict=True):
                spool.write(column)
            if self.gaps:
                self.gaps.add(columns[0])

    def read_beside(self, source: str | Path | BinaryIO) -> None:
        """Read what is heard beside it."""
        self.other, rate = SampleSpool(), self.model.hparams.sample_rate
        for block in read_blocks(source, rate, warn=self.warnings.append):
            self.check()
            self.other.write(block)

    def begin(self) -> None:
        """Ask for the first windows."""
        if self.other is not None:
            beside = self.model.stages.beside(self.noisy, self.other)
            self.windows.reference = beside
        told = self.tell if self.progress else None
        self.steps = window_steps(self.windows, self.noisy, self.enhanced, told)
        self.go_on(None)

    def go_on(self, answers: list[Any] | None) -> None:
        """Take answers; `wanted` is None once all windows are through."""
        try:
            self.wanted = self.steps.send(answers)
        except StopIteration:
            self.wanted = None
            if self.later:
                self.begin_next()
            return
        self.missing = len(self.wanted.windows)
        self.answers = [None] * self.missing

    def begin_next(self) -> None:
        """Go on with the next channel."""
        self.through.append((self.noisy, self.enhanced, self.windows))
        self.noisy = self.later.pop(0)
        self.enhanced = self.model.stages.new_spool()
        self.windows = WindowStream(self.model.stages, scored=True)
        self.begin()

    def tell(self, done: int, samples: int) -> None:
        """Tell the progress, of which each channel has its share."""
        channels = len(self.through) + 1 + len(self.later)
        whole = len(self.through) * samples + done
        self.progress(self.job, whole // channels, samples)

    def finish(self) -> Iterator[torch.Tensor]:
        """Find the level of the result; give it in blocks (T,).

        (T, C) of each channel, (T, 2) of two speakers.
        """
        if not self.through:
            return self.restored(self.noisy, self.enhanced)
        pairs = [*self.through, (self.noisy, self.enhanced, self.windows)]
        channels = [self.restored(*pair[:2]) for pair in pairs]
        blocks = zip(*channels, strict=True)
        return (torch.stack(together, 1) for together in blocks)

    def restored(
        self, noisy: SampleSpool, enhanced: SampleSpool | SpeakerSpools
    ) -> Iterator[torch.Tensor]:
        """Bring one channel to its level."""
        peaks, blocks = restored_blocks(self.model.stages, noisy, enhanced)
        if max(peaks) > 1:
            self.warnings.append(
                f"the result peaks at {max(peaks):.2f}; scaled to full scale"
            )
        return self.checked(blocks)

    def checked(self, blocks: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yield the result, and look whether to stop."""
        for block in blocks:
            self.check()
            yield block

    @property
    def lost(self) -> tuple[int, float]:
        """Gaps of lost packets that were found, and their seconds."""
        count, samples = self.gaps.finish() if self.gaps else (0, 0)
        return count, samples / self.model.hparams.sample_rate

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self.noisy.length / self.model.hparams.sample_rate

    @property
    def confidence(self) -> float | None:
        """Mean log probability of a token, nats; None where there is none."""
        windows = [*(x for *_, x in self.through), self.windows]
        found = [x.confidence for x in windows if x.confidence is not None]
        return sum(found) / len(found) if found else None

    def close(self) -> None:
        """Forget all samples."""
        others = [x for pair in self.through for x in pair[:2]]
        own = self.noisy, self.enhanced, self.other
        for spool in (*own, *self.later, *others):
            if spool is not None:
                spool.close()


class Work:
    """Time spent on a file, and what its errors mean.

    A `with` block whose error is the file's own ends quietly, and the error is
    kept; a full temporary folder is everybody's.
    """

    def __init__(self, file: OpenFile):
        self.file = file
        self.error: Exception | None = None

    def __enter__(self) -> "Work":
        self.start = time.perf_counter()
        return self

    def __exit__(self, kind: type | None, error: Any, trace: Any) -> bool:
        """Sort the error."""
        self.file.work_s += time.perf_counter() - self.start
        if isinstance(error, OSError) and error.errno in FULL:
            raise CannotGoOn(
                f"no space is left for temporary files in "
                f"{tempfile.gettempdir()} ({error.strerror}); make room, or "
                "set TMPDIR to a larger folder."
            ) from error
        refuse_broken(error)
        if isinstance(error, OSError | RuntimeError | ValueError):
            self.error = error
            return True
        return False


def refuse_broken(error: BaseException | None) -> None:
    """Raise CannotGoOn for the error of a device that fails for all files."""
    if isinstance(error, BROKEN):
        raise CannotGoOn(
            f"the device failed ({error}); the finished files are complete."
        ) from error
