"""Tests of speechbrain_llase.evaluation.plot_data."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.evaluation import plot, plot_data as tracks
from speechbrain_llase.processing.signal_processing import active_level


def noise(samples, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(samples, generator=rng)


def whole_spectrogram(wav):
    """The same at once, as torch centres it."""
    spectra = torch.stft(
        wav,
        tracks.N_FFT,
        tracks.COLUMN,
        window=torch.hann_window(tracks.N_FFT),
        pad_mode="constant",
        return_complex=True,
    )
    return 10 * torch.log10(spectra.abs().square() + 1e-12)


@pytest.mark.parametrize("samples", [1, 159, 512, 16000, 131072, 200000])
def test_blocks_give_the_spectrogram_of_the_whole(samples, monkeypatch):
    monkeypatch.setattr(tracks, "TRANSFORMED", 30)
    track = tracks.track_wave(noise(samples))
    whole = whole_spectrogram(noise(samples)).numpy()
    assert track.spectrogram.shape == whole.shape
    assert np.abs(track.spectrogram - whole).max() < 0.01
    assert track.duration_s == samples / 16000


@pytest.mark.parametrize("samples", [320, 16000, 200001])
def test_active_level_is_that_of_signal(samples):
    wav = noise(samples)
    wav[: samples // 2] *= 1e-3
    expected = 20 * np.log10(float(active_level(wav)))
    assert tracks.track_wave(wav).active_db == pytest.approx(expected, abs=1e-4)


def test_silence_has_no_level():
    assert tracks.track_wave(torch.zeros(16000)).active_db == -np.inf
    assert tracks.track_wave(torch.ones(319)).active_db == -np.inf


@pytest.mark.parametrize("samples", [16000, 15999, 16640])
def test_long_waves_are_averaged_in_power(samples, monkeypatch):
    monkeypatch.setattr(tracks, "MAX_COLUMNS", 10)
    monkeypatch.setattr(tracks, "TRANSFORMED", 30)
    wav = noise(samples)
    track = tracks.track_wave(wav)
    power = 10 ** (whole_spectrogram(wav).double() / 10)  # 100 to 105 columns
    group = -(-power.shape[1] // 10)
    expected = [part.mean(1) for part in power.split(group, 1)]
    assert track.spectrogram.shape == (257, len(expected))
    got = 10 ** (track.spectrogram.astype(float) / 10)
    assert np.allclose(got, torch.stack(expected, 1), rtol=1e-3)
    assert track.power.shape == (samples // 320,)


def test_a_long_file_keeps_few_figures(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.tile(noise(16000).numpy(), 600), 16000)
    track = tracks.track_file(path)
    assert track.duration_s == 600
    assert track.spectrogram.shape[1] <= tracks.MAX_COLUMNS
    assert track.power.shape == (30000,)


def test_a_part_is_that_part(tmp_path):
    path = tmp_path / "a.wav"
    wav = noise(20 * 16000)
    soundfile.write(path, wav.numpy(), 16000, subtype="FLOAT")
    part = tracks.track_file(path, 7.5, 12.25)  # blocks are 8 s
    alone = tracks.track_wave(wav[120000:196000], start_s=7.5)
    assert (part.start_s, part.stop_s) == (7.5, 12.25)
    assert np.abs(part.spectrogram - alone.spectrogram).max() < 0.01
    assert np.allclose(part.power, alone.power)
    assert tracks.track_file(path, 15.0, 99.0).stop_s == 20.0


def test_rates_and_channels_become_the_models(tmp_path):
    path = tmp_path / "stereo.flac"
    time_s = np.arange(44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 2000 * time_s)
    soundfile.write(path, np.stack([tone, np.zeros_like(tone)], 1), 44100)
    track = tracks.track_file(path)
    assert track.nyquist_khz == 8.0
    assert track.duration_s == pytest.approx(1.0, abs=1e-3)
    strongest = track.spectrogram[:, 50].argmax() / 256 * track.nyquist_khz
    assert strongest == pytest.approx(2.0, abs=0.02)
    assert track.active_db == pytest.approx(20 * np.log10(0.25 / 2**0.5), 0.02)


def test_times_and_files_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(16000).numpy(), 16000)
    with pytest.raises(ValueError, match="below the stop"):
        tracks.track_file(path, 2.0, 1.0)
    with pytest.raises(ValueError, match="ends at 1.00 s"):
        tracks.track_file(path, 5.0)
    with pytest.raises(FileNotFoundError, match="no file"):
        tracks.track_file(tmp_path / "missing.wav")
    with pytest.raises(ValueError, match=r"give \(T,\)"):
        tracks.track_wave(torch.zeros(2, 16000))


def test_other_lengths_are_refused():
    long, short = (tracks.track_wave(noise(n)) for n in (32000, 16000))
    with pytest.raises(ValueError, match="2.00 s and the enhanced one 1.00 s"):
        plot.make_figure(long, short)
    close = tracks.track_wave(noise(31000))  # 62 ms shorter: padding
    assert plot.make_figure(long, close).axes[0].get_xlim() == (0.0, 2.0)
