"""The parts of the page that know neither Gradio nor a model."""

import os
import stat
import subprocess
import sys
import threading
import time

import pytest
import torch
from page_parts import Constant, as_model, noise, tools, write

from speechbrain_llase.demo import (
    enhance_many as batch,
    enhance_one as work,
    models,
    server,
)
from speechbrain_llase.demo.dry_wet import mix, shares
from speechbrain_llase.demo.limits import Limits, check_count, check_upload
from speechbrain_llase.demo.private_folder import PREFIX, PrivateFolder
from speechbrain_llase.demo.visitors import Presses
from speechbrain_llase.processing.signal_processing import match_gain

RATE = 16000


# -- mix -------------------------------------------------------------------


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
    dry_factor, wet_factor = shares(gain, 0.5)
    ratio = float((wet_factor * enhanced).norm() / (dry_factor * noisy).norm())
    assert abs(ratio - 1) < 1e-3


def test_silence_is_mixed_without_a_gain():
    noisy, silence = noise(1)[:, 0], torch.zeros(RATE)
    assert torch.allclose(mix(noisy, silence, 0.25), 0.75 * noisy)


@pytest.mark.parametrize("wet", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(wet):
    with pytest.raises(ValueError, match="must lie in"):
        mix(torch.ones(800), torch.ones(800), wet)
    with pytest.raises(ValueError, match="one shape"):
        mix(torch.ones(800), torch.ones(801), 0.5)


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
    elif kind == "large":
        write(path, noise(30), subtype="DOUBLE")
    elif kind == "odd rate":
        write(path, rate=44101)
    elif kind == "channels":
        write(path, noise(1, channels=17))
    return path


@pytest.mark.parametrize(
    "kind, words",
    [
        ("text", "cannot be read as audio. Save it as WAV, FLAC"),
        ("empty", "is empty"),
        ("no samples", "holds no samples"),
        ("long", "lasts 3 s; at most 2 s are taken"),
        ("large", "has 4 MB; at most 1 MB are taken"),
        ("odd rate", "a sample rate of 44101 Hz"),
        ("channels", "has 17 channels; at most 16"),
        ("vanished", "is no longer here"),
    ],
)
def test_bad_uploads_are_refused_in_words(tmp_path, kind, words):
    path = make(tmp_path / "x.wav", kind)
    limits = Limits(max_s=2.0, max_bytes=1 << 20)
    with pytest.raises(ValueError, match=words) as info:
        check_upload(path, "mine.wav", limits)
    assert str(info.value).startswith("mine.wav")
    assert str(tmp_path) not in str(info.value)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_usual_rates_are_taken(tmp_path, rate):
    path = write(tmp_path / "x.wav", noise(0.1, rate), rate)
    seconds = check_upload(path, "mine.wav", Limits())
    assert seconds == pytest.approx(0.1, abs=1e-3)


def test_no_file_and_too_many():
    with pytest.raises(ValueError, match="Choose a file or record"):
        check_count(0, Limits())
    with pytest.raises(ValueError, match="3 files; at most 2"):
        check_count(3, Limits(max_files=2))


# -- the private folder ----------------------------------------------------


@pytest.fixture
def private(tmp_path):
    """A private folder whose files live for 100 s."""
    folder = PrivateFolder(tmp_path, keep_s=100.0)
    yield folder
    folder.remove()


def test_only_its_owner_may_look_in(private, tmp_path):
    for path in (private.root, private.served, private.work):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    private.remove()
    assert list(tmp_path.iterdir()) == []


def test_old_files_go_and_new_ones_stay(private):
    old = private.served / "upload" / "old.wav"
    old.parent.mkdir()
    old.write_text("x")
    with private.job() as (work, results):
        (work / "between").write_text("x")
        (results / "0").mkdir()
        held = results / "0" / "held.wav"
        held.write_text("x")
        assert private.sweep(time.time() + 99) == 0
        assert private.sweep(time.time() + 101) == 1
        assert held.exists() and not old.exists()
    assert not old.parent.exists() and list(private.work.iterdir()) == []
    assert private.sweep(time.time() + 99) == 0 and held.exists()
    assert private.sweep(time.time() + 101) == 1 and not held.exists()


def test_the_page_sweeps_from_time_to_time(private, monkeypatch):
    now, swept, waits = [0.0], [], []

    class Ended:
        def wait(self, seconds):
            waits.append(seconds)
            now[0] += seconds
            return now[0] > 60

    monkeypatch.setattr(server.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(private, "sweep", lambda: swept.append(now[0]))
    private.keep_s = 80.0
    server.sweep_until(private, Ended())
    assert swept == [20.0, 40.0, 60.0]
    assert set(waits) == {1.0}  # Windows hears Ctrl-C between them


def test_a_job_that_fails_leaves_nothing(private):
    with pytest.raises(ValueError):
        with private.job() as (work, results):
            (work / "a").write_text("x")
            (results / "b").write_text("x")
            raise ValueError
    assert list(private.work.iterdir()) == []
    assert list(private.served.iterdir()) == []


KILLED = """
import os, sys
from pathlib import Path
from speechbrain_llase.demo.private_folder import PrivateFolder
private = PrivateFolder(Path(sys.argv[1]))
(private.served / "secret.wav").write_text("x")
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX")
def test_a_killed_page_is_cleaned_up_by_the_next(private, tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)])
    left = set(tmp_path.glob(f"{PREFIX}*")) - {private.root}
    assert len(left) == 1 and (left.pop() / "served/secret.wav").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "lock").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    PrivateFolder(tmp_path).remove()
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {private.root.name, "other", f"{PREFIX}link"}
    assert (other / "lock").exists()


# -- several files ---------------------------------------------------------


@pytest.fixture
def press(private, load_tiny, monkeypatch):
    """Run a batch as the button does, without pictures."""
    monkeypatch.setattr(work, "picture_of", lambda *_: None)
    model = as_model(load_tiny(context_from="own"))
    settings = batch.Settings(2.0, 0.0)

    def run(uploads, stop=None, settings=settings, model=model, tell=None):
        return batch.enhance_all(
            model,
            [(str(path), path.name) for path in uploads],
            settings,
            private,
            tools(Constant(), max_s=10.0),
            tell or (lambda share, words: None),
            stop or threading.Event(),
        )

    return run


def test_a_bad_file_does_not_end_the_others(press, tmp_path):
    from zipfile import ZipFile

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    good = [write(tmp_path / folder / "x.wav") for folder in "ab"]
    bad = make(tmp_path / "bad.wav", "text")
    told = []
    uploads = [good[0], bad, good[1]]
    found = press(uploads, tell=lambda share, words: told.append(words))
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
    press, tmp_path, private, monkeypatch, err, words
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
            press(uploads)
        assert list(private.served.iterdir()) == []
        return
    found = press(uploads)
    assert [result.name for result in found.results] == ["a.wav", "b.wav"]
    assert len(found.failures) == 1 and found.failures[0].startswith(words)
    assert "secret" not in found.failures[0]
    assert list(private.served.rglob("bad*")) == []


def test_only_bad_files_are_an_error(press, tmp_path, private):
    with pytest.raises(ValueError, match="bad.wav cannot be read"):
        press([make(tmp_path / "bad.wav", "text")])
    assert list(private.served.iterdir()) == []


def test_an_upload_that_is_swept_while_it_is_worked_on(press, tmp_path):
    path = write(tmp_path / "x.wav")
    found = press([path], tell=lambda *_: path.unlink(missing_ok=True))
    assert found.results[0].after.exists() and not path.exists()


def test_a_stopped_press_leaves_nothing(press, tmp_path, private):
    stop = threading.Event()
    stop.set()
    with pytest.raises(batch.Stopped):
        press([write(tmp_path / "x.wav")], stop)
    assert list(private.served.iterdir()) == []
    assert list(private.work.iterdir()) == []


def test_a_guard_that_cannot_work_is_refused(press, tmp_path, load_tiny):
    model = models.Model("x", load_tiny(), "", "It needs ears.")
    settings = batch.Settings(2.0, 0.0, guard=True)
    with pytest.raises(ValueError, match="cannot be used. It needs ears."):
        press([write(tmp_path / "x.wav")], settings=settings, model=model)


@pytest.mark.parametrize(
    "err, words",
    [
        (ValueError("as it is"), "as it is"),
        (batch.Stopped(), "Stopped."),
        (OSError(28, "No space left", "/secret/x"), "disk is full"),
        (RuntimeError("CUDA out of memory: /secret"), "not enough memory"),
        (RuntimeError("/secret/place"), "not foreseen"),
        (PermissionError(13, "no", "/secret"), "not foreseen"),
    ],
)
def test_errors_become_words_without_paths(err, words):
    found = batch.in_words(err)
    assert words in found and "secret" not in found


# -- turns -----------------------------------------------------------------


def test_one_at_a_time_and_each_can_be_stopped():
    presses, order = Presses(), []
    entered, leave = threading.Event(), threading.Event()

    def first():
        with presses.begin("a") as stop:
            entered.set()
            leave.wait(10)
            order.append(("a", stop.is_set()))

    def second():
        with presses.begin("b") as stop:
            order.append(("b", stop.is_set()))

    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert entered.wait(10)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    presses.stop("a")
    presses.stop("nobody")
    assert presses.close(0.01) is False  # somebody is at work
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == [("a", True), ("b", True)] and presses.close(1.0)
    with presses.begin("late") as stop:
        assert stop.is_set()
