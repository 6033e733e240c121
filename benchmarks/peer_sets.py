"""The clips of benchmarks/peers.py: mixtures, mixtures in rooms, real clips."""

import importlib.util
import io
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import fftconvolve

from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.processing.framing import SAMPLE_RATE

RECIPE = "recipes/LibriSpeech/enhance/llase_mini/evaluate.py"
ROOMS_SEED = 7
ROOM_S = 8  # longest mixture in a room
DIRECT = 40  # samples after the peak of a response that are direct sound
PUBLISHED = {"selm": "SELM", "llase_g1": "LLaSE-G1"}  # folders beside noisy


def read_sets(data: Path, names: list[str]) -> dict[str, list[Clip]]:
    """Make the sets that are named out of a data folder.

    Arguments
    ---------
    data : Path
        With clean/valid, noise/valid, dns and more/; see the recipe.
    names : list of str
        Of "mixtures", "rooms" and "dns".

    Returns
    -------
    sets : dict
        Name to clips with the waves "noisy" and "clean", rounded to 16 bits
        as files are, and those of published systems.
    """
    makers = {"mixtures": mixtures, "rooms": rooms, "dns": dns}
    return {name: makers[name](data) for name in names}


def mixtures(data: Path, number: int = 40) -> list[Clip]:
    """The seeded mixtures of the recipe's evaluate.py."""
    file = Path(__file__).parents[1] / RECIPE
    spec = importlib.util.spec_from_file_location("evaluate", file)
    evaluate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(evaluate)
    clips = evaluate.mixtures(
        data / "clean" / "valid", data / "noise" / "valid", number
    )
    return [as_files(clip.name, clip.waves) for clip in clips]


def rooms(data: Path, number: int = 40) -> list[Clip]:
    """Seeded mixtures in recorded rooms, 0 to 20 dB; the targets are dry.

    Speech of two sources, a recorded room whose reverberation is 0 to 9 dB
    softer than recorded (near talkers), a recorded noise; the speech in the
    room is as loud as the dry one, and in time with it.
    """

    def files(*folders):
        return [f for x in folders for f in sorted((data / x).glob("*.flac"))]

    rng = np.random.default_rng(ROOMS_SEED)
    speech = files("clean/valid", "more/clean/valid")
    responses = files("more/rir/valid")
    noises = files("more/noise/valid")
    clips = []
    for index in range(number):
        dry = read(speech[rng.integers(len(speech))])[: ROOM_S * SAMPLE_RATE]
        room = read(responses[rng.integers(len(responses))])
        direct = int(np.abs(room).argmax())
        softer = np.ones(len(room), np.float32)
        softer[direct + DIRECT :] = 10 ** (rng.uniform(-9, 0) / 20)
        wet = fftconvolve(dry, room * softer)[direct : direct + len(dry)]
        wet *= np.sqrt((dry**2).mean() / ((wet**2).mean() + 1e-12))
        noise = np.resize(read(noises[rng.integers(len(noises))]), len(dry))
        snr_db = rng.uniform(0, 20)
        ratio = (wet**2).mean() / ((noise**2).mean() + 1e-12)
        noise *= np.sqrt(ratio) / 10 ** (snr_db / 20)
        noisy = wet + noise
        gain = 0.5 / max(np.abs(noisy).max(), np.abs(dry).max())
        waves = {"noisy": noisy * gain, "clean": dry * gain}
        clips.append(as_files(f"{index:02d}", waves))
    return clips


def dns(data: Path) -> list[Clip]:
    """Real clips, with what two systems' authors published of them."""
    clips = []
    for file in sorted((data / "dns" / "noisy").glob("*.flac")):
        waves = {
            row: read(data / "dns" / row / file.name)
            for row in ("noisy", "clean")
        }
        for folder, name in PUBLISHED.items():
            published = data / "dns" / folder / file.name
            if published.is_file():
                waves[name] = read(published)
        clips.append(Clip(file.stem, waves))
    return clips


def read(file: Path) -> np.ndarray:
    """Read (T,) of one channel; of several, the first."""
    wave, rate = soundfile.read(file, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE:
        raise ValueError(f"{file} has {rate} Hz; convert it to {SAMPLE_RATE}.")
    return wave[:, 0]


def as_files(name: str, waves) -> Clip:
    """Round waves to 16 bits, as WAV files hold them."""
    return Clip(name, {row: to_file(wave) for row, wave in waves.items()})


def to_file(wave: np.ndarray) -> np.ndarray:
    """Write (T,) as 16 bits and read it; what exceeds full scale is cut."""
    file = io.BytesIO()
    wave = np.clip(wave, -1, 1)
    soundfile.write(file, wave, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]
