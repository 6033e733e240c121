"""Recordings inside a container: a member of a tar shard, a row of a table.

Both kinds of container are read once, from the front, and written in the same
order, while their recordings share batches; what waits lies in
temporary files, so memory does not grow with the container.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from speechbrain_llase.bulk.batcher import Outcome, enhance_many
from speechbrain_llase.bulk.open_file import Stopped
from speechbrain_llase.dataio.audio_formats import Format, read_tags
from speechbrain_llase.dataio.audio_reader import Taken
from speechbrain_llase.dataio.audio_writer import write_blocks
from speechbrain_llase.dataio.own_rate import at_own_rate, rate_kept

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE


@dataclass(frozen=True)
class InsideOptions:
    """What is taken from containers, and how results are written."""

    column: str | None = None  # a table's column, a shard's KEY.column
    audio_format: str | None = None  # of FORMATS, or same; None: FLAC stays so
    taken: Taken = Taken()  # of each recording, in files too
    subtype: str | None = None  # of SUBTYPES; None: 16 bits

    def format_for(self, name: str) -> str:
        """Choose the format of a recording's result.

        Example
        -------
        >>> InsideOptions().format_for("a.flac"), InsideOptions().format_for("")
        ('flac', 'wav')
        """
        kept = "flac" if name.lower().endswith(".flac") else "wav"
        return Format(self.audio_format, self.subtype).ending(name, kept)


@dataclass(eq=False)
class Item:
    """One recording on its way."""

    name: str  # as it is told
    source: Path | BytesIO | None  # gone once it is needed no more
    result: Path  # where its enhanced audio is put; the ending is the format
    is_done: bool = False
    error: str | None = None
    read_as: str = "?"  # the source, as errors of reading name it
    tags: dict[str, str] = field(default_factory=dict)
    rate: int = 0  # of the result, Hz

    def forget(self) -> None:
        """Remove its source."""
        if isinstance(self.source, Path):
            self.source.unlink(missing_ok=True)
        self.source = None


@dataclass
class Contents:
    """What became of the recordings of one container."""

    items: int = 0
    seconds: float = 0.0
    work_s: float = 0.0
    failures: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    scored_s: float = 0.0
    weighted: float = 0.0  # confidence times seconds

    @property
    def confidence(self) -> float | None:
        """Mean of the recordings' confidence, weighted by their length."""
        return self.weighted / self.scored_s if self.scored_s else None

    def fail(self, name: str, reason: str) -> None:
        """Note what cannot be enhanced."""
        self.items += 1
        self.failures.append((name, reason))

    def add(self, outcome: Outcome) -> None:
        """Note the outcome of an item."""
        item = outcome.job
        item.is_done, item.error = True, outcome.error
        self.work_s += outcome.work_s
        if outcome.error:  # names a temporary file, maybe
            self.fail(item.name, renamed(outcome.error, item.read_as, "it"))
            return
        self.items += 1
        self.seconds += outcome.seconds
        self.warnings += [f"{item.name}: {w}" for w in outcome.warnings]
        if outcome.confidence is not None:
            self.scored_s += outcome.seconds
            self.weighted += outcome.confidence * outcome.seconds


class Container(ABC):
    """A container that is read and written in one pass."""

    def __init__(self, out: Any, scratch: Path, options: InsideOptions):
        self.out = out  # the new one, as its library has opened it
        self.scratch = scratch
        self.options = options
        self.contents = Contents()
        self.waiting = deque()  # to be written, in their order

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield the recordings, in their order, as the container is read."""

    @abstractmethod
    def flush(self) -> None:
        """Write what is complete and has nothing incomplete before it."""

    def enhance(
        self, enhancer: "EnhanceLLaSE", stop: Callable[[], bool]
    ) -> Contents:
        """Enhance all recordings; their windows share batches.

        Where `stop` gets true, `Stopped` is raised: what is written is not
        complete.
        """
        rate, taken = enhancer.hparams.sample_rate, self.options.taken

        @contextmanager
        def open_source(item: Item) -> Iterator[Any]:
            item.read_as = str(item.source)
            item.tags = read_tags(item.source)
            kind = item.result.suffix
            item.rate = rate_kept(item.source, taken, rate, kind)
            yield item.source
            if item.rate == rate:
                item.forget()

        def write(outcome: Outcome, blocks: Iterable[torch.Tensor]) -> None:
            item, subtype = outcome.job, self.options.subtype
            blocks = at_own_rate(blocks, item.source, taken, rate, outcome.warn)
            write_blocks(item.result, blocks, item.rate, subtype, item.tags)

        outcomes = enhance_many(
            enhancer, self.items(), open_source, write, stop=stop, taken=taken
        )
        for outcome in outcomes:
            outcome.job.forget()
            self.contents.add(outcome)
            self.flush()
        if stop():
            raise Stopped
        self.flush()
        return self.contents


def renamed(error: str, path: str, name: str) -> str:
    """Name a file in an error otherwise, however its path is written there.

    Example
    -------
    >>> renamed("b'/tmp/x' is bad, '/tmp/x' or /tmp/x", "/tmp/x", "it")
    'it is bad, it or it'
    """
    for written in (repr(os.fsencode(path)), repr(path), path):
        error = error.replace(written, name)
    return error
