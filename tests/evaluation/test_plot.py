"""Tests of speechbrain_llase.evaluation.plot."""

import subprocess
import sys

import pytest
import torch

from speechbrain_llase.evaluation import plot


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved while a test runs."""
    figure = pytest.importorskip("matplotlib.figure")
    saved = []
    savefig = figure.Figure.savefig

    def remember(self, *args, **kwargs):
        saved.append(self)
        return savefig(self, *args, **kwargs)

    monkeypatch.setattr(figure.Figure, "savefig", remember)
    return saved


def tone(gain, frequency_hz=2000.0, samples=16000):
    time_s = torch.arange(samples) / 16000
    return gain * torch.sin(2 * torch.pi * frequency_hz * time_s)


def test_picture_is_a_png(tmp_path, figures):
    path = tmp_path / "picture.png"
    plot.plot_spectrograms(tone(0.5), tone(0.1), 16000, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_input_stands_above_output_on_one_scale(tmp_path, figures):
    plot.plot_spectrograms(tone(0.5), tone(0.05), 16000, tmp_path / "a.png")
    above, below = figures[0].axes[:2]
    assert above.get_position().y0 > below.get_position().y1
    titles = above.get_title(loc="left"), below.get_title(loc="left")
    assert titles == ("Noisy", "Enhanced")
    (noisy,), (enhanced,) = above.images, below.images
    assert noisy.get_clim() == enhanced.get_clim() == (-80.0, 0.0)
    assert noisy.get_array().max() == pytest.approx(0.0, abs=1e-3)
    assert enhanced.get_array().max() == pytest.approx(-20.0, abs=1e-2)


def test_axes_are_in_seconds_and_kilohertz(tmp_path, figures):
    wave = tone(0.5, 2000.0, 24000)
    plot.plot_spectrograms(wave, wave, 16000, tmp_path / "a.png")
    above, below, bar = figures[0].axes
    assert below.images[0].get_extent() == [0, 1.5, 0, 8.0]
    assert below.get_xlabel() == "Time (s)"
    assert above.get_ylabel() == "Frequency (kHz)"
    assert "dB" in bar.get_ylabel()
    strongest = above.images[0].get_array()[:, 50].argmax()
    assert strongest / 256 * 8.0 == pytest.approx(2.0, abs=0.02)


def test_silence_and_one_sample_are_drawn(tmp_path, figures):
    for samples in (1, 100, 16000):
        silence = torch.zeros(samples)
        path = tmp_path / f"{samples}.png"
        plot.plot_spectrograms(silence, silence, 16000, path)
        assert path.stat().st_size > 0


@pytest.mark.parametrize(
    "noisy, enhanced",
    [
        (torch.zeros(2, 100), torch.zeros(2, 100)),
        (torch.zeros(100), torch.zeros(99)),
        (torch.zeros(0), torch.zeros(0)),
    ],
    ids=["two channels", "other length", "empty"],
)
def test_shapes_are_refused(tmp_path, noisy, enhanced):
    with pytest.raises(ValueError, match=r"one shape \(T,\)"):
        plot.plot_spectrograms(noisy, enhanced, 16000, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_missing_matplotlib_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"speechbrain_llase\[demo\]"):
        plot.plot_spectrograms(tone(1), tone(1), 16000, tmp_path / "a.png")


def test_import_leaves_matplotlib_out():
    code = (
        "import sys, speechbrain_llase.evaluation.plot; assert 'matplotlib' not in"
        " sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pyplot_is_never_imported(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "a.png"
    code = (
        "import sys, torch; from speechbrain_llase.evaluation.plot import *;"
        f"plot_spectrograms(torch.ones(9), torch.ones(9), 16000, {str(path)!r})"
        "; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
