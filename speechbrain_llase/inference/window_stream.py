"""WindowStream: the windows of one file, run while its audio arrives.

Audio that has arrived, but is not final yet, is all that is kept: memory does
not grow with the file. A stream runs no network itself. Its steps ask for a
stage and wait: whoever drives them may run the windows of other files in the
same batch.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from speechbrain_llase.inference.confidence import (
    Details,
    Posterior,
    measure_files,
)
from speechbrain_llase.inference.references import Inputs, Reference
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.inference.windows import (
    Window,
    audio_span,
    plan_windows,
)
from speechbrain_llase.processing.framing import HOP_LENGTH, MIN_SAMPLES
from speechbrain_llase.processing.signal_processing import fit_length
from speechbrain_llase.processing.speech_gain import SpeechGain

Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Wanted:
    """Windows that a stage has to run before a file can go on."""

    stage: Callable[[list], list]  # one of `Stages.steps`
    windows: list[Any]


Steps = Generator[Wanted, list, Returned]


def drive(steps: Steps[Returned]) -> Returned:
    """Run at once whatever the steps ask for; return their result."""
    answer = None
    while True:
        try:
            wanted = steps.send(answer)
        except StopIteration as end:
            return end.value
        answer = wanted.stage(wanted.windows)


class WindowStream:
    """Turn audio into enhanced audio, window by window.

    The stages are run by `push` and `finish`, `batch` windows together (0: the
    model's `window_batch`); `take` and `end` leave them to the caller. A list
    of details gets those of every window, in order and without context;
    `scored` notes how likely the tokens are. A `reference` is heard beside
    each window.
    """

    def __init__(
        self,
        stages: Stages,
        batch: int = 0,
        details: list[Details] | None = None,
        scored: bool = False,
        reference: Reference | None = None,
    ):
        self.stages = stages
        likely = stages.generate_scored
        self.generate = likely if scored else stages.generate_pairs
        self.window, self.context = stages.window, stages.context
        self.reach = stages.reach
        self.batch = batch or stages.hparams.window_batch
        self.details = details
        self.reference = reference
        self.stitcher = stages.new_stitcher()
        self.gain = SpeechGain() if stages.follows else None
        self.heard = []  # joined: audio of the windows that wait
        self.audio = torch.zeros(0, dtype=torch.float32)  # arrived and needed
        self.fresh = []  # arrived after it, not yet joined to it
        self.arrived = 0  # samples so far
        self.cut = 0  # windows whose audio is cut
        self.rows = None  # joined: extracted rows, still needed
        self.extracted = 0  # joined: rows so far
        self.made = 0  # windows that are decoded
        self.log_prob = 0.0  # nats, sum over the kept rows
        self.num_scored = 0  # those rows

    @property
    def confidence(self) -> float | None:
        """Mean log probability of a token, nats; None where there is none."""
        return self.log_prob / self.num_scored if self.num_scored else None

    def push(self, wav: torch.Tensor) -> torch.Tensor:
        """Take the next samples (T,), as the model is fed.

        Gives what is final now, at the model's level; often nothing.
        """
        return drive(self.take(wav))

    def finish(self) -> torch.Tensor:
        """End the file: return the rest, to the last row."""
        return drive(self.end())

    def take(self, wav: torch.Tensor) -> Steps[torch.Tensor]:
        """Take the next samples; the steps of `push`."""
        self.fresh.append(wav)
        self.arrived += len(wav)
        rows = (self.arrived - self.reach) // HOP_LENGTH - self.context
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
        if self.arrived < MIN_SAMPLES:
            return self.audio[:0]
        rows = self.stages.num_rows(self.arrived)
        plan = plan_windows(rows, self.window, self.context)
        parts = [self.audio[:0]]
        for at in range(self.cut, len(plan), self.batch):
            some = plan[at : at + self.batch]
            parts.append((yield from self.run(some, plan)))
        return torch.cat(parts)

    def gather(self) -> None:
        """Join what has arrived, once for many short blocks."""
        if self.fresh:
            self.audio = torch.cat((self.audio.to(self.fresh[0]), *self.fresh))
            self.fresh = []

    def scale(self, gain: float) -> None:
        """Scale what has arrived and is still needed."""
        self.gather()
        self.audio = self.audio * gain
        self.heard = [wav * gain for wav in self.heard]
        if self.gain:
            self.gain.scale(gain)
        if self.stages.keeps_level:
            self.stitcher.scale(gain)

    def place(self, index: int) -> Window:
        """Place of a window that is not near the end."""
        start = index * self.window
        left = min(self.context, start)
        return Window(start, start + self.window, left, self.context)

    def run(
        self, some: list[Window], plan: list[Window] | None
    ) -> Steps[torch.Tensor]:
        """Run windows whose audio is here; the whole plan, once known."""
        behind = self.arrived - len(self.audio)
        wavs = []
        for window in some:
            start, stop = audio_span(window, self.context, self.reach)
            if plan and window is plan[-1]:
                stop = self.arrived
            wav = self.audio[start - behind : stop - behind]
            wav = fit_length(wav, max(len(wav), MIN_SAMPLES))
            if self.reference:
                stop = min(stop, self.arrived)
                wav = Inputs(wav, self.reference(start, stop))
            wavs.append(wav)
        self.cut += len(some)
        next_start = max(0, some[-1].stop - self.context) * HOP_LENGTH
        self.audio = self.audio[next_start - behind :]
        feats = yield Wanted(self.stages.extract, wavs)
        if self.stages.joined:
            self.heard += wavs
            some, feats = self.join(some, feats, plan)
            wavs, self.heard = self.heard[: len(some)], self.heard[len(some) :]
        pieces = []
        if feats:
            pairs = list(zip(feats, wavs, strict=True))
            pieces = yield Wanted(self.generate, pairs)
        return self.stitch(some, wavs, pieces, plan)

    def join(
        self,
        some: list[Window],
        feats: list[torch.Tensor],
        plan: list[Window] | None,
    ) -> tuple[list[Window], list[torch.Tensor]]:
        """Keep extracted rows; return the windows whose context is whole."""
        kept = [w.kept(f) for f, w in zip(feats, some, strict=True)]
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
        wavs: list[torch.Tensor],
        pieces: list[tuple[torch.Tensor, Posterior]],
        plan: list[Window] | None,
    ) -> torch.Tensor:
        """Join decoded windows to what went before."""
        parts = [self.audio[:0]]
        made = zip(some, wavs, pieces, strict=True)
        for window, heard, (piece, posterior) in made:
            self.made += 1
            if self.gain:
                piece = self.gain(piece, heard, window)
            if posterior.log_prob is not None:
                self.log_prob += float(window.kept(posterior.log_prob).sum())
                self.num_scored += window.stop - window.start
            if self.details is not None:
                self.details += measure_files(
                    self.stages, [posterior], [[window]]
                )
            last = plan and window is plan[-1]
            coming = None if last else min(self.context, window.stop)
            parts.append(self.stitcher.add(piece, window, coming).to(parts[0]))
        return torch.cat(parts)
