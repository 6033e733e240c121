"""What a visitor chose, and the stages of a model that do it.

Authors
 * The speechbrain_llase contributors 2026
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.inference.stages import Stages

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

    def stages(self, enhancer: "EnhanceLLaSE") -> "Stages":
        """The stages of a model, which others use too, with these settings."""
        self.check()
        return enhancer.stages.having(
            window_s=self.window_s,
            context_s=self.context_s,
            restore_level=self.restore_level,
        )
