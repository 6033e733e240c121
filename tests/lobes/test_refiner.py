"""The refiner: what it keeps, and that it runs alike wherever it is run."""

from pathlib import Path

import pytest
import soundfile
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.refiner import Refiner, level_gain, pair
from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.training.straight_through import enhance_with_gradient

RATE = 16000


def voice(seconds: float, pitch: float = 120.0) -> torch.Tensor:
    """Syllables of a gliding harmonic tone, (T,)."""
    time = torch.arange(round(seconds * RATE)) / RATE
    phase = 2 * torch.pi * (pitch * time + 3 * torch.sin(3 * time))
    tone = sum(torch.sin(k * phase) / k for k in range(1, 20))
    return 0.1 * tone * (0.2 + torch.sin(9 * time).clamp(min=0))


def biased(share: float) -> Refiner:
    """A refiner that always takes this share and changes nothing."""
    refiner = Refiner(8, (1,))
    with torch.no_grad():
        refiner.decide.weight.zero_()
        refiner.decide.bias.zero_()
        refiner.decide.bias[:40] = torch.tensor(share).logit() + 1
    return refiner.eval()


@pytest.fixture(scope="module")
def model() -> EnhanceLLaSE:
    """The packaged model, which has a refiner."""
    return EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})


@torch.no_grad()
def test_keeps_the_decoded_wave_or_the_noisy_one():
    """The ends of the scale: one of the waves, at the decoded one's level."""
    ours, theirs = voice(1.0)[None], voice(1.0, 170.0)[None]
    ours, theirs = ours[:, : 50 * 320], theirs[:, : 50 * 320]
    none, whole = biased(0.0), biased(1.0)
    assert (none(ours, theirs) - ours).abs().max() < 0.05 * ours.abs().max()
    same = whole(ours, 3.0 * ours)
    assert (same - ours).abs().max() < 0.05 * ours.abs().max()
    kept = whole(ours, 0.1 * theirs)
    gain = (kept * theirs).sum() / theirs.square().sum()
    assert (kept - gain * theirs).abs().max() < 0.05 * theirs.abs().max()
    assert 0.5 < gain < 2  # not the 0.1 that it came with


@torch.no_grad()
def test_level_of_the_input_does_not_matter():
    """Louder or quieter, the noisy wave is brought to one level."""
    refiner = Refiner(8, (1,)).eval()
    ours, theirs = voice(1.0)[None], voice(1.0, 170.0)[None]
    once = refiner(ours, theirs)
    for gain in (0.05, 4.0):
        torch.testing.assert_close(
            refiner(ours, gain * theirs), once, atol=2e-3, rtol=0
        )


def test_level_gain_of_silence():
    """Nothing is heard, so nothing is changed."""
    silent = torch.full((1, 5, 40), -5.0)
    assert level_gain(silent, silent + 2).item() == 1


@torch.no_grad()
def test_each_item_gets_what_it_gets_alone():
    """Whatever the lengths beside it, and in silence nothing breaks."""
    refiner = Refiner(16).eval()
    pairs = [
        pair(voice(seconds), voice(seconds, 170.0))
        for seconds in (0.5, 1.0, 0.5, 0.02)
    ]
    pairs.append(torch.zeros(320 * 7, 2))
    for both, wav in zip(pairs, refiner.refine_each(pairs), strict=True):
        assert wav.shape == both[:, 0].shape and wav.isfinite().all()
        alone = refiner.refine_each([both])[0]
        torch.testing.assert_close(wav, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("sizes", [(640, 128), (640, 640), (600, 160)])
def test_impossible_windows_are_refused(sizes):
    """The message says what is allowed."""
    with pytest.raises(ValueError, match="must divide 320"):
        Refiner(8, (1,), *sizes)


@torch.no_grad()
def test_file_stream_batch_and_report_agree(model, tmp_path):
    """All ways through the package run the refiner on the same windows."""
    assert model.stages.refines
    noisy = voice(3.1) + 0.01 * torch.randn(round(3.1 * RATE))
    path = tmp_path / "noisy.wav"
    soundfile.write(path, noisy.numpy(), RATE, subtype="FLOAT")
    batch = model.enhance_batch(noisy[None])[0]
    file = model.enhance_file(path)
    scale = batch.abs().max().clamp(min=1)  # files stay within full scale
    torch.testing.assert_close(file, batch / scale, atol=1e-4, rtol=0)
    watched, _ = model.enhance_batch(noisy[None], return_details=True)
    torch.testing.assert_close(watched[0], batch, atol=1e-5, rtol=0)
    stream = model.stream(peak=float(noisy.abs().max()), gain=1.0)
    parts = [stream.push(part) for part in noisy.split(7000)]
    streamed = torch.cat([*parts, stream.close()])
    gain = (streamed * batch).sum() / streamed.square().sum()
    torch.testing.assert_close(gain * streamed, batch, atol=1e-4, rtol=0)


@torch.no_grad()
def test_refined_speech_is_in_step_with_the_input(model):
    """Decoded phases are made up; where speech is clear, the input's return."""
    clip = Path(__file__).parents[2] / "examples" / "noisy.wav"
    wav = model.load_audio(str(clip))[: 200 * HOP_LENGTH]
    noisy = [wav / wav.abs().max()]
    stages = model.stages
    decoded = stages.decode(stages.score(stages.extract(noisy))[0])
    refined = stages.refine(decoded, noisy)

    def coherence(enhanced):
        ours, theirs = map(
            model.mods.refiner.analyse, (enhanced[None], wav[None])
        )
        cross = (ours * theirs.conj()).sum().abs()
        return (cross / ours.norm() / theirs.norm()).item()

    assert coherence(decoded[0]) < 0.5 < 0.7 < coherence(refined[0])


def test_gradient_flows_through(model):
    """From the refined wave to the token LM's weights."""
    free = EnhanceLLaSE.from_hparams(
        run_opts={"device": "cpu"}, freeze_params=False
    )
    wav = enhance_with_gradient(free, voice(0.6)[None])
    wav.square().sum().backward()
    grad = free.mods.token_lm.predict_layer.weight.grad
    assert grad.isfinite().all() and grad.abs().sum() > 0


def test_joined_context_is_refused():
    """A refiner hears the audio of a window, not of its neighbours."""
    with pytest.raises(ValueError, match="context_from: own"):
        EnhanceLLaSE.from_hparams(
            run_opts={"device": "cpu"}, overrides={"context_from": "joined"}
        )
