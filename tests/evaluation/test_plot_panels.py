"""Tests of speechbrain_llase.evaluation.plot_panels and of the pictures made of them."""

import numpy as np
import pytest
import torch

from speechbrain_llase.evaluation import plot, plot_panels as panels
from speechbrain_llase.evaluation.plot_data import Track, track_wave
from speechbrain_llase.nnet.fsq import VOCAB_SIZE

pytest.importorskip("matplotlib")


@pytest.fixture
def ax():
    from matplotlib.figure import Figure

    return Figure().subplots()


def steady(gain, seconds=2.0, start_s=0.0):
    """A wave of constant power: the square of `gain`."""
    wav = torch.full((round(seconds * 16000),), gain)
    return track_wave(wav, start_s=start_s)


def long_track(hours):
    frames = round(hours * 180000)
    spectrogram = np.zeros((257, 2000), np.float32)
    power = np.full(frames, 0.01, np.float32)
    return Track(0.0, hours * 3600, 8.0, spectrogram, power, 0.02)


def test_levels_are_in_dbfs_with_active_level(ax):
    panels.draw_levels(ax, {"Noisy": steady(0.5), "Enhanced": steady(0.1)})
    for colour, level in zip(panels.COLOURS, (-6.02, -20.0)):
        lines = [line for line in ax.lines if line.get_color() == colour]
        assert sorted(len(line.get_ydata()) for line in lines) == [2, 100]
        for line in lines:  # the curve, and its active level
            assert np.allclose(line.get_ydata(), level, atol=0.01)
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words[0] == "Noisy, active level \u22126.0 dBFS"
    assert ax.get_ylabel() == "Level (dBFS)"


def test_silence_is_called_silent(ax):
    panels.draw_levels(ax, {"Noisy": steady(0.0)})
    assert ax.get_legend().get_texts()[0].get_text() == "Noisy (silent)"


def test_times_of_a_level_curve_are_middles_of_frames(ax):
    panels.draw_levels(ax, {"Noisy": steady(0.5, 1.0, start_s=3.0)})
    x = next(line.get_xdata() for line in ax.lines if len(line._x) > 2)
    assert (x[0], x[-1], len(x)) == pytest.approx((3.01, 3.99, 50))


def test_long_curves_have_few_points_in_the_right_place(ax):
    panels.draw_levels(ax, {"Noisy": long_track(3)})
    x = next(line.get_xdata() for line in ax.lines if len(line._x) > 2)
    assert len(x) <= panels.POINTS
    assert 0 < x[0] < 10 and 3 * 3600 - 10 < x[-1] < 3 * 3600


def test_confidence_stands_where_its_frames_are(ax):
    values = np.zeros(500)
    values[200:250] = 5.0
    panels.draw_confidence(ax, values, "margin", start_s=10.0)
    thin, thick = ax.lines
    x = thin.get_xdata()[thin.get_ydata() == 5.0]
    assert (x[0], x[-1]) == pytest.approx((14.01, 14.99))
    assert thick.get_ydata().max() == pytest.approx(5.0)
    assert thick.get_label() == "mean 0.50"
    assert ax.get_ylabel() == "Margin (nats)"


def test_entropy_has_the_scale_of_a_blind_guess(ax):
    assert pytest.approx(np.log(VOCAB_SIZE)) == panels.MAX_ENTROPY
    panels.draw_confidence(ax, np.full(100, 2.0))
    assert any(
        line.get_ydata()[0] == pytest.approx(np.log(65536)) for line in ax.lines
    )
    assert ax.get_ylim() == pytest.approx((0.0, 1.08 * np.log(65536)))


def test_long_confidence_becomes_a_band(ax):
    rng = np.random.default_rng(0)
    panels.draw_confidence(ax, rng.uniform(2, 4, 180000))
    (band,) = ax.collections
    edge = band.get_paths()[0].vertices[:, 1]
    low, high = edge.min(), edge.max()
    assert 2.0 < low < 2.5 and 3.5 < high < 4.0
    assert len(ax.lines[0].get_xdata()) <= panels.POINTS


def test_no_confidence_is_said(ax):
    panels.draw_confidence(ax, np.zeros(0))
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "nothing was predicted" in words


def test_unknown_kind_is_refused(ax):
    with pytest.raises(ValueError, match="entropy, margin"):
        panels.draw_confidence(ax, np.zeros(3), "certainty")


@pytest.mark.parametrize(
    "start_s, stop_s, label, tick",
    [
        (0, 9, "Time (s)", None),
        (0, 600, "Time (h:min:s)", "0:02:00"),
        (3600, 7200, "Time (h:min:s)", "1:30:00"),
    ],
)
def test_time_axis(ax, start_s, stop_s, label, tick):
    panels.label_time(ax, start_s, stop_s)
    assert ax.get_xlabel() == label and ax.get_xlim() == (start_s, stop_s)
    if tick:
        ax.figure.canvas.draw()
        words = [text.get_text() for text in ax.get_xticklabels()]
        assert tick in words and len(words) <= 13


def test_running_means():
    places, means = panels.running_mean(np.arange(5.0), 3)
    assert places.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert np.allclose(means, [1 / 3, 1, 2, 3, 11 / 3])  # the ends count twice
    assert panels.running_mean(np.ones(2), 9)[1].tolist() == [1, 1]
    assert len(panels.running_mean(np.zeros(0), 3)[1]) == 0
    places, means = panels.running_mean(np.arange(6000.0), 1)  # groups of 4
    assert len(means) == 1500 and places[0] == 2.5
    assert np.allclose(means[5:9], np.arange(21.5, 37, 4))


def test_panels_share_time_and_scale():
    noisy, enhanced = steady(0.5), steady(0.05)
    figure = plot.make_figure(noisy, enhanced, np.ones(100), title="A clip")
    above, below, level, confidence, bar = figure.axes
    assert {ax.get_xlim() for ax in figure.axes[:4]} == {(0.0, 2.0)}
    assert above.images[0].get_clim() == below.images[0].get_clim()
    assert above.images[0].get_array().max() == pytest.approx(0.0, abs=0.01)
    assert below.images[0].get_array().max() == pytest.approx(-20, abs=0.01)
    assert figure.get_suptitle() == "A clip"
    assert confidence.get_xlabel() == "Time (s)"
    figure.draw_without_rendering()
    edges = [ax.get_position().x1 for ax in figure.axes[:4]]
    assert max(edges) - min(edges) < 1e-6  # the same second, the same place


def test_a_picture_appears_whole_or_not_at_all(tmp_path):
    tracks = steady(0.5), steady(0.1)
    with pytest.raises(ValueError, match=r"not supported .*png"):
        plot.plot_enhancement(*tracks, tmp_path / "picture.wav")
    with pytest.raises(OSError):
        plot.plot_enhancement(*tracks, tmp_path / "none" / "picture.png")
    assert not list(tmp_path.iterdir())
    plot.plot_enhancement(*tracks, tmp_path / "picture.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.svg"]
