"""What the decoder hears: the best tokens, or the mean of each digit."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import soundfile
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.bulk.batcher import enhance_many
from speechbrain_llase.demo.limits import VisitorSettings
from speechbrain_llase.inference.confidence import Details
from speechbrain_llase.inference.long_files import enhance_blocks
from speechbrain_llase.nnet.fsq import levels_to_codes, mean_codes
from speechbrain_llase.processing.hearing import hear
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    to_peak,
)
from speechbrain_llase.training.straight_through import enhance_with_gradient

CLIP = Path(__file__).parents[2] / "examples" / "noisy.wav"


def load(choice: str) -> EnhanceLLaSE:
    """Load llase_mini."""
    return EnhanceLLaSE.from_hparams(
        overrides={"decoder_hears": choice}, run_opts={"device": "cpu"}
    )


@pytest.fixture(scope="module")
def models() -> dict[str, EnhanceLLaSE]:
    """llase_mini, both ways."""
    return {choice: load(choice) for choice in ("best", "mean")}


def test_mean_codes_lie_between_the_levels():
    """Those of a sure posterior are the level's own."""
    torch.manual_seed(0)
    logits = torch.randn(5, 8, 4)
    codes = mean_codes(logits)
    by_hand = (logits.exp() / logits.exp().sum(-1, keepdim=True)) @ (
        torch.tensor([-1.0, -0.5, 0.0, 0.5])
    )
    torch.testing.assert_close(codes, by_hand)
    sure = mean_codes(1e4 * logits)
    assert torch.equal(sure, levels_to_codes(logits.argmax(-1)))


@torch.no_grad()
def test_the_wave_is_that_of_the_mean(models):
    """One window, by hand; and not that of the tokens."""
    model = models["mean"]
    noisy = torch.from_numpy(soundfile.read(CLIP, dtype="float32")[0])[:32000]
    enhanced = model.enhance_batch(noisy[None])[0]
    window = to_peak(noisy)
    feats = model.mods.frontend(hear(window)[0][None])
    codes = mean_codes(model.mods.token_lm(feats))
    decoded = model.mods.vocoder.decode_codes(codes)
    wav = model.stages.refine([decoded[0]], [window])[0]
    wav = fit_length(wav, 32000) * noisy.abs().max()
    torch.testing.assert_close(enhanced, wav, rtol=1e-3, atol=1e-5)
    best = models["best"].enhance_batch(noisy[None])[0]
    assert (best - enhanced).norm() > 0.01 * enhanced.norm()
    assert (wav - enhanced).norm() < 1e-4 * enhanced.norm()


def test_tokens_are_the_same(models, speech_like):
    tokens = [m.predict_tokens(speech_like[None]) for m in models.values()]
    assert torch.equal(*tokens)


@pytest.mark.parametrize("choice", ["best", "mean"])
def test_every_way_gives_the_same_wave(models, choice, speech_like, tmp_path):
    """Batch, report, many files, the page, and what gradients pass."""
    model = models[choice]
    noisy = speech_like.mul(32768).round() / 32768
    plain = model.enhance_batch(noisy[None])[0]
    watched, (report,) = model.enhance_batch(noisy[None], return_details=True)
    assert torch.equal(watched[0], plain)
    assert torch.equal(
        report.details.tokens, model.predict_tokens(noisy[None])[0]
    )
    learning = enhance_with_gradient(model, noisy[None])[0].detach()
    torch.testing.assert_close(learning, plain, rtol=1e-3, atol=1e-4)
    path, waves, details = tmp_path / "noisy.wav", [], []
    soundfile.write(path, noisy, 16000, "PCM_16")
    blocks = enhance_blocks(
        VisitorSettings().stages(model), path, details=details
    )
    page = torch.cat(list(blocks))
    torch.testing.assert_close(page, plain, rtol=1e-3, atol=1e-4)
    assert torch.equal(Details.cat(details).tokens, report.details.tokens)
    done = enhance_many(
        model,
        [path],
        lambda job: nullcontext(job),
        lambda outcome, blocks: waves.append(torch.cat(list(blocks))),
    )
    assert [outcome.error for outcome in done] == [None]
    torch.testing.assert_close(waves[0], plain, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("choice", ["best", "mean"])
def test_reports_run_the_token_lm_once(models, choice, speech_like, tmp_path):
    """One pass a window, whatever is asked of it: reports, or the page."""
    model, runs = models[choice], []
    hook = model.mods.token_lm.stage_norm.register_forward_hook(
        lambda *_: runs.append(1)
    )
    path = tmp_path / "noisy.wav"
    soundfile.write(path, speech_like, 16000)
    try:
        model.enhance_batch(speech_like[None], return_details=True)
        list(enhance_blocks(VisitorSettings().stages(model), path, details=[]))
    finally:
        hook.remove()
    assert len(runs) == 2


def test_wrong_choices_are_refused(load_tiny):
    with pytest.raises(ValueError, match="loud.*choose one of best, mean"):
        load("loud")
    with pytest.raises(ValueError, match="mean needs.*head: digits"):
        load_tiny(decoder_hears="mean")
