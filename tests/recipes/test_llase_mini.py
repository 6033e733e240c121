"""The recipe of llase_mini from first to last, on synthetic speech."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import forked
import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.lobes.mel_codec import PitchEncoder
from speechbrain_llase.pretrained.loading import load_averaged

sys.path.insert(0, str(Path(__file__).parent))
from recipe_data import last_checkpoint

RECIPE = Path(__file__).parents[2] / "recipes/LibriSpeech/enhance/llase_mini"
RATE = 16000
SMALLER = {  # every dimension of the recipe's networks, made tiny
    "num_mels: 80": "num_mels: 20",
    "width: 256": "width: 32",
    "num_blocks: 5": "num_blocks: 1",
    "hidden_size: 256": "hidden_size: 32",
    "input_size: 256": "input_size: 32",
    "d_model: 256": "d_model: 32",
    "quantization_dim: 320": "quantization_dim: 40",
    "ffn_size: 1024": "ffn_size: 64",
    "ffn_size: 640": "ffn_size: 64",
    "ffn_size: 512": "ffn_size: 64",
    "num_layers: 6": "num_layers: 1",
    "num_layers: 4": "num_layers: 1",
    "num_layers: 2": "num_layers: 1",
    "num_heads: 4": "num_heads: 2",
    "in_features: 256": "in_features: 32",
    "warmup_steps: 200": "warmup_steps: 5",
    "warmup_steps: 100": "warmup_steps: 1",
    "window_length: 512": "window_length: 64",
    "channels: [24, 48, 64]": "channels: [4, 6, 8]",
    "band_size: 32": "band_size: 4",
    "time_size: 48": "time_size: 4",
    "full_size: 160": "full_size: 8",
    "full_channels: 6": "full_channels: 2",
}

CROPS = {"crops_per_epoch": 32, "valid_crops": 8}
MIXTURES = {"mixtures_per_epoch": 32, "valid_mixtures": 8, "segment_s": 1.0}
HELD_OUT = {
    "clean": ["clean/train/2.flac", "clean/valid/0.flac"],
    "noise": ["noise/train/1.flac"],
    "rir": ["rir/1.flac"],
}


def speech(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Bursts of a gliding harmonic tone."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = rng.uniform(90, 220) * (1 + 0.2 * np.sin(rng.uniform(2, 6) * time))
    phase = 2 * np.pi * pitch.cumsum() / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 12))
    return 0.1 * tone * (0.3 + np.sin(rng.uniform(4, 9) * time).clip(0))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Folders as the recipe wants them."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for part in ("train", "valid"):
        for kind in ("clean", "noise"):
            (folder / kind / part).mkdir(parents=True)
        for k in range(3):
            wav = speech(rng, 4.0)
            soundfile.write(folder / f"clean/{part}/{k}.flac", wav, RATE)
    (folder / "rir").mkdir()
    decay = 0.3 * np.exp(-np.arange(4000) / 400)
    for k in range(2):
        noise = rng.standard_normal((2, 4000))
        soundfile.write(folder / f"rir/{k}.flac", decay * noise[0], RATE)
        soundfile.write(folder / f"noise/train/{k}.flac", 0.1 * noise[1], RATE)
    (folder / "development.json").write_text(json.dumps(HELD_OUT))
    return folder


def run(data, folder, script, experiment, epochs, **options) -> Path:
    """One tiny run of a training; returns its last checkpoint."""
    yaml = (RECIPE / f"hparams/{experiment}.yaml").read_text()
    for large, tiny in SMALLER.items():
        yaml = yaml.replace(large, tiny)
    (folder / f"{experiment}.yaml").write_text(yaml)
    options |= {
        "output_folder": folder / experiment,
        "device": "cpu",
        "number_of_epochs": epochs,
        "batch_size": 4,
    }
    if "data_folder:" in yaml:
        options["data_folder"] = data
    if "development:" in yaml:
        options["development"] = data / "development.json"
    forked.run(
        [
            RECIPE / script,
            folder / f"{experiment}.yaml",
            *(f"--{key}={value}" for key, value in options.items()),
        ],
        check=True,
        cwd=folder,
    )
    return last_checkpoint(folder / experiment)


@pytest.fixture(scope="module")
def results(data, tmp_path_factory) -> Path:
    """Folder of four tiny runs, one after the other."""
    folder = tmp_path_factory.mktemp("results")
    codec = run(data, folder, "train_codec.py", "codec", 3, **CROPS)
    lm = run(
        data,
        folder,
        "train_token_lm.py",
        "token_lm",
        3,
        codec_folder=codec,
        **MIXTURES,
    )
    run(
        data,
        folder,
        "train_token_lm.py",
        "token_lm_spectra",
        1,
        codec_folder=codec,
        token_lm_folder=lm,
        **MIXTURES,
    )
    (folder / "decoder").mkdir()
    run(
        data,
        folder / "decoder",
        "train_codec.py",
        "codec",
        2,
        codec_folder=codec,
        train_encoder=False,
        **CROPS,
    )
    return folder


def logged(folder: Path, name: str) -> list[float]:
    """One value of every epoch's line in a training's log."""
    lines = (folder / "train_log.txt").read_text()
    return [float(x) for x in re.findall(rf"{name}: ([\d.e+-]+)", lines)]


def test_losses_fall(results):
    """Three tiny epochs lower both losses."""
    loss = logged(results / "codec", "train loss")
    assert len(loss) == 3 and loss[-1] < loss[0]
    loss = logged(results / "token_lm", "train loss")
    assert len(loss) == 3 and loss[-1] < loss[0]
    assert logged(results / "token_lm_spectra", "magnitude")[0] > 0


def test_encoder_stays_what_it_was(results):
    """Tokens must not drift while the decoder learns alone."""
    before, after = (
        torch.load(last_checkpoint(results / name) / "average.ckpt")
        for name in ("codec", "decoder/codec")
    )
    keys = [key for key in before if key.startswith("module.encoder.")]
    assert keys
    assert all(torch.equal(before[key], after[key]) for key in keys)


def publish(*arguments: str) -> None:
    """Run publish.py."""
    forked.run([RECIPE / "publish.py", *arguments], check=True)


def test_publish_round_trip(results, plain):
    """The published folder loads by from_hparams and enhances."""
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.lobes.mel_codec import load_codec
    from speechbrain_llase.pretrained.tensors import read_tensors

    run, output = (
        last_checkpoint(results / "token_lm_spectra"),
        plain,
    )
    names = {path.name for path in output.iterdir()}
    ckpts = {
        f"{n}.ckpt" for n in ("frontend", "token_lm", "vocoder", "encoder")
    }
    assert names == ckpts | {"hyperparams.yaml", "codec.yaml"}
    enhancer = EnhanceLLaSE.from_hparams(output, run_opts={"device": "cpu"})
    averaged = torch.load(last_checkpoint(results / "codec") / "average.ckpt")
    averaged |= torch.load(run / "average.ckpt")
    for name in ("frontend", "token_lm", "vocoder"):
        for key, tensor in read_tensors(output / f"{name}.ckpt").items():
            trained = averaged[f"module.{name}.{key}"]
            assert torch.equal(tensor, trained.half()), key
    noisy = torch.rand(1, 20000) - 0.5
    assert enhancer.enhance_batch(noisy).shape == noisy.shape
    codec = load_codec(str(output))
    assert codec.resynthesise(noisy).shape == noisy.shape


@pytest.fixture(scope="module")
def plain(results) -> Path:
    """A published folder without a refiner."""
    lm = last_checkpoint(results / "token_lm_spectra")
    publish(f"--checkpoint={lm}", f"--output={results / 'plain'}")
    return results / "plain"


@pytest.fixture(scope="module")
def refined(data, plain, results) -> Path:
    """The last checkpoint of a refiner that heard what that folder makes."""
    files = {}
    for part, name in (("train", "pairs"), ("dev", "valid_pairs")):
        files[name] = results / f"{name}.npy"
        options = {
            "data": data,
            "model": plain,
            "output": files[name],
            "number": 8,
            "part": part,
            "development": data / "development.json",
        }
        given = [f"--{key}={value}" for key, value in options.items()]
        forked.run([RECIPE / "prepare_pairs.py", *given], check=True)
    options = {"crops_per_epoch": 32, "segment_s": 0.8, "lr": 0.003, **files}
    name = "spectral_refiner"
    return run(data, results, f"train_{name}.py", name, 3, **options)


def test_pairs(refined, results):
    """A mixture, its target and a decoded wave; other ones to validate."""
    pairs = np.load(results / "pairs.npy")
    assert pairs.shape == (8, 4, 64000) and pairs.dtype == np.float16
    assert np.isfinite(pairs).all() and pairs[:, 0].std(-1).min() > 0.01
    assert np.abs(pairs[:, 2]).max() > 1e-3
    assert not np.array_equal(pairs, np.load(results / "valid_pairs.npy"))


def test_refiner_joins_the_published_folder(plain, refined, results, tmp_path):
    """It learns, is written averaged, and is heard; nothing else changes."""
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.pretrained.tensors import read_tensors

    loss = logged(results / "spectral_refiner", "train loss")
    assert len(loss) == 3 and loss[-1] < loss[0]
    lm, whole = (
        last_checkpoint(results / "token_lm_spectra"),
        tmp_path / "whole",
    )
    publish(f"--checkpoint={lm}", f"--refiner={refined}", f"--output={whole}")
    trained = torch.load(refined / "average.ckpt")
    written = read_tensors(whole / "refiner.ckpt")
    assert len(written) == len(trained) - 1  # but for the number of averages
    for key, tensor in written.items():
        wanted = trained[f"module.{key}"]
        if wanted.is_floating_point():
            wanted = wanted.half()
        assert torch.equal(tensor, wanted), key
    judges = read_tensors(refined / "adversary.ckpt")
    for key, tensor in read_tensors(whole / "adversary.ckpt").items():
        assert torch.equal(tensor, judges.pop(key).half()), key
    assert not judges
    first, second = (
        EnhanceLLaSE.from_hparams(folder, run_opts={"device": "cpu"})
        for folder in (plain, whole)
    )
    assert second.stages.refines and not first.stages.refines
    assert first.stages.hears_speech and second.stages.hears_speech
    noisy = torch.rand(1, 20000) - 0.5
    assert torch.equal(
        first.predict_tokens(noisy), second.predict_tokens(noisy)
    )
    waves = [model.enhance_batch(noisy) for model in (first, second)]
    assert not torch.allclose(*waves, atol=1e-3)


def test_judges_go_on(data, refined, results, tmp_path):
    """A run that begins with a refiner begins with its judges, too."""
    options = {
        "init": refined / "average.ckpt",
        "pairs": results / "pairs.npy",
        "valid_pairs": results / "valid_pairs.npy",
        "crops_per_epoch": 5,
        "judge_opt_class": "{lr: 0.0}",
    }
    name = "spectral_refiner"
    again = run(data, tmp_path, f"train_{name}.py", name, 1, **options)
    before, after = (
        torch.load(folder / "adversary.ckpt") for folder in (refined, again)
    )
    del before["balance"], after["balance"]
    for key, tensor in before.items():
        assert torch.equal(tensor, after[key]), key


def test_both_learn_together(data, refined, results, tmp_path):
    """LM and decoder until they are held, the refiner all along; all written."""
    from speechbrain_llase.pretrained.tensors import read_tensors

    lm = last_checkpoint(results / "token_lm_spectra")
    model, output = tmp_path / "model", tmp_path / "joint"
    publish(f"--checkpoint={lm}", f"--refiner={refined}", f"--output={model}")
    options = {
        "model": model,
        "valid_pairs": results / "valid_pairs.npy",
        "mixtures_per_epoch": 8,
        "mixtures": "{segment_s: 1.0}",
        "token_lm_epochs": 1,
    }
    joint = run(data, tmp_path, "train_jointly.py", "joint", 2, **options)
    assert len(logged(tmp_path / "joint", "train loss")) == 2
    publish(f"--checkpoint={joint}", f"--refiner={joint}", f"--output={output}")
    held = torch.load(joint / "lm_average.ckpt")
    for name in ("encoder", "vocoder", "frontend", "token_lm", "refiner"):
        before, after = (
            read_tensors(folder / f"{name}.ckpt") for folder in (model, output)
        )
        learned = any(not torch.equal(x, after[k]) for k, x in before.items())
        assert learned == (name != "encoder"), name
        if name not in ("encoder", "refiner"):  # not learned from in epoch 2
            now = torch.load(joint / f"{name}.ckpt")
            for key, tensor in now.items():
                wanted = held[f"module.{name}.{key}"]
                torch.testing.assert_close(tensor, wanted)
                assert torch.equal(after[key], wanted.half())


def test_resumes(data, results):
    """Started again with one epoch more, a run does that one alone."""
    run(data, results, "train_codec.py", "codec", 4, **CROPS)
    assert logged(results / "codec", "epoch") == [1, 2, 3, 4]


@pytest.mark.parametrize("yaml", sorted(RECIPE.glob("hparams/*.yaml")))
def test_every_key_is_used(yaml):
    """By a script, by another key or as one of SpeechBrain's options."""
    text = yaml.read_text()
    brain = RECIPE.parents[3] / "speechbrain_llase/training/refiner_brain.py"
    files = [brain, *RECIPE.glob("*.py")]
    scripts = "".join(path.read_text() for path in files)
    for key in re.findall(r"^([a-z]\w*):", text, re.MULTILINE):
        used = (
            f"!ref <{key}>" in text
            or f"<{key}>" in text
            or f'hparams["{key}"]' in scripts
            or f"hparams.{key}" in scripts
            or key in ("precision", "ckpt_interval_minutes")
        )
        assert used, key


def test_publish_takes_the_mean_of_runs():
    """Of runs that belong together; others are refused."""
    sys.path.insert(0, str(RECIPE))
    from publish import mean_state

    ones, threes = (
        {"w": torch.full((2,), x), "n": torch.tensor(7)} for x in (1.0, 3.0)
    )
    mean = mean_state("token_lm", [ones, threes])
    assert mean["w"].tolist() == [2, 2] and mean["n"] == 7
    with pytest.raises(ValueError, match="The encoder of one run"):
        mean_state("encoder", [ones, threes])
    with pytest.raises(ValueError, match="The vocoder of one run"):
        mean_state("vocoder", [ones, {"w": torch.zeros(3), "n": ones["n"]}])


def test_publish_with_another_decoder(results, tmp_path):
    """The token LM of one run, the decoder of another one of its codec."""
    from speechbrain_llase.pretrained.tensors import read_tensors

    lm = last_checkpoint(results / "token_lm")
    decoder = last_checkpoint(results / "decoder/codec")
    output = tmp_path / "model"
    publish(f"--checkpoint={lm}", f"--decoder={decoder}", f"--output={output}")
    averaged = torch.load(decoder / "average.ckpt")
    for key, tensor in read_tensors(output / "vocoder.ckpt").items():
        assert torch.equal(tensor, averaged[f"module.vocoder.{key}"].half())


def test_bins_that_stray_are_mended(monkeypatch):
    """Two side by side as well; all others stay what they are."""
    monkeypatch.syspath_prepend(RECIPE)
    from publish import mend_bins

    from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder

    vocoder = Xcodec2Vocoder(32, 1, 2, 48, 64)
    linear = vocoder.decoder.head.linear
    steps = torch.linspace(0, 1, 1282).unsqueeze(1)
    with torch.no_grad():
        linear.weight.copy_(torch.rand(32) + steps)
        linear.bias.copy_(steps[:, 0])
        weight, bias = linear.weight.clone(), linear.bias.clone()
        linear.weight[[140, 200, 201, 585]] = torch.rand(4, 32) * 3 - 3
        linear.bias[585] = 9
        below = linear.weight[140].clone()
    assert mend_bins(vocoder) == [200, 201, 585]
    assert torch.equal(linear.weight[140], below)  # below 1.9 kHz
    weight[140] = below
    torch.testing.assert_close(linear.weight.detach(), weight)
    torch.testing.assert_close(linear.bias.detach(), bias)
    assert mend_bins(vocoder) == []


def test_decoder_of_other_tokens_is_refused(results, monkeypatch):
    """Its encoder is not the one that the token LM learned from."""
    monkeypatch.syspath_prepend(RECIPE)
    from publish import refuse_other_tokens

    path = last_checkpoint(results / "decoder/codec") / "average.ckpt"
    encoder = PitchEncoder(num_mels=20, width=32, num_blocks=1)
    load_averaged(encoder, path, "encoder")
    refuse_other_tokens(encoder, path)
    with torch.no_grad():
        encoder.stem.norm.bias += 1
    with pytest.raises(ValueError, match="the encoder that"):
        refuse_other_tokens(encoder, path)


def test_voices_are_synthesised(monkeypatch, tmp_path):
    """Goes on where it was broken off; every utterance has its own voice."""
    monkeypatch.syspath_prepend(RECIPE)
    import synthesise_voices

    class Kokoro:
        """A tone for a voice, with silence around it."""

        def __init__(self, model, voices):
            names = ("af_one", "am_two", "bf_three", "bm_four", "jf_five")
            rng = np.random.default_rng(0)
            shape = (10, 1, 256)
            self.voices = {k: rng.standard_normal(shape) for k in names}
            self.heard = []

        def create(self, text, voice, speed, lang, trim):
            assert voice.shape == (10, 1, 256) and voice.dtype == np.float32
            assert 0.82 <= speed <= 1.18 and "short" not in text and not trim
            self.heard.append(voice)
            speakers.append(self)
            tone = np.sin(np.arange(60000) * 0.05).astype(np.float32)
            return np.pad(1.5 * tone, 24000), 24000

    speakers = []
    fake = SimpleNamespace(Kokoro=Kokoro)
    monkeypatch.setitem(sys.modules, "kokoro_onnx", fake)
    text, output = tmp_path / "text.txt", tmp_path / "out"
    text.write_text("Too short. " + "word " * 60 + "is too long. 中文。\n")
    options = ["_", f"--text={text}", "--model=m", "--voices=v"]
    options += [f"--output={output}", f"--hours={8 / 3600}"]
    monkeypatch.setattr(sys, "argv", options)
    with pytest.raises(ValueError, match="no English sentence of 35"):
        synthesise_voices.main()
    sentences = [f"This is one of the sentences, number {k}." for k in "12"]
    text.write_text("\n".join(sentences))
    synthesise_voices.main()
    files = sorted(output.iterdir())
    assert len(files) == 3 and len(speakers) == 3
    first, second, _ = speakers[0].heard
    assert not np.allclose(first, second)
    for file in files:
        wave, rate = soundfile.read(file)
        assert rate == RATE and len(wave) / RATE == pytest.approx(2.85, abs=0.1)
        assert np.abs(wave).max() < 1
    files[1].unlink()
    before = files[0].stat().st_mtime_ns
    synthesise_voices.main()
    assert sorted(output.iterdir()) == files and len(speakers) == 4
    assert files[0].stat().st_mtime_ns == before
    np.testing.assert_array_equal(speakers[3].heard[0], second)
