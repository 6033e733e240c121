"""Plan and stitch overlapped windows: integers and slices, no model.

The unit is the row, one feature frame and one token: 320 samples. A window
keeps the rows [start, stop) and sees `left` rows before and `right` after:

      left      kept      right
    |------|------------|------|
              |------|------------|------|
                left ^   kept      right
                     seam
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from speechbrain_llase.processing.framing import HOP_LENGTH, MIN_SAMPLES
from speechbrain_llase.processing.signal_processing import fit_length


@dataclass(frozen=True)
class Window:
    """A window of a file, in rows: those kept, and context on both sides."""

    start: int
    stop: int
    left: int
    right: int

    def kept(self, rows: Sequence) -> Sequence:
        """Leave the context out of the rows (N, ...) of a window."""
        return rows[self.left :][: self.stop - self.start]


def plan_windows(num_rows: int, window: int, context: int) -> list[Window]:
    """Cut a file into windows whose kept rows follow one another without a gap.

    Each keeps `window` rows, at least 1, the last one what is left, and has
    `context` rows on both sides, as far as the file has them.

    Example
    -------
    >>> for w in plan_windows(25, 10, 2):
    ...     print(w)
    Window(start=0, stop=10, left=0, right=2)
    Window(start=10, stop=20, left=2, right=2)
    Window(start=20, stop=25, left=2, right=0)
    """
    plan = []
    for start in range(0, num_rows, window):
        stop = min(start + window, num_rows)
        left, right = min(context, start), min(context, num_rows - stop)
        plan.append(Window(start, stop, left, right))
    return plan


def cut_audio(
    wav: torch.Tensor, plan: list[Window], context: int, reach: int = 0
) -> list[torch.Tensor]:
    """Cut (T,) into the audio of each window with its context.

    Without context, the last window may be shorter than a feature row's
    receptive field; zeros fill it up.
    """
    parts = []
    for start, stop in window_spans(plan, context, reach, len(wav)):
        part = wav[start:stop]
        parts.append(fit_length(part, max(len(part), MIN_SAMPLES)))
    return parts


def window_spans(
    plan: list[Window], context: int, reach: int, num_samples: int
) -> list[tuple[int, int]]:
    """First and last sample of all windows of a file, which the last one ends."""
    spans = [audio_span(w, context, reach) for w in plan]
    ends = [min(stop, num_samples) for _, stop in spans[:-1]] + [num_samples]
    return [(start, stop) for (start, _), stop in zip(spans, ends)]


def audio_span(window: Window, context: int, reach: int = 0) -> tuple[int, int]:
    """First and last sample that a window needs, if the file has them.

    `reach` counts the samples that its last row sees of the next one.
    """
    start = (window.start - window.left) * HOP_LENGTH
    return start, (window.stop + context) * HOP_LENGTH + reach


def join_context(
    feats: list[torch.Tensor], plan: list[Window]
) -> list[torch.Tensor]:
    """Give each window its neighbours' rows as context: the released scheme.

    Of the rows (rows, D) of each window's own extraction; gives
    (left + kept + right, D) each.
    """
    if not plan:
        return []
    joined = torch.cat([w.kept(f) for f, w in zip(feats, plan, strict=True)])
    return [joined[w.start - w.left : w.stop + w.right] for w in plan]


def by_file(windows: Sequence, plans: list[list[Window]]) -> list[list]:
    """Divide what belongs to the windows of all files by their plans."""
    rest = iter(windows)
    return [list(islice(rest, len(plan))) for plan in plans]


class Stitcher:
    """Join the decoded windows of a file, one after the other.

    Two windows are faded linearly over `crossfade` samples, centred on their
    seam; fewer where the file ends sooner. 0 joins them hard.
    """

    def __init__(self, hop_length: int, crossfade: int):
        self.hop_length = hop_length
        self.crossfade = crossfade
        self.leaving = None  # the last window, around its seam with the next

    def scale(self, gain: float) -> None:
        """Scale what is to be faded into the next window."""
        if self.leaving is not None:
            self.leaving = self.leaving * gain

    def add(
        self, piece: torch.Tensor, window: Window, coming: int | None
    ) -> torch.Tensor:
        """Take the wave (samples,) of the next window and its context.

        `coming` counts the context rows in front of the next window, None
        after the last. Gives what is final: the samples that follow those
        returned before, up to the fade with the next window.
        """
        start = window.left * self.hop_length
        stop = start + (window.stop - window.start) * self.hop_length
        half = 0
        if coming is not None:
            rows = min(window.right, coming)
            half = min(self.crossfade // 2, rows * self.hop_length)
        parts = []
        if self.leaving is not None and len(self.leaving):
            lead = len(self.leaving) // 2
            steps = torch.arange(
                2 * lead, device=piece.device, dtype=piece.dtype
            )
            fade = (steps + 0.5) / (2 * lead)
            arriving = piece[start - lead : start + lead]
            parts.append(torch.lerp(self.leaving, arriving, fade))
            start += lead
        parts.append(piece[start : stop - half])
        self.leaving = piece[stop - half : stop + half].clone()
        return torch.cat(parts)


def stitch(
    pieces: list[torch.Tensor],
    plan: list[Window],
    hop_length: int,
    crossfade: int,
) -> torch.Tensor:
    """Join all decoded windows of a file, to (num_rows * hop_length,)."""
    stitcher = Stitcher(hop_length, crossfade)
    coming = [w.left for w in plan[1:]] + [None]
    parts = zip(pieces, plan, coming, strict=True)
    return torch.cat([stitcher.add(*part) for part in parts])


def seconds_to_rows(key: str, seconds: float, hop_s: float) -> int:
    """Turn a duration into rows of `hop_s` seconds.

    A ValueError with the setting's name, if it is negative or no multiple.
    """
    rows = round(seconds / hop_s)
    if seconds < 0 or abs(rows * hop_s - seconds) > 1e-6:
        raise ValueError(
            f"{key}={seconds} s must be a multiple of {hop_s} s and not "
            f"negative; the nearest is {max(rows, 0) * hop_s:g} s."
        )
    return rows
