"""Enhancement that reports: details, candidates and the guard, a file a time.

The same stages as in `inference.py`, with a look at what lies between them:
the posterior of the token LM, several token sequences instead of one, and the
guard at the end. Without candidates and guard the wave is the same.

Authors
 * The speechbrain_llase contributors 2026
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_reader import read_blocks
from speechbrain_llase.dataio.audio_writer import is_heard
from speechbrain_llase.inference.candidates import (
    Candidates,
    Verdict,
    sample_tokens,
)
from speechbrain_llase.inference.confidence import ROWS, Details, measure_hidden
from speechbrain_llase.inference.guard import Decision, Guard
from speechbrain_llase.inference.windows import Window, stitch
from speechbrain_llase.nnet.packing import pack
from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.processing.signal_processing import fit_length, to_peak

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

    def as_json(self, frames: bool = False) -> str:
        """Write the report in one line.

        Arguments
        ---------
        frames : bool
            Add entropy and margin of every frame.

        Returns
        -------
        line : str
            JSON; null stands for what is not known.
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
        return json.dumps(report, allow_nan=False)


def enhance(
    enhancer: "EnhanceLLaSE",
    noisy: torch.Tensor,
    guard: Guard,
    candidates: Candidates,
) -> tuple[torch.Tensor, Report]:
    """Enhance one file and report.

    Arguments
    ---------
    enhancer : EnhanceLLaSE
        Its stages are run.
    noisy : torch.Tensor
        float (T,), on the enhancer's device.
    guard : Guard
        Looks at the result, if it is enabled.
    candidates : Candidates
        How many token sequences are tried, and which is kept.

    Returns
    -------
    enhanced : torch.Tensor
        float32 (T,).
    report : Report
    """
    noisy = noisy.float()
    if not is_heard(noisy):
        return torch.zeros_like(noisy), Report(Details.cat([]))
    wav = to_peak(noisy)
    plan = enhancer._plan(wav)
    cut = enhancer._cut([wav], [plan])
    feats = enhancer._features(cut, [plan])
    drawn = draw(enhancer, feats, candidates)  # lists of windows
    heard = [[part.tokens for part in parts] for parts in drawn]
    if enhancer.hears_mean:  # the first is what enhancement alone gives
        heard[0] = enhancer.hear(feats)
    decoded = [enhancer.refine(enhancer.decode(h), cut) for h in heard]
    waves = [finish(enhancer, parts, plan, noisy) for parts in decoded]
    details = [keep(parts, plan) for parts in drawn]
    chosen, verdicts = 0, []
    if len(waves) > 1:
        chosen, verdicts = candidates.choose(noisy, waves, details)
    enhanced, decisions = waves[chosen], []
    if guard.enabled:
        enhanced, decisions = guard(
            noisy, enhanced, details[chosen], enhancer.hparams.sample_rate
        )
    return enhanced, Report(
        details[chosen], tuple(decisions), tuple(verdicts), chosen
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
    enhancer: "EnhanceLLaSE", path: str | Path
) -> tuple[torch.Tensor, Report]:
    """Enhance a local file and report; the file is held in memory.

    Arguments
    ---------
    enhancer : EnhanceLLaSE
        With its guard and candidates.
    path : str or Path
        The file.

    Returns
    -------
    enhanced : torch.Tensor
        float32 (T,), on the CPU; over full scale it is scaled down, with a
        warning.
    report : Report

    Raises
    ------
    ValueError
        The file cannot be read; see `read_blocks`.
    """
    noisy = torch.cat(list(read_blocks(path, enhancer.hparams.sample_rate)))
    enhanced, report = enhance(
        enhancer,
        noisy.to(enhancer.device),
        enhancer.guard,
        enhancer.candidates,
    )
    peak = float(enhanced.abs().max())
    if peak > 1:
        logger.warning(
            "%s: the result peaks at %.2f; scaled to full scale.", path, peak
        )
        enhanced = enhanced / peak
    return enhanced.cpu(), report


@torch.no_grad()
def draw(
    enhancer: "EnhanceLLaSE",
    feats: list[torch.Tensor],
    candidates: Candidates,
) -> list[list[Details]]:
    """Predict the tokens of every window: the arg max, then samples.

    Arguments
    ---------
    enhancer : EnhanceLLaSE
        Its token_lm predicts.
    feats : list of torch.Tensor
        (rows, D) of every window.
    candidates : Candidates
        How many, and how they are drawn.

    Returns
    -------
    drawn : list of list of Details
        Candidates, each a list of windows with their context.
    """
    token_lm = enhancer.mods.token_lm
    rng = torch.Generator().manual_seed(candidates.seed)
    drawn = [[] for _ in range(candidates.num_candidates)]
    for window in feats:
        with enhancer.inference_ctx:
            hidden = token_lm.hidden(*pack([window]))
            picked = [token_lm.pick(hidden)]
            for _ in drawn[1:]:
                picked.append(sample(token_lm, hidden, candidates, rng))
            for parts, tokens in zip(drawn, picked, strict=True):
                parts.append(measure_hidden(token_lm, hidden, tokens))
    return drawn


def sample(
    token_lm: torch.nn.Module,
    hidden: torch.Tensor,
    candidates: Candidates,
    rng: torch.Generator,
) -> torch.Tensor:
    """Draw one token sequence (N,), some rows at a time."""
    parts = [
        sample_tokens(
            token_lm.logits(rows), candidates.temperature, candidates.top_k, rng
        )
        for rows in hidden.split(ROWS)
    ]
    return torch.cat(parts)


def finish(
    enhancer: "EnhanceLLaSE",
    pieces: list[torch.Tensor],
    plan: list[Window],
    noisy: torch.Tensor,
) -> torch.Tensor:
    """Join the windows and bring the level back: (T,)."""
    wav = stitch(pieces, plan, HOP_LENGTH, enhancer.crossfade)
    return enhancer._restore(fit_length(wav, len(noisy)), noisy)


def keep(parts: list[Details], plan: list[Window]) -> Details:
    """Leave the context out: the details of a file, on the CPU."""
    kept = [
        part[window.left : window.left + window.stop - window.start]
        for part, window in zip(parts, plan, strict=True)
    ]
    whole = Details.cat(kept)
    return Details(*(x.cpu() for x in vars(whole).values()))
