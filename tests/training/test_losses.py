"""Losses of the recipe of llase_mini."""

import pytest
import torch

from speechbrain_llase.lobes.spectral_encoder import autocorrelation, magnitudes
from speechbrain_llase.training.compressed_spectra import (
    CompressedSpectraLoss,
    compress,
)
from speechbrain_llase.training.losses import (
    MagnitudeLoss,
    digit_loss,
    pitch_loss,
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def vowels() -> torch.Tensor:
    """Two tones of ten harmonics (2, 9600), of 125 and 200 Hz."""
    time = torch.arange(9600) / 16000
    pitch = torch.tensor([[125.0], [200.0]])
    waves = (torch.cos(2 * torch.pi * k * pitch * time) for k in range(1, 11))
    return 0.02 * sum(waves)


def test_magnitudes_are_those_of_the_decoder(vowels):
    """With the phases of the same frames, the head's inverse gives the wave."""
    from speechbrain_llase.lobes.xcodec2 import head_to_wave
    from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder

    head = Xcodec2Vocoder(32, 1, 2, 48, 64).decoder.head
    frames = torch.nn.functional.pad(vowels, (480, 480)).unfold(1, 1280, 320)
    phase = torch.fft.rfft(frames * torch.hann_window(1280)).angle()
    spectra = torch.cat([magnitudes(vowels).log(), phase], -1)
    wavs = head_to_wave(head, spectra)
    assert torch.allclose(wavs, vowels, atol=1e-4)


def test_magnitude_loss_sees_levels_and_harmonics(vowels):
    """Nothing for the same speech, more the further away it is."""
    loss = MagnitudeLoss(4.0, 0.01, 0.3, 3.0)
    spectra = magnitudes(vowels).log()
    assert loss(spectra, vowels) < 1e-4
    near, far = loss(spectra + 0.1, vowels), loss(spectra + 0.5, vowels)
    assert 0 < near < far
    assert loss(spectra.flip(0), vowels) > far  # the other pitch


def test_low_bins_weigh_more(vowels):
    """An error below 1 kHz costs `low_weight` times one above 2.5 kHz."""
    loss = MagnitudeLoss(4.0, 0.01, 0.3, 0.0)
    low = torch.zeros_like(magnitudes(vowels))
    high = low.clone()
    low[..., 40:50], high[..., 300:310] = 0.3, 0.3
    silence = torch.zeros_like(vowels)
    nothing = loss(torch.full_like(low, -20), silence)
    costs = [loss(x.add(1e-9).log(), silence) - nothing for x in (low, high)]
    assert costs[0] / costs[1] == pytest.approx(4, rel=1e-3)


def test_envelope_is_that_of_bands():
    """A band's level counts; what bins of it trade hardly does."""
    plain = MagnitudeLoss(4.0, 0.01, 0.3, 0.0)
    loss = MagnitudeLoss(4.0, 0.01, 0.3, 2.0)
    wavs = torch.randn(1, 9600)
    spectra = magnitudes(wavs)
    assert loss.envelope(spectra).shape == (1, 30, 40)

    def distances(other):
        bins = plain(other.log(), wavs)
        return bins, (loss(other.log(), wavs) - bins) / 2

    _, louder = distances(2 * spectra)
    assert float(louder) == pytest.approx(0.6931, rel=1e-3)  # log 2
    pairs = spectra[..., 1:].unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    bins, envelopes = distances(torch.cat([spectra[..., :1], pairs], -1))
    assert 0 < envelopes < 0.25 * bins


def test_magnitude_loss_is_float32_under_autocast(vowels):
    """Half precision would lose the quiet bins."""
    loss = MagnitudeLoss(4.0, 0.01, 0.3, 3.0)
    spectra = magnitudes(vowels).log() + 0.1
    expected = loss(spectra, vowels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(spectra, vowels), expected)


@pytest.mark.parametrize("row, lag", [(0, 128), (1, 80)])
def test_autocorrelation_peaks_at_the_period(vowels, row, lag):
    """In every frame that the tone fills."""
    lags = autocorrelation(vowels)[row, 3:-3]
    assert lags.shape[1] == 228
    assert ((lags.argmax(-1) + 40) % lag <= 1).all()
    assert lags[:, lag - 40].min() > 0.95


def test_pitch_counts_where_there_is_speech(vowels):
    """Errors in silence are free."""
    wavs = vowels.clone()
    wavs[:, 4800:] = 0
    lags = autocorrelation(wavs)
    assert pitch_loss(lags, wavs) == 0
    silent, loud = lags.clone(), lags.clone()
    silent[:, 20:] += 1  # two frames after the end
    loud[:, 5] += 1
    assert pitch_loss(silent, wavs) == 0
    assert pitch_loss(loud, wavs) > 0.01


def test_plain_digit_loss_is_cross_entropy():
    """Without smoothing, on any shape."""
    logits, levels = torch.randn(2, 3, 8, 4), torch.randint(4, (2, 3, 8))
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), levels.flatten()
    )
    torch.testing.assert_close(digit_loss(logits, levels, 0.0), expected)


@pytest.mark.parametrize("level", range(4))
def test_smoothing_forgives_neighbours_alone(level):
    """The best prediction has the share of each neighbour, else nothing."""
    target = [0.1 * (abs(k - level) == 1) for k in range(4)]
    target[level] = 1 - sum(target)
    logits = torch.tensor(target).clamp(min=1e-9).log()
    levels = torch.tensor([level])
    entropy = -sum(p * torch.tensor(p).log() for p in target if p)
    best = digit_loss(logits[None], levels, 0.1)
    assert best.item() == pytest.approx(float(entropy), abs=1e-5)
    moved = logits + 0.2 * torch.randn(4)
    assert digit_loss(moved[None], levels, 0.1) > best


@pytest.mark.parametrize("smoothing", [-0.1, 0.5])
def test_impossible_smoothing(smoothing):
    """More on the neighbours than there is."""
    with pytest.raises(ValueError, match=f"smoothing={smoothing}"):
        digit_loss(torch.zeros(1, 4), torch.zeros(1).long(), smoothing)


def test_magnitudes_do_not_shrink_where_phases_are_unknown():
    """A wrong phase turns a bin; it does not make it fainter."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 1, 6, 9, 2, generator=generator)
    clean = torch.view_as_complex(first.contiguous())
    turned = torch.view_as_complex(second.contiguous())
    wave = (turned / turned.abs() * clean.abs()).requires_grad_()
    loss = CompressedSpectraLoss(0.7, 0.3, 0.5, [(64, 16)], 0.0)
    loss.distance(*compress(wave), clean).backward()
    change = wave.grad * wave.detach().conj()
    assert change.imag.abs().max() > 1e-3 > 1e-6 > change.real.abs().max()
