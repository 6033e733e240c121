"""Finite scalar quantisation of Xcodec2: 8 digits of 4 levels a token.

A token is ``sum(level_j * 4**j)``, digit 0 first, and the code of a digit is
``(level - 2) / 2``. Source: Mentzer et al., arXiv:2309.15505, in the form of
the xcodec2 package. Pure functions of tensors, no parameters.
"""

import torch

NUM_DIGITS = 8
NUM_LEVELS = 4
VOCAB_SIZE = NUM_LEVELS**NUM_DIGITS  # 65,536
MARGIN = 1e-3  # keeps the bound's gradient alive at the outer levels


def tokens_to_levels(tokens: torch.Tensor) -> torch.Tensor:
    """Split tokens, int64 (...) in [0, 65536), into digits, (..., 8) in [0, 4).

    Example
    -------
    >>> tokens_to_levels(torch.tensor([6]))
    tensor([[2, 1, 0, 0, 0, 0, 0, 0]])
    """
    basis = NUM_LEVELS ** torch.arange(NUM_DIGITS, device=tokens.device)
    return tokens.unsqueeze(-1) // basis % NUM_LEVELS


def levels_to_tokens(levels: torch.Tensor) -> torch.Tensor:
    """Join int64 levels (..., 8) into tokens (...): `tokens_to_levels` undone."""
    basis = NUM_LEVELS ** torch.arange(NUM_DIGITS, device=levels.device)
    return (levels.long() * basis).sum(-1)


def levels_to_codes(levels: torch.Tensor) -> torch.Tensor:
    """Map levels 0, 1, 2, 3 to the codes -1, -0.5, 0, 0.5 (float32)."""
    half = NUM_LEVELS // 2
    return (levels.float() - half) / half


def mean_codes(logits: torch.Tensor) -> torch.Tensor:
    """Average the codes of each digit over its posterior.

    Of logits (..., 8, 4): float32 (..., 8), in [-1, 0.5], between the levels.

    Example
    -------
    >>> mean_codes(torch.zeros(1, 8, 4))[0, 0]
    tensor(-0.2500)
    """
    levels = torch.arange(NUM_LEVELS, device=logits.device)
    return logits.float().softmax(-1) @ levels_to_codes(levels)


def decodes_mean(choice: str) -> bool:
    """Read a YAML's `decoder_hears`: is it the `mean` of the posterior?

    Else it is the `best`; a ValueError for another word.
    """
    if choice not in ("best", "mean"):
        raise ValueError(
            f"decoder_hears={choice!r} is not known; choose one of best, mean."
        )
    return choice == "mean"


def codes_to_levels(codes: torch.Tensor) -> torch.Tensor:
    """Map codes back to levels (int64), the inverse of `levels_to_codes`."""
    half = NUM_LEVELS // 2
    return (codes * half + half).round().long()


def bound(latents: torch.Tensor) -> torch.Tensor:
    """Squash latents (...) into the range of the levels, [-2.0, 1.0]."""
    half_range = (NUM_LEVELS - 1) * (1 + MARGIN) / 2
    latents = latents.float()
    shift = torch.atanh(latents.new_tensor(0.5 / half_range))
    return torch.tanh(latents + shift) * half_range - 0.5


def quantise(latents: torch.Tensor) -> torch.Tensor:
    """Bound float latents (..., 8) and round them, straight-through.

    A standard deviation of 1 to 2 uses all levels. The codes are float32
    (..., 8), each -1, -0.5, 0 or 0.5.
    """
    bounded = bound(latents)
    rounded = bounded + (bounded.round() - bounded).detach()
    return rounded / (NUM_LEVELS // 2)
