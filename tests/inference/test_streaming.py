"""Files as streams and streams of chunks: the same samples, flat memory."""

import random

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.processing.signal_processing import match_gain

SMALL = {"window_s": 0.4, "context_s": 0.1, "crossfade_s": 0.04}
SCHEMES = ("joined", "own")


@pytest.fixture(scope="module", params=SCHEMES)
def model(request, load_tiny):
    """The tiny model in windows so short that a second has several."""
    return load_tiny(
        **SMALL, context_from=request.param, restore_level=True, window_batch=3
    )


@pytest.fixture(scope="module")
def noise() -> torch.Tensor:
    """Four seconds (64000,) of noise with a gliding level, peak 0.7."""
    rng = torch.Generator().manual_seed(1)
    wav = torch.randn(64000, generator=rng)
    wav = wav * torch.linspace(0.2, 1, 64000)
    return 0.7 * wav / wav.abs().max()


# -- samples put aside -------------------------------------------------------


def test_spool_gives_back_what_it_got():
    wav = torch.randn(3_000_001)  # more than it holds in memory
    with SampleSpool() as spool:
        for part in wav.split(100_000):
            spool.write(part)
        assert spool.length == len(wav)
        assert spool.peak == pytest.approx(float(wav.abs().max()))
        assert torch.equal(torch.cat(list(spool.blocks(700_000))), wav)


# -- files -------------------------------------------------------------------


@pytest.mark.parametrize(
    "length", [0, 399, 400, 6399, 6400, 6401, 6480, 8079, 12800, 64000]
)
def test_a_streamed_file_is_the_batch(model, noise, tmp_path, length):
    """Windows run as the file is read give what a tensor gives."""
    soundfile.write(
        tmp_path / "in.wav", noise[: max(length, 1)].numpy(), 16000, "FLOAT"
    )
    wav = noise[: max(length, 1)]
    expected = model.enhance_batch(wav[None])[0]
    enhanced = model.enhance_file(tmp_path / "in.wav")
    torch.testing.assert_close(enhanced, expected, atol=1e-6, rtol=1e-5)


def test_stream_file_writes_and_tells_its_progress(model, noise, tmp_path):
    source, target = tmp_path / "in.flac", tmp_path / "out.wav"
    soundfile.write(source, np.stack([noise.numpy()] * 2, 1), 16000)
    calls = []
    result = model.stream_file(source, target, lambda *args: calls.append(args))
    assert result is None
    written, _ = soundfile.read(target, dtype="float32")
    enhanced = model.enhance_file(source)
    assert np.abs(written - enhanced.numpy()).max() < 1 / 32000
    done = [part for part, _ in calls]
    assert done == sorted(done) and calls[-1] == (64000, 64000)
    assert {whole for _, whole in calls} == {64000}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.flac", "out.wav"]


def test_unknown_output_format_is_refused(model, noise, tmp_path):
    soundfile.write(tmp_path / "in.wav", noise.numpy(), 16000)
    with pytest.raises(ValueError, match="name the output .wav, .flac"):
        model.stream_file(tmp_path / "in.wav", tmp_path / "out.xyz")
    assert [p.name for p in tmp_path.iterdir()] == ["in.wav"]


# -- streams -----------------------------------------------------------------


def push_all(stream, wav, sizes) -> torch.Tensor:
    """Feed chunks of the sizes, over and over; return all that came out."""
    parts, at, turn = [], 0, 0
    while at < len(wav):
        size = sizes[turn % len(sizes)]
        parts.append(stream.push(wav[at : at + size]))
        at, turn = at + size, turn + 1
    return torch.cat([*parts, stream.close()])


@pytest.mark.parametrize("sizes", [[160], [1, 0, 4000, 333], [64000]])
def test_stream_with_peak_and_gain_is_the_file(model, noise, tmp_path, sizes):
    soundfile.write(tmp_path / "in.wav", noise.numpy(), 16000, "FLOAT")
    expected = model.enhance_file(tmp_path / "in.wav")
    peak = float(noise.abs().max())
    own = push_all(model.stream(peak=peak, gain=1.0), noise, sizes)
    gain = match_gain(own, noise)
    enhanced = push_all(model.stream(peak=peak, gain=gain), noise, sizes)
    assert enhanced.shape == expected.shape
    torch.testing.assert_close(enhanced, expected, atol=1e-6, rtol=1e-4)


def test_any_length_comes_back(model, noise):
    lengths = [0, 1, 399, 400, 719, 720, 6400, 6479, 6480, 19201, 20000]
    rng = random.Random(0)
    for length in lengths:
        stream = model.stream()
        sizes = [rng.randrange(1, 3000) for _ in range(5)]
        assert len(push_all(stream, noise[:length], sizes)) == length
        assert len(stream.close()) == 0


def test_latency_is_kept(model, noise):
    """What came in `latency` samples ago is out."""
    stream = model.stream()
    given = 0
    for at in range(0, len(noise), 160):
        given += len(stream.push(noise[at : at + 160]))
        assert given >= at + 160 - stream.latency - 160
    rows = 20 + 5 + (20 if model.hparams.context_from == "joined" else 0)
    assert stream.latency == rows * 320 + 320


def test_windows_can_be_shorter(model, noise):
    stream = model.stream(window_s=0.1, context_s=0.06, crossfade_s=0.02)
    assert stream.latency < model.stream().latency
    assert len(push_all(stream, noise, [1000])) == len(noise)
    with pytest.raises(ValueError, match="window_s"):
        model.stream(window_s=0.011)


def test_estimates_are_causal_and_settle(model, noise):
    """The beginning does not depend on what follows; the level settles."""
    half = push_all(model.stream(), noise[:32000], [500])
    whole = push_all(model.stream(), noise, [500])
    known = 32000 - model.stream().latency - 6400
    assert torch.equal(half[:known], whole[:known])
    expected = model.enhance_batch(noise[None])[0]
    end = slice(48000, 60000)
    ratio = whole[end].norm() / expected[end].norm()
    assert 0.5 < float(ratio) < 2


def test_silence_gives_silence(model):
    assert not push_all(model.stream(), torch.zeros(9000), [700]).any()


@pytest.mark.parametrize(
    "chunk, error, message",
    [
        (torch.zeros(1, 10), ValueError, r"shape \(1, 10\)"),
        (torch.zeros(10).short(), TypeError, "32768"),
        (torch.full((10,), float("nan")), ValueError, "NaN"),
    ],
)
def test_bad_chunks(model, chunk, error, message):
    with pytest.raises(error, match=message):
        model.stream().push(chunk)


def test_closed_streams_and_bad_levels(model):
    stream = model.stream()
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.push(torch.zeros(10))
    with pytest.raises(ValueError, match="peak=0"):
        model.stream(peak=0.0)
    with pytest.raises(ValueError, match="gain=-1"):
        model.stream(gain=-1.0)


# -- level -------------------------------------------------------------------


@pytest.fixture
def following(model, monkeypatch):
    """The model, its level following that of speech in the input."""
    stages = model.stages.having(follow_level=True)
    monkeypatch.setattr(model, "stages", stages)
    return model


def test_windows_at_their_level_are_the_same_everywhere(
    following, noise, tmp_path
):
    """Batch, file and stream agree; the peak of a stream may grow."""
    loud = torch.cat([0.05 * noise[:30000], noise[30000:]])
    soundfile.write(tmp_path / "in.wav", loud.numpy(), 16000, "FLOAT")
    batch = following.enhance_batch(loud[None])[0]
    file = following.enhance_file(tmp_path / "in.wav")
    torch.testing.assert_close(file, batch, atol=1e-5, rtol=1e-4)
    peak = float(loud.abs().max())
    stream = push_all(following.stream(peak=peak), loud, [1, 4000, 333])
    torch.testing.assert_close(stream, batch, atol=1e-5, rtol=1e-4)
    grown = push_all(following.stream(), loud, [500])
    end = slice(48000, 60000)  # heard at the same peak again
    torch.testing.assert_close(grown[end], batch[end], atol=1e-4, rtol=1e-2)


@pytest.mark.parametrize("loudest", [0.5, 3.0])
def test_no_result_passes_full_scale(model, noise, loudest, monkeypatch):
    """Unless the input did; it is scaled, in a stream it is cut off."""
    wav = noise * loudest / noise.abs().max()
    limit = max(1.0, loudest) + 1e-5
    streamed = push_all(model.stream(gain=1e4), wav, [700])
    assert float(streamed.abs().max()) == pytest.approx(limit, rel=1e-4)
    monkeypatch.setattr(
        "speechbrain_llase.inference.stages.match_gain", lambda *_: 1e4
    )
    batch = model.enhance_batch(wav[None])
    assert float(batch.abs().max()) == pytest.approx(limit, rel=1e-4)


@pytest.mark.parametrize("sample", [1e18, -1e300, float("inf"), float("nan")])
def test_what_is_no_audio_is_refused(model, noise, sample, tmp_path):
    """Nothing infinite comes out: a ValueError says what came in."""
    wav = noise.double()
    wav[77] = sample
    soundfile.write(tmp_path / "in.wav", wav.numpy(), 16000, "DOUBLE")
    for work in (
        lambda: model.enhance_batch(wav[None]),
        lambda: model.stream().push(wav),
        lambda: model.enhance_file(tmp_path / "in.wav"),
    ):
        with pytest.raises(ValueError, match="NaN or infinite"):
            work()
    wav[77] = 1e17
    assert model.enhance_batch(wav[None]).isfinite().all()
