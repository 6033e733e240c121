"""Writing audio files, whole or with the reason why not, and reading them."""

import io
import signal
import threading

import pytest
import soundfile as sf
import torch

from speechbrain_llase.dataio import audio_writer as audio
from speechbrain_llase.dataio.audio_reader import read_blocks

SUFFIXES = [".wav", ".flac", ".ogg"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("number", range(1, 9))
def test_ctrl_c_while_libsndfile_writes(tmp_path, monkeypatch, suffix, number):
    """At any call from libsndfile, the header's at the end included."""
    calls = []

    def interrupted(name):
        plain = getattr(audio.NotedFile, name)

        def call(self, *args):
            calls.append(name)
            if len(calls) == number:
                signal.raise_signal(signal.SIGINT)
            return plain(self, *args)

        return call

    for name in ("write", "seek"):
        monkeypatch.setattr(audio.NotedFile, name, interrupted(name))
    before = signal.getsignal(signal.SIGINT)
    noise = torch.rand(3000) - 0.5
    with pytest.raises(KeyboardInterrupt):
        audio.write_whole(tmp_path / f"a{suffix}", [noise, noise], 16000)
    assert len(calls) >= number and not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("name", ["write", "seek"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_libsndfile_cannot_hand_on(tmp_path, monkeypatch, name, number):
    """Whatever a file raises reaches the caller."""

    class File:
        calls = 0

        def __init__(self, file):
            self.file = file

        def __getattr__(self, wanted):
            self.calls += wanted == name
            if self.calls == number:
                raise KeyboardInterrupt
            return getattr(self.file, wanted)

    noted = audio.NotedFile
    monkeypatch.setattr(audio, "NotedFile", lambda f, n: noted(File(f), n))
    noise = torch.rand(3000) - 0.5
    with pytest.raises(KeyboardInterrupt):
        audio.write_whole(tmp_path / "a.wav", [noise, noise], 16000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lost", [6000, 44])
def test_samples_or_a_header_that_got_lost(tmp_path, monkeypatch, lost):
    """As where soundfile's own Python code between raises."""
    write = audio.NotedFile.write

    def lose(self, data):
        if len(data) != lost:
            return write(self, data)
        if lost == 44 and self.seek(0, 2) < 6000:
            self.seek(0)
            return write(self, data)  # the header before the samples
        return 0

    monkeypatch.setattr(audio.NotedFile, "write", lose)
    with pytest.raises(RuntimeError, match="was not written to its end"):
        audio.write_whole(tmp_path / "a.wav", [torch.rand(3000)], 16000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".mp3", ".aiff", ".au"])
@pytest.mark.parametrize("length", [0, 1, 3000])
def test_formats(tmp_path, suffix, length):
    path = tmp_path / f"a{suffix}"
    audio.write_whole(path, [torch.rand(length)], 16000)
    if length:
        assert sf.info(path).frames >= length


def test_in_another_thread(tmp_path):
    """Where no handler may be set."""
    args = tmp_path / "a.wav", [torch.rand(300)], 16000
    thread = threading.Thread(target=audio.write_whole, args=args)
    thread.start()
    thread.join()
    assert sf.info(tmp_path / "a.wav").frames == 300


class InterruptedFile(io.BytesIO):
    """An open file in which Ctrl-C comes at one of the reads."""

    number = reads = 0

    def readinto(self, buffer):
        self.reads += 1
        if self.reads == self.number:
            signal.raise_signal(signal.SIGINT)
        return super().readinto(buffer)

    def read(self, size=-1):
        self.reads += 1
        if self.reads == self.number:
            signal.raise_signal(signal.SIGINT)
        return super().read(size)


def read_all(file) -> int:
    return sum(len(block) for block in read_blocks(file, 16000))


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_ctrl_c_while_libsndfile_reads(tmp_path, suffix):
    """At any call from libsndfile: heard, never taken for the file's end."""
    path = tmp_path / f"a{suffix}"
    audio.write_whole(path, [torch.rand(300000) - 0.5], 16000)
    file = InterruptedFile(path.read_bytes())
    assert read_all(file) == 300000 and file.reads > 3
    for number in range(1, file.reads + 1, max(1, file.reads // 20)):
        interrupted = InterruptedFile(path.read_bytes())
        interrupted.number = number
        with pytest.raises(KeyboardInterrupt):
            read_all(interrupted)
