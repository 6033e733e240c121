"""SpeechBrain models as measures: readings, voices, refusals."""

import numpy as np
import pytest
import torch
from speechbrain.dataio.preprocess import AudioNormalizer
from speechbrain.inference.speaker import SpeakerRecognition

from speechbrain_llase.metrics import (
    CachedReader,
    HubSpeakerSimilarity,
    SpeechBrainReader,
    WordDifference,
    load_reader,
    load_speaker,
)

RATE = 16000


@pytest.fixture(scope="module")
def wave():
    return np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)


def test_reading_is_the_recognisers(asr_folder, load_asr, wave):
    reader = load_reader(str(asr_folder))
    asr = load_asr()
    waves = torch.from_numpy(wave)[None]
    assert (
        reader(wave, RATE) == asr.transcribe_batch(waves, torch.ones(1))[0][0]
    )
    words = WordDifference(reader)
    other = torch.from_numpy(wave).roll(4000) * 0.3
    edits = words(other, wave)
    read = [words.read(x) for x in (other, wave)]
    assert edits == WordDifference.compare(*read) and edits.words > 0


def test_readings_are_kept(asr_folder, wave, tmp_path):
    class Once:
        name = "once"
        calls = 0

        def __call__(self, wav, sample_rate):
            self.calls += 1
            return f"call {self.calls}"

    reader = CachedReader(Once(), tmp_path / "kept")
    assert reader(wave) == reader(torch.from_numpy(wave)) == "call 1"
    assert reader(wave / 2) == "call 2"
    again = CachedReader(Once(), tmp_path / "kept")
    assert again(wave) == "call 1" and again(wave / 2) == "call 2"
    other = Once()
    other.name = "another"
    assert CachedReader(other, tmp_path / "kept")(wave) == "call 1"
    assert other.calls == 1  # another recogniser has readings of its own
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_voices_of_a_speaker_model(speaker_folder, wave):
    similarity = load_speaker(str(speaker_folder))
    assert similarity(wave, wave) == pytest.approx(1, abs=1e-5)
    other = np.roll(wave, 1) - 0.9 * wave
    model = SpeakerRecognition.from_hparams(speaker_folder)
    pair = [torch.from_numpy(x.astype("f4"))[None] for x in (other, wave)]
    expected = model.verify_batch(*pair)[0].item()
    found = similarity(other.astype("f4"), wave)
    assert found == pytest.approx(expected, abs=1e-5) and found < 0.9999
    with pytest.raises(ValueError, match="silence has no voice"):
        similarity(np.zeros(RATE, "f4"), wave)


def test_other_rates_are_refused(load_asr, speaker_folder):
    asr = load_asr()
    asr.audio_normalizer = AudioNormalizer(8000)
    with pytest.raises(ValueError, match="EncoderDecoderASR takes 8000 Hz"):
        SpeechBrainReader(asr, "x")
    model = SpeakerRecognition.from_hparams(speaker_folder)
    model.audio_normalizer = AudioNormalizer(48000)
    with pytest.raises(ValueError, match="takes 48000 Hz"):
        HubSpeakerSimilarity(model, "x")


@pytest.mark.parametrize(
    "load, offline",
    [(load_reader, "pocketsphinx"), (load_speaker, "resemblyzer")],
)
def test_an_unreachable_hub_names_the_offline_choice(
    monkeypatch, load, offline
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=f"fetched.*{offline!r}, which works"):
        load("nobody/nothing-by-that-name")


def test_a_model_of_another_kind_is_refused(speaker_folder, asr_folder):
    with pytest.raises(ValueError, match="cannot be used.*EncoderASR: "):
        load_reader(str(speaker_folder))
    with pytest.raises(ValueError, match="SpeakerRecognition: no module"):
        load_speaker(str(asr_folder))
