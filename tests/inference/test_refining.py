"""The settings `refine` and `generative`, of models that have no refiner."""

import argparse
from pathlib import Path

import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.demo.limits import VisitorSettings
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.inference.loading import load_refiner, offer_refiner
from speechbrain_llase.lobes.refiner import pair
from speechbrain_llase.lobes.spectral_refiner import SpectralRefiner
from speechbrain_llase.processing.signal_processing import fit_length

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


@pytest.fixture
def benchmarks(monkeypatch):
    """The folder of the benchmarks, to import from."""
    folder = Path(__file__).parents[2] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))


def test_the_tables_refine_published_waves(folder, benchmarks):
    """A row behind each, by the noisy wave and as long; the rest stays."""
    pytest.importorskip("soxr")
    from peer_systems import with_refined

    refiner = load_refiner(str(folder)).eval()
    published = torch.rand(19680) - 0.5
    waves = {"noisy": NOISY[0], "clean": NOISY[0], "SELM": published}
    clip = Clip("a", {row: wave.numpy() for row, wave in waves.items()})
    found = with_refined(clip, refiner).waves
    assert list(found) == ["noisy", "clean", "SELM", "SELM, refined"]
    with torch.no_grad():
        wanted = refiner(fit_length(published, 20000)[None], NOISY)[0]
    made = torch.from_numpy(found["SELM, refined"])
    assert torch.allclose(made, wanted.clamp(-1, 1), atol=1e-4)


def test_the_knobs_curve_is_of_the_model_and_goes_on(
    refined, benchmarks, tmp_path, monkeypatch
):
    """Decoded once, as if each place had a model; no clip is scored twice."""
    import generative

    wave = NOISY[0].numpy()
    clips = [Clip(name, {"noisy": wave, "clean": wave}) for name in "ab"]
    (turned,) = generative.turn(refined, clips[:1], [0.0, 0.75])
    assert list(turned.waves) == ["noisy", "0", "0.75", "clean"]
    for row in ("0", "0.75"):
        one = refined.having(generative=float(row))
        wanted = one.enhance_batch(NOISY)[0].clamp(-1, 1)
        made = torch.from_numpy(turned.waves[row])
        assert torch.allclose(made, wanted, atol=1e-4)
    args = argparse.Namespace(places=[0.5], cache=None, jobs=1, asr="none")
    args.without = ["dnsmos", "pesq", "words"]
    first = generative.measure(refined, clips[:1], tmp_path, args)
    assert list(first) == ["noisy", "0.5", "clean"]
    seen = []

    def scored(clips, settings, jobs):
        seen.extend(clips)
        return []

    (tmp_path / "b.json").write_text((tmp_path / "a.json").read_text())
    monkeypatch.setattr(generative, "score_clips", scored)
    again = generative.measure(refined, clips, tmp_path, args)
    assert again["0.5"]["estoi"]["num"] == 2 and not seen
