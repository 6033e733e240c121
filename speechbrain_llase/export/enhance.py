"""Enhance a WAV file with exported networks: numpy and onnxruntime alone.

    python enhance.py noisy.wav enhanced.wav

The networks (`*.onnx`) and `settings.json` lie beside this file, which was
made by `speechbrain-llase export` and needs nothing else of that package.
"""

import argparse
import json
import sys
import time
import wave
from pathlib import Path

import numpy as np
import onnxruntime

LEAST_KEPT = 0.5  # of the energy that the mean of unlike channels would have


class ExportedModel:
    """Networks in a folder, run window by window.

    Arguments
    ---------
    folder : Path or str
        What `speechbrain-llase export` wrote.
    threads : int
        CPU threads; 0 leaves them to onnxruntime.
    """

    def __init__(self, folder: Path | str, threads: int = 0):
        folder = Path(folder)
        text = (folder / "settings.json").read_text("utf-8")
        self.settings = json.loads(text)
        self.sessions = {
            name: open_network(folder / f"{name}.onnx", threads)
            for name in self.settings["networks"]
        }

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """Enhance float (T,) at the model's rate: float32 (T,)."""
        noisy = noisy.astype(np.float32)
        peak = np.abs(noisy).max(initial=0)
        windows = place_windows(len(noisy), self.settings)
        if not peak or not windows:
            return np.zeros_like(noisy)
        heard = noisy / peak
        pieces = [self.enhance_window(heard[w["samples"]]) for w in windows]
        wav = join_windows(pieces, windows, self.settings)[: len(noisy)]
        wav = np.pad(wav, (0, len(noisy) - len(wav)))
        if self.settings["keeps_level"]:
            wav = wav * peak
        return wav * min(1, max(1, peak) / max(np.abs(wav).max(), 1e-12))

    def enhance_window(self, noisy: np.ndarray) -> np.ndarray:
        """Enhance the audio of a window (T,): float32 (320 N,)."""
        missing = max(0, self.settings["min_samples"] - len(noisy))
        noisy = np.pad(noisy, (0, missing))
        feats = self.run("frontend", noisy)
        wav = self.run("vocoder", self.run("token_lm", feats))
        if "refiner" not in self.sessions:
            return wav
        noisy = np.pad(noisy, (0, max(0, len(wav) - len(noisy))))[: len(wav)]
        return self.run("refiner", np.stack([wav, noisy]))

    def run(self, network: str, x: np.ndarray) -> np.ndarray:
        """Run one of the networks."""
        return self.sessions[network].run(None, {"x": x})[0]


def open_network(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a network, most of whose graph was laid ready when it was written."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_reuse = False  # to return memory early is faster here
    if path.stem != "refiner":  # whose convolutions this machine lays out
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])


def place_windows(num_samples: int, settings: dict) -> list[dict]:
    """Cut a file into windows: rows kept, rows of context, samples.

    None where it is shorter than what one row sees.
    """
    hop, least = settings["hop_length"], settings["min_samples"]
    if num_samples < least:
        return []
    rows = (num_samples - least) // hop + 1 + settings["zero_row"]
    windows = []
    for start in range(0, rows, settings["window"]):
        stop = min(start + settings["window"], rows)
        left = min(settings["context"], start)
        right = min(settings["context"], rows - stop)
        end = (stop + settings["context"]) * hop + settings["reach"]
        end = num_samples if stop == rows else min(end, num_samples)
        samples = slice((start - left) * hop, end)
        kept = slice(left * hop, (left + stop - start) * hop)
        windows.append({"kept": kept, "samples": samples, "right": right})
    return windows


def join_windows(
    pieces: list[np.ndarray], windows: list[dict], settings: dict
) -> np.ndarray:
    """Join the waves of windows, faded around their seams."""
    hop = settings["hop_length"]
    parts, leaving = [], np.zeros(0, np.float32)
    for k, (piece, window) in enumerate(zip(pieces, windows)):
        start, stop, half = window["kept"].start, window["kept"].stop, 0
        if k + 1 < len(windows):
            room = min(window["right"] * hop, windows[k + 1]["kept"].start)
            half = min(settings["crossfade"] // 2, room)
        lead = len(leaving) // 2
        if lead:
            fade = (np.arange(2 * lead, dtype=np.float32) + 0.5) / (2 * lead)
            arriving = piece[start - lead : start + lead]
            parts.append(leaving + fade * (arriving - leaving))
        parts.append(piece[start + lead : stop - half])
        leaving = piece[stop - half : stop + half]
    return np.concatenate(parts)


def read_wave(path: Path, rate: int) -> np.ndarray:
    """Read a file, its channels as one: float32 (T,)."""
    try:
        with wave.open(str(path)) as file:
            found, width = file.getframerate(), file.getsampwidth()
            channels, data = file.getnchannels(), file.readframes(1 << 31)
        if width != 2:
            raise wave.Error("not of 16 bits")
        samples = np.frombuffer(data, "<i2").reshape(-1, channels) / 32768
    except wave.Error as err:
        samples, found = read_other(path, err)
    if found != rate:
        raise ValueError(
            f"{path} has {found} Hz; the networks take {rate}. Convert it: "
            f"ffmpeg -i {path} -ar {rate} converted.wav"
        )
    return mix_channels(samples).astype(np.float32)


def mix_channels(samples: np.ndarray) -> np.ndarray:
    """Average channels (T, C); where they cancel, take the strongest: (T,)."""
    mean, energies = samples.mean(1), np.square(samples).sum(0)
    kept = np.square(mean).sum() * len(energies)  # of unlike ones: their mean
    if kept < LEAST_KEPT * energies.mean():
        return samples[:, energies.argmax()]
    return mean


def read_other(path: Path, reason: Exception) -> tuple[np.ndarray, int]:
    """Read what the wave module does not know, if soundfile is here."""
    try:
        import soundfile
    except ImportError:
        raise ValueError(
            f"{path} is no WAV file of 16 bits ({reason}); convert it, or "
            "install soundfile."
        ) from reason
    return soundfile.read(path, dtype="float32", always_2d=True)


def write_wave(path: Path, wav: np.ndarray, rate: int) -> None:
    """Write float32 (T,) in 16 bits, scaled to full scale where it is over."""
    wav = wav / max(1, np.abs(wav).max(initial=0))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(wav * 32767).astype("<i2").tobytes())


def enhance_from_command_line() -> int:
    """Enhance a file as the command line says; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("noisy", type=Path, help="a WAV file")
    parser.add_argument("enhanced", type=Path, help="the WAV file to write")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads")
    args = parser.parse_args()
    model = ExportedModel(Path(__file__).parent, args.threads)
    rate = model.settings["sample_rate"]
    try:
        noisy = read_wave(args.noisy, rate)
        start = time.perf_counter()
        write_wave(args.enhanced, model(noisy), rate)
    except (OSError, ValueError) as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    took, seconds = time.perf_counter() - start, len(noisy) / rate
    print(
        f"{seconds:.1f} s of audio in {took:.1f} s, real-time factor "
        f"{took / max(seconds, 1e-9):.3f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(enhance_from_command_line())
