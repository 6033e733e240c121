"""DNSMOS of what was written, where the extra for it is installed."""

from importlib.util import find_spec
from pathlib import Path

import soundfile

from speechbrain_llase import metrics

EXTRA = 'pip install "speechbrain_llase[demo]"'
GUARD_NEEDS = {  # threshold of the guard -> packages, and the extra with them
    "min_gain": (("speechmos", "onnxruntime", "librosa"), "demo"),
    "min_speaker": (("resemblyzer",), "speaker"),
    "max_words": (("pocketsphinx",), "evaluation"),
}


class BeginningScorer:
    """DNSMOS of the first `scored_s` seconds of a file.

    Its networks are loaded at once; `missing` says what lacks, if they
    cannot be.
    """

    def __init__(self, scored_s: float):
        self.scored_s = scored_s
        self.missing, self._dnsmos = "", None
        try:
            self._dnsmos = metrics.DNSMOS()
        except ImportError:
            self.missing = f"DNSMOS is not installed here: {EXTRA}."
        except ValueError:  # other networks than those that were pinned
            self.missing = "Install the known DNSMOS: speechmos==0.0.1.1."

    def __call__(self, path: str | Path) -> dict[str, float]:
        """Score a 16 kHz file: SIG, BAK, OVRL and P808, from 1 to 5."""
        frames = round(self.scored_s * metrics.SAMPLE_RATE)
        wav, sample_rate = soundfile.read(str(path), frames, dtype="float32")
        return self._dnsmos(wav, sample_rate)


def guard_lacks(guard) -> str:
    """Say why a model's guard cannot be switched on; empty if it can."""
    keys = (*GUARD_NEEDS, "min_entropy", "max_entropy")
    watched = [key for key in keys if getattr(guard, key) is not None]
    if not watched and guard.mix == 1:
        return "This model's YAML sets no threshold: it would do nothing."
    for key in watched:
        packages, extra = GUARD_NEEDS.get(key, ((), ""))
        lacking = [name for name in packages if find_spec(name) is None]
        if lacking:
            return (
                f"It needs {', '.join(lacking)}, not installed here: "
                f'pip install "speechbrain_llase[{extra}]".'
            )
    return ""
