"""Several outputs for one input, and a verifier that keeps the best.

The token LM gives a posterior; its arg max is one sequence among many. A few
more are drawn from it, decoded, and judged with measures that need no clean
original. The arg max is always among the candidates.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from speechbrain_llase.inference.confidence import (
    LOGIT_ROWS,
    Details,
    Posterior,
)
from speechbrain_llase.inference.measures import Measures
from speechbrain_llase.inference.windows import Window, by_file
from speechbrain_llase.metrics.checks import within_scale
from speechbrain_llase.nnet.fsq import levels_to_tokens
from speechbrain_llase.nnet.precision import own_precision

if TYPE_CHECKING:
    from speechbrain_llase.inference.stages import Stages

TERMS = ("confidence", "speaker", "dnsmos", "words")


def sample_tokens(
    logits: torch.Tensor,
    temperature: float,
    top_k: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """Draw a token (N,) for every frame of logits (N, 65536) or (N, 8, 4).

    Digits are drawn one by one, each among the `top_k` most likely. A
    temperature below 1 stays nearer to the arg max. The generator is on the
    CPU: a seed gives the same tokens on every device.

    Example
    -------
    >>> logits = torch.eye(4)[[3, 1]].repeat(1, 16384)  # (2, 65536)
    >>> sample_tokens(logits, 1e-3, 1, torch.Generator()).shape
    torch.Size([2])
    """
    count = min(top_k, logits.shape[-1])
    best, places = (logits.float() / temperature).topk(count, -1)
    weights = best.softmax(-1).flatten(0, -2).cpu()
    drawn = torch.multinomial(weights, 1, generator=generator)
    drawn = drawn.view(*best.shape[:-1], 1).to(places.device)
    tokens = places.gather(-1, drawn).squeeze(-1)  # (N,) or (N, 8)
    return levels_to_tokens(tokens) if logits.dim() == 3 else tokens


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How one candidate was judged."""

    score: float  # the weighted sum
    terms: dict[str, float]  # what was summed, before the weights


class Candidates:
    """Settings of sampling, and the verifier.

    Arguments
    ---------
    num_candidates : int
        How many are decoded; 1 is the arg max alone.
    temperature : float
        Of sampling, above 0.
    top_k : int
        Tokens, or levels of a digit, to draw from.
    seed : int
        Of the drawing; the same for every file.
    confidence : float
        Weight of the mean log probability of the tokens, in nats.
    speaker : float
        Weight of the cosine of the voices of input and output.
    dnsmos : float
        Weight of DNSMOS OVRL, about 1 to 5.
    words : float
        Weight of the share of words that stay as they are, 0 to 1.
    asr : str
        Recogniser of `words`; see `metrics.load_reader`.
    speaker_model : str
        Model of `speaker`; see `metrics.load_speaker`.

    Raises
    ------
    ValueError
        If a setting is out of its range, or nothing would be judged.
    """

    def __init__(
        self,
        num_candidates: int = 1,
        temperature: float = 0.1,
        top_k: int = 4,
        seed: int = 0,
        confidence: float = 0.0,
        speaker: float = 0.0,
        dnsmos: float = 1.0,
        words: float = 0.0,
        asr: str = "pocketsphinx",
        speaker_model: str = "resemblyzer",
    ):
        if num_candidates < 1 or top_k < 1 or temperature <= 0:
            raise ValueError(
                f"num_candidates={num_candidates} and top_k={top_k} must be "
                f"at least 1 and temperature={temperature} above 0."
            )
        weights = (confidence, speaker, dnsmos, words)
        self.weights = dict(zip(TERMS, weights, strict=True))
        if num_candidates > 1 and not any(weights):
            raise ValueError(
                "All weights are 0: nothing would choose between candidates. "
                f"Give one of {', '.join(TERMS)} a weight."
            )
        self.num_candidates = num_candidates
        self.temperature, self.top_k, self.seed = temperature, top_k, seed
        self._measures = Measures(asr, speaker_model)

    def sample(
        self,
        stages: "Stages",
        posteriors: list[Posterior],
        plans: list[list[Window]],
    ) -> list[list[torch.Tensor]]:
        """Draw further token sequences: each a list of (N,) of all windows."""
        token_lm = stages.token_lm
        own = own_precision(stages.device)
        with torch.no_grad(), own, stages.inference_ctx:
            files = [
                self.draw(token_lm, [known.hidden for known in own])
                for own in by_file(posteriors, plans)
            ]
        return [sum(parts, []) for parts in zip(*files, strict=True)]

    def draw(
        self, token_lm: torch.nn.Module, windows: list[torch.Tensor]
    ) -> list[list[torch.Tensor]]:
        """Draw the candidates of one file but the first, which is the arg max.

        Of hidden states, float32 (N, D) of each window; gives the candidates,
        each the tokens, int64 (N,), of all windows.
        """
        rng = torch.Generator().manual_seed(self.seed)
        drawn = [[] for _ in range(self.num_candidates - 1)]
        for hidden in windows:
            for tokens in drawn:
                parts = [
                    sample_tokens(
                        token_lm.logits(rows), self.temperature, self.top_k, rng
                    )
                    for rows in hidden.split(LOGIT_ROWS)
                ]
                tokens.append(torch.cat(parts))
        return drawn

    def choose(
        self,
        noisy: torch.Tensor,
        waves: Sequence[torch.Tensor],
        details: Sequence[Details],
    ) -> tuple[int, list[Verdict]]:
        """Judge the candidates (T,) of one file, the first from the arg max.

        Gives the index of the best one, the first of equals, and all verdicts.
        """
        noisy = within_scale(noisy)
        used = [term for term in TERMS if self.weights[term]]
        verdicts = []
        for wave, detail in zip(waves, details, strict=True):
            wave = within_scale(wave)
            terms = {x: self._term(x, wave, noisy, detail) for x in used}
            total = sum(self.weights[x] * y for x, y in terms.items())
            verdicts.append(Verdict(total, terms))
        scores = [verdict.score for verdict in verdicts]
        return scores.index(max(scores)), verdicts

    def _term(self, term, wave, noisy, details):
        """Measure one candidate; higher is better."""
        if term == "confidence":
            return details.summary().log_prob
        if term == "dnsmos":
            return self._measures.overall(wave)
        if term == "words":
            return 1 - self._measures.word_share(wave, noisy)
        return self._measures.similarity(wave, noisy) or 0.0  # none found
