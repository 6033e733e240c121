"""Make examples/noisy.wav: a synthetic voice in synthetic noise.

The speech comes from flite (http://www.festvox.org/flite, Debian package
`flite`), the noise from a seeded generator, so nothing in the clip was ever
recorded. With flite installed, this makes the clip of the repository:

    python examples/make_noisy.py

Another voice or sentence: give a 16 kHz mono file with --speech.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16000
TEXT = (
    "The kettle in the kitchen is louder than I remember. "
    "Please tell the driver that we will wait at the north gate, "
    "and that nine of us are coming."
)


def main() -> None:
    """Read or speak the sentence, add the noise, write the mixture."""
    args = parse_arguments()
    if args.speech is None:
        speech = speak(TEXT)
    else:
        speech = read_speech(args.speech)
    speech = np.pad(speech, (SAMPLE_RATE // 2, SAMPLE_RATE // 2))
    noise = make_noise(speech.size, np.random.default_rng(args.seed))

    gain = active_rms(speech) / rms(noise) * 10 ** (-args.snr_db / 20)
    noisy = speech + gain * noise
    noisy *= 10 ** (-3 / 20) / np.abs(noisy).max()  # peak at -3 dB
    soundfile.write(args.output, noisy, SAMPLE_RATE, subtype="PCM_16")
    print(f"{args.output}: {noisy.size / SAMPLE_RATE:.2f} s")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).parent
    parser.add_argument("--speech", type=Path, help="wave instead of flite's")
    parser.add_argument("--output", type=Path, default=here / "noisy.wav")
    parser.add_argument("--snr_db", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def speak(text: str) -> np.ndarray:
    """Speak a text with flite's voice slt.

    Arguments
    ---------
    text : str
        English sentences.

    Returns
    -------
    np.ndarray
        Speech (T,), float64, at 16 kHz.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(
            ["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True
        )
        return read_speech(path)


def read_speech(path: Path) -> np.ndarray:
    """Read a 16 kHz mono file; refuse any other.

    Arguments
    ---------
    path : Path
        The file.

    Returns
    -------
    np.ndarray
        Speech (T,), float64.
    """
    speech, sample_rate = soundfile.read(path)
    if speech.ndim != 1 or sample_rate != SAMPLE_RATE:
        raise ValueError(
            f"{path} has shape {speech.shape} at {sample_rate} Hz; "
            f"give a mono file at {SAMPLE_RATE} Hz."
        )
    return speech


def make_noise(length: int, rng: np.random.Generator) -> np.ndarray:
    """Broadband rumble that swells and fades, and the hum of a machine.

    Arguments
    ---------
    length : int
        Number of samples.
    rng : np.random.Generator
        Where all randomness comes from.

    Returns
    -------
    np.ndarray
        Noise (T,), float64, of no particular level.
    """
    time_s = np.arange(length) / SAMPLE_RATE
    freqs = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    slope = 1 / np.maximum(freqs, 50.0)  # -6 dB an octave, as traffic has
    white = rng.standard_normal(length)
    rumble = np.fft.irfft(np.fft.rfft(white) * slope, length)

    swell = np.ones(length)
    for rate_hz in (0.3, 0.8, 2.1):
        phase = rng.uniform(0, 2 * np.pi)
        swell += 0.25 * np.sin(2 * np.pi * rate_hz * time_s + phase)

    hum = np.zeros(length)
    for k in range(1, 8):
        phase = rng.uniform(0, 2 * np.pi)
        hum += np.sin(2 * np.pi * 50 * k * time_s + phase) / k
    return swell * rumble / rms(rumble) + 0.4 * hum / rms(hum)


def rms(signal: np.ndarray) -> float:
    """Root mean square of a signal."""
    return float(np.sqrt(np.mean(signal**2)))


def active_rms(speech: np.ndarray) -> float:
    """Root mean square where somebody speaks.

    Arguments
    ---------
    speech : np.ndarray
        Speech (T,) with pauses.

    Returns
    -------
    float
        Taken over the 20 ms frames within 40 dB of the loudest.
    """
    frame = SAMPLE_RATE // 50
    frames = speech[: speech.size // frame * frame].reshape(-1, frame)
    power = np.mean(frames**2, axis=1)
    return float(np.sqrt(np.mean(power[power > power.max() * 1e-4])))


if __name__ == "__main__":
    main()
