"""Progress: figures, time left, and lines where there is no terminal."""

import io
import os
import sys

import pytest

from speechbrain_llase.bulk import progress as module
from speechbrain_llase.bulk.progress import Progress
from speechbrain_llase.bulk.units import Unit


class Clock:
    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def units():
    """Three files of 1, 1 and 8 MB."""
    return [
        Unit(f"in/{k}.wav", "out", f"{k}.wav", size)
        for k, size in enumerate([10**6, 10**6, 8 * 10**6])
    ]


def test_figures_follow_the_bytes(clock, units):
    with Progress(units) as progress:
        clock.now += 10
        progress.end(units[0], 30.0, False)
        assert progress.remarks() == [
            "30 s of audio",
            "3.0x real time",
            "01:30 left",
        ]
        progress.end(units[1], 0.0, True)
        progress.move(units[2], 16000 * 120, 16000 * 240)
        clock.now += 50
        assert progress.remarks() == [
            "150 s of audio",
            "2.5x real time",
            "1 failed",
            "00:40 left",
            "2.wav: 50 %",
        ]
        progress.end(units[2], 240.0, False)
        assert progress.remarks()[2:] == ["1 failed"]


def test_a_line_every_half_minute(clock, units, capsys):
    with Progress(units) as progress:
        for _ in range(62):
            clock.now += 1
            progress.move(units[2], 16000 * 120, 16000 * 240)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("0 of 3 files (40.0 %), 120 s of audio, 4.0x")
    assert lines[0].endswith("00:45 left, 2.wav: 50 %")


def test_a_terminal_sees_a_bar(clock, units, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(units) as progress:
        clock.now += 1
        progress.end(units[0], 30.0, True)
        progress.write("a warning")
    err = capsys.readouterr().err
    assert "1/3 files" in err and "1 failed" in err and "a warning" in err


def test_files_without_a_size(clock):
    unit = Unit("a.wav", "out", "b.wav")
    with Progress([unit]) as progress:
        progress.move(unit, 0, 0)
        assert progress.remarks()[0] == "0 s of audio"


class Terminal(io.StringIO):
    """A terminal's window."""

    def isatty(self):
        return True

    def fileno(self):
        return 2


@pytest.mark.parametrize("columns", [80, 100])
def test_the_bar_keeps_its_width(clock, units, monkeypatch, columns):
    """What is said beside it is shortened; the time left stays."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    size = os.terminal_size((columns, 25))
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: size)
    long = Unit(f"in/{'long' * 20}.wav", "out", "2.wav", 8 * 10**6)
    with Progress([*units[:2], long]) as progress:
        clock.now += 10
        progress.end(units[0], 30.0, True)
        progress.move(long, 16000 * 3000, 16000 * 6000)
        clock.now += 10
        progress.tell()
        progress.bar.refresh()
        shown = str(progress.bar)
    assert shown.index("|") + 17 == shown.rindex("|"), shown
    assert len(shown) < columns and shown.endswith("50 %]"), shown
    assert " left, longlong" in shown
