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
    """At most 25 MB for enhancement, 6 MB for the encoder beside it."""
    size = {
        name: MODELS.joinpath("llase_mini", f"{name}.ckpt").stat().st_size
        for name in ("frontend", "token_lm", "vocoder", "encoder")
    }
    assert size.pop("encoder") <= 6e6
    assert sum(size.values()) <= 25e6


def test_mini_lowers_the_noise(mini):
    """DNSMOS BAK of the example clip rises by more than 1."""
    pytest.importorskip("speechmos")
    from speechbrain_llase.metrics import DNSMOS

    score = DNSMOS(num_threads=1)
    noisy = mini.load_audio(str(NOISY))
    before, after = score(noisy), score(mini.enhance_file(NOISY))
    assert after["BAK"] > before["BAK"] + 1


def test_mini_in_windows_keeps_the_voice(mini):
    """Windows change few tokens beside one pass over the whole clip."""
    noisy = mini.load_audio(str(NOISY))[None]
    windowed = EnhanceLLaSE.from_hparams(
        run_opts={"device": "cpu"}, overrides={"window_s": 3.0}
    )
    same = windowed.tokenize(noisy) == mini.tokenize(noisy)
    assert same.float().mean() > 0.3


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
