"""The packaged models as they are installed."""

from importlib import resources
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.mel_codec import load_codec

MODELS = resources.files("speechbrain_llase.hparams")
NOISY = Path(__file__).parents[2] / "examples" / "noisy.wav"


@pytest.fixture(scope="module")
def mini() -> EnhanceLLaSE:
    """The embedded model, by no argument but the device."""
    return EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})


def test_mini_is_small():
    """At most 40 MB for enhancement, 6 MB for what only trains."""
    folder = MODELS.joinpath("llase_mini")
    size = {
        entry.name: entry.stat().st_size
        for entry in folder.iterdir()
        if entry.name.endswith(".ckpt")
    }
    assert {"frontend.ckpt", "token_lm.ckpt", "vocoder.ckpt"} < size.keys()
    trains = size.pop("encoder.ckpt") + size.pop("adversary.ckpt")
    assert trains <= 6e6
    assert sum(size.values()) <= 40e6


def test_mini_lowers_the_noise(mini):
    """DNSMOS BAK of the example clip rises by more than 1."""
    pytest.importorskip("speechmos")
    from speechbrain_llase.metrics import DNSMOS

    score = DNSMOS(num_threads=1)
    noisy = mini.load_audio(str(NOISY))
    before, after = score(noisy), score(mini.enhance_file(NOISY))
    assert after["BAK"] > before["BAK"] + 1


def test_mini_in_windows_says_the_same(mini):
    """Windows of 3 s change some tokens, few digits and little sound."""
    noisy = mini.load_audio(str(NOISY))[None]
    windowed = EnhanceLLaSE.from_hparams(
        run_opts={"device": "cpu"}, overrides={"window_s": 3.0}
    )
    whole, pieces = digits(mini, noisy), digits(windowed, noisy)
    assert (whole == pieces).float().mean() > 0.92  # 0.944
    noisier = noisy + 0.1 * noisy.std() * torch.randn_like(noisy)
    assert (whole == digits(mini, noisier)).float().mean() < 0.92
    whole, pieces = magnitudes(mini, noisy), magnitudes(windowed, noisy)
    error = (whole - pieces).square().sum() / whole.square().sum()
    assert error < 0.02  # 0.010


def digits(model: EnhanceLLaSE, noisy: torch.Tensor) -> torch.Tensor:
    """The eight levels of each token, (8, B, N)."""
    tokens = model.predict_tokens(noisy)
    return torch.stack([tokens >> 2 * k & 3 for k in range(8)])


def magnitudes(model: EnhanceLLaSE, noisy: torch.Tensor) -> torch.Tensor:
    """The spectrum of the enhanced wave, (257, N)."""
    wav = model.enhance_batch(noisy)[0]
    window = torch.hann_window(512)
    return torch.stft(wav, 512, 128, window=window, return_complex=True).abs()


def test_level_does_not_jump_at_seams(mini):
    """Over 30 s in 10 s windows, no seam stands out of the speech."""
    noisy = mini.load_audio(str(NOISY)).repeat(4)[: 30 * 16000]
    enhanced = mini.enhance_batch(noisy[None])[0]
    frames = enhanced.unfold(0, 320, 320).square().mean(1)
    jumps = (10 * torch.log10(frames + 1e-7)).diff().abs()
    seams = torch.cat([jumps[r - 2 : r + 1] for r in (500, 1000)])
    assert seams.max() < jumps.quantile(0.99)


def test_codec_lies_beside(mini):
    """load_codec gives the encoder and the same vocoder."""
    codec = load_codec(str(MODELS.joinpath("llase_mini")))
    wavs = mini.load_audio(str(NOISY))[None, :16000]
    assert codec.resynthesise(wavs).shape == wavs.shape
    ours = codec.mods.vocoder.state_dict()
    for key, tensor in mini.mods.vocoder.state_dict().items():
        assert torch.equal(tensor, ours[key])


def test_released_model_is_described():
    """llase has the released dimensions and takes files as overrides."""
    with open(MODELS.joinpath("llase", "hyperparams.yaml")) as fin:
        text = fin.read()
    networks = (
        "!new:speechbrain_llase.lobes.wavlm_frontend.",
        "!new:speechbrain_llase.lobes.token_lm.",
    )
    assert all(name in text for name in networks)
    meta = text.replace("!new:speechbrain_llase", "!name:speechbrain_llase")
    hparams = load_hyperpyyaml(meta, {"lm_file": "mine/best.pt.tar"})
    assert hparams["pretrainer"].paths["token_lm"] == "mine/best.pt.tar"
    assert hparams["frontend"].keywords["hidden_size"] == 1024
    assert hparams["token_lm"].keywords["head"] == "softmax"
    assert hparams["vocoder"].keywords["quantization_dim"] == 2048
