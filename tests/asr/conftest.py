"""Fixtures: a tiny recogniser and speaker model of SpeechBrain's own parts."""

import shutil
from pathlib import Path

import pytest
import sentencepiece
import torch
from hyperpyyaml import load_hyperpyyaml

HERE = Path(__file__).parent
SENTENCES = ["abide deaf cab", "bad face ice", "cafe bead dice", "a fig hid"]


def build(folder, names):
    """Write the weights of a folder's YAML, from a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        with open(folder / "hyperparams.yaml") as file:
            parts = load_hyperpyyaml(file)
    for name in names:
        for weight in parts[name].parameters():
            weight.data *= 3  # so that different inputs read differently
    if "enc" in parts:  # log energies are large: do not saturate
        parts["enc"].rnn.weight_ih_l0.data /= 50
    if "linear" in parts:  # never ends by itself: no reading is empty
        parts["linear"].w.bias.data[:3] = -99.0
    for name in names:
        torch.save(parts[name].state_dict(), folder / f"{name}.ckpt")


@pytest.fixture(scope="session")
def asr_folder(tmp_path_factory) -> Path:
    """A model folder for `EncoderDecoderASR`."""
    folder = tmp_path_factory.mktemp("asr")
    shutil.copy(HERE / "hyperparams.yaml", folder)
    build(folder, ["encoder", "decoder"])
    with (folder / "tokenizer.ckpt").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES),
            model_writer=file,
            vocab_size=14,
            model_type="char",
            minloglevel=2,
        )
    return folder


@pytest.fixture(scope="session")
def speaker_folder(tmp_path_factory) -> Path:
    """A model folder for `SpeakerRecognition`."""
    folder = tmp_path_factory.mktemp("speaker")
    shutil.copy(HERE / "speaker" / "hyperparams.yaml", folder)
    build(folder, ["embedding_model"])
    return folder


@pytest.fixture(scope="session")
def load_asr(asr_folder):
    """A function that loads the recogniser with other settings."""
    from speechbrain.inference.ASR import EncoderDecoderASR

    def load(**overrides):
        return EncoderDecoderASR.from_hparams(
            asr_folder, overrides=overrides, run_opts={"device": "cpu"}
        )

    return load
