"""Dry and wet: how much of the enhanced wave is heard."""

from collections.abc import Iterator

import torch

from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.processing.signal_processing import (
    MATCH_BLOCK,
    GainMatcher,
)


def mix_factors(gain: float, wet: float) -> tuple[float, float]:
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

    Example
    -------
    >>> mix_factors(4.0, 0.0), mix_factors(4.0, 0.5), mix_factors(4.0, 1.0)
    ((1.0, 0.0), (0.25, 1.0), (0.0, 1.0))
    """
    if not 0 <= wet <= 1:
        raise ValueError(f"wet={wet} must lie in [0, 1].")
    gain = gain or 1.0
    return (1.0 - wet) * gain**-wet, wet * gain ** (1.0 - wet)


def mix_blocks(
    noisy: SampleSpool, enhanced: SampleSpool, wet: float
) -> Iterator[torch.Tensor]:
    """Blocks (T,) of the mix of two signals of one length.

    It is made sample by sample, for the model adds no delay: wet=0 gives the
    one back and wet=1 the other, bit for bit. It may go beyond full scale.
    """
    matcher = GainMatcher()
    pair = noisy, enhanced
    for dry, pure in zip(*(x.blocks(MATCH_BLOCK) for x in pair)):
        matcher.add(pure, dry)
    dry_factor, wet_factor = mix_factors(matcher.gain(), wet)
    for dry, pure in zip(*(x.blocks(MATCH_BLOCK) for x in pair)):
        yield dry_factor * dry + wet_factor * pure
