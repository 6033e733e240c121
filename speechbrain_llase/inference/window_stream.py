"""Conveyor: the windows of one file, run while its audio arrives.

What has been heard, but is not yet final, is all that is kept: memory does
not grow with the file. A conveyor runs no network itself. Its steps ask for
a stage and wait: whoever drives them may run the windows of other files in
the same batch.

Authors
 * The speechbrain_llase contributors 2026
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

from speechbrain_llase.inference.windows import (
    Stitcher,
    Window,
    audio_span,
    plan_windows,
)
from speechbrain_llase.lobes.refiner import pair
from speechbrain_llase.processing.framing import HOP_LENGTH, MIN_SAMPLES
from speechbrain_llase.processing.signal_processing import fit_length

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

Result = TypeVar("Result")


@dataclass(frozen=True)
class Wanted:
    """Windows that a stage has to run before a file can go on.

    The stage is "extract", whose answer is a list of features (N, D);
    "decode", features to waves, whose answer is a list of pairs: the wave
    (320 N,), and the log probabilities (N,) of its tokens or None; or
    "refine", such waves beside the noisy ones (320 N, 2) to waves (320 N,).
    """

    stage: str
    windows: list[torch.Tensor]


Steps = Generator[Wanted, list, Result]


def drive(model: "EnhanceLLaSE", steps: Steps[Result]) -> Result:
    """Run at once whatever the steps ask for; return their result."""
    answer = None
    while True:
        try:
            wanted = steps.send(answer)
        except StopIteration as end:
            return end.value
        if wanted.stage == "extract":
            answer = model.extract(wanted.windows)
        elif wanted.stage == "refine":
            answer = model.refine_pairs(wanted.windows)
        else:
            waves = model.decode(model.hear(wanted.windows))
            answer = [(wave, None) for wave in waves]


class Conveyor:
    """Turn audio into enhanced audio, window by window.

    Arguments
    ---------
    model : EnhanceLLaSE
        Its stages are run by `push` and `finish`; `take` and `end` leave
        them to the caller.
    window, context : int
        Rows kept of each window, and of context on both sides.
    crossfade : int
        Samples faded at a seam.
    joined : bool
        Context rows come from the neighbours' extraction.
    batch : int
        Windows that are awaited before they run together.
    """

    def __init__(
        self,
        model: "EnhanceLLaSE",
        window: int,
        context: int,
        crossfade: int,
        joined: bool,
        batch: int,
    ):
        self.model = model
        self.window = window
        self.context = context
        self.joined = joined
        self.batch = batch
        self.stitcher = Stitcher(HOP_LENGTH, crossfade)
        self.audio = torch.zeros(0)  # heard, still needed
        self.fresh = []  # heard after it, not yet joined to it
        self.heard = 0  # samples so far
        self.cut = 0  # windows whose audio is cut
        self.rows = None  # joined: extracted rows, still needed
        self.extracted = 0  # joined: rows so far
        self.made = 0  # windows that are decoded
        self.log_prob = 0.0  # nats, sum over the kept rows that have one
        self.scored = 0  # those rows

    def push(self, wav: torch.Tensor) -> torch.Tensor:
        """Take the next samples.

        Arguments
        ---------
        wav : torch.Tensor
            float (T,), T at least 0, as the model is fed.

        Returns
        -------
        enhanced : torch.Tensor
            What is final now, at the model's level; often nothing.
        """
        return drive(self.model, self.take(wav))

    def finish(self) -> torch.Tensor:
        """End the file: return the rest, to the last row."""
        return drive(self.model, self.end())

    def take(self, wav: torch.Tensor) -> Steps[torch.Tensor]:
        """Take the next samples; the steps of `push`."""
        self.fresh.append(wav)
        self.heard += len(wav)
        rows = self.heard // HOP_LENGTH - self.context
        ready = rows // self.window - self.cut
        ready -= ready % self.batch
        if ready <= 0:
            return wav[:0]
        self.gather()
        plan = [self.place(k) for k in range(self.cut, self.cut + ready)]
        return (yield from self.run(plan, None))

    def end(self) -> Steps[torch.Tensor]:
        """End the file; the steps of `finish`."""
        self.gather()
        if self.heard < MIN_SAMPLES:
            return self.audio[:0]
        rows = (self.heard - MIN_SAMPLES) // HOP_LENGTH + 2
        plan = plan_windows(rows, self.window, self.context)
        parts = [self.audio[:0]]
        for at in range(self.cut, len(plan), self.batch):
            some = plan[at : at + self.batch]
            parts.append((yield from self.run(some, plan)))
        return torch.cat(parts)

    def gather(self) -> None:
        """Join what was heard, once for many short blocks."""
        if self.fresh:
            self.audio = torch.cat((self.audio.to(self.fresh[0]), *self.fresh))
            self.fresh = []

    def scale(self, gain: float) -> None:
        """Scale what was heard and is still needed."""
        self.gather()
        self.audio = self.audio * gain

    def place(self, index: int) -> Window:
        """Place of a window that is not near the end."""
        start = index * self.window
        left = min(self.context, start)
        return Window(start, start + self.window, left, self.context)

    def run(
        self, some: list[Window], plan: list[Window] | None
    ) -> Steps[torch.Tensor]:
        """Run windows whose audio is here; the whole plan, once known."""
        behind = self.heard - len(self.audio)
        wavs = []
        for window in some:
            start, stop = audio_span(window, self.context)
            if plan and window is plan[-1]:
                stop = self.heard
            wav = self.audio[start - behind : stop - behind]
            wavs.append(fit_length(wav, max(len(wav), MIN_SAMPLES)))
        self.cut += len(some)
        next_start = max(0, some[-1].stop - self.context) * HOP_LENGTH
        self.audio = self.audio[next_start - behind :]
        feats = yield Wanted("extract", wavs)
        if self.joined:
            some, feats = self.join(some, feats, plan)
        pieces = (yield Wanted("decode", feats)) if feats else []
        if self.model.refines and pieces:
            decoded = (wave for wave, _ in pieces)
            refined = yield Wanted("refine", list(map(pair, decoded, wavs)))
            scores = (log_probs for _, log_probs in pieces)
            pieces = list(zip(refined, scores, strict=True))
        return self.stitch(some, pieces, plan)

    def join(
        self,
        some: list[Window],
        feats: list[torch.Tensor],
        plan: list[Window] | None,
    ) -> tuple[list[Window], list[torch.Tensor]]:
        """Keep extracted rows; return the windows whose context is whole."""
        kept = [
            f[w.left :][: w.stop - w.start]
            for f, w in zip(feats, some, strict=True)
        ]
        held = [] if self.rows is None else [self.rows]
        self.rows = torch.cat([*held, *kept])
        self.extracted = some[-1].stop
        behind = self.extracted - len(self.rows)
        ended = plan and some[-1] is plan[-1]
        waiting = range(self.made, self.cut)
        places = [plan[k] if plan else self.place(k) for k in waiting]
        ready = [
            w for w in places if ended or w.stop + w.right <= self.extracted
        ]
        rows = [
            self.rows[w.start - w.left - behind : w.stop + w.right - behind]
            for w in ready
        ]
        if ready:
            needed = max(0, ready[-1].stop - self.context)
            self.rows = self.rows[max(0, needed - behind) :].clone()
        return ready, rows

    def stitch(
        self,
        some: list[Window],
        pieces: list[tuple[torch.Tensor, torch.Tensor | None]],
        plan: list[Window] | None,
    ) -> torch.Tensor:
        """Join decoded windows to what went before."""
        parts = [self.audio[:0]]
        for window, (piece, log_probs) in zip(some, pieces, strict=True):
            self.made += 1
            if log_probs is not None:
                rows = window.stop - window.start
                self.log_prob += float(log_probs[window.left :][:rows].sum())
                self.scored += rows
            last = plan and window is plan[-1]
            coming = None if last else min(self.context, window.stop)
            parts.append(self.stitcher.add(piece, window, coming).to(parts[0]))
        return torch.cat(parts)
