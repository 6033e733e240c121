"""The clips of benchmarks/peers.py: mixtures, mixtures in rooms, real clips."""

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.processing.framing import SAMPLE_RATE

RECIPE = "recipes/LibriSpeech/enhance/llase_mini/evaluate.py"
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
    clips = load_recipe().mixtures(
        data / "clean" / "valid", data / "noise" / "valid", number
    )
    return [as_files(clip.name, clip.waves) for clip in clips]


def load_recipe() -> ModuleType:
    """Import the recipe's evaluate.py."""
    file = Path(__file__).parents[1] / RECIPE
    spec = importlib.util.spec_from_file_location("evaluate", file)
    evaluate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(evaluate)
    return evaluate


def rooms(data: Path, number: int = 40) -> list[Clip]:
    """Those in recorded rooms, of the same file; the targets are dry."""
    clips = load_recipe().rooms(data, number)
    return [as_files(clip.name, clip.waves) for clip in clips]


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
