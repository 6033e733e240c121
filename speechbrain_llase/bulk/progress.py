"""Progress of a run: a bar on a terminal, else a line now and then."""

import sys
import time
from collections.abc import Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING

from speechbrain_llase.dataio.urls import name_of

if TYPE_CHECKING:
    from speechbrain_llase.bulk.units import Unit

LINE_EVERY_S = 30.0  # between two lines
BAR_WIDTH = 16  # columns, whatever is said beside it
BAR = (
    f"{{percentage:3.0f}}%|{{bar:{BAR_WIDTH}}}| "
    "{n_fmt}/{total_fmt} files [{elapsed}{postfix}]"
)
NAME_SHOWN = 16  # letters of the file at work


class Progress:
    """Count what is done, in a `with` block.

    The time left follows from the sizes of the files: those done, the part of
    the one at work, and those to come.
    """

    def __init__(self, units: Collection["Unit"]):
        self.count = len(units)
        self.size = sum(unit.size for unit in units)
        self.done = self.failed = 0
        self.sized = 0.0  # bytes done
        self.audio_s = 0.0
        self.parts: dict[str, tuple[float, float]] = {}  # bytes, seconds
        self.latest = ""  # the long file at work
        self.bar = None
        self.stack = ExitStack()

    def __enter__(self) -> "Progress":
        from tqdm import tqdm
        from tqdm.contrib.logging import logging_redirect_tqdm

        self.start = self.told = time.perf_counter()
        if sys.stderr.isatty():
            self.stack.enter_context(logging_redirect_tqdm())
            self.bar = self.stack.enter_context(
                tqdm(total=self.count, bar_format=BAR, dynamic_ncols=True)
            )
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it is."""
        self.stack.close()

    @property
    def left(self) -> int:
        """Units to come."""
        return self.count - self.done

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.start

    def move(self, unit: "Unit", samples: int, whole: int) -> None:
        """Note how far one file is."""
        share = samples / max(whole, 1)
        self.parts[unit.name] = share * unit.size, samples / 16000
        name = name_of(unit.source)
        if len(name) > NAME_SHOWN:
            name = f"{name[: NAME_SHOWN - 1]}…"
        self.latest = f"{name}: {100 * share:.0f} %"
        self.tell()

    def end(self, unit: "Unit", audio_s: float, failed: bool) -> None:
        """Note the end of one file."""
        self.parts.pop(unit.name, None)
        self.latest = ""
        self.done += 1
        self.failed += failed
        self.sized += unit.size
        self.audio_s += audio_s
        if self.bar is not None:
            self.bar.update()
        self.tell()

    def tell(self) -> None:
        """Show where things stand."""
        if self.bar is not None:
            self.bar.set_postfix_str(self.fitting())
        elif time.perf_counter() - self.told >= LINE_EVERY_S:
            self.told = time.perf_counter()
            share = 100 * self.sized_now / max(self.size, 1)
            files = f"{self.done} of {self.count} files ({share:.1f} %)"
            self.write(", ".join([files, *self.remarks()]))

    def fitting(self) -> str:
        """Remarks that have room beside the bar; the time left goes last."""
        told = self.bar.format_dict | {"postfix": ""}
        room = (told["ncols"] or 1000) - len(self.bar.format_meter(**told)) - 2
        remarks = self.remarks()
        while len(remarks) > 1 and len(", ".join(remarks)) > room:
            del remarks[remarks[0].endswith(" left")]
        return ", ".join(remarks)

    @property
    def sized_now(self) -> float:
        """Bytes done, parts of open files included."""
        return self.sized + sum(size for size, _ in self.parts.values())

    def remarks(self) -> list[str]:
        """Say how much, how fast, and how much longer."""
        from tqdm import tqdm

        elapsed_s = max(self.elapsed_s, 1e-9)
        audio_s = self.audio_s + sum(s for _, s in self.parts.values())
        remarks = [
            f"{audio_s:.0f} s of audio",
            f"{audio_s / elapsed_s:.1f}x real time",
        ]
        if self.failed:
            remarks.append(f"{self.failed} failed")
        sized = self.sized_now
        if 0 < sized < self.size:
            left_s = elapsed_s * (self.size - sized) / sized
            remarks.append(f"{tqdm.format_interval(left_s)} left")
        if self.latest:
            remarks.append(self.latest)
        return remarks

    def write(self, line: str) -> None:
        """Print a line on standard error, above the bar."""
        if self.bar is not None:
            self.bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)
