"""A model with the settings of one press, which notes how sure it was.

Authors
 * The speechbrain_llase contributors 2026
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch

from speechbrain_llase.inference.confidence import Details, measure_hidden
from speechbrain_llase.inference.reports import keep
from speechbrain_llase.inference.windows import plan_windows, seconds_to_rows
from speechbrain_llase.nnet.packing import pack
from speechbrain_llase.processing.framing import HOP_LENGTH, num_rows

if TYPE_CHECKING:
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.inference.window_stream import Conveyor

WINDOW_S = (1.0, 20.0)  # seconds; memory grows with the square of a window
CONTEXT_S = (0.0, 5.0)  # seconds


@dataclass(frozen=True)
class Settings:
    """What a visitor chose."""

    window_s: float = 10.0  # seconds kept of each window
    context_s: float = 1.0  # seconds of context on both sides
    restore_level: bool = True  # speech at its level in the input
    wet: float = 1.0  # share of the enhanced wave, 0 to 1
    guard: bool = False  # pass the input through where there is no gain
    score: bool = True  # with DNSMOS

    def check(self) -> None:
        """Refuse what is out of its range: a page can be sent anything."""
        ranges = {
            "The window": (self.window_s, *WINDOW_S, " s"),
            "The context": (self.context_s, *CONTEXT_S, " s"),
            "The mix": (100 * self.wet, 0, 100, " %"),
        }
        for name, (value, least, most, unit) in ranges.items():
            if not least <= value <= most:
                raise ValueError(
                    f"{name} is {value:g}{unit}; choose {least:g} to "
                    f"{most:g}{unit}."
                )
        if self.guard and not self.restore_level:
            raise ValueError(
                "The guard puts parts of the input in the place of the "
                "output, so the two must be of one level. Choose the level "
                "of the input, or switch the guard off."
            )


class Listener:
    """Stand in for an EnhanceLLaSE where a file is enhanced in blocks.

    The model itself, which others use too, stays as it is. The tokens, and so
    the wave, are those that the model gives with these settings.

    Arguments
    ---------
    model : EnhanceLLaSE
        Its stages run.
    settings : Settings
        Window, context and level.
    """

    def __init__(self, model: "EnhanceLLaSE", settings: Settings):
        settings.check()
        rate = model.hparams.sample_rate
        hop_s = HOP_LENGTH / rate
        self.model = model
        self.device = model.device
        self.hparams = SimpleNamespace(
            sample_rate=rate, restore_level=settings.restore_level
        )
        self.sizes = (
            seconds_to_rows("The window", settings.window_s, hop_s),
            seconds_to_rows("The context", settings.context_s, hop_s),
            model.crossfade,
        )
        self.heard: list[Details] = []

    def conveyor(self) -> "Conveyor":
        """Windows of one file; see `EnhanceLLaSE.conveyor`."""
        return self.model.conveyor(self.sizes)

    def extract(self, wavs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Extract features: (T,) each -> (N, D) each."""
        return self.model.extract(wavs)

    def hear(self, feats: list[torch.Tensor]) -> list[torch.Tensor]:
        """Predict what the decoder hears of (N, D) each, and note details."""
        found = self.model._run(self._measure, feats)
        self.heard += [
            Details(*(x.cpu() for x in vars(part).values())) for part in found
        ]
        if self.model.hears_mean:
            return self.model.hear(feats)
        return [part.tokens for part in found]

    def decode(self, heard: list[torch.Tensor]) -> list[torch.Tensor]:
        """Decode tokens (N,) or codes (N, 8) each -> (320 N,) each."""
        return self.model.decode(heard)

    def refine_pairs(self, pairs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Refine decoded and noisy (320 N, 2) each -> (320 N,) each."""
        return self.model.refine_pairs(pairs)

    def details(self, num_samples: int) -> Details:
        """What is known of a file of so many samples, once it is done."""
        if not self.heard:  # silent or too short: no window ran
            return Details.cat([])
        window, context, _ = self.sizes
        plan = plan_windows(num_rows(num_samples), window, context)
        return keep(self.heard, plan)

    def _measure(self, feats: list[torch.Tensor]) -> list[Details]:
        """Do what TokenLM.predict_each does, and keep the posterior."""
        token_lm = self.model.mods.token_lm
        hidden = token_lm.hidden(*pack(feats))
        whole = measure_hidden(token_lm, hidden, token_lm.pick(hidden))
        ends = torch.tensor([len(f) for f in feats]).cumsum(0).tolist()
        return [
            whole[end - len(f) : end]
            for f, end in zip(feats, ends, strict=True)
        ]
