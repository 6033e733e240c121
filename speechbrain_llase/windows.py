"""Plan and stitch overlapped windows: integers and slices, no model.

The unit is the row, one feature frame and one token: 320 samples. A window
keeps the rows [start, stop) and sees `left` rows before and `right` after:

      left      kept      right
    |------|------------|------|
              |------|------------|------|
                left ^   kept      right
                     seam

Authors
 * The speechbrain_llase contributors 2026
"""

from dataclasses import dataclass

import torch

from speechbrain_llase.frontend import HOP_LENGTH, MIN_SAMPLES
from speechbrain_llase.signal import fit_length


@dataclass(frozen=True)
class Window:
    """One window of a file, in rows.

    Arguments
    ---------
    start, stop : int
        The rows that are kept.
    left, right : int
        Context rows in front and behind.
    """

    start: int
    stop: int
    left: int
    right: int


def plan_windows(num_rows: int, window: int, context: int) -> list[Window]:
    """Cut a file into windows.

    Arguments
    ---------
    num_rows : int
        Rows of the file.
    window : int
        Rows kept of each window, at least 1; the last one keeps what is left.
    context : int
        Rows of context on both sides, as far as the file has them.

    Returns
    -------
    plan : list of Window
        In order; their kept rows follow one another without a gap.

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
    wav: torch.Tensor, plan: list[Window], context: int
) -> list[torch.Tensor]:
    """Cut (T,) into the audio of each window with its context.

    Without context, the last window may be shorter than a feature row's
    receptive field; zeros fill it up.
    """
    parts = []
    for w in plan:
        last = w is plan[-1]
        stop = len(wav) if last else (w.stop + context) * HOP_LENGTH
        part = wav[(w.start - w.left) * HOP_LENGTH : stop]
        parts.append(fit_length(part, max(len(part), MIN_SAMPLES)))
    return parts


def join_context(
    feats: list[torch.Tensor], plan: list[Window]
) -> list[torch.Tensor]:
    """Give each window its neighbours' rows as context.

    Arguments
    ---------
    feats : list of torch.Tensor
        (rows, D) of each window's own extraction.
    plan : list of Window
        What `plan_windows` gave.

    Returns
    -------
    feats : list of torch.Tensor
        (left + kept + right, D): the released two-stage scheme.
    """
    kept = [
        f[w.left :][: w.stop - w.start]
        for f, w in zip(feats, plan, strict=True)
    ]
    joined = torch.cat(kept)
    return [joined[w.start - w.left : w.stop + w.right] for w in plan]


def stitch(
    pieces: list[torch.Tensor],
    plan: list[Window],
    hop_length: int,
    crossfade: int,
) -> torch.Tensor:
    """Join the decoded windows of a file.

    Arguments
    ---------
    pieces : list of torch.Tensor
        The wave (samples,) of each window with its context, or more behind.
    plan : list of Window
        What `plan_windows` gave.
    hop_length : int
        Samples a row.
    crossfade : int
        Samples over which two windows are faded linearly, centred on their
        seam; fewer where the file ends sooner. 0 joins them hard.

    Returns
    -------
    wav : torch.Tensor
        (num_rows * hop_length,).
    """
    kept = [
        piece[w.left * hop_length :][: (w.stop - w.start) * hop_length]
        for piece, w in zip(pieces, plan, strict=True)
    ]
    wav = torch.cat(kept)
    for k in range(1, len(plan)):
        before, after = plan[k - 1], plan[k]
        half = min(crossfade // 2, before.right * hop_length)
        half = min(half, after.left * hop_length)
        if half == 0:
            continue
        seam = after.start * hop_length
        ending = before.start - before.left  # first row of that piece
        first = seam - half - ending * hop_length
        leaving = pieces[k - 1][first : first + 2 * half]
        first = after.left * hop_length - half
        coming = pieces[k][first : first + 2 * half]
        steps = torch.arange(2 * half, device=wav.device, dtype=wav.dtype)
        fade = (steps + 0.5) / (2 * half)
        wav[seam - half : seam + half] = torch.lerp(leaving, coming, fade)
    return wav


def seconds_to_rows(key: str, seconds: float, hop_s: float) -> int:
    """Turn a duration into rows.

    Arguments
    ---------
    key : str
        Name of the setting, for the error.
    seconds : float
        The duration; a multiple of hop_s.
    hop_s : float
        Seconds a row.

    Returns
    -------
    rows : int
        At least 0.

    Raises
    ------
    ValueError
        The duration is negative or no multiple of a row.
    """
    rows = round(seconds / hop_s)
    if seconds < 0 or abs(rows * hop_s - seconds) > 1e-6:
        raise ValueError(
            f"{key}={seconds} s must be a multiple of {hop_s} s and not "
            f"negative; the nearest is {max(rows, 0) * hop_s:g} s."
        )
    return rows
