"""Tests of examples/demo.py and of the clip it enhances."""

import importlib.util
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIP = EXAMPLES / "noisy.wav"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Halver:
    """An enhancer that halves the level, to test what surrounds it."""

    hparams = types.SimpleNamespace(sample_rate=16000)

    @classmethod
    def from_hparams(cls, source, run_opts):
        if source != "halver":
            raise ValueError(f"No model is\ncalled {source!r}.")
        return cls()

    def load_audio(self, path):
        wave, _ = soundfile.read(path, dtype="float32")
        return torch.from_numpy(wave)

    def enhance_batch(self, noisy):
        return noisy / 2

    def enhance_file(self, path, return_details=False):
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path}.")
        enhanced = self.enhance_batch(self.load_audio(path))
        details = types.SimpleNamespace(entropy=torch.ones(434))
        report = types.SimpleNamespace(details=details)
        return (enhanced, report) if return_details else enhanced


def score_peak(wave, sample_rate):
    """A score that is known: ten times the peak."""
    names = ("SIG", "BAK", "OVRL", "P808")
    return dict.fromkeys(names, 10 * float(wave.abs().max()))


@pytest.fixture
def demo(monkeypatch):
    pytest.importorskip("matplotlib")
    module = load("demo")
    monkeypatch.setattr(module, "EnhanceLLaSE", Halver)
    monkeypatch.setattr(module, "DNSMOS", lambda: score_peak)
    return module


def test_demo_writes_and_prints(demo, tmp_path, capsys):
    output = tmp_path / "new" / "folder"
    assert demo.main(["--output", str(output), "--source", "halver"]) == 0

    noisy, _ = soundfile.read(CLIP)
    enhanced, sample_rate = soundfile.read(output / "enhanced.wav")
    assert sample_rate == 16000
    assert np.abs(enhanced - noisy / 2).max() < 2**-15
    assert (output / "picture.png").stat().st_size > 10_000

    words = capsys.readouterr().out.split()
    peak = 10 * np.abs(noisy).max()
    at = words.index("noisy")
    assert words[at + 1 : at + 5] == 4 * [f"{peak:.2f}"]
    at = words.index("enhanced")
    assert words[at + 1 : at + 5] == 4 * [f"{peak / 2:.2f}"]
    assert float(words[words.index("audio") + 1]) == pytest.approx(8.67, 0.001)
    processing_s = float(words[words.index("processing") + 1])
    factor = float(words[words.index("factor") + 1])
    assert factor == pytest.approx(processing_s / 8.67, abs=0.002)


def test_demo_reports_in_one_line(demo, tmp_path, capsys):
    missing = tmp_path / "missing.wav"
    output = tmp_path / "out"
    for arguments in (
        ["--noisy", str(missing), "--source", "halver"],
        ["--source", "nobody"],
    ):
        assert demo.main([*arguments, "--output", str(output)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("demo: ") and err.count("\n") == 1
        assert "missing.wav" in err or "'nobody'" in err
    assert not output.exists()


def test_clip_is_short_16_khz_mono():
    info = soundfile.info(CLIP)
    assert (info.samplerate, info.channels) == (16000, 1)
    assert info.duration <= 10


def test_noisy_clip_has_the_stated_ratio(tmp_path, monkeypatch, capsys):
    make_noisy = load("make_noisy")
    rng = np.random.default_rng(3)
    speech = 0.1 * rng.standard_normal(2 * 16000)
    made = []
    for name, snr_db in (("a", "5"), ("b", "5"), ("c", "100")):
        source, output = tmp_path / "speech.wav", tmp_path / f"{name}.wav"
        soundfile.write(source, speech, 16000)
        monkeypatch.setattr(
            "sys.argv",
            ["make_noisy.py", "--speech", str(source), "--output", str(output)]
            + ["--snr_db", snr_db],
        )
        make_noisy.main()
        made.append(soundfile.read(output)[0])
    noisy, again, clean = made
    assert np.array_equal(noisy, again)

    assert np.abs(noisy).max() == pytest.approx(10 ** (-3 / 20), abs=1e-4)
    # The same speech at another gain: what is not speech is noise.
    gain = noisy @ clean / (clean @ clean)
    active = clean[8000:-8000]  # half a second of silence before and after
    noise = noisy - gain * clean
    ratio = gain**2 * np.mean(active**2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(5.0, abs=0.2)


def test_demo_with_real_parts(tiny_folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("speechmos")
    demo = load("demo")
    source = ["--source", str(tiny_folder), "--output", str(tmp_path / "out")]
    bad, short = tmp_path / "bad.wav", tmp_path / "short.flac"
    bad.write_text("no audio")
    soundfile.write(short, soundfile.read(CLIP)[0][8000:24000], 16000)

    assert demo.main(["--noisy", str(bad), *source]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("demo: ") and "bad.wav" in err
    assert not (tmp_path / "out").exists()

    assert demo.main(["--noisy", str(short), *source]) == 0
    words = capsys.readouterr().out.split()
    at = words.index("noisy")
    assert all(1 < float(score) < 5 for score in words[at + 1 : at + 5])
    enhanced, _ = soundfile.read(tmp_path / "out" / "enhanced.wav")
    assert enhanced.shape == (16000,)
