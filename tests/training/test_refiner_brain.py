"""What a refiner learns from: pairs, judges, and Muon's view of its weights."""

from functools import partial

import numpy as np
import pytest
import torch
from speechbrain.utils.checkpoints import Checkpointer

from speechbrain_llase.lobes.spectral_refiner import SpectralRefiner
from speechbrain_llase.nnet.matrices import Matrices
from speechbrain_llase.nnet.schedulers import CosineDecay
from speechbrain_llase.training.adversary import Adversary, SpectralJudge
from speechbrain_llase.training.compressed_spectra import CompressedSpectraLoss
from speechbrain_llase.training.decoded_pairs import PairDataset
from speechbrain_llase.training.refiner_brain import RefinerBrain, begin_with

RATE = 16000
STRIDES = [[2, 2], [2, 2], [1, 2], [1, 2]]


def pairs(number: int) -> np.ndarray:
    """(number, 4, T): noise, nothing to find in it, ones, noise."""
    noise = np.random.default_rng(0).standard_normal((number, 4, RATE))
    noise[:, 1], noise[:, 2] = 0, 1
    return (0.1 * noise).astype(np.float16)


def test_decoded_waves_are_spoilt():
    """In the shares that are asked for; the others stay as they are."""

    def share(of, **shares):
        data = PairDataset(
            pairs(3), 12000, 200, 1, shares=shares, jitter_db=0.0
        )
        return np.mean([of(data[k][2]) for k in range(len(data))])

    def whole(wave):
        return bool(torch.allclose(wave, torch.full_like(wave, 0.1), atol=1e-3))

    def silent(wave):
        return not wave.any()

    assert share(whole) == 1
    assert 0.3 < share(silent, dropped=0.4) < 0.5
    assert share(whole, swapped=1.0) == 1
    assert 0.2 < share(whole, damaged=1.0) < 0.9
    assert share(silent, better=1.0) == 1  # nearly the target, which is silent


def test_muon_sees_every_matrix():
    """Its views are the weights; a step along a gradient reaches them."""
    net = SpectralRefiner(64, (4, 6, 8), 4, 4, 1, 8, 2)
    matrices = Matrices(net, ("place", "up.2"))
    count = sum(x.numel() for x in [*matrices.views, *matrices.others])
    assert count == sum(x.numel() for x in net.parameters())
    before = [x.detach().clone() for x in matrices.weights]
    magnitude, _ = net.estimate(torch.rand(1, 640), torch.rand(1, 640))
    magnitude.square().mean().backward()
    for weight in matrices.weights:
        weight.grad = torch.ones_like(weight)
    matrices.hand_on_gradients()
    torch.optim.SGD(matrices.views, 0.1).step()
    for old, new in zip(before, matrices.weights, strict=True):
        torch.testing.assert_close(new.detach(), old - 0.1)


def test_judges_learn_and_tell():
    """Noise is told from a tone; a tone is found better than noise."""
    torch.manual_seed(0)
    both = Adversary([SpectralJudge(128, 64, STRIDES, (4, 4, 8, 8))], 0.5, 1, 2)
    real = torch.sin(torch.arange(6400) * 0.3).expand(2, -1)
    made = (0.3 * torch.randn(2, 6400)).requires_grad_()
    optimizer = torch.optim.AdamW(both.parameters(), 0.01)
    losses = []
    for _ in range(30):
        loss, maps = both.loss(made, real)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    opinion = both.opinion(made, maps)
    assert both.opinion(real, maps) < 0.5 * opinion
    both.settle_balance(opinion, (made - real).square().mean(), made)
    assert both.balance > 0


def test_the_refiner_learns_from_its_judges(tmp_path):
    """Once they have warmed up: steps are counted, and both are heard."""

    def step_twice(share):
        torch.manual_seed(0)
        refiner = SpectralRefiner(64, (4, 6, 8), 4, 4, 1, 8, 2)
        judge = SpectralJudge(128, 64, STRIDES, (4, 4, 8, 8))
        adversary = Adversary([judge], 0.5, share, 2)
        adam = partial(torch.optim.AdamW, lr=0.01)
        hparams = {
            "matrix_opt_class": adam,
            "judge_opt_class": adam,
            "lr_annealing": CosineDecay(0.01, 0.01, 0, 10),
            "loss": CompressedSpectraLoss(0.7, 0.3, 0.5, [(64, 16)], 0.002),
            "average_decay": 0.9,
            "cleaner": 0.5,
            "judged": True,
            "clip_norm": 0.5,
            "judge_clip_norm": 5.0,
            "judge_warmup_steps": 1,
            "steps_per_balance": 1,
        }
        modules = {"refiner": refiner, "adversary": adversary}
        brain = RefinerBrain(
            modules, adam, hparams, {"device": "cpu"}, Checkpointer(tmp_path)
        )
        brain.init_optimizers()
        batch = torch.from_numpy(pairs(2).astype(np.float32))
        for _ in range(2):
            brain.fit_batch(batch)
        assert brain.optimizer_step == 2
        return refiner.state_dict()

    alone, judged = step_twice(0.0), step_twice(10.0)
    assert any(not torch.equal(x, judged[key]) for key, x in alone.items())


def test_items_are_the_same_again():
    """Item i of an epoch is always the same, and another in the next."""
    data = PairDataset(pairs(3), 8000, 9, 1)
    first = data[2]
    assert first.shape == (4, 8000) and torch.equal(first, data[2])
    data.epoch = 1
    assert not torch.equal(first, data[2])


def test_weights_of_other_sizes_are_refused(tmp_path):
    """The error names the file and says what to do; equal sizes load."""
    path, network = tmp_path / "adversary.ckpt", torch.nn.Linear(3, 4)
    torch.save(network.state_dict(), path)
    same = torch.nn.Linear(3, 4)
    begin_with(same, path)
    assert torch.equal(same.weight, network.weight)
    with pytest.raises(ValueError, match="adversary.ckpt holds .* the sizes"):
        begin_with(torch.nn.Linear(3, 5), path)
