"""The frontend of small models: rows of spectra, as many as WavLM gives."""

import pytest
import torch

from speechbrain_llase.lobes.mel_codec import PitchEncoder
from speechbrain_llase.lobes.spectral_frontend import GAIN, SpectralFrontend
from speechbrain_llase.nnet import precision as compute
from speechbrain_llase.pretrained.loading import load_stem
from speechbrain_llase.processing.framing import num_rows


@pytest.fixture(scope="module")
def frontend() -> SpectralFrontend:
    """A tiny one in eval mode."""
    torch.manual_seed(0)
    return SpectralFrontend(20, 1, 32, 2, 2, 64, 320, 800).eval()


@torch.no_grad()
def test_rows_for_every_length(frontend):
    """As many as `num_rows` says, and none of them a row of zeros."""
    for length in [400, 719, 720, 721, 15999, 16000, 16079, 16080]:
        feats = frontend(torch.rand(1, length))
        assert feats.shape == (1, num_rows(length), 32)
        assert feats.abs().amax(-1).gt(0).all()


@torch.no_grad()
def test_ragged_rows_equal_single(frontend):
    """Ragged items give what each gives alone; the rest is zero."""
    wavs = torch.randn(3, 16000)
    samples = [16000, 9000, 9000]
    wavs[1:, 9000:] = 7.0  # padding that must not matter
    feats = frontend(wavs, torch.tensor(samples) / 16000)
    for k, n in enumerate(samples):
        alone = frontend(wavs[k : k + 1, :n])[0]
        assert torch.allclose(feats[k, : num_rows(n)], alone, atol=1e-5)
        assert not feats[k, num_rows(n) :].any()


def test_too_short_is_named(frontend):
    with pytest.raises(ValueError, match="399 samples; a frontend needs"):
        frontend(torch.rand(1, 399))


@torch.no_grad()
def test_stem_hears_its_row(frontend):
    """A change at 0.5 s moves the rows around it, not those far away."""
    wav = 0.1 * torch.randn(1, 16000)
    other = wav.clone()
    other[:, 8000:8010] += 0.5
    moved = (frontend.stem(wav) - frontend.stem(other)).abs().amax(-1)[0]
    assert moved.argmax() in (24, 25)
    assert not moved[:15].any() and not moved[35:].any()


@torch.no_grad()
def test_begins_as_the_encoder(frontend, tmp_path):
    """load_stem takes the stem of an averaged codec, and nothing else."""
    torch.manual_seed(1)
    encoder = PitchEncoder(20, 32, 1).eval()
    state = {
        f"module.encoder.{key}": value
        for key, value in encoder.state_dict().items()
    }
    torch.save(state, tmp_path / "average.ckpt")
    ours = SpectralFrontend(20, 1, 32, 2, 2, 64, 320, 800).eval()
    before = {k: v.clone() for k, v in ours.encoder.state_dict().items()}
    load_stem(ours, str(tmp_path / "average.ckpt"))
    wavs = torch.randn(1, 8000)
    assert torch.equal(ours.stem(wavs), encoder.stem(wavs))
    for key, value in ours.encoder.state_dict().items():
        assert torch.equal(value, before[key])


@torch.no_grad()
def test_full_scale_is_brought_to_the_level_of_the_codec(frontend):
    """The stem hears the waveform times GAIN."""
    wavs = torch.randn(1, 8000)
    heard = []
    hook = frontend.stem.register_forward_pre_hook(
        lambda module, args: heard.append(args[0])
    )
    frontend(wavs)
    hook.remove()
    assert torch.equal(heard[0], GAIN * wavs)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_lower_precision_is_close(kind):
    """What hears the spectra stays in float32, the rest is rounded."""
    torch.manual_seed(0)
    exact = SpectralFrontend(20, 1, 64, 2, 2, 64, 320, 800).eval()
    other = SpectralFrontend(20, 1, 64, 2, 2, 64, 320, 800, compute=kind).eval()
    other.load_state_dict(exact.state_dict())
    compute.finish(other)
    assert other.stem.embed.weight.dtype == torch.float32
    assert other.stem.blocks[0].expand.weight.dtype == torch.bfloat16
    wavs = 0.1 * torch.randn(2, 16000)
    error = (other(wavs) - exact(wavs)).norm() / exact(wavs).norm()
    assert 0 < float(error) < 0.02
