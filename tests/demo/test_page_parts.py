"""The parts of the page that know neither Gradio nor a model."""

import os
import stat
import subprocess
import sys
import threading
import time
from zipfile import ZipFile

import pytest
import torch
from page_parts import Constant, as_model, noise, shared, write

from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.demo import (
    enhance_many as batch,
    enhance_one as work,
    models,
)
from speechbrain_llase.demo.enhance_one import mix_blocks, mix_factors
from speechbrain_llase.demo.limits import (
    Limits,
    VisitorSettings,
    check_count,
    check_upload,
)
from speechbrain_llase.demo.security import PREFIX, private_folder
from speechbrain_llase.processing.signal_processing import match_gain

RATE = 16000


# -- mix -------------------------------------------------------------------


def mix(noisy, enhanced, wet):
    """Mix two waves (T,) as the page does."""
    with SampleSpool() as dry, SampleSpool() as pure:
        dry.write(noisy)
        pure.write(enhanced)
        return torch.cat(list(mix_blocks(dry, pure, wet)))


@pytest.mark.parametrize("gain", [0.01, 1.0, 30.0])
def test_the_ends_of_the_mix_are_exact(gain):
    noisy, enhanced = noise(1, seed=1)[:, 0], gain * noise(1, seed=2)[:, 0]
    assert torch.equal(mix(noisy, enhanced, 0.0), noisy)
    assert torch.equal(mix(noisy, enhanced, 1.0), enhanced)


@pytest.mark.parametrize("wet", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("gain", [0.1, 1.0, 4.0])
def test_a_perfect_model_is_mixed_without_loss(gain, wet):
    """Equal waves of two levels: the mix is the wave, of a level between."""
    noisy = noise(1)[:, 0]
    expected = noisy * gain**wet
    assert torch.allclose(mix(noisy, gain * noisy, wet), expected, rtol=1e-3)


def test_the_speech_of_both_is_of_one_level():
    noisy, enhanced = noise(1, seed=1)[:, 0], 0.2 * noise(1, seed=1)[:, 0]
    gain = match_gain(enhanced, noisy)
    dry_factor, wet_factor = mix_factors(gain, 0.5)
    ratio = float((wet_factor * enhanced).norm() / (dry_factor * noisy).norm())
    assert abs(ratio - 1) < 1e-3


def test_silence_is_mixed_without_a_gain():
    noisy, silence = noise(1)[:, 0], torch.zeros(RATE)
    assert torch.allclose(mix(noisy, silence, 0.25), 0.75 * noisy)


@pytest.mark.parametrize("wet", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(wet):
    with pytest.raises(ValueError, match="must lie in"):
        mix(torch.ones(800), torch.ones(800), wet)


# -- limits ----------------------------------------------------------------


def make(path, kind):
    """Make one upload of the list below."""
    if kind == "text":
        path.write_text("These are words.\n" * 99)
    elif kind == "empty":
        path.touch()
    elif kind == "no samples":
        write(path, torch.zeros(0, 1))
    elif kind == "long":
        write(path, noise(3))
    elif kind == "odd rate":
        write(path, rate=999)
    elif kind == "channels":
        write(path, noise(1, channels=17))
    return path


@pytest.mark.parametrize(
    "kind, words",
    [
        ("text", "cannot be read as audio"),
        ("empty", "cannot be read as audio"),
        ("no samples", "holds no samples"),
        ("long", "lasts 3 s; at most 2 s are taken"),
        ("odd rate", "a sample rate of 999 Hz"),
        ("channels", "has 17 channels; at most 16"),
        ("vanished", "is no longer here"),
    ],
)
def test_bad_uploads_are_refused_in_words(tmp_path, kind, words):
    path = make(tmp_path / "x.wav", kind)
    limits = Limits(max_s=2.0)
    with pytest.raises(ValueError, match=words) as info:
        check_upload(path, "mine.wav", limits)
    assert str(info.value).startswith("mine.wav")
    assert str(tmp_path) not in str(info.value)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_usual_rates_are_taken(tmp_path, rate):
    path = write(tmp_path / "x.wav", noise(0.1, rate), rate)
    check_upload(path, "mine.wav", Limits(max_s=0.11))
    with pytest.raises(ValueError, match="lasts 0.1 s"):
        check_upload(path, "mine.wav", Limits(max_s=0.09))


def test_no_file_and_too_many():
    with pytest.raises(ValueError, match="Choose a file or record"):
        check_count(0, Limits())
    with pytest.raises(ValueError, match="3 files; at most 2"):
        check_count(3, Limits(max_files=2))


# -- the private folder ----------------------------------------------------


def test_only_its_owner_may_look_in_and_it_goes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with private_folder(tmp_path) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "secret.wav").write_text("x")
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from speechbrain_llase.demo.security import private_folder
with private_folder(Path(sys.argv[1])) as folder:
    (folder / "secret.wav").write_text("x")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX")
def test_a_killed_page_is_cleaned_up_by_the_next(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    with private_folder(tmp_path) as running:
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
        left = set(tmp_path.glob(f"{PREFIX}*[0-9a-f]")) - {running}
        assert len(left) == 1 and (left.pop() / "secret.wav").exists()
        with private_folder(tmp_path):
            pass
        found = {path.name for path in tmp_path.iterdir()}
        assert found == {running.name, "other", f"{PREFIX}link"}
        assert (other / "mine.txt").exists()


# -- several files ---------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Where results go."""
    place = tmp_path / "private"
    place.mkdir()
    return place


@pytest.fixture
def enhance(folder, load_tiny, monkeypatch):
    """Enhance files as the button does, without pictures."""
    monkeypatch.setattr(work, "draw_pictures", lambda *_: {})
    model = as_model(load_tiny(context_from="own"))
    settings = VisitorSettings(2.0, 0.0)

    def run(uploads, stop=None, settings=settings, model=model, tell=None):
        return batch.enhance_uploads(
            model,
            [(str(path), path.name) for path in uploads],
            settings,
            shared(folder, Constant(), max_s=10.0),
            tell or (lambda share, words: None),
            stop or threading.Event(),
        )

    return run


def test_a_bad_file_does_not_end_the_others(enhance, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    good = [write(tmp_path / folder / "x.wav") for folder in "ab"]
    bad = make(tmp_path / "bad.wav", "text")
    told = []
    uploads = [good[0], bad, good[1]]
    found = enhance(uploads, tell=lambda share, words: told.append(words))
    assert [result.name for result in found.results] == ["x.wav", "x-2.wav"]
    assert len(found.failures) == 1 and "bad.wav" in found.failures[0]
    with ZipFile(found.archive) as file:
        names = file.namelist()
        assert names == ["x_enhanced.wav", "x-2_enhanced.wav"]
        assert file.read(names[0]) == found.results[0].after.read_bytes()
    assert told[-1] == "x-2.wav (3 of 3): picture"


FAILURES = [
    (RuntimeError("/secret: it broke"), "bad.wav: It failed for a reason"),
    (OSError(5, "Input/output error", "/secret"), "bad.wav: It failed for"),
    (RuntimeError("out of memory: /secret"), "bad.wav: There is not enough"),
    (MemoryError(), "bad.wav: There is not enough memory."),
    (OSError(28, "No space left", "/secret"), None),
]


@pytest.mark.parametrize("err, words", FAILURES)
def test_a_file_that_fails_does_not_end_the_others(
    enhance, tmp_path, folder, monkeypatch, err, words
):
    def fail(model, path, name, place, *rest):
        if name != "bad.wav":
            return work.enhance_upload(model, path, name, place, *rest)
        (place / "bad_enhanced.wav").write_text("a part")
        raise err

    monkeypatch.setattr(batch, "enhance_upload", fail)
    uploads = [write(tmp_path / f"{x}.wav") for x in ("a", "bad", "b")]
    if words is None:  # the disk is full: for every file
        with pytest.raises(OSError, match="No space left"):
            enhance(uploads)
        assert list(folder.iterdir()) == []
        return
    found = enhance(uploads)
    assert [result.name for result in found.results] == ["a.wav", "b.wav"]
    assert len(found.failures) == 1 and found.failures[0].startswith(words)
    assert "secret" not in found.failures[0]
    assert list(folder.rglob("bad*")) == []


def test_only_bad_files_are_an_error(enhance, tmp_path, folder):
    with pytest.raises(ValueError, match="bad.wav cannot be read"):
        enhance([make(tmp_path / "bad.wav", "text")])
    assert list(folder.iterdir()) == []


def test_uploads_stay_young_while_they_are_worked_on(enhance, tmp_path):
    """Gradio deletes files whose last change of status is long ago."""
    paths = [write(tmp_path / f"{x}.wav") for x in "ab"]
    begin = time.time()
    for path in paths:
        os.utime(path, (0, 0))
    enhance(paths)
    assert all(path.stat().st_mtime >= begin - 1 for path in paths)


def test_an_upload_that_has_gone_is_said(enhance, tmp_path):
    gone, other = tmp_path / "gone.wav", write(tmp_path / "b.wav")
    found = enhance([gone, other])
    assert "gone.wav is no longer here" in found.failures[0]
    assert not gone.exists() and len(found.results) == 1
    assert set(found.paths()) == {
        found.results[0].before,
        found.results[0].after,
    }


def test_stopped_work_leaves_nothing(enhance, tmp_path, folder):
    stop = threading.Event()
    stop.set()
    with pytest.raises(batch.VisitorLeft):
        enhance([write(tmp_path / "x.wav")], stop)
    assert list(folder.iterdir()) == []


def test_a_guard_that_cannot_work_is_refused(enhance, tmp_path, load_tiny):
    model = models.Model("x", load_tiny(), "", "It needs ears.")
    settings = VisitorSettings(2.0, 0.0, guard=True)
    with pytest.raises(ValueError, match="cannot be used. It needs ears."):
        enhance([write(tmp_path / "x.wav")], settings=settings, model=model)


def test_a_task_that_a_model_lacks_is_refused(enhance, tmp_path):
    """A page can be sent anything; a second file is looked at first."""
    for settings, words in (
        (VisitorSettings(2.0, 0.0, task="ss"), "tiny cannot do task='ss'"),
        (VisitorSettings(2.0, 0.0, task="x"), "choose one of se"),
        (VisitorSettings(2.0, 0.0, reference="x"), "Nothing is heard beside"),
    ):
        with pytest.raises(ValueError, match=words):
            enhance([write(tmp_path / "x.wav")], settings=settings)


@pytest.mark.parametrize(
    "err, words",
    [
        (ValueError("as it is"), "as it is"),
        (batch.VisitorLeft(), "Stopped."),
        (OSError(28, "No space left", "/secret/x"), "disk is full"),
        (RuntimeError("CUDA out of memory: /secret"), "not enough memory"),
        (RuntimeError("/secret/place"), "not foreseen"),
        (PermissionError(13, "no", "/secret"), "not foreseen"),
    ],
)
def test_errors_become_words_without_paths(err, words):
    found = batch.explain_error(err)
    assert words in found and "secret" not in found
