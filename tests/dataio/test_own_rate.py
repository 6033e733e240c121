"""Results at their inputs' rates: lengths, bands above 8 kHz, levels."""

import io
import tarfile
from pathlib import Path

import local_runs
import numpy as np
import odd_files
import pytest
import soundfile as sf
import torch
from local_runs import enhance, records

from speechbrain_llase.dataio.audio_reader import Taken, read_blocks
from speechbrain_llase.dataio.own_rate import at_own_rate
from speechbrain_llase.processing.band_gain import BandGain

HIGH = 11000.0  # Hz; a tone above the model's band
RATES = [8000, 11127, 22050, 22255, 44099, 44100, 48000, 96000]


def voice_and_tone(rate: int, seconds: float = 6.0, level: float = 0.05):
    """Noise up to about 1 kHz, and the tone where the rate can hold it."""
    wave = odd_files.noise(seconds, rate)[:, 0]
    time = np.arange(len(wave)) / rate
    tone = level * np.sin(2 * np.pi * HIGH * time) * (rate > 2 * HIGH)
    return (wave + tone).astype(np.float32)


def write(path, wave, rate) -> Path:
    sf.write(path, wave, rate, "FLOAT")
    return path


def part(wave: np.ndarray, rate: int, hertz: float) -> float:
    """Amplitude of a tone in a wave."""
    time = np.arange(len(wave)) / rate
    window = np.hanning(len(wave))
    tone = np.exp(-2j * np.pi * hertz * time)
    return 2 * abs((wave * window * tone).sum()) / window.sum()


def kept(path, change=lambda wave: wave, **taken) -> np.ndarray:
    """What becomes of a file if the model does that to the band it hears."""
    taken = Taken(**taken)
    low = torch.cat(list(read_blocks(path, 16000, taken)))
    blocks = change(low).split(70000)
    return torch.cat(list(at_own_rate(blocks, path, taken, 16000))).numpy()


# -- the signal --------------------------------------------------------------


@pytest.mark.parametrize("rate", [x for x in RATES if x > 16000])
@pytest.mark.parametrize("seconds", [0.013, 0.5, 20.011])
def test_what_a_model_leaves_alone_is_the_input(tmp_path, rate, seconds):
    """To the last sample, at every rate and in every block."""
    wave = voice_and_tone(rate, seconds)
    path = write(tmp_path / "a.wav", wave, rate)
    np.testing.assert_allclose(kept(path, keep_highs=True), wave, atol=2e-6)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("keep_highs", [False, True])
def test_lengths_and_bands(tmp_path, rate, keep_highs):
    """As many samples as before; the tone is there where it was asked for."""
    wave = voice_and_tone(rate, 3.0301)
    path = write(tmp_path / "a.wav", wave, rate)
    made = kept(path, keep_rate=True, keep_highs=keep_highs)
    assert made.shape == wave.shape
    time = np.arange(len(wave)) / rate
    if rate > 2 * HIGH:
        there = part(made, rate, HIGH)
        assert (
            there == pytest.approx(0.05, rel=0.01)
            if keep_highs
            else (there < 5e-5)
        )
    inside = slice(rate // 10, -rate // 10)
    low = made - 0.05 * np.sin(2 * np.pi * HIGH * time) * (
        keep_highs and rate > 2 * HIGH
    )
    alone = odd_files.noise(3.0301, rate)[:, 0]
    assert np.abs(low - alone)[inside].max() < 5e-3


@pytest.mark.parametrize("rate", [44100, 48000])
def test_highs_become_quieter_with_the_band_below(tmp_path, rate):
    """By the same gain, a tenth of a second around its change aside."""
    wave = voice_and_tone(rate, 9.0)
    path = write(tmp_path / "a.wav", wave, rate)
    gains = torch.tensor([1.0, 0.1, 0.5]).repeat_interleave(48000)
    made = kept(path, lambda low: low * gains, keep_highs=True)
    for k, gain in enumerate((1.0, 0.1, 0.5)):
        third = slice(int((3 * k + 0.2) * rate), int((3 * k + 2.8) * rate))
        assert part(made[third], rate, HIGH) == pytest.approx(
            0.05 * gain, rel=0.03
        )


def test_highs_are_never_made_louder(tmp_path):
    path = write(tmp_path / "a.wav", voice_and_tone(48000), 48000)
    made = kept(path, lambda low: 1.5 * low, keep_highs=True)
    assert part(made, 48000, HIGH) == pytest.approx(0.05, rel=0.01)


def test_silence_below(tmp_path):
    """A tone alone has nothing below to follow; a model that mutes mutes it."""
    time = np.arange(96000) / 48000
    tone = 0.05 * np.sin(2 * np.pi * HIGH * time)
    path = write(tmp_path / "a.wav", tone, 48000)
    same = kept(path, torch.zeros_like, keep_highs=True)
    assert np.isfinite(same).all() and len(same) == 96000
    path = write(tmp_path / "b.wav", voice_and_tone(48000), 48000)
    assert np.abs(kept(path, torch.zeros_like, keep_highs=True)).max() < 1e-4


@pytest.mark.parametrize("peak", [0.5, 1.0, 2.0])
def test_no_result_passes_full_scale(tmp_path, peak, caplog):
    """The highs and what lies between samples may be too much."""
    wave = voice_and_tone(48000, 2.0, 0.4)
    path = write(tmp_path / "a.wav", wave * peak / np.abs(wave).max(), 48000)
    made = kept(path, lambda low: low / low.abs().max(), keep_highs=True)
    assert 0.9 < np.abs(made).max() <= 1.0
    assert "scaled to full scale" in caplog.text


@pytest.mark.parametrize("keep_highs", [False, True])
def test_channels(tmp_path, keep_highs):
    """Each has its own highs; two voices of one input share its highs."""
    one, two = voice_and_tone(44100), odd_files.noise(6.0, 44100, 1, 5)[:, 0]
    wave = np.stack((one, two), 1)
    path = write(tmp_path / "a.wav", wave, 44100)
    made = kept(path, channels="each", keep_rate=True, keep_highs=keep_highs)
    assert made.shape == wave.shape
    highs = [part(x, 44100, HIGH) for x in made.T]
    assert highs[0] == pytest.approx(0.05 * keep_highs, abs=1e-3)
    assert highs[1] < 1e-4
    path = write(tmp_path / "b.wav", one, 44100)
    voices = kept(
        path,
        lambda low: torch.stack((low, 0.2 * low), 1),
        keep_rate=True,
        keep_highs=keep_highs,
    )
    highs = [part(x, 44100, HIGH) for x in voices.T]
    expected = [0.05 * keep_highs, 0.01 * keep_highs]
    assert highs == pytest.approx(expected, abs=1e-3)


def test_rumble_counts_in_no_gain():
    """Nor does an offset: what lies under 60 Hz is no speech."""
    wave = torch.from_numpy(voice_and_tone(16000))[:, None]
    time = torch.arange(len(wave))[:, None] / 16000
    low = 0.3 + 0.3 * torch.sin(2 * torch.pi * 10 * time)
    gain = BandGain(16000)
    gain.push(0.5 * wave, wave + low, last=True)
    found = gain(torch.arange(8000.0, len(wave) - 8000.0))
    assert (20 * found.log10() + 6.02).abs().max() < 0.5


def test_memory_stays_flat(tmp_path, monkeypatch):
    """Gains, samples and results are let go as they are written."""
    most = []
    call = BandGain.__call__

    def watch(gain, times):
        found = call(gain, times)
        most.append(len(gain.powers))
        return found

    monkeypatch.setattr(BandGain, "__call__", watch)
    path = write(tmp_path / "a.wav", voice_and_tone(22050, 90.0), 22050)
    assert len(kept(path, keep_highs=True)) == 90 * 22050
    assert len(most) > 9 and max(most) < 9 * 50


# -- the ways to it ----------------------------------------------------------


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Work in an empty folder, with models that copy."""
    local_runs.make_inputs(tmp_path, monkeypatch)
    wave = voice_and_tone(44100, 2.0)
    Path("own").mkdir()
    sf.write("own/a.wav", wave, 44100)
    return wave


def pack(way: str) -> list[str]:
    """Put the file where a way of reading finds it: the command's inputs."""
    if way == "shard":
        with tarfile.open("s.tar", "w") as tar:
            tar.add("own/a.wav", "a.wav")
        return ["s.tar"]
    if way == "table":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        data = Path("own/a.wav").read_bytes()
        pq.write_table(pa.table({"audio": [data]}), "t.parquet")
        return ["t.parquet"]
    if way == "url":
        from speechbrain_llase.bulk import storage

        data = Path("own/a.wav").read_bytes()
        storage.write_bytes("memory://own/a.wav", data)
        return ["memory://own/a.wav"]
    if way == "list":
        Path("l.txt").write_text("own/a.wav\n")
        return ["l.txt"]
    return ["own"]


def result(way: str) -> tuple[np.ndarray, int]:
    """What a run made."""
    if way == "shard":
        with tarfile.open("out/s.tar") as tar:
            return sf.read(io.BytesIO(tar.extractfile("a.wav").read()))
    if way == "table":
        import pyarrow.parquet as pq

        cell = pq.read_table("out/t.parquet")["audio"][0]
        return sf.read(io.BytesIO(cell.as_py()))
    return sf.read("out/a.wav")


@pytest.mark.parametrize("way", ["folder", "list", "url", "shard", "table"])
def test_on_every_way(work, way, capsys):
    """The rate and the highs of the input; another run without them."""
    inputs = pack(way)
    assert enhance("--keep-highs", inputs=inputs) == 0
    made, rate = result(way)
    assert rate == 44100
    np.testing.assert_allclose(made, work, atol=1e-3)
    (record,) = records().values()
    assert record.seconds == 2 and not record.warnings
    assert enhance("--keep-rate", inputs=inputs) == 2  # another run's folder
    assert "keep_highs" in capsys.readouterr().err
    assert enhance("--keep-rate", "--overwrite", inputs=inputs) == 0
    made, rate = result(way)
    assert rate == 44100 and len(made) == len(work)
    assert part(made, 44100, HIGH) < 1e-3


def test_each_channel_of_a_run(work):
    both = np.stack((work, 0.1 * work), 1)
    sf.write("own/a.wav", both, 44100)
    how = "--channels", "each", "--keep-highs", "--batch-size", "3"
    assert enhance(*how, inputs=["own"]) == 0
    made, rate = result("folder")
    assert rate == 44100
    np.testing.assert_allclose(made, both, atol=1e-3)


@pytest.mark.parametrize("name", ["mp3", "ogg", "flac", "m4a", "mkv"])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_formats(work, name, rate):
    sf.write("own/a.wav", voice_and_tone(rate, 2.0), rate)
    how = "--keep-rate", "--format", name
    assert enhance(*how, inputs=["own"]) == 0
    found = sum(map(len, read_blocks(f"out/a.{name}", rate)))
    assert abs(found - 2 * rate) < 4096


@pytest.mark.parametrize("name", ["mp3", "m4a"])
def test_rates_that_a_format_lacks(work, name):
    """They are told before anything is run, and the way out with them."""
    sf.write("own/a.wav", voice_and_tone(44099, 2.0), 44099)
    how = "--keep-rate", "--format", name
    assert enhance(*how, inputs=["own"]) == 1
    (record,) = records().values()
    assert f".{name} holds no 44099 Hz" in record.error
    assert "wav or flac" in record.error and record.seconds == 0
    assert not local_runs.contents()


def test_from_python(load_tiny, work):
    """Whole and as a stream: the same file, and the wave that is in it."""
    model = load_tiny(restore_level=True)
    wave = model.enhance_file(
        "own/a.wav", "a.wav", subtype="float", keep_highs=True
    )
    model.stream_file("own/a.wav", "b.wav", subtype="float", keep_highs=True)
    made, rate = sf.read("a.wav", dtype="float32")
    assert rate == 44100 and len(made) == len(work)
    np.testing.assert_array_equal(made, sf.read("b.wav", dtype="float32")[0])
    np.testing.assert_array_equal(made, wave.cpu().numpy())
    told, _ = model.enhance_file(
        "own/a.wav", return_details=True, keep_highs=True
    )
    torch.testing.assert_close(told, wave, atol=1e-5, rtol=0)
    assert len(model.enhance_file("own/a.wav")) == 32000
    with pytest.raises(ValueError, match=r"\.mp3 holds no 96000 Hz"):
        sf.write("own/b.wav", work, 96000)
        model.enhance_file("own/b.wav", "b.mp3", keep_rate=True)


def test_highs_keep_the_rate():
    """One setting is one run, however it was asked for."""
    assert Taken(keep_highs=True) == Taken(keep_rate=True, keep_highs=True)
    assert Taken(keep_rate=True).settings == {"keep_rate": True}
