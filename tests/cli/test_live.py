"""`speechbrain-llase live`, with a stand-in for sounddevice and the model."""

import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from speechbrain_llase.cli import live, parser

RATE, BLOCK = 16000, 160
LATE = 800  # samples that the stand-in for a stream holds back


class PortAudioError(Exception):
    """The stand-in for sounddevice's own."""


class SoundCard:
    """A stand-in for sounddevice: it plays a wave in and keeps what comes out.

    A block is given when the one before has been taken; after the last, the
    process hears a Ctrl-C.
    """

    PortAudioError = PortAudioError

    def __init__(self, wave):
        self.wave, self.played, self.opened = wave, [], {}

    def query_devices(self):
        return "  0 Microphone\n* 1 Headphones"

    def Stream(self, **options):
        if options["device"][0] == "broken":
            raise PortAudioError(
                "Invalid number of channels [PaErrorCode -9998]"
            )
        self.opened = options
        self.latency = (0.01, 0.02)
        return self

    def __enter__(self):
        threading.Thread(target=self.turn, daemon=True).start()

    def __exit__(self, *error):
        self.is_closed = True

    def turn(self):
        exchange = self.opened["callback"]
        waiting = exchange.__self__.heard
        for block in self.wave.split(BLOCK):
            out = np.full((BLOCK, 1), 9.0, np.float32)
            exchange(block.numpy()[:, None], out, BLOCK, None, None)
            self.played.append(out[:, 0])
            while not waiting.empty():
                time.sleep(1e-3)
        os.kill(os.getpid(), signal.SIGINT)


class HeldBack:
    """A stand-in for a stream: what is pushed comes halved, and late."""

    latency = LATE

    def __init__(self):
        self.wave = torch.zeros(0)
        self.given = 0

    def push(self, wave):
        assert wave.dtype == torch.float32
        self.wave = torch.cat([self.wave, wave])
        upto = (len(self.wave) // LATE) * LATE
        some, self.given = self.wave[self.given : upto] / 2, upto
        return some


class Model:
    """A stand-in for the model."""

    hparams = SimpleNamespace(sample_rate=RATE)

    def stream(self, **sizes):
        self.sizes = sizes
        return HeldBack()


@pytest.fixture
def model(monkeypatch):
    """What is loaded; `loaded` says how."""
    model = Model()

    def load_enhancer(**options):
        model.loaded = options
        return model

    monkeypatch.setattr(live, "load_enhancer", load_enhancer)
    return model


@pytest.fixture
def card(monkeypatch):
    """A sound card that hears a second of noise."""
    rng = torch.Generator().manual_seed(0)
    card = SoundCard(torch.rand(RATE, generator=rng) * 0.8 + 0.1)
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    return card


def run(*words):
    """Run the command line as a caller."""
    return parser.main(["live", *words])


def test_what_is_heard_is_played_late_and_whole(card, model, capsys):
    before = signal.getsignal(signal.SIGINT)
    words = "--window 0.2 --context 0.1 --input-device usb --output-device 3"
    assert run(*words.split(), "--compute", "bfloat16") == 0
    assert model.sizes == {
        "window_s": 0.2,
        "context_s": 0.1,
        "crossfade_s": 0.02,
    }
    assert model.loaded["compute"] == "bfloat16"
    assert card.opened["device"] == ("usb", 3)
    assert card.opened["samplerate"] == RATE and card.is_closed
    played = np.concatenate(card.played)
    begin = int(np.flatnonzero(played)[0])  # silence, the margin, then sound
    assert begin >= LATE + live.MARGIN_S * RATE
    sound = played[begin:]
    sound = sound[sound != 0]  # without gaps, if the machine was busy
    assert len(sound) > RATE // 2
    assert np.array_equal(sound, card.wave[: len(sound)].numpy() / 2)
    said = capsys.readouterr().err
    assert "latency 0.18 s: 0.05 s of windows, 0.10 s of margin" in said
    assert "1.0 s heard" in said and "Traceback" not in said
    assert "\r" not in said  # no meters where nobody looks
    assert signal.getsignal(signal.SIGINT) is before


def test_gaps_are_silence_and_are_counted():
    bridge = live.SoundBridge(margin=2)
    heard, out = np.ones((4, 1), np.float32), np.ones((4, 1), np.float32)
    bridge.exchange(heard, out, 4, None, None)
    assert not out.any() and bridge.gaps == 0  # before the first: no gap
    bridge.play(np.zeros(0, np.float32))
    bridge.exchange(heard, out, 4, None, None)
    assert bridge.gaps == 0
    bridge.play(np.array([1, 2, 3], np.float32))
    bridge.exchange(heard, out, 4, None, None)
    assert out[:, 0].tolist() == [0, 0, 1, 2] and bridge.gaps == 0
    bridge.exchange(heard, out, 4, None, None)
    assert out[:, 0].tolist() == [3, 0, 0, 0] and bridge.gaps == 1
    assert len(bridge.hear()) == 16 and bridge.arrived == 16
    assert bridge.hear() is None


def test_devices_are_listed(card, capsys):
    assert run("--list-devices") == 0
    assert "* 1 Headphones" in capsys.readouterr().out


def test_a_device_that_cannot_be_used_is_one_line(card, model, capsys):
    assert run("--input-device", "broken") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "Invalid number of channels" in said[1]
    assert "--list-devices" in said[1]


@pytest.mark.parametrize(
    "error, remedy",
    [
        (ImportError("none"), "pip install 'speechbrain_llase[live]'"),
        (OSError("PortAudio library not found"), "apt install libportaudio2"),
    ],
)
def test_what_is_missing_is_said_with_a_remedy(
    monkeypatch, capsys, error, remedy
):
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "sounddevice":
                raise error

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    assert run("--list-devices") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert remedy in line


@pytest.mark.parametrize("words", ["--window 0", "--context x", "--window 99"])
def test_sizes_have_bounds(words):
    with pytest.raises(SystemExit, match="2"):
        run(*words.split())


def test_the_meters_fall(monkeypatch, capsys):
    monkeypatch.setattr(live, "SHOWN_S", 0)
    meters = live.Meters()
    meters.is_on = True
    meters.show(np.array([0.5, -1.0]), np.zeros(0))
    meters.show(np.zeros(3), np.full(2, 0.1))
    first, second = capsys.readouterr().err.split("\r")[1:]
    assert first == f"in {'#' * 20}    0 dB   out {'.' * 20}  -60 dB"
    assert "-3 dB" in second and "-20 dB" in second
