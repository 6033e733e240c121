"""The gain of generated speech follows the speech in the input, nothing else.

The voice is synthetic; the generated wave is the same speech with other phases
and at another level, as a vocoder gives it.
"""

from functools import cache

import pytest
import torch

from speechbrain_llase.inference.windows import plan_windows
from speechbrain_llase.processing.hearing import remove_rumble
from speechbrain_llase.processing.speech_gain import SpeechGain

RATE = 16000
CONTEXT = 50  # rows


def voice(seconds: float, level_db: float, seed: int = 0) -> torch.Tensor:
    """Syllables of a gliding pitch under two formants (T,), with pauses."""
    rng = torch.Generator().manual_seed(seed)
    count = round(seconds * RATE)
    time = torch.arange(count) / RATE
    glide = torch.cumsum(110 + 40 * seed + 25 * torch.sin(4.1 * time), 0) / RATE
    wav = torch.zeros(count)
    for k in range(1, 40):
        hertz = k * (110 + 40 * seed)
        first, second = 600 + 200 * torch.sin(2.3 * time), 1700
        shape = 1 / (1 + ((hertz - first) / 150) ** 2)
        shape = shape + 0.3 / (1 + ((hertz - second) / 250) ** 2)
        wav += shape * torch.sin(2 * torch.pi * k * glide)
    wav += 0.02 * torch.randn(count, generator=rng)
    syllables = torch.sin(2 * torch.pi * 1.7 * time).clamp(min=0) ** 0.5
    sentence = (time % 3 < 2.4).float()
    return to_level(wav * syllables * sentence, level_db)


def to_level(wav: torch.Tensor, level_db: float) -> torch.Tensor:
    """Bring the mean power of what is not silent to a level."""
    power = wav[wav.abs() > 1e-3 * wav.abs().max()].square().mean()
    return wav * 10 ** (level_db / 20) / power.sqrt()


def generated(clean: torch.Tensor, gain_db: float = 0.0) -> torch.Tensor:
    """The same speech by a vocoder: other phases, other fine structure."""
    window = torch.hann_window(640)
    spectra = torch.stft(
        clean, 640, 160, window=window, return_complex=True
    ).abs()
    rng = torch.Generator().manual_seed(7)
    spectra = spectra * torch.exp(
        0.2 * torch.randn(spectra.shape, generator=rng)
    )
    phases = torch.stft(
        torch.roll(clean, 37), 640, 160, window=window, return_complex=True
    ).angle()
    wav = torch.istft(
        torch.polar(spectra, phases), 640, 160, window=window, length=len(clean)
    )
    return to_same(wav, clean) * 10 ** (gain_db / 20)


def to_same(wav: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Undo what the changes did to the level, half a second by half a second."""
    parts = zip(wav.split(8000), clean.split(8000), strict=True)
    return torch.cat(
        [x * (y.norm() / x.norm().clamp(min=1e-9)) for x, y in parts]
    )


def follow(
    wave: torch.Tensor, noisy: torch.Tensor, levels_db: tuple = ()
) -> torch.Tensor:
    """Scale the generated wave (320 N,) as a file is, window by window.

    Windows of 10 s come at the levels that are given.
    """
    peak, gain, parts = noisy.abs().max(), SpeechGain(), []
    for k, w in enumerate(plan_windows(len(wave) // 320, 500, CONTEXT)):
        span = slice((w.start - w.left) * 320, (w.stop + w.right) * 320)
        level = 10 ** (levels_db[k] / 20) if levels_db else 1.0
        piece = gain(level * wave[span], noisy[span] / peak, w)
        parts.append(piece[w.left * 320 :][: (w.stop - w.start) * 320])
    return torch.cat(parts) * peak


def frames(wav: torch.Tensor) -> torch.Tensor:
    """Power of each 20 ms."""
    return wav.unfold(0, 320, 320).square().mean(1)


def errors(output: torch.Tensor, clean: torch.Tensor) -> list[float]:
    """Level less that of the clean speech, dB, of each 2 s of active speech."""
    ours, theirs = frames(remove_rumble(output)), frames(clean)
    near = torch.nn.functional.max_pool1d(theirs[None], 151, 1, 75)[0]
    active = (theirs > 1e-3 * near).nonzero()[:, 0]
    stretches = active.unfold(0, 100, 50)
    return [
        float(10 * torch.log10(ours[x].mean() / theirs[x].mean()))
        for x in stretches
    ]


def hum(count: int, low: float, high: float, level: float) -> torch.Tensor:
    """Noise (T,) between two frequencies, of a level (RMS)."""
    rng = torch.Generator().manual_seed(3)
    spectrum = torch.fft.rfft(torch.randn(count, generator=rng))
    hertz = torch.fft.rfftfreq(count, 1 / RATE)
    wav = torch.fft.irfft(spectrum * (hertz > low) * (hertz < high), count)
    return level * wav / wav.square().mean().sqrt()


def after(seconds: float, wav: torch.Tensor) -> torch.Tensor:
    """Silence, then a wave."""
    return torch.cat([torch.zeros(round(seconds * RATE)), wav])


def chord(count: int) -> torch.Tensor:
    """Three tones that are much louder than speech."""
    time = torch.arange(count) / RATE
    tones = (torch.sin(2 * torch.pi * f * time) for f in (262.0, 330.0, 392.0))
    return 0.15 * sum(tones)


@cache
def mixtures() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Clean speech and the input that holds it, by name."""
    one = voice(12, -23)
    quiet = after(10, voice(12, -40))
    noise, start = torch.zeros(len(quiet)), 10 * RATE
    noise[:start] = hum(start, 50, 7900, 0.2)
    tones = torch.zeros(len(quiet))
    tones[:start] = chord(start)
    click = torch.zeros(len(one))
    click[5 * RATE : 5 * RATE + 3] = torch.tensor([0.9, -0.95, 0.5])
    two = torch.cat([voice(12, -20), voice(12, -41, 1)])
    low = voice(12, -35)
    return {
        "clean": (one, one),
        "offset of 0.1": (one, one + 0.1),
        "offset of 0.3": (one, one + 0.3),
        "rumble": (one, one + hum(len(one), 2, 20, 0.3)),
        "loud noise before": (quiet, quiet + noise),
        "a chord before": (quiet, quiet + tones),
        "a loud, then a quiet talker": (two, two),
        "a quiet, then a loud talker": (two.flip(0), two.flip(0)),
        "a click": (low, low + click),
        "noise, 10 dB": (one, one + hum(len(one), 50, 7900, 0.0223)),
        "noise, 0 dB": (one, one + hum(len(one), 50, 7900, 0.0708)),
    }


@pytest.mark.parametrize("name", mixtures())
def test_each_two_seconds_are_at_their_level(name):
    """Within 1.5 dB of the clean speech, 3 dB where noise is as loud."""
    clean, noisy = mixtures()[name]
    output = follow(generated(clean, 8.0), noisy)
    assert output.shape == clean.shape and len(errors(output, clean)) > 3
    worst = max(map(abs, errors(output, clean)))
    assert worst < (3.0 if name.endswith(" 0 dB") else 1.5), worst


def test_a_level_of_its_own_in_each_window():
    """A model that brings every window to one level; a seam is no step."""
    clean = torch.cat([voice(8, -20), voice(12, -41, 1)])
    output = follow(generated(clean), clean, (0.0, 25.0))
    assert max(map(abs, errors(output, clean))) < 1.5


def test_pauses_are_not_pumped_up():
    """In a pause of 15 s what is left of the noise gets the speech's gain."""
    talk = voice(6, -23)
    clean = torch.cat([talk, torch.zeros(15 * RATE), talk])
    noise = hum(len(clean), 50, 7900, 0.005)
    left = 0.003 * hum(len(clean), 50, 7900, 1.0).roll(99)
    wave = 3 * (generated(clean) + 0.02 * left)
    output = follow(wave, clean + noise)
    pause = slice(8 * RATE, 19 * RATE)
    gain = output[pause].norm() / wave[pause].norm()
    assert -3 < 20 * torch.log10(3 * gain) < 3
    only = follow(3 * left, noise)  # nothing was said yet
    assert only.norm() < 3 * left.norm()


def test_silence_and_short_windows():
    """Nothing is divided by nothing; a window of one row has its gain."""
    window = plan_windows(1, 1, 0)[0]
    one, zeros = torch.rand(320) - 0.5, torch.zeros(320)
    for wave, heard in ((one, zeros), (zeros, one), (zeros, zeros)):
        assert SpeechGain()(wave, heard, window).isfinite().all()
    gain = SpeechGain()
    assert torch.allclose(gain(one, 0.5 * one, window), 0.5 * one, atol=1e-4)
    gain.scale(0.1)
    assert torch.allclose(gain(one, zeros, window), 0.05 * one, atol=1e-4)
