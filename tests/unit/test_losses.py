"""Losses of the recipe and the discriminators' game."""

import pytest
import torch

from speechbrain_llase.discriminators import (
    Adversary,
    PeriodDiscriminator,
    STFTDiscriminator,
    feature_distance,
)
from speechbrain_llase.losses import (
    CompressedSTFTLoss,
    MultiScaleMelLoss,
    SpectralLoss,
    digit_loss,
    wave_loss,
    with_gradient,
)

JUDGES = [
    lambda: STFTDiscriminator(64, 4),
    lambda: STFTDiscriminator(256, 4),
    lambda: PeriodDiscriminator(2, 4),
    lambda: PeriodDiscriminator(7, 4),
]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def tones() -> torch.Tensor:
    """Two tones (2, 4000) of speech's level."""
    time = torch.arange(4000) / 16000
    return 0.07 * torch.sin(2000 * torch.tensor([[1.0], [1.3]]) * time)


def game(judges, plays=1, lr=2e-3):
    """An adversary and its optimizer."""
    adversary = Adversary(judges, feature_weight=2.0, plays=plays)
    return adversary, torch.optim.AdamW(adversary.parameters(), lr)


@pytest.mark.parametrize("make", JUDGES)
def test_every_judge_learns_to_tell(make, tones):
    """After some steps, real tones score above noise of their level."""
    adversary, optimizer = game([make()])
    for _ in range(60):
        noise = 0.05 * torch.randn_like(tones)
        adversary.play(noise, tones, optimizer)
    judge = adversary.discriminators[0]
    real = judge(tones)[0].mean()
    made = judge(0.05 * torch.randn_like(tones))[0].mean()
    assert real > made + 0.5


@pytest.mark.parametrize("make", JUDGES)
def test_gradient_points_to_the_real(make, tones):
    """A step against it brings the feature maps nearer."""
    adversary, optimizer = game([make()], lr=0.0)
    made = 0.5 * tones + 0.01 * torch.randn_like(tones)
    gradient = adversary.play(made, tones, optimizer)
    assert gradient.shape == made.shape
    torch.testing.assert_close(gradient.norm(dim=1), torch.ones(2))
    judge = adversary.discriminators[0]

    def fooling(wavs):
        matching = feature_distance(judge(wavs)[1], judge(tones)[1])
        return 2.0 * matching - judge(wavs)[0].mean()

    assert fooling(made - 1e-3 * gradient) < fooling(made)


def test_all_play_when_asked(tones):
    """With plays = number, every discriminator changes in one step."""
    adversary, optimizer = game([make() for make in JUDGES], plays=4)
    before = [p.clone() for p in adversary.parameters()]
    adversary.play(0.5 * tones, tones, optimizer)
    for old, new in zip(before, adversary.parameters(), strict=True):
        assert not torch.equal(old, new)


@pytest.mark.parametrize("plays", [0, 2])
def test_impossible_number_of_plays(plays):
    """Neither none nor more than there are."""
    with pytest.raises(ValueError, match=f"plays={plays}"):
        Adversary([STFTDiscriminator(64, 4)], 2.0, plays)


@pytest.mark.parametrize("share", [None, 0.0, 0.5])
def test_share_of_the_adversary(share, tones):
    """Its gradient is that share of the spectral one, and its scale alone."""
    mel_loss = MultiScaleMelLoss([64, 256], [5, 20])
    adversary, optimizer = game([STFTDiscriminator(64, 4)])
    before = [p.clone() for p in adversary.parameters()]
    wavs = (0.8 * tones + 0.01 * torch.randn_like(tones)).requires_grad_()
    (spectral,) = torch.autograd.grad(mel_loss(wavs, tones), wavs)
    loss = wave_loss(wavs, tones, mel_loss, adversary, optimizer, share)
    loss.backward()
    assert loss.item() == pytest.approx(mel_loss(wavs, tones).item())
    added = (wavs.grad - spectral).norm(dim=1) / spectral.norm(dim=1)
    expected = torch.full((2,), share or 0.0)
    torch.testing.assert_close(added, expected, atol=1e-4, rtol=0)
    learned = any(
        not torch.equal(old, new)
        for old, new in zip(before, adversary.parameters(), strict=True)
    )
    assert learned == (share is not None)


LOSSES = [
    lambda: MultiScaleMelLoss([64, 256], [5, 20]),
    lambda: CompressedSTFTLoss([64, 256], 0.3, 0.05),
]


@pytest.mark.parametrize("make", LOSSES)
def test_spectral_losses_are_float32_under_autocast(make, tones):
    """Half precision of the networks must not coarsen a loss."""
    loss = make()
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(0.9 * tones, tones)
    assert inside.dtype == torch.float32
    assert inside == loss(0.9 * tones, tones)


def test_magnitudes_alone_count(tones):
    """A wave of the other sign is the same; half a wave is not."""
    loss = CompressedSTFTLoss([256], 0.3, 0.05)
    assert loss(-tones, tones) < 1e-6
    assert loss(0.5 * tones, tones) > 0.01


def test_harmonics_above_the_mel_bands():
    """Tones a pitch apart at 5 kHz: one mel band, several bins."""
    time = torch.arange(8000) / 16000
    one, other = (
        0.05 * torch.sin(2 * torch.pi * f * time)[None] for f in (5000, 5080)
    )
    mel = MultiScaleMelLoss([1024], [40])
    bins = CompressedSTFTLoss([1024], 0.3, 0.05)
    quieter = 0.5 * one
    assert mel(one, other) < mel(one, quieter)
    assert bins(one, other) > bins(one, quieter)


def test_weighted_sum(tones):
    """As it says, value and gradient."""
    terms = [make() for make in LOSSES]
    wavs = 0.7 * tones
    total = SpectralLoss(terms, [1.0, 20.0])(wavs, tones)
    expected = terms[0](wavs, tones) + 20 * terms[1](wavs, tones)
    torch.testing.assert_close(total, expected)
    with pytest.raises(ValueError):
        SpectralLoss(terms, [1.0])


def test_silence_has_a_gradient():
    """Digital silence gives neither NaN nor infinity."""
    for make in LOSSES:
        wavs = torch.zeros(1, 4000, requires_grad=True)
        make()(wavs, torch.zeros(1, 4000)).backward()
        assert wavs.grad.isfinite().all()


def test_value_and_gradient_are_apart():
    """with_gradient takes both as given."""
    wavs = torch.randn(2, 5, requires_grad=True)
    gradient = torch.randn(2, 5)
    loss = with_gradient(torch.tensor(3.0), wavs, gradient)
    loss.backward()
    assert loss.item() == pytest.approx(3.0)
    torch.testing.assert_close(wavs.grad, gradient)


def test_plain_digit_loss_is_cross_entropy():
    """Without smoothing, on any shape."""
    logits, levels = torch.randn(2, 3, 8, 4), torch.randint(4, (2, 3, 8))
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), levels.flatten()
    )
    torch.testing.assert_close(digit_loss(logits, levels, 0.0), expected)


@pytest.mark.parametrize("level", range(4))
def test_smoothing_forgives_neighbours_alone(level):
    """The best prediction has the share of each neighbour, else nothing."""
    target = [0.1 * (abs(k - level) == 1) for k in range(4)]
    target[level] = 1 - sum(target)
    logits = torch.tensor(target).clamp(min=1e-9).log()
    levels = torch.tensor([level])
    entropy = -sum(p * torch.tensor(p).log() for p in target if p)
    best = digit_loss(logits[None], levels, 0.1)
    assert best.item() == pytest.approx(float(entropy), abs=1e-5)
    moved = logits + 0.2 * torch.randn(4)
    assert digit_loss(moved[None], levels, 0.1) > best


@pytest.mark.parametrize("smoothing", [-0.1, 0.5])
def test_impossible_smoothing(smoothing):
    """More on the neighbours than there is."""
    with pytest.raises(ValueError, match=f"smoothing={smoothing}"):
        digit_loss(torch.zeros(1, 4), torch.zeros(1).long(), smoothing)
