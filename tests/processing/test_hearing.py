"""How the model hears: rumble, levels, clicks and batches."""

import pytest
import torch

from speechbrain_llase.processing.hearing import (
    LEVEL,
    hear,
    remove_rumble,
    speech_level,
)

RATE = 16000


def tone(frequency: float, seconds: float = 2.0) -> torch.Tensor:
    """A sine of amplitude 1, (T,)."""
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return torch.sin(2 * torch.pi * frequency * time).float()


def words() -> torch.Tensor:
    """Noise that comes and goes as syllables do, 3 s, (T,)."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3 * RATE, generator=generator)
    return 0.05 * noise * tone(2.0, 3.0).clamp(min=0)


@pytest.mark.parametrize(
    "frequency, least, most",
    [(20, -200, -50), (40, -200, -40), (100, -0.1, 0.1), (1000, -0.1, 0.1)],
)
def test_takes_out_what_lies_under_60_hz(frequency, least, most):
    """Tones below vanish, those above keep level and phase."""
    wave = tone(frequency)
    inside = slice(1600, -1600)
    heard = remove_rumble(wave)[inside]
    gain_db = 20 * torch.log10(heard.norm() / wave[inside].norm())
    assert least < gain_db < most
    if frequency >= 100:
        assert torch.allclose(heard, wave[inside], atol=0.02)


def test_level_is_that_of_speech():
    """Gain, offset, clicks and pauses change nothing or little."""
    wave = words()
    heard, gain = hear(wave)
    assert float(speech_level(heard)) == pytest.approx(LEVEL, rel=1e-4)
    assert torch.allclose(heard / gain, remove_rumble(wave), atol=1e-6)
    louder = hear(7 * wave + 0.3)[0]
    assert torch.allclose(louder, heard, atol=1e-4)
    clicked = wave.clone()
    clicked[[5000, 30000]] = 1.0
    paused = torch.cat([wave, 1e-4 * wave])
    for other in (clicked, paused):
        assert float(hear(other)[1]) == pytest.approx(float(gain), rel=0.06)


def test_batches_and_silence():
    """A batch hears what its items hear; silence stays silence."""
    pair = torch.stack([words(), 0.1 * words().flip(0)])
    heard, gain = hear(pair)
    assert heard.shape == pair.shape and gain.shape == (2, 1)
    for item, alone in zip(pair, heard, strict=True):
        assert torch.allclose(hear(item)[0], alone, atol=1e-5)
    silent, gain = hear(torch.zeros(RATE))
    assert not silent.any() and torch.isfinite(gain).all()
    assert hear(torch.randn(320))[0].shape == (320,)
