"""Phases made of the pitch of magnitudes."""

import pytest
import torch

from speechbrain_llase.lobes.spectral_encoder import magnitudes
from speechbrain_llase.lobes.xcodec2 import head_to_wave, invert_stft
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.processing.mel_envelope import mel_bands
from speechbrain_llase.processing.phase import (
    find_pitch,
    make_noise,
    make_source,
    pitched_phases,
)

WINDOW = torch.hann_window(1280)


def vowel(hertz: torch.Tensor) -> torch.Tensor:
    """A voice (1, T) of a pitch (T,) in Hz: harmonics up to 3 kHz."""
    phase = 2 * torch.pi * (hertz.double() / 16000).cumsum(0)
    harmonics = range(1, int(3000 / float(hertz.max())))
    wave = sum(torch.sin(k * phase + k * k) / k for k in harmonics)
    return 0.05 * wave.float().unsqueeze(0)


@pytest.mark.parametrize("hertz", [75.0, 110.0, 163.0, 241.0, 390.0])
def test_pitch_of_a_steady_voice(hertz):
    """Within half a percent, and never an octave off."""
    wave = vowel(torch.full((16000,), hertz))
    period, strength = find_pitch(magnitudes(wave), WINDOW)
    found = 16000 / period[:, 3:-3]
    assert ((found / hertz - 1).abs() < 0.005).all()
    assert strength[:, 3:-3].min() > 0.8


def test_noise_and_silence_have_none():
    """Their frames are excited by noise."""
    torch.manual_seed(0)
    for wave in (0.05 * torch.randn(1, 16000), torch.zeros(1, 16000)):
        _, strength = find_pitch(magnitudes(wave), WINDOW)
        assert strength.mean() < 0.25


def test_pulses_come_at_the_period():
    """Some 1.5 s of them at 123.4 samples, between samples where they fall."""
    period = torch.full((1, 75), 123.4)
    source = make_source(period, torch.ones(1, 75), make_noise(24000))[0]
    assert source.shape == (24000,)
    near = source.view(-1).nonzero()[:, 0]
    places = near[source[near].abs() > 1]
    assert len(places) >= 24000 // 123.4
    mass = source.sum() / 123.4**0.5
    assert float(mass) == pytest.approx(24000 / 123.4, rel=0.03)
    assert float(source.square().mean()) == pytest.approx(0.75, abs=0.25)


def test_a_gliding_voice_comes_back():
    """From its magnitudes alone: the spectrum stays, and no tone at 50 Hz."""
    glide = torch.linspace(110, 190, 32000)
    wave = vowel(glide)
    spectra = magnitudes(wave)
    head = Xcodec2Vocoder(32, 1, 2, 48, 64).decoder.head
    rows = torch.cat([spectra.clamp(min=1e-5).log()] * 2, -1)
    again = magnitudes(head_to_wave(head, rows, "pitch"))
    inside = slice(5, -5)
    error = (again - spectra)[:, inside].norm() / spectra[:, inside].norm()
    assert error < 0.3
    flat = magnitudes(
        head_to_wave(
            head, torch.cat([rows[..., :641], 0 * rows[..., :641]], -1)
        )
    )
    worse = (flat - spectra)[:, inside].norm() / spectra[:, inside].norm()
    assert worse > 2 * error


def test_a_burst_stays_short():
    """Between bursts of noise it is quieter than phases alone leave it."""
    torch.manual_seed(0)
    head = Xcodec2Vocoder(32, 1, 2, 48, 64).decoder.head
    wave = 0.1 * torch.randn(1, 32000)
    wave *= (torch.arange(32000) % 3200 < 640).float()  # 40 of 200 ms
    spectra = magnitudes(wave)
    phase = pitched_phases(spectra, WINDOW, 320)
    smeared = invert_stft(head, phase, spectra)
    kept = head_to_wave(
        head, torch.cat([spectra.clamp(min=1e-5).log(), phase], -1), "pitch"
    )

    def off(wav):
        """Distance of the bands from those that were asked for, in nats."""
        ours, theirs = (
            (x.square() @ mel_bands(641) + 1e-3).log()
            for x in (magnitudes(wav), spectra)
        )
        return float((ours - theirs).abs().mean())

    assert off(kept) < 0.9 * off(smeared)


def test_each_item_by_itself():
    """A batch gives each what it gets alone, the same every time."""
    waves = torch.cat([vowel(torch.full((9600,), f)) for f in (100.0, 150.0)])
    together = pitched_phases(magnitudes(waves), WINDOW, 320)
    for row, wave in zip(together, waves):
        alone = pitched_phases(magnitudes(wave[None]), WINDOW, 320)[0]
        assert torch.equal(row, alone)


def test_one_frame():
    """The shortest input there is."""
    phase = pitched_phases(magnitudes(torch.rand(1, 320)), WINDOW, 320)
    assert phase.shape == (1, 1, 641) and phase.isfinite().all()


@pytest.mark.parametrize("magnitude, kept", [(0.01, 0.2), (0.1, 0.5), (1, 1)])
def test_what_lies_below_the_floor_fades(magnitude, kept):
    """Half is left at the floor, nearly all above it, a fifth below."""
    head = Xcodec2Vocoder(32, 1, 2, 48, 64).decoder.head
    rows = torch.full((1, 4, 1282), magnitude).log()
    rows[..., 641:] = 0.3
    before, after = (head_to_wave(head, rows, floor=f) for f in (0.0, 0.1))
    assert torch.allclose(after, kept * before, atol=2e-4 * before.abs().max())


@pytest.mark.parametrize(
    "wrong", [{"phases": "guessed"}, {"floor": -0.5}, {"floor": 1e3}]
)
def test_wrong_settings(wrong):
    """Named, with what is allowed."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Xcodec2Vocoder(32, 1, 2, 48, 64, **wrong)
