"""Enhancement before a SpeechBrain recogniser: everything fits."""

from pathlib import Path

import pytest
import torch
from speechbrain.dataio.preprocess import AudioNormalizer

from speechbrain_llase.metrics import check_rate

# At these lengths, relative lengths round to the same feature frames in all
# the batches below; at others the recogniser drops or adds a frame.
SAMPLES = [16100, 9730]
PADDED = 20000


@pytest.fixture(scope="module")
def asr(load_asr):
    return load_asr()


@pytest.fixture
def batch():
    """Two waves of about 1 and 0.6 s in one batch, and their lengths."""
    rng = torch.Generator().manual_seed(0)
    noisy = 0.1 * torch.randn(2, SAMPLES[0], generator=rng)
    noisy[1, SAMPLES[1] :] = 0
    return noisy, torch.tensor(SAMPLES) / SAMPLES[0]


def test_the_recogniser_reads_something(asr, batch):
    """Otherwise the other tests would compare nothing with nothing."""
    words, tokens = asr.transcribe_batch(*batch)
    assert len(words) == len(tokens) == 2
    assert all(isinstance(text, str) and text for text in words)
    assert words[0] != words[1]


def test_a_batch_goes_through_both(tiny, asr, batch):
    noisy, lengths = batch
    enhanced = tiny.enhance_batch(noisy, lengths)
    assert enhanced.shape == noisy.shape and enhanced.dtype == torch.float32
    assert enhanced.device == torch.device(asr.device)
    words, _ = asr.transcribe_batch(enhanced, lengths)
    assert len(words) == 2
    encoded = asr.encode_batch(enhanced, lengths)  # (B, frames, D)
    for k, count in enumerate(SAMPLES):  # as it is one by one
        alone = tiny.enhance_batch(noisy[k : k + 1, :count])
        assert torch.equal(alone[0], enhanced[k, :count])
        one = asr.encode_batch(alone, torch.ones(1))[0]
        kept = len(one) - 2  # SpeechBrain rounds the last frames otherwise
        torch.testing.assert_close(one[:kept], encoded[k, :kept])


def test_padding_is_not_read(tiny, asr, batch):
    noisy, lengths = batch
    longer = torch.nn.functional.pad(noisy, (0, PADDED - SAMPLES[0]))
    one = asr.encode_batch(tiny.enhance_batch(noisy, lengths), lengths)
    lengths = torch.tensor(SAMPLES) / PADDED
    two = asr.encode_batch(tiny.enhance_batch(longer, lengths), lengths)
    for k, count in enumerate(SAMPLES):
        kept = count // 160 - 1
        torch.testing.assert_close(two[k, :kept], one[k, :kept])


def test_the_chain_needs_no_lengths(tiny, asr, batch):
    noisy = batch[0][:1]
    words, _ = asr.transcribe_batch(tiny.enhance_batch(noisy), torch.ones(1))
    assert len(words) == 1


def test_other_sample_rates_are_refused(tiny, load_asr):
    asr = load_asr()
    check_rate(asr, tiny.hparams.sample_rate)
    asr.audio_normalizer = AudioNormalizer(8000)
    with pytest.raises(ValueError, match="8000 Hz and the waves are at 16000"):
        check_rate(asr, tiny.hparams.sample_rate)


def test_the_example(tiny_folder, asr_folder, tmp_path, capsys, monkeypatch):
    import soundfile

    example = Path(__file__).parents[2] / "examples"
    monkeypatch.syspath_prepend(example)
    chain = pytest.importorskip("enhance_then_transcribe")
    noise = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    soundfile.write(tmp_path / "noisy.wav", noise.numpy(), 16000)
    given = ["--source", str(tiny_folder), "--asr", str(asr_folder)]
    assert chain.main([str(tmp_path / "noisy.wav"), *given]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("noisy:    ") and len(first) > 15
    assert second.startswith("enhanced: ") and second[10:] != first[10:]
    assert chain.main([str(tmp_path / "absent.wav"), *given]) == 1
    assert "absent.wav" in capsys.readouterr().err
