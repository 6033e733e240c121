"""Models, scores, words, users and headers of the page; no Gradio."""

import argparse
import asyncio
import re
from pathlib import Path

import pytest
from page_parts import RATE, noise, write

from speechbrain_llase.cli.common import one_line
from speechbrain_llase.demo import models, report, scores
from speechbrain_llase.demo.enhance_one import EnhancedFile
from speechbrain_llase.demo.security import SecurityHeaders, read_users
from speechbrain_llase.demo.server import middleware
from speechbrain_llase.inference.guard import Guard

# -- models, scores, words -------------------------------------------------


def test_licences_are_read_from_the_yaml(tmp_path):
    assert models.licence_of("llase_mini").startswith("Apache-2.0")
    official = models.licence_of("llase")
    assert "CC-BY-NC-4.0" in official and "\n" not in official
    (tmp_path / "hyperparams.yaml").write_text("# nothing\n")
    assert models.licence_of(str(tmp_path)).startswith("not stated")
    assert models.licence_of("org/name").startswith("not stated")


def test_a_folder_is_shown_without_where_it_lies(tmp_path):
    assert models.short_name(f"{tmp_path}/") == tmp_path.name


def test_a_password_in_a_url_is_not_shown():
    given = "https://me:secret@host/llase?token=secret"
    assert models.short_name(given) == "https://***@host/llase?***"


def test_models_of_one_name_are_refused(tmp_path, monkeypatch):
    (tmp_path / "llase_mini").mkdir()
    sources = ["llase_mini", str(tmp_path / "llase_mini")]
    enhancer = argparse.Namespace(guard=Guard(), mods={"refiner": None})
    monkeypatch.setattr(models, "offer_tasks", lambda _: None)
    monkeypatch.setattr(models, "load_enhancer", lambda _: enhancer)
    with pytest.raises(ValueError, match="two models llase_mini"):
        models.load_models(sources)


@pytest.mark.parametrize(
    "guard, missing, words",
    [
        (Guard(), "", "would do nothing"),
        (Guard(mix=0.5), "", ""),
        (Guard(max_entropy=5.0), "speechmos", ""),
        (Guard(min_gain=0.1), "speechmos", "needs speechmos, not installed"),
        (Guard(min_speaker=0.5), "resemblyzer", r"llase\[speaker\]"),
        (Guard(max_words=0.5), "pocketsphinx", r"llase\[evaluation\]"),
    ],
)
def test_what_a_guard_lacks(monkeypatch, guard, missing, words):
    monkeypatch.setattr(
        scores, "find_spec", lambda x: None if x == missing else 1
    )
    found = scores.guard_lacks(guard)
    assert re.search(words, found) if words else found == ""


def test_without_dnsmos_there_are_words(monkeypatch):
    def fail():
        raise ImportError

    monkeypatch.setattr(scores.metrics, "DNSMOS", fail)
    missing = scores.BeginningScorer(30.0).missing
    assert "not installed here: pip install" in missing
    shown = report.result_html(result(), missing)
    assert "not installed here" in shown and "<table" not in shown


def test_dnsmos_hears_the_beginning(tmp_path, monkeypatch):
    heard = []

    class Ears:
        def __call__(self, wav, sample_rate):
            heard.append((wav, sample_rate))
            return {"OVRL": 3.0}

    monkeypatch.setattr(scores.metrics, "DNSMOS", Ears)
    path = write(tmp_path / "x.wav", wav := noise(2))
    assert scores.BeginningScorer(1.5)(path) == {"OVRL": 3.0}
    assert scores.BeginningScorer(9.0)(path) == {"OVRL": 3.0}
    assert [len(x) for x, _ in heard] == [24000, 32000]
    assert abs(heard[1][0] - wav[:, 0].numpy()).max() < 1e-4
    assert heard[0][0].dtype == "float32" and heard[0][1] == RATE


def result(**changes):
    """A result with a name that would be HTML."""
    given = {
        "name": "<b>&x.wav",
        "before": Path("/p/<i>_input.wav"),
        "after": Path("/p/a b_enhanced.wav"),
        "pictures": {},
        "audio_s": 90.0,
        "work_s": 1.0,
        "scores": {},
        "notes": ("<script>",),
    }
    return EnhancedFile(**{**given, **changes})


def test_names_are_text_not_html():
    shown = report.result_html(result())
    assert "<b>" not in shown and "<script>" not in shown and "<i>" not in shown
    assert "&lt;b&gt;&amp;x.wav" in shown and "1 min 30 s" in shown
    assert 'src="gradio_api/file=/p/a%20b_enhanced.wav"' in shown
    assert "<em>" not in report.failures_html(["<em>"])
    assert report.failures_html([]) == ""


def test_two_speakers_have_a_player_each():
    shown = report.result_html(result(second=Path("/p/b_2.wav")))
    labels = re.findall(r'aria-label="([^"]*)"', shown)
    assert labels == ["Noisy", "Speaker 1", "Speaker 2"]
    assert 'src="gradio_api/file=/p/b_2.wav"' in shown


def test_a_picture_says_what_it_shows():
    """In words for who cannot see it; one for each colour of the page."""
    assert report.picture_html(result()) == ""
    pictures = {x: Path(f"/p/a b/{x}.png") for x in ("light", "dark")}
    shown = report.picture_html(result(pictures=pictures))
    assert shown.count('alt="Spectrograms of &lt;b&gt;&amp;x.wav before') == 2
    assert "<b>" not in shown
    for kind in pictures:
        address = f"gradio_api/file=/p/a%20b/{kind}.png"
        assert f'class="llase-{kind}" href="{address}"' in shown
        assert f'<img src="{address}"' in shown


def test_scores_are_shown():
    one = {"SIG": 1.0, "BAK": 2.0, "OVRL": 3.0, "P808": 4.25}
    shown = report.result_html(result(scores={"Noisy": one, "Enhanced": one}))
    assert shown.count("4.25") == 2 and "not notice changed words" in shown


# -- who, and what is sent -------------------------------------------------


def test_users_are_read(tmp_path):
    file = tmp_path / "users.txt"
    file.write_text("# who\n\nada: with:colons \nbob:b\n")
    file.chmod(0o600)
    assert read_users(file) == [("ada", " with:colons "), ("bob", "b")]


@pytest.mark.parametrize(
    "text, mode, words",
    [
        ("ada\n", 0o600, "line 1: write name:password"),
        (":x\n", 0o600, "line 1: write name:password"),
        ("ada:\n", 0o600, "line 1: write name:password"),
        ("# nobody\n", 0o600, "names nobody"),
        ("ada:x\n", 0o644, "chmod 600"),
    ],
)
def test_bad_users_are_refused(tmp_path, text, mode, words):
    file = tmp_path / "users.txt"
    file.write_text(text)
    file.chmod(mode)
    with pytest.raises(ValueError, match=words) as info:
        read_users(file)
    assert "ada:x" not in one_line(info.value)


async def answer_anything(scope, receive, send):
    """An application behind the middleware."""
    headers = [(b"cache-control", b"public"), (b"x-mine", b"1")]
    start = {"type": "http.response.start", "status": 200}
    await send({**start, "headers": headers})


def ask(app, path, host="localhost:7860"):
    """Status and headers that a browser gets."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", host.encode())]
    scope = {"type": "http", "path": path, "headers": headers}
    asyncio.run(app(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


def test_browsers_load_from_here_only_and_keep_no_file():
    app = SecurityHeaders(answer_anything)
    status, headers = ask(app, "/gradio_api/file=/a/b.wav")
    assert status == 200 and headers[b"x-mine"] == b"1"
    assert headers[b"cache-control"] == b"private, no-store"
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    status, headers = ask(app, "/assets/index.js")
    assert headers[b"cache-control"] == b"public"
    assert b"default-src 'self'" in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    "place, host, status",
    [
        (["127.0.0.1"], "127.0.0.1:7860", 200),
        (["127.0.0.1"], "localhost", 200),
        (["::1"], "[::1]:7860", 200),
        (["127.0.0.1"], "evil.example:7860", 400),
        (["127.0.0.1"], "", 400),
        (["0.0.0.0"], "lab.example", 200),
        (["127.0.0.1", "/enhance"], "lab.example", 200),
        (["127.0.0.1", "", [("a", "b")]], "lab.example", 200),
    ],
)
def test_a_local_page_answers_to_its_own_names(place, host, status):
    pytest.importorskip("starlette")
    app = answer_anything
    for layer in reversed(middleware(*place)):
        app = layer.cls(app, *layer.args, **layer.kwargs)
    assert ask(app, "/", host)[0] == status
