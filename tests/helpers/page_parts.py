"""What the tests of the page share: a model as the page holds it, noise."""

import soundfile
import torch

from speechbrain_llase.demo.enhance_one import Shared
from speechbrain_llase.demo.limits import Limits
from speechbrain_llase.demo.models import Model

RATE = 16000


class NoScores:
    """A scorer where DNSMOS is not installed."""

    missing = "DNSMOS is not installed here."
    scored_s = 30.0


class Constant:
    """A scorer that knows nothing."""

    missing = ""
    scored_s = 0.5

    def __call__(self, path):
        return {"SIG": 1.0, "BAK": 2.0, "OVRL": 3.0, "P808": 4.0}


def as_model(enhancer) -> Model:
    """Wrap an enhancer."""
    return Model("tiny", enhancer, "of a test", "")


def shared(folder=None, scorer=None, **limits) -> Shared:
    """Limits as given, no models, no scores."""
    return Shared({}, Limits(**limits), scorer or NoScores(), folder)


def noise(seconds=1.0, rate=RATE, channels=1, seed=0) -> torch.Tensor:
    """Seeded bursts of noise (T, C), peak 0.5."""
    rng = torch.Generator().manual_seed(seed)
    wav = torch.randn(round(seconds * rate), channels, generator=rng)
    wav *= torch.sin(torch.linspace(0, 9 * seconds, len(wav))).clamp(0)[:, None]
    return 0.5 * wav / wav.abs().max()


def write(path, wav=None, rate=RATE, **kwargs):
    """Write a wave; one second of noise if none is given."""
    wav = noise(rate=rate) if wav is None else wav
    soundfile.write(str(path), wav.numpy(), rate, **kwargs)
    return path


def samples(path):
    """16-bit samples of a file."""
    return soundfile.read(str(path), dtype="int16")[0]
