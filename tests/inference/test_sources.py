"""Where audio files are found, and what is kept of those from elsewhere."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from speechbrain_llase.inference.sources import fetch_audio


@pytest.fixture
def two_files(tmp_path):
    """Files of one name in two folders."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.wav").write_text(name)
    return tmp_path


@pytest.fixture
def server(two_files):
    """URL of a server of these folders."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(two_files))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_local_files_of_one_name(two_files, scheme):
    """Each is its own file, and changes with it; `savedir` stays empty."""
    kept = two_files / "kept"
    for name in "ab":
        place = f"{scheme}{two_files}/{name}/x.wav"
        assert Path(fetch_audio(place, savedir=kept)).read_text() == name
        assert fetch_audio(place) == str(two_files / name / "x.wav")
    assert not kept.exists()


def test_urls_of_one_name(two_files, server):
    """Also those that differ in their query alone; each is fetched once."""
    places = [f"{server}/{x}/x.wav{q}" for x in "ab" for q in ("", "?t=1")]
    kept = two_files / "kept"
    paths = [fetch_audio(place, savedir=kept) for place in places]
    assert [Path(path).read_text() for path in paths] == list("aabb")
    assert len(set(paths)) == 4 and all(p.endswith(".wav") for p in paths)
    (two_files / "a/x.wav").unlink()
    assert fetch_audio(places[0], savedir=kept) == paths[0]


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file lost.wav"):
        fetch_audio("lost.wav")
    with pytest.raises(ValueError, match=r"https://h/a.wav\?\*\*\* .*savedir"):
        fetch_audio("https://h/a.wav?token=1")


def test_an_option_that_nothing_knows_is_refused(two_files):
    """A misspelt one would be forgotten without a word."""
    place = two_files / "a" / "x.wav"
    assert fetch_audio(place, keep_rate=True, savedir=None) == str(place)
    with pytest.raises(TypeError, match=r"no option tracks; .*channels"):
        fetch_audio(place, tracks="each")
