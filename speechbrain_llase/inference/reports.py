"""What is told about enhancement: details, candidates and the guard."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch
from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_reader import Taken, read_blocks
from speechbrain_llase.inference.candidates import Verdict
from speechbrain_llase.inference.confidence import (
    Details,
    Posterior,
    measure_files,
)
from speechbrain_llase.inference.guard import Decision
from speechbrain_llase.inference.windows import Window

if TYPE_CHECKING:
    from speechbrain_llase.inference.enhancement import EnhanceLLaSE

logger = get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Report:
    """What is known about the enhancement of one file."""

    details: Details  # of the most likely tokens, or those kept
    decisions: tuple[Decision, ...] = ()  # of the guard, in order
    verdicts: tuple[Verdict, ...] = ()  # on the candidates, arg max first
    chosen: int = 0  # which candidate was kept
    gaps: tuple[tuple[int, int], ...] = ()  # of lost packets, in samples

    def as_json(self, frames: bool = False) -> str:
        """Write one line of JSON; null stands for what is not known.

        With `frames`, entropy and margin of every frame, too.
        """
        summary = dataclasses.asdict(self.details.summary())
        summary = {k: x if x == x else None for k, x in summary.items()}
        report = {"confidence": summary}
        if frames:
            report["entropy"] = self.details.entropy.tolist()
            report["margin"] = self.details.margin.tolist()
        for name in ("decisions", "verdicts"):
            parts = [dataclasses.asdict(x) for x in getattr(self, name)]
            if parts:
                report[name] = parts
        if self.verdicts:
            report["chosen"] = self.chosen
        if self.gaps:
            report["gaps"] = self.gaps
        return json.dumps(report, allow_nan=False)


class Reviewer:
    """Look at enhanced files; choose between candidates; let the guard decide.

    `noisy` are the files (T,); plans, windows and posteriors are what the
    stages made of them on the way.
    """

    def __init__(
        self,
        enhancer: "EnhanceLLaSE",
        noisy: list[torch.Tensor],
        plans: list[list[Window]],
        windows: list[torch.Tensor],
        posteriors: list[Posterior],
    ):
        self.stages, self.guard = enhancer.stages, enhancer.guard
        self.candidates = enhancer.candidates
        self.noisy, self.plans, self.windows = noisy, plans, windows
        self.posteriors = posteriors

    def __call__(
        self, enhanced: list[torch.Tensor], log: bool
    ) -> tuple[list[torch.Tensor], list[Report]]:
        """Review files, float32 (T,) each: give what is kept, and the reports.

        With `log`, say what the guard did, where nobody asked for reports.
        """
        stages = self.stages
        known = stages, self.posteriors, self.plans
        waves, details = [enhanced], [measure_files(*known)]
        for tokens in self.candidates.sample(*known):
            decoded = stages.to_waves(tokens, self.windows)
            waves.append(stages.restore(decoded, self.plans, self.noisy))
            details.append(measure_files(*known, tokens))
        files = zip(self.noisy, zip(*waves), zip(*details), strict=True)
        pairs = [self.judge(*file) for file in files]
        if log:
            for _, report in pairs:
                log_decisions(report)
        return [wav for wav, _ in pairs], [report for _, report in pairs]

    def judge(
        self,
        noisy: torch.Tensor,
        waves: tuple[torch.Tensor, ...],
        details: tuple[Details, ...],
    ) -> tuple[torch.Tensor, Report]:
        """Choose one candidate of a file (T,), and guard it."""
        chosen, verdicts, decisions = 0, [], []
        if not len(details[0]):  # silence: there is nothing to choose
            return waves[0], Report(details[0])
        if len(waves) > 1:
            chosen, verdicts = self.candidates.choose(noisy, waves, details)
        enhanced, known = waves[chosen], details[chosen]
        if self.guard.enabled:
            rate = self.stages.hparams.sample_rate
            enhanced, decisions = self.guard(noisy, enhanced, known, rate)
        return enhanced, Report(
            known, tuple(decisions), tuple(verdicts), chosen
        )


def log_decisions(report: Report) -> None:
    """Tell what the guard did, where nobody asked for the report."""
    held = [decision for decision in report.decisions if decision.reasons]
    if held:
        reasons = sorted({reason for x in held for reason in x.reasons})
        logger.info(
            "The guard held %d of %d parts back (%s).",
            len(held),
            len(report.decisions),
            ", ".join(reasons),
        )


def enhance_file(
    enhancer: "EnhanceLLaSE",
    source: str | Path | BinaryIO,
    taken: Taken = Taken(),
    log: bool = False,
    warn: Callable[[str], None] | None = None,
) -> tuple[torch.Tensor, Report]:
    """Enhance a local file and report; the file is held in memory.

    float32 (T,), on the CPU; over full scale it is scaled down, with a
    warning. With `log`, say what the guard did; `warn` and `taken`
    are those of `read_blocks`. A ValueError, if the file cannot be read, or
    each channel is taken.
    """
    if taken.channels == "each":
        raise ValueError(
            "guard, candidates and reports look at one channel: leave them "
            "out, or take channels='mix' or a number."
        )
    rate = enhancer.hparams.sample_rate
    noisy = torch.cat(list(read_blocks(source, rate, taken, warn)))
    wavs, (report,) = enhancer.enhance_batch(noisy[None], return_details=True)
    enhanced, peak = wavs[0], float(wavs.abs().max())
    if peak > 1:
        logger.warning(
            "%s: the result peaks at %.2f; scaled to full scale.", source, peak
        )
        enhanced = enhanced / peak
    if log:
        log_decisions(report)
    return enhanced.cpu(), report


def refuse_watched(enhancer: "EnhanceLLaSE") -> None:
    """Refuse to stream what can only be judged as a whole."""
    if enhancer.is_watched:
        raise ValueError(
            "guard and candidates look at whole files: use enhance_file, "
            "or switch them off to stream."
        )
