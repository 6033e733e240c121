"""A guard that does no harm: where enhancement would hurt, the input stays.

A generative enhancer can say other words or lend another voice. The guard
looks at what it made, with measures that need no clean original, and passes
the input through where a threshold is crossed. Every decision is reported.
What each threshold saves and costs is measured in docs/evaluation.md.
"""

import dataclasses
from collections.abc import Sequence

import torch

from speechbrain_llase.inference.confidence import Details
from speechbrain_llase.inference.measures import Measures
from speechbrain_llase.metrics.checks import within_scale
from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.processing.signal_processing import fit_length


@dataclasses.dataclass(frozen=True)
class Decision:
    """What was measured in one part of a file, and what followed."""

    start: int  # samples
    stop: int  # samples, past the end
    mix: float  # share of the enhanced wave that is kept
    reasons: tuple[str, ...] = ()  # thresholds crossed; empty if none
    gain: float | None = None  # of DNSMOS OVRL; None where it is not watched
    entropy: float | None = None  # nats
    speaker: float | None = None  # cosine of output and input
    words: float | None = None  # share of the words that differ, 0 to 1


class Guard:
    """Decide part by part how much of the enhanced wave is kept.

    A threshold that is None is not watched, and its model is not loaded.

    Arguments
    ---------
    enabled : bool
        Whether it does anything.
    mix : float
        Share of the enhanced wave where nothing is wrong: 1 keeps it alone,
        0 passes the input.
    harmed_mix : float
        Its share where a threshold is crossed; at most `mix`.
    window_s : float, optional
        Seconds that are judged at a time; None judges files as a whole.
    fade_s : float
        Seconds over which the shares of two windows are blended.
    min_gain : float, optional
        DNSMOS OVRL of the output less that of the input. Where there is
        nothing to gain, words are not worth risking.
    min_entropy, max_entropy : float, optional
        Nats a token, mean; see `Details`. Low entropy means that the input
        was clear, high entropy that little of the speech was understood.
    min_speaker : float, optional
        Cosine of the voices of input and output.
    max_words : float, optional
        Share of the words that a recogniser reads otherwise in the output.
    asr : str
        Recogniser of `max_words`; see `metrics.load_reader`.
    speaker : str
        Model of `min_speaker`; see `metrics.load_speaker`.

    Raises
    ------
    ValueError
        If a setting is out of its range.

    Example
    -------
    >>> guard = Guard(enabled=True, mix=0.5)
    >>> wav, decisions = guard(torch.zeros(4), torch.ones(4), Details.cat([]))
    >>> wav, decisions[0].mix
    (tensor([0.5000, 0.5000, 0.5000, 0.5000]), 0.5)
    """

    def __init__(
        self,
        enabled: bool = False,
        mix: float = 1.0,
        harmed_mix: float = 0.0,
        window_s: float | None = None,
        fade_s: float = 0.05,
        min_gain: float | None = None,
        min_entropy: float | None = None,
        max_entropy: float | None = None,
        min_speaker: float | None = None,
        max_words: float | None = None,
        asr: str = "pocketsphinx",
        speaker: str = "resemblyzer",
    ):
        if not 0 <= harmed_mix <= mix <= 1:
            raise ValueError(
                f"mix={mix} and harmed_mix={harmed_mix} must lie in [0, 1], "
                "harmed_mix not above mix."
            )
        if fade_s < 0 or (window_s is not None and window_s <= fade_s):
            raise ValueError(
                f"window_s={window_s} must be None or above fade_s={fade_s}, "
                "which is not negative."
            )
        self.enabled = enabled
        self.mix, self.harmed_mix = mix, harmed_mix
        self.window_s, self.fade_s = window_s, fade_s
        self.min_gain = min_gain
        self.min_entropy, self.max_entropy = min_entropy, max_entropy
        self.min_speaker = min_speaker
        self.max_words = max_words
        self._measures = Measures(asr, speaker)

    def __call__(
        self,
        noisy: torch.Tensor,
        enhanced: torch.Tensor,
        details: Details,
        sample_rate: int = 16000,
    ) -> tuple[torch.Tensor, list[Decision]]:
        """Guard one file (T,), its output at the level of the input's speech.

        The details, 50 frames a second, may be empty. Gives the wave (T,) that
        is kept, on the device of `enhanced`, and the decisions in the file's
        order.
        """
        decisions = []
        window = round((self.window_s or 0) * sample_rate) or len(noisy)
        for start, stop in split(len(noisy), window):
            rows = slice(start // HOP_LENGTH, -(-stop // HOP_LENGTH))
            part = slice(start, stop)
            measured = self._measure(noisy[part], enhanced[part], details[rows])
            reasons = self._reasons(**measured)
            mix = self.harmed_mix if reasons else self.mix
            decisions.append(Decision(start, stop, mix, reasons, **measured))
        fade = round(self.fade_s * sample_rate)
        return blend(noisy, enhanced, decisions, fade), decisions

    def _measure(self, noisy, enhanced, details):
        """Measure what is watched; None for what cannot be."""
        noisy, enhanced = (within_scale(x) for x in (noisy, enhanced))
        gain = entropy = speaker = words = None
        measures = self._measures
        if self.min_gain is not None and len(noisy):
            gain = measures.overall(enhanced) - measures.overall(noisy)
        limits = self.min_entropy, self.max_entropy
        if limits != (None, None) and len(details):
            entropy = details.summary().entropy
        if self.min_speaker is not None and noisy.any() and enhanced.any():
            speaker = measures.similarity(enhanced, noisy)
        if self.max_words is not None:
            words = measures.word_share(enhanced, noisy)
        found = {"gain": gain, "entropy": entropy}
        return {**found, "speaker": speaker, "words": words}

    def _reasons(self, gain, entropy, speaker, words):
        """Name the thresholds that are crossed."""
        crossed = {
            "gain": is_below(gain, self.min_gain),
            "entropy": is_below(entropy, self.min_entropy)
            or is_below(self.max_entropy, entropy),
            "speaker": is_below(speaker, self.min_speaker),
            "words": is_below(self.max_words, words),
        }
        return tuple(name for name, is_crossed in crossed.items() if is_crossed)


def is_below(value: float | None, limit: float | None) -> bool:
    """Compare two figures, if both are known."""
    return value is not None and limit is not None and value < limit


def split(num_samples: int, window: int) -> list[tuple[int, int]]:
    """Cut a file into windows; a rest below half a window joins the last.

    All in samples; a window is 0 only for an empty file. Gives start and end
    of each.

    Example
    -------
    >>> split(25, 10), split(24, 10), split(3, 10)
    ([(0, 10), (10, 20), (20, 25)], [(0, 10), (10, 24)], [(0, 3)])
    """
    if not num_samples:
        return []
    count = max(1, num_samples // window)
    if count * window < num_samples <= count * window + window // 2 - 1:
        edges = [k * window for k in range(count)]
    else:
        edges = list(range(0, num_samples, window))
    return list(zip(edges, [*edges[1:], num_samples], strict=True))


def blend(
    noisy: torch.Tensor,
    enhanced: torch.Tensor,
    decisions: Sequence[Decision],
    fade: int,
) -> torch.Tensor:
    """Mix input and output (T,) with the shares that were decided.

    The decisions cover the file without gaps; two shares are blended over
    `fade` samples around their border. float32, on the device of `enhanced`.
    """
    noisy = fit_length(noisy.to(enhanced).float(), len(enhanced))
    if not decisions:
        return enhanced.float()
    share = torch.cat(
        [enhanced.new_full((d.stop - d.start,), d.mix) for d in decisions]
    ).float()
    for one, two in zip(decisions, decisions[1:], strict=False):
        if fade and one.mix != two.mix:
            lap = min(fade, one.stop - one.start, two.stop - two.start) // 2
            ramp = torch.linspace(one.mix, two.mix, 2 * lap + 2)[1:-1]
            share[two.start - lap : two.start + lap] = ramp.to(share)
    return share * enhanced.float() + (1 - share) * noisy
