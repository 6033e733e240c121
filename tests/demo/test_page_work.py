"""One file on the page: what is heard there is what the package gives."""

import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from page_parts import RATE, Constant, as_model, noise, samples, shared, write

from speechbrain_llase import EnhanceLLaSE, LLaSEG1
from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.demo import enhance_one as page_work
from speechbrain_llase.demo.enhance_one import (
    enhance_upload,
    mix_factors,
    read_upload,
)
from speechbrain_llase.demo.limits import Limits, VisitorSettings
from speechbrain_llase.inference.guard import Guard
from speechbrain_llase.inference.loading import offer_tasks
from speechbrain_llase.processing.signal_processing import match_gain

OWN = {"context_from": "own", "crossfade_s": 0.04, "restore_level": True}
SETTINGS = VisitorSettings(window_s=1.0, context_s=0.5, restore_level=True)


@pytest.fixture(scope="module")
def own(load_tiny):
    """The tiny model with windows of their own; do not change it."""
    return load_tiny(**OWN)


@pytest.fixture(autouse=True)
def undrawn(monkeypatch, request):
    """Draw only where it is tested: it takes longer than the tiny model."""
    if "picture" not in request.node.name:
        monkeypatch.setattr(page_work, "draw_pictures", lambda *_: {})


@pytest.fixture
def upload(tmp_path):
    """3.3 s of 16-bit noise."""
    return write(tmp_path / "upload.wav", noise(3.3))


@pytest.fixture
def work(tmp_path):
    """Run one file as the page does; progress is kept."""
    place = tmp_path / "results"
    place.mkdir()

    def run(enhancer, path, settings=SETTINGS, scorer=None, **limits):
        run.told = []
        return enhance_upload(
            as_model(enhancer),
            path,
            "mine.wav",
            place,
            settings,
            shared(None, scorer, **limits),
            lambda share, words: run.told.append(share),
        )

    return run


@pytest.mark.parametrize("scheme", ["own", "joined"])
@pytest.mark.parametrize("window_s, context_s", [(1.0, 0.5), (2.0, 0.0)])
def test_the_wave_is_that_of_enhance_file(
    load_tiny, work, upload, tmp_path, scheme, window_s, context_s
):
    given = {"window_s": window_s, "context_s": context_s}
    settings = VisitorSettings(restore_level=True, **given)
    model = load_tiny(**{**OWN, "context_from": scheme})
    result = work(model, upload, settings)
    expected = tmp_path / "expected.wav"
    same = load_tiny(**{**OWN, "context_from": scheme, **given})
    same.enhance_file(upload, expected)
    assert np.array_equal(samples(result.after), samples(expected))
    assert samples(expected).any() and result.audio_s == 3.3


def test_a_batch_of_windows_changes_nothing(load_tiny, own, work, upload):
    several = load_tiny(**OWN, window_batch=3)
    one = samples(work(own, upload).after)
    assert np.array_equal(one, samples(work(several, upload).after))


def test_the_models_own_level(load_tiny, work, upload, tmp_path):
    sizes = {"window_s": 1.0, "context_s": 0.5}
    model = load_tiny(**{**OWN, **sizes, "restore_level": False})
    model.enhance_file(upload, tmp_path / "expected.wav")
    restoring = load_tiny(**OWN)
    result = work(
        restoring, upload, VisitorSettings(**sizes, restore_level=False)
    )
    expected = samples(tmp_path / "expected.wav")
    assert np.array_equal(samples(result.after), expected)
    assert restoring.hparams.restore_level is True  # others use it, too


def test_other_rates_and_channels(own, load_tiny, work, tmp_path):
    path = write(tmp_path / "a.flac", noise(2, 44100, 2), 44100)
    result = work(own, path)
    same = load_tiny(**OWN, window_s=1.0, context_s=0.5)
    same.enhance_file(path, tmp_path / "expected.wav")
    expected = samples(tmp_path / "expected.wav")
    assert np.array_equal(samples(result.after), expected)
    assert soundfile.info(str(result.before)).samplerate == RATE
    assert len(samples(result.before)) == len(expected) == 2 * RATE


@pytest.mark.parametrize("rate", [8000, 44100])
def test_one_more_file_at_the_input_s_rate(own, work, tmp_path, rate):
    """0 % of it is the input, highs and all; who wants none has none."""
    path = write(tmp_path / "a.wav", noise(2, rate), rate)
    settings = dataclasses.replace(SETTINGS, wet=0.0, keep_highs=True)
    result = work(own, path, settings)
    assert result.outputs == [result.after, result.full]
    assert soundfile.info(str(result.full)).samplerate == rate
    found, whole = samples(result.full), samples(path)
    assert len(found) == len(whole)
    if rate > RATE:
        assert np.abs(found.astype(int) - whole).max() <= 2
    result = work(own, path)
    assert result.outputs == [result.after] and len(samples(result.after))


def test_zero_percent_is_the_input(own, work, upload):
    result = work(own, upload, dataclasses.replace(SETTINGS, wet=0.0))
    assert np.array_equal(samples(result.after), samples(upload))
    assert np.array_equal(samples(result.before), samples(upload))


@pytest.mark.parametrize("wet", [0.3, 0.8])
@pytest.mark.parametrize("restore_level", [True, False])
def test_a_mix_is_that_of_whole_waves(own, work, upload, wet, restore_level):
    some = {"restore_level": restore_level}
    pure = work(own, upload, dataclasses.replace(SETTINGS, **some))
    waves = [
        torch.from_numpy(samples(x) / 32768).float()
        for x in (pure.before, pure.after)
    ]
    factors = mix_factors(match_gain(waves[1], waves[0]), wet)
    expected = factors[0] * waves[0] + factors[1] * waves[1]
    expected /= expected.abs().max().clamp(min=1)
    found = work(own, upload, dataclasses.replace(SETTINGS, wet=wet, **some))
    wav = torch.from_numpy(samples(found.after) / 32768).float()
    assert torch.allclose(wav, expected, atol=3 / 32768)


def test_details_are_those_of_enhance_file(load_tiny, upload):
    model = load_tiny(**OWN, window_s=1.0, context_s=0.5)
    _, report = model.enhance_file(upload, return_details=True)
    from speechbrain_llase.inference.confidence import Details
    from speechbrain_llase.inference.long_files import enhance_blocks

    stages, found = SETTINGS.stages(load_tiny(**OWN)), []
    list(enhance_blocks(stages, upload, details=found))
    details = Details.cat(found)
    assert torch.equal(details.tokens, report.details.tokens)
    assert torch.allclose(details.entropy, report.details.entropy, atol=1e-4)
    assert len(details) == 3.3 * 50


@pytest.mark.parametrize("limit, held", [(0.0, True), (11.09, False)])
def test_the_guard_is_that_of_enhance_file(
    load_tiny, work, upload, tmp_path, limit, held
):
    model = load_tiny(**OWN, window_s=1.0, context_s=0.5)
    model.guard = Guard(enabled=True, max_entropy=limit, harmed_mix=0.25)
    model.enhance_file(upload, tmp_path / "expected.wav")
    model.guard.enabled = False
    settings = dataclasses.replace(SETTINGS, guard=True)
    result = work(model, upload, settings)
    expected = samples(tmp_path / "expected.wav")
    difference = samples(result.after).astype(int) - expected
    assert np.abs(difference).max() <= 1
    assert model.guard.enabled is False
    assert ("whole file (entropy)" in " ".join(result.notes)) == held


def test_the_guard_refuses_long_files_before_work(own, work, upload):
    settings = dataclasses.replace(SETTINGS, guard=True)
    with pytest.raises(ValueError, match="the guard takes at most 3 s here"):
        work(own, upload, settings, guard_s=3.0)
    assert work.told == []


def test_progress_grows_to_the_end(own, work, tmp_path):
    path = write(tmp_path / "long.wav", noise(9))
    work(own, path)
    assert work.told == sorted(work.told) and len(work.told) > 5
    assert 0 == work.told[0] and 0.9 < work.told[-1] <= 1


def test_scores_of_the_beginning_only(own, work, upload):
    result = work(own, upload, scorer=Constant())
    assert set(result.scores) == {"Noisy", "Enhanced"}
    assert "DNSMOS is that of the first 0.5 s." in result.notes
    assert work(own, upload).scores == {}  # not installed
    unwanted = dataclasses.replace(SETTINGS, score=False)
    assert work(own, upload, unwanted, Constant()).scores == {}


@pytest.fixture(scope="module")
def g1(g1_folder):
    """A stand-in with tasks, as the page holds it, and as LLaSEG1."""
    own = {"window_s": 1.0, "context_s": 0.5}
    both = [
        kind.from_hparams(g1_folder, overrides=own, run_opts={"device": "cpu"})
        for kind in (EnhanceLLaSE, LLaSEG1)
    ]
    offer_tasks(both[0])
    return both


def test_an_echo_is_cancelled_as_by_its_method(g1, work, upload, tmp_path):
    """The second input is heard beside the first; other tasks as before."""
    held, model = g1
    loopback = write(tmp_path / "far.wav", noise(2.5, seed=5))
    some = {"task": "aec", "reference": str(loopback)}
    found = work(held, upload, dataclasses.replace(SETTINGS, **some))
    expected = tmp_path / "expected.wav"
    model.cancel_echo_file(upload, loopback, expected)
    assert np.array_equal(samples(found.after), samples(expected))
    assert list(found.players) == ["Enhanced"]
    model.enhance_file(upload, expected)
    assert np.array_equal(samples(work(held, upload).after), samples(expected))


def test_two_speakers_are_two_files(g1, work, upload, tmp_path):
    """Those of separate_file; each is scored."""
    held, model = g1
    settings = dataclasses.replace(SETTINGS, task="ss")
    found = work(held, upload, settings, Constant())
    names = [tmp_path / f"{k}.wav" for k in (1, 2)]
    model.separate_file(upload, names)
    assert list(found.players) == ["Speaker 1", "Speaker 2"]
    assert set(found.scores) == {"Noisy", "Speaker 1", "Speaker 2"}
    for k, path in enumerate(found.players.values(), 1):
        assert path.name == f"mine_{k}.wav"
        difference = samples(path).astype(int) - samples(names[k - 1])
        assert np.abs(difference).max() <= 1 and samples(path).any()


def test_silence_stays_silence(own, work, tmp_path):
    path = write(tmp_path / "silence.wav", torch.zeros(RATE, 1))
    result = work(own, path)
    assert not samples(result.after).any()
    assert "silent" in " ".join(result.notes)


def test_a_picture_is_drawn_or_missed_in_words(own, work, upload, monkeypatch):
    imread = pytest.importorskip("matplotlib.image").imread
    found = work(own, upload).pictures
    light, dark = (imread(found[kind]) for kind in ("light", "dark"))
    assert light.shape == dark.shape
    assert dark[0, 0, :3].max() < 0.2 and light[0, 0].min() == 1  # the paper
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    result = work(own, upload)
    assert result.pictures == {} and "matplotlib" in result.notes[-1]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"window_s": 0.5}, "The window is 0.5 s; choose 1 to 20 s"),
        ({"window_s": float("nan")}, "The window is nan"),
        ({"context_s": 5.1}, "The context is 5.1 s; choose 0 to 5 s"),
        ({"context_s": 0.011}, "must be a multiple of 0.02 s"),
        ({"wet": 1.01}, "The mix is 101 %; choose 0 to 100 %"),
        ({"generative": 1.01}, "Generative is 101 %; choose 0 to 100 %"),
        ({"guard": True, "restore_level": False}, "must be of one level"),
        ({"guard": True, "task": "ss"}, "The guard wants the output to be"),
        ({"task": "tse"}, "Choose the enrolment, a second file"),
        ({"reference": "x"}, "Nothing is heard beside the input"),
    ],
)
def test_settings_out_of_range_are_refused(own, work, upload, change, words):
    with pytest.raises(ValueError, match=words):
        work(own, upload, dataclasses.replace(SETTINGS, **change))


def test_a_file_longer_than_its_header_says_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", noise(3))
    with SampleSpool() as spool:
        with pytest.raises(ValueError, match="mine.wav lasts 3 s; at most 2"):
            read_upload(path, "mine.wav", RATE, Limits(max_s=2.0), spool, [])


def test_words_hold_the_name_and_no_path(own, work, tmp_path):
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.full(800, np.nan), RATE, subtype="FLOAT")
    with pytest.raises(ValueError) as info:
        work(own, path)
    words = str(info.value)
    assert words.startswith("mine.wav holds samples that are NaN or infinite")
    assert str(tmp_path) not in words
