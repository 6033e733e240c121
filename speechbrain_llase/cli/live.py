"""`speechbrain-llase live`: from a microphone to a loudspeaker, enhanced."""

import argparse
import math
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from speechbrain_llase.cli.common import (
    add_command,
    add_model_options,
    model_options,
    one_line,
    refuse,
    say,
)
from speechbrain_llase.inference.loading import load_enhancer

if TYPE_CHECKING:
    import numpy as np

    from speechbrain_llase.inference.streaming import EnhancerStream

HELP = """\
Enhance what a microphone hears and play it, until Ctrl-C.

The sound comes late by the window and the context behind it; shorter ones
sound worse. Wear headphones: a microphone that hears the loudspeaker howls.
"""
EPILOG = """\
examples:
  speechbrain-llase live --list-devices
      numbers and names of what can record and play
  speechbrain-llase live --input-device USB --output-device 3
      a device by a part of its name, or by its number
  speechbrain-llase live --window 0.2 --context 0.3
      half a second late

It needs the package sounddevice (pip install 'speechbrain_llase[live]').
exit codes: 0 ended by Ctrl-C, 2 nothing was begun (usage, no such device, or
the model could not be loaded)
"""
MARGIN_S = 0.1  # by which a block may be late before a gap is heard
BEHIND_S = 2.0  # of blocks that wait, before it is said
POLL_S = 0.1  # between looks for Ctrl-C
SHOWN_S = 0.1  # between two views of the meters
FALL = 0.7  # of a peak, from view to view: results come a window at a time
FLOOR_DB = -60.0  # where a meter begins
BARS = 20  # characters of a full meter
NO_PACKAGE = (
    "live needs the package sounddevice: pip install 'speechbrain_llase[live]'"
)
NO_LIBRARY = (
    "sounddevice finds no PortAudio: install it (apt install libportaudio2, "
    "dnf install portaudio, brew install portaudio)"
)


def add_parser(subparsers) -> None:
    """Describe the sub-command `live`."""
    about = "enhance a microphone while it records"
    parser = add_command(subparsers, "live", run, about, HELP, EPILOG)
    add = parser.add_argument
    add("--list-devices", action="store_true", help="list them and end")
    for side in ("input", "output"):
        add(
            f"--{side}-device",
            type=device,
            metavar="N|NAME",
            help="its number or a part of its name (default: the system's)",
        )
    for name, meaning in (
        ("window", "seconds enhanced at a time"),
        ("context", "seconds heard on both sides of them"),
    ):
        add(
            f"--{name}",
            type=piece_size,
            default=0.5,
            metavar="S",
            help=f"{meaning} (default: %(default)g)",
        )
    add_model_options(parser)


def device(text: str) -> int | str:
    """Read the number of a sound device, or a part of its name."""
    return int(text) if text.isdecimal() else text


def piece_size(text: str) -> float:
    """Read a number of seconds, up to a minute."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.02 <= number <= 60:
        raise argparse.ArgumentTypeError(f"{text!r} is not in 0.02 to 60")
    return number


def run(args: argparse.Namespace) -> int:
    """Run `speechbrain-llase live`; return the exit code."""
    try:
        audio = load_sounddevice()
        if args.list_devices:
            print(audio.query_devices())
            return 0
        say(f"loading the model {args.source}")
        enhancer = load_enhancer(**model_options(args))
        sizes = {"window_s": args.window, "context_s": args.context}
        sizes["crossfade_s"] = min(0.02, args.window)
        stream = enhancer.stream(**sizes)
    except (OSError, RuntimeError, KeyError, ValueError) as err:
        return refuse(one_line(err))
    rate = enhancer.hparams.sample_rate
    devices = args.input_device, args.output_device
    try:
        return go_on(audio, stream, rate, devices)
    except (audio.PortAudioError, ValueError) as err:
        return refuse(
            f"the sound devices cannot be used ({one_line(err)}): choose "
            "others by --input-device and --output-device; --list-devices "
            "names them"
        )


def load_sounddevice() -> Any:
    """Import the package; a ValueError says how to get it."""
    try:
        import sounddevice
    except ImportError as err:
        raise ValueError(NO_PACKAGE) from err
    except OSError as err:
        raise ValueError(NO_LIBRARY) from err
    return sounddevice


def go_on(
    audio: Any, stream: "EnhancerStream", rate: int, devices: tuple
) -> int:
    """Open the devices and enhance until Ctrl-C; return the exit code."""
    bridge = SoundBridge(round(MARGIN_S * rate))
    opened = audio.Stream(
        samplerate=rate,
        channels=1,
        dtype="float32",
        device=devices,
        callback=bridge.exchange,
    )
    try:
        with opened:
            card_s = sum(opened.latency)
            whole = stream.latency / rate + MARGIN_S + card_s
            say(
                f"latency {whole:.2f} s: {stream.latency / rate:.2f} s of "
                f"windows, {MARGIN_S:.2f} s of margin, {card_s:.2f} s of the "
                "devices; Ctrl-C ends"
            )
            enhance_heard(stream, bridge, rate)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            print(file=sys.stderr)
    say(
        f"{bridge.arrived / rate:.1f} s heard, {bridge.gaps} gaps in what was "
        "played"
    )
    return 0


def enhance_heard(
    stream: "EnhancerStream", bridge: "SoundBridge", rate: int
) -> None:
    """Take what was heard, enhance it, give it to be played; for ever."""
    import torch

    meters = Meters()
    while True:
        heard = bridge.hear()
        if heard is None:
            continue
        enhanced = stream.push(torch.from_numpy(heard)).cpu().numpy()
        bridge.play(enhanced)
        if len(heard) > BEHIND_S * rate:
            say("this machine falls behind: give a longer --window")
        meters.show(heard, enhanced)


class SoundBridge:
    """Between the sound card's thread and the one that enhances.

    Silence is played until the first samples come, and behind them a margin,
    so that the next may be late by that much. What is missing later is a gap.
    """

    def __init__(self, margin: int):
        self.margin = margin  # samples of silence in front of the first
        self.heard = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.ready = None  # (T,), to be played; None before the first
        self.gaps = self.arrived = 0

    def exchange(self, heard, played, frames, moment, status) -> None:
        """Take a block (frames, 1) and fill another; the card calls it."""
        self.heard.put(heard[:, 0].copy())
        played[:] = 0
        with self.lock:
            if self.ready is None:
                return
            some, self.ready = self.ready[:frames], self.ready[frames:]
        played[: len(some), 0] = some
        self.gaps += len(some) < frames

    def hear(self) -> "np.ndarray | None":
        """Give all blocks that wait, joined (T,); None if none comes soon."""
        import numpy as np

        try:
            blocks = [self.heard.get(timeout=POLL_S)]
        except queue.Empty:
            return None
        while not self.heard.empty():
            blocks.append(self.heard.get())
        joined = np.concatenate(blocks)
        self.arrived += len(joined)
        return joined

    def play(self, enhanced: "np.ndarray") -> None:
        """Append samples (T,) to what is to be played."""
        import numpy as np

        if not len(enhanced):
            return
        with self.lock:
            if self.ready is None:
                self.ready = np.zeros(self.margin, np.float32)
            self.ready = np.concatenate([self.ready, enhanced])


class Meters:
    """Two bars in one line of the terminal; nothing where there is none."""

    def __init__(self):
        self.peaks = [0.0, 0.0]  # of input and output
        self.shown = 0.0
        self.is_on = sys.stderr.isatty()

    def show(self, *waves: "np.ndarray") -> None:
        """Follow the peaks of both waves (T,), and draw from time to time."""
        for side, wave in enumerate(waves):
            peak = float(abs(wave).max()) if len(wave) else 0.0
            self.peaks[side] = max(self.peaks[side], peak)
        if not self.is_on or time.monotonic() < self.shown + SHOWN_S:
            return
        line = "   ".join(
            map("{} {}".format, ("in", "out"), map(bar, self.peaks))
        )
        print(f"\r{line}", end="", file=sys.stderr, flush=True)
        self.peaks = [FALL * peak for peak in self.peaks]
        self.shown = time.monotonic()


def bar(peak: float) -> str:
    """Draw a peak of full scale 1.0 as a bar, and say it in dB.

    Example
    -------
    >>> bar(0.1)
    '#############.......  -20 dB'
    """
    level = max(FLOOR_DB, 20 * math.log10(max(peak, 1e-6)))
    full = min(BARS, round(BARS * (1 - level / FLOOR_DB)))
    return f"{'#' * full:.<{BARS}} {level:>4.0f} dB"
