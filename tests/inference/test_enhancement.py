"""EnhanceLLaSE: contract, lengths, levels, files, bad input."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.utils.fetching import FetchConfig, LocalStrategy

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.processing.signal_processing import active_level

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def model(load_tiny):
    """The tiny model with short windows and the input's level."""
    return load_tiny(
        window_s=1.0,
        context_s=0.2,
        crossfade_s=0.1,
        context_from="own",
        restore_level=True,
        window_batch=4,
    )


# -- shapes and lengths ----------------------------------------------------


@pytest.mark.parametrize(
    "length", [0, 1, 399, 400, 719, 720, 15999, 16000, 16001, 16079, 16080]
)
def test_output_length_is_input_length(model, length):
    """(B, T) in, float32 (B, T) out, finite, from no samples up."""
    noisy = torch.rand(2, length) - 0.5
    enhanced = model.enhance_batch(noisy)
    assert enhanced.shape == noisy.shape
    assert enhanced.dtype == torch.float32
    assert enhanced.isfinite().all()
    assert bool(enhanced.any()) == (length >= 400)
    assert not model.mods.training


@pytest.mark.parametrize("scheme", ["own", "joined"])
def test_no_length_loses_samples(load_tiny, scheme):
    """Around every boundary of windows, no sample at the end is silent.

    Up to 79 samples past the last row are zero by definition of the rows.
    """
    model = load_tiny(
        window_s=0.2, context_s=0.04, context_from=scheme, window_batch=64
    )
    for edge in (3200, 6400, 9600):
        for offset in (-1, 0, 1, 79, 80, 320, 399, 400, 401):
            noisy = torch.rand(1, edge + offset) - 0.5
            enhanced = model.enhance_batch(noisy)[0]
            rest = (edge + offset) % 320
            last = len(enhanced) - (rest if rest < 80 else 0)
            assert enhanced[last - 40 : last].any(), (edge, offset)


def test_batch_equals_single(model, speech_like):
    """Ragged items give what each gives alone, and zeros past their end."""
    lengths = [32000, 20480, 9000, 300]
    batch = torch.full((4, 32000), 0.25)
    for k, n in enumerate(lengths):
        batch[k, :n] = speech_like[:n]
    relative = torch.tensor(lengths) / 32000
    together = model.enhance_batch(batch, relative)
    tokens = model.predict_tokens(batch, relative)
    for k, n in enumerate(lengths):
        alone = model.enhance_batch(batch[k : k + 1, :n])[0]
        assert torch.allclose(together[k, :n], alone, atol=1e-4)
        assert not together[k, n:].any()
        own = model.predict_tokens(batch[k : k + 1, :n])[0]
        assert torch.equal(tokens[k, : len(own)], own)
        assert (tokens[k, len(own) :] == -1).all()


def test_old_names_of_methods(model, speech_like):
    """Those that the documentation has shown."""
    noisy = speech_like[None, :8000]
    tokens = model.predict_tokens(noisy)
    assert torch.equal(model.tokenize(noisy), tokens)
    with pytest.warns(DeprecationWarning, match="stages.decode") as caught:
        (wave,) = model.decode([tokens[0]])
    assert torch.equal(wave, model.stages.decode([tokens[0]])[0])
    assert len(caught) == 1


def test_lengths_none_equals_ones(model, speech_like):
    """None, and float64 ones, mean full items; forward is enhance_batch."""
    noisy = speech_like[None]
    full = model.enhance_batch(noisy)
    ones = torch.ones(1, dtype=torch.float64)
    assert torch.equal(model.enhance_batch(noisy, ones), full)
    assert torch.equal(model(noisy, lengths=[1.0]), full)


def test_silent_items_do_not_run_the_networks(load_tiny, monkeypatch):
    """Zeros and items under 400 samples give zeros at once."""
    model = load_tiny()

    def fail(*_):
        raise AssertionError("a network ran")

    for name in model.MODULES_NEEDED:
        monkeypatch.setattr(model.mods[name], "forward", fail)
    assert not model.enhance_batch(torch.zeros(2, 16000)).any()
    assert not model.enhance_batch(torch.ones(1, 399)).any()
    assert (model.predict_tokens(torch.zeros(1, 16000)) == -1).all()


def test_one_window_equals_many_where_it_suffices(load_tiny, speech_like):
    """A window longer than the signal is the whole-utterance result."""
    noisy = speech_like[None]
    whole = load_tiny(window_s=30.0).enhance_batch(noisy)
    fits = load_tiny(window_s=2.0, context_from="own").enhance_batch(noisy)
    assert torch.equal(whole, fits)


@pytest.mark.slow
def test_ten_minutes(load_tiny):
    """A long input keeps its length and is not silent at its end."""
    model = load_tiny(context_from="own", context_s=0.2, window_batch=4)
    noisy = torch.rand(1, 600 * 16000 + 77) - 0.5
    enhanced = model.enhance_batch(noisy)
    assert enhanced.shape == noisy.shape
    assert enhanced[0, -16000:-80].any()


# -- level -------------------------------------------------------------------


def test_scaling_the_input_scales_the_output(model, speech_like):
    """g x in gives g x out; one gain a file."""
    noisy = speech_like[None]
    once = model.enhance_batch(noisy)
    for gain in (0.01, 0.5, 20.0):
        scaled = model.enhance_batch(gain * noisy)
        assert torch.allclose(scaled, gain * once, atol=1e-4 * gain)


def test_restore_level_off_gives_the_models_level(load_tiny, speech_like):
    """The released behaviour: the level of the input does not matter."""
    model = load_tiny(restore_level=False)
    noisy = speech_like[None]
    quiet, loud = model.enhance_batch(0.1 * noisy), model.enhance_batch(noisy)
    assert torch.allclose(quiet, loud, atol=1e-5)
    restored = load_tiny(restore_level=True).enhance_batch(noisy)
    ratio = active_level(restored) / active_level(loud)
    assert abs(20 * float(torch.log10(ratio))) > 1


# -- files -------------------------------------------------------------------


def test_file_any_format(model, tmp_path, speech_like):
    """Stereo 48 kHz FLAC in, 16 kHz mono PCM16 WAV out, nothing else."""
    stereo = np.stack([speech_like.numpy()] * 2, 1).repeat(3, 0)
    source, target = tmp_path / "in.flac", tmp_path / "out.wav"
    soundfile.write(source, stereo, 48000)
    before = set(Path.cwd().iterdir())
    enhanced = model.enhance_file(source, target)
    assert enhanced.shape == (32000,)
    written, rate = soundfile.read(target, dtype="float32")
    assert rate == 16000 and soundfile.info(target).subtype == "PCM_16"
    assert np.abs(written - enhanced.numpy()).max() < 1 / 32000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.flac", "out.wav"]
    assert set(Path.cwd().iterdir()) == before
    assert torch.equal(model.enhance_file(str(source)), enhanced)


@pytest.mark.parametrize("name", ["in.wav", "in.flac", "in.mp3", "in.ogg"])
def test_file_formats(model, tmp_path, speech_like, name):
    """Whatever libsndfile reads, lossy formats too."""
    soundfile.write(tmp_path / name, speech_like.numpy(), 16000)
    enhanced = model.enhance_file(tmp_path / name)
    assert abs(len(enhanced) - 32000) < 2500 and enhanced.any()


def test_over_full_scale_is_reported_and_scaled(
    load_tiny, tmp_path, speech_like, monkeypatch, caplog
):
    """Nothing clips silently."""
    model = load_tiny()
    monkeypatch.setattr(
        "speechbrain_llase.inference.long_files.restoring_gain", lambda *_: 99.0
    )
    soundfile.write(tmp_path / "in.wav", speech_like.numpy(), 16000)
    enhanced = model.enhance_file(tmp_path / "in.wav", tmp_path / "out.wav")
    assert float(enhanced.abs().max()) == pytest.approx(1)
    assert "scaled to full scale" in caplog.text


def test_bad_files(model, tmp_path):
    """Missing, empty, corrupt, foreign: each says what is wrong."""
    output = tmp_path / "out.wav"
    with pytest.raises(FileNotFoundError, match="There is no file"):
        model.enhance_file(tmp_path / "missing.wav", output)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    with pytest.raises(ValueError, match="holds no samples"):
        model.enhance_file(tmp_path / "empty.wav", output)
    for name, content in (
        ("nothing.wav", b""),
        ("text.wav", b"no audio at all"),
        ("cut.flac", b"fLaC\x00\x00\x00"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as audio"):
            model.enhance_file(tmp_path / name, output)
    soundfile.write(
        tmp_path / "nan.wav", np.full(800, np.nan), 16000, subtype="FLOAT"
    )
    with pytest.raises(ValueError, match="NaN or infinite"):
        model.enhance_file(tmp_path / "nan.wav", output)
    assert not output.exists()


def test_bad_outputs_are_refused_before_work(model, tmp_path, monkeypatch):
    """No folder, or a folder in the place of the file."""
    monkeypatch.setattr(
        "speechbrain_llase.inference.enhancement.fetch_taken",
        lambda *_: pytest.fail("work began"),
    )
    with pytest.raises(FileNotFoundError, match="no folder"):
        model.enhance_file("in.wav", tmp_path / "none" / "out.wav")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        model.enhance_file("in.wav", tmp_path)


def test_failed_write_leaves_nothing(model, tmp_path, speech_like, monkeypatch):
    """A write that breaks off neither touches the old file nor stays."""
    soundfile.write(tmp_path / "in.wav", speech_like.numpy(), 16000)
    target = tmp_path / "out.wav"
    target.write_bytes(b"old")

    def break_off(self, block):
        raise OSError("No space left on device")

    monkeypatch.setattr("soundfile.SoundFile.write", break_off)
    with pytest.raises(OSError, match="No space left"):
        model.enhance_file(tmp_path / "in.wav", target)
    assert target.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav", "out.wav"]


# -- bad tensors -------------------------------------------------------------


@pytest.mark.parametrize(
    ("noisy", "lengths", "error", "message"),
    [
        (torch.rand(1, 1, 800), None, ValueError, r"shape \(1, 1, 800\)"),
        (torch.rand(800), None, ValueError, r"shape \(800,\)"),
        (torch.ones(1, 800).short(), None, TypeError, "32768"),
        (torch.tensor([[0.0, 1], [float("nan"), 0]]), None, ValueError,
         r"Items \[1\]"),
        (torch.tensor([[float("inf"), 0]]), None, ValueError, r"Items \[0\]"),
        (torch.rand(2, 800), [0.5, 1.2], ValueError, r"\(0, 1\]"),
        (torch.rand(2, 800), [0.0, 1.0], ValueError, r"\(0, 1\]"),
        (torch.rand(2, 800), [800, 400], ValueError, "not samples"),
        (torch.rand(2, 800), [float("nan"), 1], ValueError, r"\(0, 1\]"),
        (torch.rand(2, 800), [1.0], ValueError, "one relative length for each"),
    ],
)  # fmt: skip
def test_bad_tensors(model, noisy, lengths, error, message):
    """Each error says what was given and what is allowed."""
    with pytest.raises(error, match=message):
        model.enhance_batch(noisy, lengths)
    with pytest.raises(error, match=message):
        model.predict_tokens(noisy, lengths)


# -- loading -----------------------------------------------------------------


def test_savedir_strategies(tiny_folder, tmp_path, speech_like):
    """None, a new folder, the source itself and COPY give the same model."""
    results = []
    for kwargs in (
        {},
        {"savedir": tmp_path / "new"},
        {"savedir": tiny_folder},
        {"savedir": tmp_path / "copy", "local_strategy": LocalStrategy.COPY},
        {"fetch_config": FetchConfig(allow_network=False)},
    ):
        model = EnhanceLLaSE.from_hparams(tiny_folder, run_opts=CPU, **kwargs)
        results.append(model.enhance_batch(speech_like[None, :8000]))
    assert all(torch.equal(r, results[0]) for r in results)
    loaded = EnhanceLLaSE.from_hparams(
        tiny_folder, savedir=tmp_path / "only", download_only=True
    )
    assert loaded is None and (tmp_path / "only" / "vocoder.ckpt").exists()


def test_offline(tiny_folder):
    """A local folder loads with the hub switched off, in a new process."""
    code = (
        "from speechbrain_llase import EnhanceLLaSE\n"
        f"EnhanceLLaSE.from_hparams({str(tiny_folder)!r}, "
        "run_opts={'device': 'cpu'})\n"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_run_options(tiny_folder, speech_like):
    """bf16 autocast returns float32; freeze_params=False keeps gradients."""
    noisy = speech_like[None, :8000]
    model = EnhanceLLaSE.from_hparams(
        tiny_folder, run_opts={**CPU, "precision": "bf16"}, freeze_params=False
    )
    assert model.enhance_batch(noisy).dtype == torch.float32
    assert all(p.requires_grad for p in model.mods.parameters())


def test_compile_constructs(tiny_folder):
    """The run option wraps the modules' forward."""
    model = EnhanceLLaSE.from_hparams(
        tiny_folder, run_opts={**CPU, "compile": True}
    )
    assert set(model.mods) == set(model.MODULES_NEEDED)


def test_sources(tmp_path, monkeypatch):
    """Packaged names first, then folders, URLs and hub ids."""
    assert resolve_source("llase_mini").endswith("llase_mini")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "llase_mini").mkdir()
    assert resolve_source("mine") == "mine"
    assert resolve_source("llase_mini") != "llase_mini"
    assert resolve_source("https://host/models") == "https://host/models"
    assert resolve_source("org/name.v1") == "org/name.v1"
    with pytest.raises(ValueError, match="no model 'lase'.*llase_mini"):
        resolve_source("lase")
    with pytest.raises(ValueError, match="no model"):
        EnhanceLLaSE.from_hparams("no/such/folder")


def test_missing_module_is_named(tiny):
    """MODULES_NEEDED is checked, which SpeechBrain does not do."""
    modules = {"frontend": tiny.mods.frontend, "token_lm": tiny.mods.token_lm}
    with pytest.raises(ValueError, match="no module vocoder"):
        EnhanceLLaSE(modules, vars(tiny.hparams), run_opts=CPU)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_s": 0.03}, "window_s=0.03"),
        ({"window_s": 0.0}, "must be positive"),
        ({"context_s": -1.0}, "context_s=-1"),
        ({"crossfade_s": 11.0}, "crossfade_s=11"),
        ({"context_from": "mine"}, "choose one of joined, own"),
    ],
)
def test_bad_settings(load_tiny, settings, message):
    """A setting that cannot work is refused while loading."""
    with pytest.raises(ValueError, match=message):
        load_tiny(**settings)


def test_chain_before_asr(model, speech_like):
    """What enhance_batch returns goes into an ASR's transcribe_batch."""
    from speechbrain.inference.ASR import EncoderASR

    class Loudness(EncoderASR):
        """An ASR interface that hears levels instead of words."""

        HPARAMS_NEEDED, MODULES_NEEDED = [], []

        def __init__(self, modules, hparams):
            super(EncoderASR, self).__init__(modules, hparams, CPU)

        def transcribe_batch(self, wavs, wav_lens):
            wavs, wav_lens = wavs.to(self.device), wav_lens.to(self.device)
            assert wavs.dim() == 2 and wav_lens.shape == wavs.shape[:1]
            return [f"{w.square().mean():.3f}" for w in wavs], wav_lens

    noisy = torch.stack([speech_like, speech_like])
    lengths = torch.tensor([1.0, 0.5])
    asr = Loudness({"none": torch.nn.Identity()}, {})
    words, _ = asr.transcribe_batch(
        model.enhance_batch(noisy, lengths), lengths
    )
    assert len(words) == 2 and all(float(w) >= 0 for w in words)
    assert asr.audio_normalizer.sample_rate == model.hparams.sample_rate
