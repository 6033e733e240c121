"""The evaluation script: fixed mixtures, right sums, a report that adds up."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

import speechbrain_llase
from speechbrain_llase.metrics import DNSMOS

RATE = 16000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def evaluate(monkeypatch):
    recipe = ROOT / "recipes" / "LibriSpeech" / "enhance" / "llase_mini"
    monkeypatch.syspath_prepend(recipe)
    return pytest.importorskip("evaluate")


@pytest.fixture
def data(tmp_path):
    """Bursts of noise; of 0.6 s, which DNSMOS repeats to one window."""
    rng = np.random.default_rng(0)
    for folder in ("clean", "noise", "dns/noisy", "dns/clean"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("a", "b"):
            wave = rng.normal(0, 0.05, 9600) * (np.arange(9600) % 4000 < 2500)
            soundfile.write(tmp_path / folder / f"{name}.flac", wave, RATE)
    return tmp_path


class Halver:
    """Stands for a model: half the input, but beyond full scale at 0."""

    @classmethod
    def from_hparams(cls, source, run_opts):
        assert source == "some_model" and run_opts == {"device": "cpu"}
        return cls()

    def enhance_batch(self, noisy):
        enhanced = noisy / 2
        enhanced[:, 0] = 2.0
        return enhanced


def test_mixtures_are_fixed(evaluate, data):
    one = evaluate.mixtures(data / "clean", data / "noise", 6)
    two = evaluate.mixtures(data / "clean", data / "noise", 4)
    for first, second in zip(one, two):
        np.testing.assert_array_equal(
            first.waves["noisy"], second.waves["noisy"]
        )
        assert first.name == second.name and first.about == second.about
    assert len({clip.waves["noisy"].tobytes() for clip in one}) == 6
    for i, clip in enumerate(one):
        noise = clip.waves["noisy"] - clip.waves["clean"]
        ratio = np.mean(clip.waves["clean"] ** 2) / np.mean(noise**2)
        snr_db = 10 * np.log10(ratio)
        assert snr_db == pytest.approx(clip.about["snr_db"], abs=0.01)
        assert -5 <= snr_db <= 20
        assert clip.about["kind"].startswith("recording") == (i % 2 == 0)


def test_rooms_are_fixed(evaluate, data):
    """The same again; targets are dry and in time, levels those asked for."""
    for kind in ("rir", "noise", "clean"):
        (data / f"more/{kind}/valid").mkdir(parents=True)
    (data / "clean/valid").mkdir()
    rng = np.random.default_rng(1)
    room = np.zeros(4000)
    room[100] = 1.0  # 6 ms late
    room[600:] = (
        0.1 * rng.standard_normal(3400) * np.exp(-np.arange(3400) / 900)
    )
    soundfile.write(data / "more/rir/valid/r.flac", room, RATE)
    for place in ("more/noise/valid", "more/clean/valid", "clean/valid"):
        wave = 0.1 * rng.standard_normal(20000)
        soundfile.write(data / place / "x.flac", wave, RATE)
    one, two = evaluate.rooms(data, 4), evaluate.rooms(data, 2)
    for first, second in zip(one, two):
        for row in ("noisy", "clean"):
            np.testing.assert_array_equal(first.waves[row], second.waves[row])
    for clip in one:
        noisy, clean = clip.waves["noisy"], clip.waves["clean"]
        assert max(abs(noisy).max(), abs(clean).max()) == pytest.approx(0.5)
        delays = [np.dot(np.roll(noisy, -k), clean) for k in range(-120, 121)]
        assert int(np.argmax(delays)) == 120  # the direct sound is in time
        assert 0 <= clip.about["snr_db"] <= 20


@pytest.mark.slow
def test_report(evaluate, data, monkeypatch, capsys):
    try:
        dnsmos = DNSMOS(1)
    except ImportError as err:
        pytest.skip(str(err))
    monkeypatch.setattr(
        speechbrain_llase, "EnhanceLLaSE", Halver, raising=False
    )
    options = {
        "--source": "some_model",
        "--dns": data / "dns",
        "--clean": data / "clean",
        "--noise": data / "noise",
        "--num-mixtures": 3,
        "--output": data / "results.json",
    }
    arguments = [str(part) for pair in options.items() for part in pair]
    arguments += ["--without", "words", "speaker"]
    assert evaluate.main(arguments) == 0
    report = json.loads((data / "results.json").read_text())
    assert list(report["sets"]["dns"]["clips"]) == ["a", "b"]
    assert list(report["sets"]["mixtures"]["clips"]) == ["000", "001", "002"]
    scores = report["sets"]["dns"]["clips"]["a"]["scores"]
    wave, _ = soundfile.read(data / "dns" / "noisy" / "a.flac")
    assert scores["noisy"] == pytest.approx(dnsmos(wave), abs=1e-4)
    clip = report["sets"]["dns"]["clips"]["a"]
    assert clip["scaled_by"] == {"enhanced": 0.5} and not clip["skipped"]
    summary = report["sets"]["mixtures"]["summary"]
    assert list(summary)[:3] == ["noisy", "enhanced", "clean"]
    found = [
        clip["scores"]["noisy"]["OVRL"]
        for clip in report["sets"]["mixtures"]["clips"].values()
    ]
    mean = summary["noisy"]["OVRL"]["mean"]
    assert mean == pytest.approx(np.mean(found), abs=1e-3)
    assert "| enhanced |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give --dns"),
        (["--clean", "x"], "go together"),
        (["--dns", "x", "--num-mixtures", "0"], "at least 1"),
        (["--dns", "x", "--output", "absent/x.json"], "does not exist"),
    ],
)
def test_usage(evaluate, capsys, arguments, message):
    given = ["--source", "x", "--output", "x.json", *arguments]
    with pytest.raises(SystemExit) as stop:
        evaluate.main(given)
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_unequal_pairs_are_refused(evaluate, data):
    soundfile.write(data / "dns" / "clean" / "b.flac", np.zeros(9), RATE)
    with pytest.raises(ValueError, match="9600 noisy and 9 clean"):
        evaluate.dns_clips(data / "dns")
    with pytest.raises(ValueError, match="no .flac file"):
        evaluate.dns_clips(data)
