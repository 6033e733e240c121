"""What guard and candidates measure, of an output and its noisy input.

No clean original is needed. Waves are (T,), as `within_scale` gives them; a
measure is built when it is first needed.
"""

from functools import cached_property

import numpy as np

from speechbrain_llase import metrics
from speechbrain_llase.metrics.word_edits import word_share


class Measures:
    """DNSMOS, a model of voices and a recogniser.

    `asr` and `speaker` are names, for `metrics.load_reader` and
    `metrics.load_speaker`.
    """

    def __init__(self, asr: str, speaker: str):
        self.asr, self.speaker = asr, speaker

    def __getstate__(self) -> dict:
        """Leave the measures out of a copy, which builds its own."""
        return {"asr": self.asr, "speaker": self.speaker}

    @cached_property
    def _dnsmos(self):
        return metrics.DNSMOS(num_threads=1)

    @cached_property
    def _voices(self):
        return metrics.load_speaker(self.speaker)

    @cached_property
    def _words(self):
        return metrics.WordDifference(metrics.load_reader(self.asr))

    def overall(self, wav: np.ndarray) -> float:
        """Predict DNSMOS OVRL, about 1 to 5."""
        return self._dnsmos(wav)["OVRL"]

    def similarity(self, wav: np.ndarray, noisy: np.ndarray) -> float | None:
        """Compare two voices; None, if no voice is found in one of them."""
        voices = self._voices
        try:
            return voices(wav, noisy)
        except ValueError:
            return None

    def word_share(self, wav: np.ndarray, noisy: np.ndarray) -> float:
        """Give the share of words that are read otherwise, 0 to 1."""
        return word_share(*(self._words.read(x) for x in (wav, noisy)))
