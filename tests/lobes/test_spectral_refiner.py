"""The predictive network: shapes, levels, batches and what it learns."""

import pytest
import torch

from speechbrain_llase.lobes.spectral_refiner import (
    COMPRESSION,
    SpectralRefiner,
    power_gain,
    power_of,
    with_halfway,
)
from speechbrain_llase.processing.hearing import remove_rumble

SIZES = (64, (4, 6, 8), 4, 4, 1, 8, 2)


def tiny() -> SpectralRefiner:
    """A tiny network, not trained."""
    torch.manual_seed(0)
    return SpectralRefiner(*SIZES).eval()


def voice(size: int = 6400, seed: int = 0) -> torch.Tensor:
    """Noise at the level of soft speech, (1, T)."""
    generator = torch.Generator().manual_seed(seed)
    return 0.05 * torch.randn(1, size, generator=generator)


@torch.no_grad()
def test_begins_near_the_noisy_wave():
    """Before training: mostly the input, at its level, in its phases."""
    noisy = voice()
    wave = tiny()(torch.zeros_like(noisy), noisy)
    assert wave.shape == noisy.shape and wave.dtype == torch.float32
    heard = remove_rumble(noisy)
    likeness = torch.nn.functional.cosine_similarity(wave, heard)
    assert float(likeness) > 0.9


@torch.no_grad()
@pytest.mark.parametrize("size", [400, 3200, 4001])
def test_levels_and_lengths(size):
    """Any length; the level of the decoded wave says nothing."""
    network, noisy, decoded = tiny(), voice(size), voice(size, 1)
    wave = network(decoded, noisy)
    assert wave.shape == (1, size)
    assert torch.allclose(network(9 * decoded, noisy), wave, atol=1e-4)
    louder = network(decoded, 5 * noisy)
    assert torch.allclose(louder, 5 * wave, atol=1e-4)


@torch.no_grad()
def test_knob():
    """From the noisy wave alone, over what was learned, to what was decoded."""
    network, noisy, decoded = tiny(), voice(), voice(seed=1)
    ends = [network(decoded, noisy, share / 8) for share in range(9)]
    assert torch.equal(ends[4], network(decoded, noisy))
    alone = network(torch.zeros_like(decoded), noisy)
    assert torch.allclose(ends[0], alone, atol=1e-6)

    def apart(wave, other):
        both = network.analyse(wave).abs(), network.analyse(other).abs()
        return float(torch.dist(*(x / x.norm() for x in both)))

    from_noisy = [apart(wave, alone) for wave in ends]
    from_decoded = [apart(wave, decoded) for wave in ends]
    assert from_noisy == sorted(from_noisy)
    assert from_decoded[4:] == sorted(from_decoded[4:], reverse=True)
    most = float(torch.dist(ends[0], ends[-1]))
    for share in (0.2, 0.499, 0.5, 0.7, 0.999):  # nowhere a jump
        near = [network(decoded, noisy, x) for x in (share, share + 1e-3)]
        assert 0 < float(torch.dist(*near)) < 0.03 * most


@torch.no_grad()
def test_each_pair_as_alone():
    """Pairs of several lengths give what each gives alone."""
    network = tiny()
    pairs = [
        torch.stack([voice(n, 1)[0], voice(n)[0]], -1)
        for n in (3200, 3200, 4800)
    ]
    for pair, wave in zip(pairs, network.refine_each(pairs), strict=True):
        alone = network(pair[None, :, 0], pair[None, :, 1])[0]
        assert wave.shape == (len(pair),)
        assert torch.allclose(wave, alone, atol=1e-5)


@torch.no_grad()
def test_lower_precision():
    """bfloat16 is near float32, and other words are refused."""
    exact = tiny()
    torch.nn.init.normal_(exact.up[-1].conv.weight, std=0.1)
    network = SpectralRefiner(*SIZES, compute="bfloat16").eval()
    network.load_state_dict(exact.state_dict())
    wave = exact(voice(seed=1), voice())
    error = network(voice(seed=1), voice()) - wave
    assert 0 < error.norm() < 0.03 * wave.norm()
    with pytest.raises(ValueError, match="float16"):
        SpectralRefiner(*SIZES, compute="float16")


@torch.no_grad()
def test_full_blocks():
    """Each has a network over all bands, which is heard."""
    torch.manual_seed(0)
    sizes = (*SIZES[:4], 3, *SIZES[5:])
    network = SpectralRefiner(*sizes, full_blocks=2).eval()
    kinds = [type(block).__name__ for block in network.blocks]
    one, other = ["BandMixer", "TimeLSTM"], ["FullBandLSTM"]
    assert kinds == [*one, *other, *one, *other, *one]
    torch.nn.init.normal_(network.up[-1].conv.weight, std=0.5)
    before = network(voice(seed=1), voice())
    network.blocks[5].expand.bias.add_(1)
    assert (network(voice(seed=1), voice()) - before).abs().max() > 1e-4


@torch.no_grad()
def test_post_filter():
    """It fades what is faded, the more the fainter, and nothing else."""
    plain = tiny()
    torch.nn.init.normal_(plain.up[-1].conv.weight, std=0.5)
    network = SpectralRefiner(*SIZES, post_filter=0.5).eval()
    network.load_state_dict(plain.state_dict())
    both = voice(seed=1), voice()
    before, phase = plain.estimate(*both)
    after, same = network.estimate(*both)
    torch.testing.assert_close(same, phase)
    loud = power_of(plain.analyse(both[1])) ** (COMPRESSION / 2)
    faded = before < loud
    assert 0.1 < faded.float().mean() < 0.9
    wanted = before[faded] * (before[faded] / loud[faded]).sqrt()
    torch.testing.assert_close(after[faded], wanted)
    torch.testing.assert_close(after[~faded], before[~faded])


@torch.no_grad()
def test_leaves_what_it_keeps():
    """Where all is kept, the wave stays as it was heard, between frames, too."""
    network, heard = tiny(), voice()
    unchanged = torch.tensor([1.6094, -30.0, 0.0, 0.0, 0.0, 0.0])  # 1.2 sigmoid
    network.up[-1].conv.bias.data = unchanged.repeat(2)
    both = network.estimate(voice(seed=1), heard)
    wave = network.synthesise(*both, heard.shape[1])
    torch.testing.assert_close(wave, heard, atol=1e-4, rtol=0)


@torch.no_grad()
def test_decides_between_frames():
    """Halfway between two frames lies their mean; behind the last, the last."""
    rows = torch.tensor([[0.0, 2.0, 8.0]])
    assert with_halfway(rows).tolist() == [[0.0, 1.0, 2.0, 5.0, 8.0, 8.0]]


@torch.no_grad()
def test_phases_that_fit():
    """Waves have the magnitudes asked for rather than the phases."""
    network = tiny()
    magnitude = network.analyse(voice()).abs() ** COMPRESSION
    phase = network.analyse(voice(seed=1)).sgn()
    asked = magnitude ** (1 / COMPRESSION)
    once = network.invert(asked * phase, 6400)

    def error(wave):
        return float(torch.dist(network.analyse(wave).abs(), asked))

    assert error(network.synthesise(magnitude, phase, 6400)) < 0.9 * error(once)


def test_power_gain():
    """The strongest bins decide; silence gets nothing."""
    power = torch.rand(2, 5, 9)
    gain = power_gain(4 * power, power)
    assert torch.allclose(gain, torch.full((2, 1, 1), 0.25))
    assert float(power_gain(torch.zeros(1, 5, 9), power[:1])) == 0


def test_learns_to_be_silent():
    """A few steps towards a silent target lower the loss."""
    network, noisy = SpectralRefiner(*SIZES), voice()
    decoded = torch.zeros_like(noisy)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    losses = []
    for _ in range(8):
        loss = network.estimate(decoded, noisy)[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None or "up.2" in name, name


def test_refuses_other_windows():
    """The bins must halve three times."""
    with pytest.raises(ValueError, match="multiple of 16"):
        SpectralRefiner(500, *SIZES[1:])
