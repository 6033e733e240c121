"""Measures of echo cancellation and of packet-loss concealment.

AECMOS (Purin et al., arXiv:2110.03010) and PLCMOS (Diener et al.,
arXiv:2305.15127) are opinions predicted by the networks of `speechmos`.
"""

import numpy as np

from speechbrain_llase.metrics.checks import Wave, check_wave, import_package
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import power

SPEECHMOS = "speechmos==0.0.1.1 librosa"
RATERS = 15  # listeners that PLCMOS draws, and averages over
HEARD_S = 20  # seconds that AECMOS hears of a clip


class AECMOS:
    """Opinions of echo and of other degradation, from 1 to about 5.

    The network that is told no scenario, at 16 kHz; of longer clips it hears
    the first 20 s.

    Raises
    ------
    ImportError
        If speechmos or what it needs is not installed.

    Example
    -------
    >>> AECMOS()(near, microphone, loopback)  # doctest: +SKIP
    {'echo_mos': 4.4, 'deg_mos': 3.9}
    """

    def __init__(self):
        package = import_package("speechmos.aecmos", SPEECHMOS)
        self._score = package.AECMOS("aecmos_scenarioless_16kHz")

    def __call__(
        self,
        wav: Wave,
        microphone: Wave,
        loopback: Wave,
        sample_rate: int = SAMPLE_RATE,
    ) -> dict[str, float]:
        """Score one wave (T,) beside what it was made of.

        All are cut to the shortest. A ValueError, if one is not allowed.
        """
        waves = [
            check_wave(x, sample_rate) for x in (loopback, microphone, wav)
        ]
        count = min(HEARD_S * SAMPLE_RATE - 1, *map(len, waves))
        feats = [self._score.transform(x[:count], SAMPLE_RATE) for x in waves]
        hidden = np.zeros(self._score.hidden_size, np.float32)
        given = {
            self._score.input_name: np.stack(feats)[None].astype(np.float32),
            "h0": hidden,
        }
        found = np.ravel(self._score.ort_session.run([], given)[0])
        return {"echo_mos": float(found[0]), "deg_mos": float(found[1])}


class PLCMOS:
    """Opinion of concealed packet loss, from 1 to about 5.

    The mean over fifteen listeners that are drawn alike for every wave, so
    that a figure can be had again.

    Raises
    ------
    ImportError
        If speechmos or what it needs is not installed.

    Example
    -------
    >>> PLCMOS()(concealed)  # doctest: +SKIP
    3.8
    """

    def __init__(self):
        package = import_package("speechmos.plcmos", SPEECHMOS)
        self._score = package.PLCMOS()
        rng = np.random.default_rng(0)
        self._raters = rng.normal(size=(RATERS, 1, 64)).astype(np.float32)

    def __call__(self, wav: Wave, sample_rate: int = SAMPLE_RATE) -> float:
        """Score one wave (T,); a ValueError, if it is not allowed."""
        wav = check_wave(wav, sample_rate)
        feats = np.float32(self._score.stft_transform(wav))[None, None]
        figures = [
            self._score.session.run(
                None, {"degraded_audio": feats, "rater_embed": rater}
            )[0]
            for rater in self._raters
        ]
        return float(np.mean(figures))


def erle(wav: Wave, microphone: Wave, sample_rate: int = SAMPLE_RATE) -> float:
    """Echo return loss enhancement: by how much power fell, in dB.

    It says something where the far end speaks alone. A ValueError, if a wave
    is not allowed or silent.

    Example
    -------
    >>> microphone = np.full(800, 0.5, np.float32)
    >>> round(erle(0.1 * microphone, microphone), 3)
    20.0
    """
    powers = [power(check_wave(x, sample_rate)) for x in (microphone, wav)]
    if not all(powers):
        raise ValueError("ERLE of silence is not defined.")
    return float(10 * np.log10(powers[0] / powers[1]))
