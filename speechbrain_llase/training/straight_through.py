"""Enhancement that gradients flow through, for training with what follows.

A token is the best of 65,536, and no gradient flows through a choice. Here
the vocoder hears the codes of the chosen tokens, as in use, and the gradient
is that of the mean of the codes over the posterior (Bengio et al.,
arXiv:1308.3432, "straight-through"). A model whose decoder hears the mean
itself needs no such step.
"""

from functools import partial

import torch

from speechbrain_llase.inference.confidence import Posterior
from speechbrain_llase.lobes.xcodec2_vocoder import tokens_to_codes
from speechbrain_llase.nnet.fsq import NUM_LEVELS, VOCAB_SIZE, levels_to_codes
from speechbrain_llase.processing.framing import (
    HOP_LENGTH,
    SAMPLE_RATE,
    num_rows,
)
from speechbrain_llase.processing.signal_processing import fit_length


def straight_through_codes(logits: torch.Tensor, head: str) -> torch.Tensor:
    """Codes of the most likely tokens, with the gradient of the mean codes.

    Of the logits of a head: (N, 65536) of `softmax`, (N, 8, 4) of `digits`.
    The codes are float32 (N, 8), each -1, -0.5, 0 or 0.5.

    Example
    -------
    >>> logits = torch.eye(4).expand(3, 2, 4, 4).flatten(1, 2)
    >>> straight_through_codes(logits, "digits")[0, :4]
    tensor([-1.0000, -0.5000,  0.0000,  0.5000])
    """
    if head == "digits":
        table = levels_to_codes(torch.arange(NUM_LEVELS, device=logits.device))
    else:
        tokens = torch.arange(VOCAB_SIZE, device=logits.device)
        table = tokens_to_codes(tokens)  # (65536, 8)
    mean = logits.float().softmax(-1) @ table
    best = table[logits.argmax(-1)]
    return best + (mean - mean.detach())


def enhance_with_gradient(
    model, noisy: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Enhance a batch (B, T), 16 kHz, as `enhance_batch` does, differentiably.

    Every item is one window, so items should be segments of training: some
    seconds. The gradient reaches the token LM, and of frontend and vocoder
    what wants one (set `requires_grad`; the model stays in eval mode); levels
    are restored by a gain that counts as constant. Relative lengths (B,) in
    (0, 1] are optional. Gives float32 (B, T) on the model's device, zeros past
    the end of an item and for items that are silent or under 400 samples (25
    ms).
    """
    if lengths is None:
        lengths = torch.ones(len(noisy))
    counts = (lengths.cpu() * noisy.shape[1]).round().long().tolist()
    whole = max(num_rows(noisy.shape[1]), 1) * HOP_LENGTH / SAMPLE_RATE
    stages = model.stages.having(
        learns=True, window_s=whole, context_s=0.0, crossfade_s=0.0
    )
    items = [
        wav[:count].to(model.device).float()
        for wav, count in zip(noisy, counts, strict=True)
    ]
    plans = [stages.plan(item) for item in items]
    windows = stages.cut(items, plans)
    choose = partial(choose_codes, model.mods.token_lm)
    chosen = None if stages.decodes_mean else choose
    feats = stages.extract(windows, plans)
    waves, _ = stages.generate(feats, windows, chosen)
    enhanced = stages.restore(waves, plans, items)
    return torch.stack([fit_length(wav, noisy.shape[1]) for wav in enhanced])


def choose_codes(token_lm: torch.nn.Module, known: Posterior) -> torch.Tensor:
    """Choose codes (N, 8) of what is known of a window; see the module."""
    return straight_through_codes(token_lm.logits(known.hidden), token_lm.head)
