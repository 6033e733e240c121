"""Dry and wet: how much of the enhanced wave is heard.

Authors
 * The speechbrain_llase contributors 2026
"""

from collections.abc import Iterator

import torch

from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.processing.signal_processing import (
    MATCH_BLOCK,
    GainMatcher,
    match_gain,
)


def shares(gain: float, wet: float) -> tuple[float, float]:
    """Factors of input and output in the mix.

    Their speech is brought to one level, which moves in equal steps of dB
    from the input's (0 % wet) to the output's (100 %), so that a mix is never
    louder than both. Where the output has the input's level already, these
    are just 1 - wet and wet.

    Arguments
    ---------
    gain : float
        What brings the output's speech to its level in the input; 0 where
        one of them is silent and there is nothing to match.
    wet : float
        Share of the output, 0 to 1.

    Returns
    -------
    dry_factor, wet_factor : float
        (1, 0) for wet=0 and (0, 1) for wet=1, exactly.

    Raises
    ------
    ValueError
        If wet is not in [0, 1] or gain is negative.

    Example
    -------
    >>> shares(4.0, 0.0), shares(4.0, 0.5), shares(4.0, 1.0)
    ((1.0, 0.0), (0.25, 1.0), (0.0, 1.0))
    """
    if not 0 <= wet <= 1 or gain < 0:
        raise ValueError(
            f"wet={wet} must lie in [0, 1] and gain={gain} be at least 0."
        )
    gain = gain or 1.0
    return (1.0 - wet) * gain**-wet, wet * gain ** (1.0 - wet)


def mix(
    noisy: torch.Tensor, enhanced: torch.Tensor, wet: float
) -> torch.Tensor:
    """Mix input and output, sample by sample: the model adds no delay.

    Arguments
    ---------
    noisy, enhanced : torch.Tensor
        float (T,), of one length.
    wet : float
        Share of the output, 0 to 1: 0 gives `noisy` back and 1 `enhanced`,
        bit for bit.

    Returns
    -------
    mixed : torch.Tensor
        float (T,). It may go beyond full scale.

    Raises
    ------
    ValueError
        If the lengths differ or wet is not in [0, 1].
    """
    if noisy.shape != enhanced.shape or noisy.dim() != 1:
        raise ValueError(
            f"noisy has the shape {tuple(noisy.shape)} and enhanced "
            f"{tuple(enhanced.shape)}; give two waves of one shape (T,)."
        )
    dry_factor, wet_factor = shares(match_gain(enhanced, noisy), wet)
    return dry_factor * noisy + wet_factor * enhanced


def mix_blocks(
    noisy: SampleSpool, enhanced: SampleSpool, wet: float
) -> Iterator[torch.Tensor]:
    """Do what `mix` does, in flat memory: blocks (T,) of the mix."""
    matcher = GainMatcher()
    for dry_block, wet_block in pairs(noisy, enhanced):
        matcher.add(wet_block, dry_block)
    dry_factor, wet_factor = shares(matcher.gain(), wet)
    for dry_block, wet_block in pairs(noisy, enhanced):
        yield dry_factor * dry_block + wet_factor * wet_block


def pairs(
    noisy: SampleSpool, enhanced: SampleSpool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Blocks (T,) of both, side by side."""
    both = (x.blocks(MATCH_BLOCK) for x in (noisy, enhanced))
    return zip(*both, strict=True)
