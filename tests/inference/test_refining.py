"""The settings `refine` and `generative`, of models that have no refiner."""

import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.demo.limits import VisitorSettings
from speechbrain_llase.inference.loading import load_refiner, offer_refiner
from speechbrain_llase.lobes.refiner import pair
from speechbrain_llase.lobes.spectral_refiner import SpectralRefiner

YAML = """\
compute: float32
refiner: !new:speechbrain_llase.lobes.spectral_refiner.SpectralRefiner
    window_length: 64
    channels: [4, 6, 8]
    band_size: 4
    time_size: 4
    num_blocks: 1
    full_size: 8
    full_channels: 2
    compute: !ref <compute>
modules:
    refiner: !ref <refiner>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables: !ref <modules>
    custom_hooks:
        refiner: !name:speechbrain_llase.pretrained.loading.load_weights
"""
NOISY = torch.rand(1, 20000) - 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a refiner alone."""
    folder = tmp_path_factory.mktemp("refiner")
    (folder / "hyperparams.yaml").write_text(YAML)
    torch.manual_seed(0)
    network = SpectralRefiner(64, (4, 6, 8), 4, 4, 1, 8, 2)
    torch.save(network.state_dict(), folder / "refiner.ckpt")
    return folder


@pytest.fixture(scope="module")
def refined(load_tiny, folder):
    """The tiny model with that refiner."""
    return load_tiny(refine=str(folder), context_from="own")


def test_the_packaged_refiner_is_put_behind_any_model(load_tiny):
    """Off by default; its weights are those of llase_mini's one file."""
    plain = load_tiny(context_from="own")
    given = load_tiny(refine=True, context_from="own")
    assert given.stages.refines and not plain.stages.refines
    own = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    wanted = own.mods["refiner"].state_dict()
    found = given.mods["refiner"].state_dict()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert not given.mods["refiner"].training
    waves = [model.enhance_batch(NOISY) for model in (plain, given)]
    assert waves[1].shape == NOISY.shape and waves[1].isfinite().all()
    assert not torch.allclose(*waves, atol=1e-3)


def test_what_is_decoded_is_refined_at_the_input_s_level(refined, folder):
    """What reaches the output is the refiner's, of decoded and noisy."""
    stages = refined.stages
    plans = [stages.plan(NOISY[0])]
    windows = stages.cut([NOISY[0]], plans)
    codes, _ = stages.score(stages.extract(windows, plans))
    (decoded,) = stages.decode(codes)
    wanted = load_refiner(str(folder))
    wanted = wanted.eval().refine_each([pair(decoded, windows[0])])
    waves = stages.refine([decoded], windows)
    assert torch.allclose(waves[0], wanted[0], atol=1e-5)


def test_knob_of_a_loaded_model(refined, load_tiny, folder):
    """By an override, by `having`; the networks are shared, the model stays."""
    usual = refined.enhance_batch(NOISY)
    turned = refined.having(generative=0.9)
    assert turned.mods is refined.mods
    wave = turned.enhance_batch(NOISY)
    assert not torch.allclose(wave, usual, atol=1e-4)
    assert torch.equal(refined.enhance_batch(NOISY), usual)
    settings = {"refine": str(folder), "context_from": "own"}
    again = load_tiny(generative=0.9, **settings)
    assert torch.equal(again.enhance_batch(NOISY), wave)
    middle = refined.having(generative=0.5).enhance_batch(NOISY)
    assert torch.equal(middle, usual)


def test_a_refiner_that_is_offered(load_tiny):
    """It is off until it is asked for, and never where it cannot be."""
    model = load_tiny(context_from="own")
    before = model.enhance_batch(NOISY)
    offer_refiner(model)
    assert torch.equal(model.enhance_batch(NOISY), before)
    refined = model.having(refine=True).enhance_batch(NOISY)
    assert not torch.allclose(refined, before, atol=1e-3)
    joined = load_tiny(context_from="joined")
    offer_refiner(joined)
    assert "refiner" not in joined.mods


def test_the_page_turns_it(refined, load_tiny):
    """By a visitor's settings; where there is no knob, they say nothing."""
    sizes = {"window_s": 1.0, "context_s": 0.2}
    turned = VisitorSettings(**sizes, generative=0.2).stages(refined)
    assert turned.refines and turned.generative == 0.2
    off = VisitorSettings(**sizes, refine=False).stages(refined)
    assert not off.refines and off.generative is None
    plain = load_tiny(context_from="own")
    stages = VisitorSettings(**sizes, generative=0.2).stages(plain)
    assert not stages.refines and stages.generative is None


def test_impossible_settings_are_refused(load_tiny, refined):
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="generative=0.3 needs"):
        load_tiny(generative=0.3)
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        refined.having(generative=1.5)
    with pytest.raises(ValueError, match="context_from: own"):
        load_tiny(refine=True, context_from="joined")
    with pytest.raises(ValueError, match="llase has no refiner"):
        load_refiner("llase")  # whose large networks are not built for that
    with pytest.raises(KeyError, match="coffee"):
        load_tiny(refine=True, coffee=1)
