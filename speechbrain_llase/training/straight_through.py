"""Enhancement that gradients flow through, for training with what follows.

A token is the best of 65,536, and no gradient flows through a choice. Here
the vocoder hears the codes of the chosen tokens, as in use, and the gradient
is that of the mean of the codes over the posterior (Bengio et al.,
arXiv:1308.3432, "straight-through"). A model whose decoder hears the mean
itself needs no such step.
"""

import torch

from speechbrain_llase.lobes.refiner import pair
from speechbrain_llase.lobes.xcodec2_vocoder import tokens_to_codes
from speechbrain_llase.nnet.fsq import (
    NUM_LEVELS,
    VOCAB_SIZE,
    levels_to_codes,
    mean_codes,
)
from speechbrain_llase.processing.framing import MIN_SAMPLES
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    match_gain,
    to_peak,
)


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
    """Enhance a batch as `enhance_batch` does, differentiably.

    Every item is one window, so items should be segments of training: some
    seconds. The gradient reaches the token LM, and of frontend and vocoder
    what wants one; levels are restored by a gain that counts as constant.

    Arguments
    ---------
    model : EnhanceLLaSE
        Set `requires_grad` of what is to learn; it stays in eval mode.
    noisy : torch.Tensor
        float (B, T), 16 kHz.
    lengths : torch.Tensor, optional
        (B,), relative, in (0, 1]. None means that all items are full.

    Returns
    -------
    enhanced : torch.Tensor
        float32 (B, T) on the model's device, zeros past the end of an item
        and for items that are silent or under 400 samples (25 ms).
    """
    if lengths is None:
        lengths = torch.ones(len(noisy))
    counts = (lengths.cpu() * noisy.shape[1]).round().long().tolist()
    waves = [
        enhance_one(model, wav[:count].to(model.device).float())
        for wav, count in zip(noisy, counts, strict=True)
    ]
    return torch.stack([fit_length(wav, noisy.shape[1]) for wav in waves])


def enhance_one(model, noisy: torch.Tensor) -> torch.Tensor:
    """Enhance (T,); see `enhance_with_gradient`."""
    if len(noisy) < MIN_SAMPLES or not noisy.any():
        return torch.zeros_like(noisy)
    feats = model.mods.frontend(to_peak(noisy).unsqueeze(0))
    token_lm = model.mods.token_lm
    logits = token_lm(feats)[0]
    if model.stages.decodes_mean:
        codes = mean_codes(logits)
    else:
        codes = straight_through_codes(logits, token_lm.head)
    wav = model.mods.vocoder.decode_codes(codes.unsqueeze(0))[0].float()
    if model.stages.refines:
        both = pair(wav, to_peak(noisy))
        wav = model.mods.refiner.refine_each([both])[0]
    wav = fit_length(wav, len(noisy))
    if not model.hparams.restore_level:
        return wav
    return wav * match_gain(wav.detach(), noisy)
