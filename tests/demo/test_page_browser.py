"""The page in a real browser: the real command, Chromium, no internet."""

import json
import os
import re
import signal
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from page_driver import CHROMIUM, START_S, Visitor, browser, page
from page_parts import noise, samples, write

pytest.importorskip("gradio")
pytest.importorskip("playwright")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is here")

NOISY = Path(__file__).parents[2] / "examples" / "noisy.wav"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def address(place, g1_folder):
    """A page of one-minute files; when it ends, nothing is left."""
    args = "--max-minutes", "1", "--max-mb", "3"
    args += "--source", "llase_mini", str(g1_folder)
    with page(place, *args) as (found, process):
        yield found
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert list((place / "tmp").iterdir()) == []
    assert {x.name for x in place.iterdir()} == {"tmp", "errors.txt"}
    errors = (place / "errors.txt").read_text()
    ends = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*", errors, re.M)
    foreseen = (  # what the tests below try
        "was not uploaded by a user",
        "failed validation",
        "is not in the list of choices",
    )
    assert [x for x in ends if not any(y in x for y in foreseen)] == []
    assert "Warning" not in errors


@pytest.fixture(scope="module")
def root(address, place):
    """The private folder of that page."""
    (found,) = (place / "tmp").iterdir()
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What enhance_file makes of the clip."""
    from speechbrain_llase import EnhanceLLaSE

    path = tmp_path_factory.mktemp("expected") / "expected.wav"
    enhancer = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    enhancer.enhance_file(NOISY, path)
    return samples(path)


@pytest.fixture
def visitor(chromium, address):
    found = Visitor(chromium, address)
    yield found
    found.tab.close()


def fetch(address, path="", data=None, headers=None):
    """Status and body of one request."""
    request = urllib.request.Request(address + path, data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as err:
        return err.code, err.read()


def test_a_clip_is_enhanced_and_nothing_is_fetched_elsewhere(
    visitor, address, root, expected, tmp_path
):
    visitor.set_scores(False)
    visitor.upload(NOISY)
    visitor.press()
    words = visitor.result()
    assert "noisy.wav" in words and "8.7 s, enhanced in" in words
    visitor.tab.wait_for_selector("#picture img")
    found = samples(visitor.download(tmp_path / "found.wav"))
    assert np.array_equal(found, expected)
    lengths = visitor.tab.wait_for_function(
        "() => {const a = [...document.querySelectorAll('#report audio')]"
        ".map(x => x.duration); return a.every(x => x > 0) && a}"
    ).json_value()
    assert lengths == pytest.approx([8.67, 8.67], abs=0.01)
    foreign = [x for x in visitor.fetched if not x.startswith(address)]
    assert [x for x in foreign if x[:5] not in ("blob:", "data:")] == []
    assert visitor.complaints == []
    assert {p.name for p in root.rglob("*_enhanced.wav")} == {
        "noisy_enhanced.wav"
    }
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_zero_percent_downloads_the_input(visitor, tmp_path):
    visitor.set_scores(False)
    visitor.set_mix(0)
    visitor.upload(NOISY)
    visitor.press()
    assert "background" not in visitor.result()
    found = samples(visitor.download(tmp_path / "found.wav"))
    assert np.array_equal(found, samples(NOISY))


def test_one_plays_on_where_the_other_was(visitor):
    visitor.set_scores(False)
    visitor.upload(NOISY)
    visitor.press()
    visitor.result()
    at, paused = visitor.tab.evaluate(
        """async () => {
        const [one, two] = document.querySelectorAll('#report audio');
        one.muted = two.muted = true;
        await one.play();
        one.currentTime = 5;
        await new Promise(done => one.onseeked = done);
        await two.play();
        return [two.currentTime, one.paused];
        }"""
    )
    assert 4.9 < at < 8 and paused


def test_several_files_and_one_that_is_none(visitor, expected, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("These are words.\n" * 99)
    other = write(tmp_path / "other.flac", noise(2, 44100, 2), 44100)
    visitor.set_scores(False)
    visitor.upload(NOISY, text, other)
    visitor.press()
    assert "noisy.wav" in visitor.result()
    left_out = visitor.tab.inner_text("#failures")
    assert "text.wav cannot be read as audio" in left_out
    packed = visitor.download(tmp_path / "all.zip", index=2)
    with zipfile.ZipFile(packed) as file:
        names = ["noisy_enhanced.wav", "other_enhanced.wav"]
        assert file.namelist() == names
        file.extract(names[0], tmp_path)
    assert np.array_equal(samples(tmp_path / names[0]), expected)
    visitor.tab.click("#chosen input")
    visitor.tab.get_by_role("option", name="other.flac").click()
    visitor.tab.locator("#report").get_by_text("other.flac").wait_for()


def test_errors_are_shown_in_words(visitor, root, tmp_path):
    visitor.press()
    assert "Choose a file or record something first." in visitor.words()
    long = write(tmp_path / "long.wav", noise(61))
    text = tmp_path / "<b>text.wav"
    text.write_text("These are words.\n" * 99)
    for path, words in (
        (text, "text.wav cannot be read as audio"),
        (long, "long.wav lasts 1 min 1 s; at most 1 min are taken."),
    ):
        visitor.tab.reload()
        visitor.upload(path)
        visitor.press()
        shown = visitor.words()
        assert words in shown and str(root) not in shown
        assert "Traceback" not in visitor.tab.inner_text("body")
    visitor.tab.reload()
    large = write(tmp_path / "large.wav", noise(25), subtype="DOUBLE")
    visitor.tab.set_input_files("#files input[type=file]", str(large))
    assert "exceed the maximum allowed size of 3" in visitor.words()


def test_a_recording_is_enhanced(visitor):
    visitor.set_scores(False)
    visitor.tab.get_by_role("tab", name="Record").click()
    visitor.tab.locator("#recording .record-button").first.click()
    visitor.tab.wait_for_timeout(1500)
    visitor.tab.locator("#recording .stop-button").first.click()
    visitor.tab.locator("#recording #waveform").wait_for()
    visitor.press()
    assert "recording.wav" in visitor.result()


@pytest.mark.slow
def test_a_model_with_tasks(visitor, g1_folder, tmp_path):
    """The choice is its own; a second input where needed; two players."""
    from speechbrain_llase import LLaSEG1

    tab, task = visitor.tab, visitor.tab.locator("#task")
    assert task.count() == 0 or not task.is_visible()
    visitor.set_scores(False)
    clip = write(tmp_path / "two.wav", noise(3))
    visitor.upload(clip)

    def choose(where, name):
        tab.click(f"{where} input")
        tab.get_by_role("option", name=name).click()

    choose("#model", g1_folder.name)
    task.wait_for()
    choose("#task", "Cancel an echo")
    tab.locator("#reference").wait_for()
    visitor.press()
    assert "Choose the loopback, a second file." in visitor.words()
    far = write(tmp_path / "far.wav", noise(3, seed=1))
    tab.set_input_files("#reference input[type=file]", str(far))
    tab.locator("#reference").get_by_text("far").first.wait_for()
    visitor.press()
    assert "two.wav" in visitor.result()
    assert tab.locator("#report audio").count() == 2
    choose("#task", "Separate two speakers")
    tab.locator("#reference").wait_for(state="hidden")
    visitor.press()
    tab.locator("#report audio").nth(2).wait_for()
    words = tab.inner_text("#report")
    assert "Speaker 1" in words and "Speaker 2" in words
    names = [tmp_path / f"{k}.wav" for k in (1, 2)]
    model = LLaSEG1.from_hparams(g1_folder, run_opts={"device": "cpu"})
    model.separate_file(clip, names)
    for k, name in enumerate(names):
        found = samples(visitor.download(tmp_path / "found.wav", index=k))
        assert np.abs(found.astype(int) - samples(name)).max() <= 1
    choose("#model", "llase_mini")
    task.wait_for(state="hidden")
    assert visitor.complaints == []


@pytest.mark.slow
def test_two_at_once_are_queued(chromium, address, expected, tmp_path):
    files = [write(tmp_path / f"{k}.wav", noise(59)) for k in ("slow", "more")]
    one, two = (Visitor(chromium, address) for _ in range(2))
    two.set_scores(False)
    one.upload(*files)
    two.upload(NOISY)
    one.press()
    one.tab.locator("#report").get_by_text("slow.wav").first.wait_for()
    two.press()
    queued = two.tab.locator("#report").get_by_text("queue: 1/1")
    queued.wait_for()  # so the other one is not through
    words = one.result()
    assert "slow.wav" in words and "noisy.wav" in two.result()
    assert "background" in words or "not installed" in words  # DNSMOS
    found = samples(two.download(tmp_path / "found.wav"))
    # To one 16-bit step: with other threads at work sums are split otherwise.
    assert np.abs(found.astype(int) - expected).max() <= 1
    for visitor in (one, two):
        visitor.tab.close()


@pytest.mark.slow
def test_stop_and_a_closed_tab_end_the_work(chromium, address, root, tmp_path):
    slow = write(tmp_path / "stopped.wav", noise(59))
    one = Visitor(chromium, address)
    before = set(root.glob("*/0"))  # folders of results
    for how in ("stop", "close"):
        one.upload(slow)
        one.press()
        one.tab.locator("#report").get_by_text("stopped.wav").wait_for()
        assert set(root.glob("*/0")) > before
        if how == "stop":
            one.tab.click("#stop")
            one.tab.locator("#report").get_by_text(
                "Nothing was made"
            ).wait_for()
            one.tab.reload()
        else:
            one.tab.close()
        end = time.monotonic() + START_S
        while set(root.glob("*/0")) != before:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert not list(root.rglob("stopped_enhanced.wav"))


def test_only_uploads_and_results_are_sent(address, root):
    import speechbrain_llase

    inside, outside = root / "mine.txt", root.parent.parent / "errors.txt"
    inside.write_text("mine")
    (root / "link").symlink_to("/etc")
    secrets = ["/etc/passwd", speechbrain_llase.__file__, str(outside)]
    secrets += [f"{root}/../../errors.txt", f"{root}/link/passwd", str(root)]
    secrets += [str(NOISY), "http://127.0.0.1/", "x\0y"]
    for prefix in ("gradio_api/file=", "file=", "gradio_api/file/"):
        for secret in secrets:
            status, body = fetch(address, prefix + urllib.parse.quote(secret))
            assert status in (403, 404), secret
            assert b"root:" not in body and b"import" not in body
    status, body = fetch(address, f"gradio_api/file={inside}")
    assert (status, body) == (200, b"mine")


def test_foreign_paths_are_no_uploads(address, root):
    """What a program sends instead of the browser is checked, too."""
    status, config = fetch(address, "config")
    assert status == 200
    dependencies = json.loads(config)["dependencies"]
    work = next(x for x in dependencies if len(x["inputs"]) == 14)
    paths = (
        {"path": str(NOISY)},
        {"path": "/etc/passwd"},
        {"path": f"{root}/../../errors.txt"},
        {"path": "", "url": f"{address}config"},
        {"path": f"{address}config"},
    )
    meta = {"meta": {"_type": "gradio.FileData"}}
    tried = [([{**path, **meta}], "llase_mini") for path in paths]
    for files, model in [*tried, (None, "org/name"), (None, "/etc")]:
        data = [files, None, model, 100, 10, 1, True, False, True, 50, False]
        data += [False, "se", files[0] if files else None]
        body = {"fn_index": work["id"], "data": data, "session_hash": "x"}
        headers = {"Content-Type": "application/json"}
        sent = json.dumps(body).encode()
        status, answer = fetch(address, "gradio_api/queue/join", sent, headers)
        assert status == 200, answer
        _, events = fetch(address, "gradio_api/queue/data?session_hash=x")
        assert b'"success":false' in events and b"audio controls" not in events
        assert b"Traceback" not in events and b"root:" not in events
        assert str(root).encode() not in events.replace(model.encode(), b"")


def test_foreign_hosts_are_refused(address):
    assert fetch(address, headers={"Host": "evil.example"})[0] == 400
    port = urllib.parse.urlsplit(address).port
    assert fetch(address, headers={"Host": f"localhost:{port}"})[0] == 200


@pytest.mark.slow
def test_files_are_deleted_and_work_ends_with_the_page(chromium, tmp_path):
    slow = write(tmp_path / "slow.wav", noise(600))
    place = tmp_path / "run"
    with page(place, "--keep-minutes", "1") as (address, process):
        (root,) = (place / "tmp").iterdir()
        one = Visitor(chromium, address)
        one.set_scores(False)
        one.upload(NOISY)
        one.press()
        one.result()
        end = time.monotonic() + START_S
        assert len(list(root.rglob("noisy*.*"))) == 3  # upload, input, output
        while [x for x in root.rglob("*") if x.suffix in (".wav", ".png")]:
            assert time.monotonic() < end
            time.sleep(1)
        one.tab.reload()
        one.set_scores(False)
        one.upload(slow)
        one.press()
        one.tab.locator("#report").get_by_text("slow.wav").first.wait_for()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        one.tab.close()
    assert list((place / "tmp").iterdir()) == []
    assert "Traceback" not in (place / "errors.txt").read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX")
def test_users_log_in_and_choose_a_model(chromium, tmp_path, tiny_folder):
    users = tmp_path / "users.txt"
    users.write_text("ada:secret\n")
    users.chmod(0o600)
    args = "--users", str(users), "--source", "llase_mini", str(tiny_folder)
    with page(tmp_path / "run", *args) as (address, process):
        for path in ("config", "gradio_api/info"):
            assert fetch(address, path)[0] == 401
        boundary = b'--x\r\nContent-Disposition: form-data; name="files"; '
        body = boundary + b'filename="a"\r\n\r\na\r\n--x--\r\n'
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        assert fetch(address, "gradio_api/upload", body, kind)[0] == 401
        wrong = urllib.parse.urlencode({"username": "ada", "password": "x"})
        assert fetch(address, "login", wrong.encode())[0] == 400
        tab = chromium.new_page()
        tab.set_default_timeout(1000 * START_S)
        tab.goto(address)
        tab.locator("input").nth(0).fill("ada")
        tab.locator("input[type=password]").fill("secret")
        tab.get_by_role("button", name="Login").click()
        tab.wait_for_selector("#go")
        tab.click("#model input")
        tab.get_by_role("option", name=tiny_folder.name).click()
        tab.get_by_text("not stated in its hyperparams.yaml").wait_for()
        tab.get_by_text("More settings").click()
        assert tab.locator("#guard input").is_disabled()  # no thresholds
        context = tab.locator("#context input[type=number]")
        assert float(context.input_value()) == 2.0
        tab.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert list((tmp_path / "run" / "tmp").iterdir()) == []
