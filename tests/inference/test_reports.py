"""Reports, candidates and guard on the tiny model, against the plain path."""

import copy
import json
import math

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase import metrics
from speechbrain_llase.inference.candidates import Candidates
from speechbrain_llase.inference.guard import Guard
from speechbrain_llase.processing.signal_processing import to_peak


@pytest.fixture
def no_models(monkeypatch):
    """DNSMOS that prefers quiet waves; nothing is loaded."""

    class DNSMOS:
        def __init__(self, num_threads):
            pass

        def __call__(self, wav):
            return {"OVRL": -float(np.abs(wav).mean())}

    monkeypatch.setattr(metrics, "DNSMOS", DNSMOS)


def enhance(enhancer, noisy, guard=None, candidates=None):
    """Enhance one wave with a guard and candidates, and report."""
    watched = copy.copy(enhancer)
    watched.guard = guard or Guard()
    watched.candidates = candidates or Candidates()
    wavs, (report,) = watched.enhance_batch(noisy[None], return_details=True)
    return wavs[0], report


@pytest.mark.parametrize("samples", [400, 8000, 32000])
@pytest.mark.parametrize("settings", [{}, {"context_from": "own"}])
def test_the_wave_is_the_plain_one(load_tiny, speech_like, samples, settings):
    enhancer = load_tiny(window_s=0.6, context_s=0.2, **settings)
    noisy = speech_like[:samples]
    enhanced, report = enhance(enhancer, noisy)
    plain = enhancer.enhance_batch(noisy[None])[0]
    assert torch.equal(enhanced, plain)
    tokens = enhancer.predict_tokens(noisy[None])[0]
    assert torch.equal(report.details.tokens, tokens)
    assert report.decisions == report.verdicts == ()


def test_margins_are_those_on_record(tiny, golden):
    noisy = torch.from_numpy(golden["noisy"].astype("f4") / 32768)
    _, report = enhance(tiny, noisy)
    assert torch.equal(
        report.details.tokens, torch.from_numpy(golden["tokens"]).long()
    )
    torch.testing.assert_close(
        report.details.margin,
        torch.from_numpy(golden["margin"]).float(),
        atol=1e-4,
        rtol=0,
    )


@pytest.mark.parametrize("samples", [0, 399, 4000])
def test_silent_and_short_files_know_nothing(tiny, samples):
    enhanced, report = enhance(tiny, torch.zeros(samples))
    assert enhanced.shape == (samples,) and not enhanced.any()
    assert len(report.details) == 0
    line = json.loads(report.as_json())
    assert line["confidence"]["num_tokens"] == 0
    assert line["confidence"]["entropy"] is None


def test_the_guard_passes_the_input_through(tiny, speech_like):
    noisy = speech_like[:16000]
    plain, report = enhance(tiny, noisy)
    entropy = report.details.summary().entropy
    allow = Guard(enabled=True, max_entropy=entropy + 0.1)
    assert torch.equal(enhance(tiny, noisy, allow)[0], plain)
    forbid = Guard(enabled=True, max_entropy=entropy - 0.1)
    guarded, report = enhance(tiny, noisy, forbid)
    torch.testing.assert_close(guarded, noisy)
    assert report.decisions[0].reasons == ("entropy",)
    off = Guard(max_entropy=entropy - 0.1)
    enhanced, report = enhance(tiny, noisy, off)
    assert torch.equal(enhanced, plain) and report.decisions == ()


def test_candidates_hold_the_arg_max(tiny, speech_like, no_models):
    noisy = speech_like[:16000]
    plain, _ = enhance(tiny, noisy)
    drawn = Candidates(4, temperature=2.0, top_k=1000, seed=3)
    wave, report = enhance(tiny, noisy, None, drawn)
    scores = [verdict.score for verdict in report.verdicts]
    assert len(scores) == 4 and report.chosen == int(np.argmax(scores))
    assert len(set(scores)) == 4
    peak = plain / plain.abs().max().clamp(min=1)
    assert scores[0] == pytest.approx(-float(peak.abs().mean()), rel=1e-4)
    again, _ = enhance(tiny, noisy, None, drawn)
    assert torch.equal(wave, again)
    sure = Candidates(3, temperature=2.0, top_k=1000, confidence=1e6)
    wave, report = enhance(tiny, noisy, None, sure)
    assert report.chosen == 0 and torch.equal(wave, plain)


def test_candidates_of_the_first_k_are_near(tiny, speech_like, no_models):
    """top_k=1 leaves nothing to draw: all candidates are the arg max."""
    noisy = speech_like[:16000]
    drawn = Candidates(3, top_k=1)
    wave, report = enhance(tiny, noisy, None, drawn)
    assert len({verdict.score for verdict in report.verdicts}) == 1
    assert report.chosen == 0
    assert torch.equal(wave, enhance(tiny, noisy)[0])


def test_report_is_a_line_of_json(tiny, speech_like, no_models):
    guard = Guard(enabled=True, max_entropy=0.5, window_s=0.5)
    given = tiny, speech_like[:16000], guard, Candidates(2, top_k=50)
    _, report = enhance(*given)
    text = report.as_json(frames=True)
    assert "\n" not in text
    line = json.loads(text)
    assert len(line["entropy"]) == line["confidence"]["num_tokens"] == 50
    assert [x["stop"] for x in line["decisions"]] == [8000, 16000]
    assert line["chosen"] == report.chosen and len(line["verdicts"]) == 2
    mean = np.mean(line["entropy"])
    assert line["confidence"]["entropy"] == pytest.approx(mean, abs=1e-4)
    assert all(0 <= x <= math.log(65536) + 1e-3 for x in line["entropy"])


def test_windows_keep_their_own_rows(load_tiny, speech_like):
    """One long window or several: each frame is reported once, in order."""
    enhancer = load_tiny(window_s=0.6, context_s=0.2)
    noisy = to_peak(speech_like)
    _, report = enhance(enhancer, noisy)
    assert len(report.details) == 100
    assert (report.details.entropy > 0).all()


# -- through EnhanceLLaSE ------------------------------------------------------


def write(path, wave):
    soundfile.write(path, wave.numpy(), 16000, subtype="FLOAT")
    return path


def test_reports_share_batches(load_tiny, speech_like, monkeypatch):
    """Windows of all items run together, as they do without reports."""
    model, sizes = load_tiny(window_s=0.6, window_batch=4), []
    extract = model.mods.frontend.extract_each

    def counted(wavs):
        sizes.append(len(wavs))
        return extract(wavs)

    monkeypatch.setattr(model.mods.frontend, "extract_each", counted)
    noisy = torch.stack([speech_like, speech_like.flip(0)])
    lengths = torch.tensor([1.0, 0.7])
    plain = model.enhance_batch(noisy, lengths)
    alone = len(sizes)
    wavs, _ = model.enhance_batch(noisy, lengths, return_details=True)
    assert sizes[:alone] == sizes[alone:] == [4, 3]
    assert torch.equal(wavs, plain)


def test_details_do_not_change_the_form(tiny, speech_like):
    noisy = torch.stack([speech_like[:16000], 0.5 * speech_like[16000:]])
    lengths = torch.tensor([1.0, 0.5])
    plain = tiny.enhance_batch(noisy, lengths)
    assert isinstance(plain, torch.Tensor)
    wavs, reports = tiny.enhance_batch(noisy, lengths, return_details=True)
    assert torch.equal(wavs, plain)
    assert [len(report.details) for report in reports] == [50, 25]
    tokens = tiny.predict_tokens(noisy, lengths)
    assert torch.equal(reports[1].details.tokens, tokens[1, :25])


def test_details_of_a_file(tiny, speech_like, tmp_path):
    path = write(tmp_path / "noisy.wav", speech_like)
    wav, report = tiny.enhance_file(
        path, tmp_path / "out.wav", return_details=True
    )
    plain = tiny.enhance_file(path)
    torch.testing.assert_close(wav, plain, atol=1e-5, rtol=0)
    assert len(report.details) == 100
    read, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    np.testing.assert_allclose(read, wav.numpy(), atol=1e-4)


SECTIONS = """
guard: !new:speechbrain_llase.inference.guard.Guard
    enabled: False
    max_entropy: 0.0  # nats; every file crosses it
candidates: !new:speechbrain_llase.inference.candidates.Candidates
    num_candidates: 1
    dnsmos: 0.0
    confidence: 1.0
"""


@pytest.fixture(scope="module")
def load_watched(tiny_folder, tmp_path_factory):
    """A function that loads the tiny model with sections in its YAML."""
    from speechbrain_llase import EnhanceLLaSE

    folder = tmp_path_factory.mktemp("watched")
    for file in tiny_folder.glob("*.ckpt"):
        (folder / file.name).symlink_to(file)
    text = (tiny_folder / "hyperparams.yaml").read_text()
    assert "guard" not in text  # a model without the sections loads, too
    (folder / "hyperparams.yaml").write_text(text + SECTIONS)

    def load(**overrides):
        overrides = {"restore_level": True, **overrides}
        return EnhanceLLaSE.from_hparams(
            folder, overrides=overrides, run_opts={"device": "cpu"}
        )

    return load


def test_sections_are_off_and_can_be_switched_on(
    load_watched, load_tiny, speech_like, tmp_path, caplog
):
    noisy = speech_like[None, :16000]
    plain = load_tiny(restore_level=True).enhance_batch(noisy)
    assert torch.equal(load_watched().enhance_batch(noisy), plain)
    guarded = load_watched(guard={"enabled": True})
    with caplog.at_level("INFO"):
        torch.testing.assert_close(guarded.enhance_batch(noisy), noisy)
    assert "held 1 of 1 parts back (entropy)" in caplog.text
    path = write(tmp_path / "noisy.wav", noisy[0])
    wav, report = guarded.enhance_file(path, return_details=True)
    torch.testing.assert_close(wav, noisy[0])
    assert report.decisions[0].reasons == ("entropy",)
    several = load_watched(candidates={"num_candidates": 3})
    wavs, (report,) = several.enhance_batch(noisy, return_details=True)
    assert len(report.verdicts) == 3 and report.chosen == 0
    assert torch.equal(wavs, plain)
    assert torch.equal(several.enhance_batch(noisy), plain)


def test_streams_cannot_be_watched(load_watched, tmp_path):
    guarded = load_watched(guard={"enabled": True})
    with pytest.raises(ValueError, match="use enhance_file"):
        guarded.stream()
    with pytest.raises(ValueError, match="use enhance_file"):
        guarded.stream_file(tmp_path / "a.wav", tmp_path / "b.wav")


def test_the_guard_needs_the_level(load_watched):
    with pytest.raises(ValueError, match="guard needs restore_level"):
        load_watched(guard={"enabled": True}, restore_level=False)
