"""The clips of the benchmarks: mixtures, also in rooms, and real clips."""

import importlib.util
import io
import json
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile

from speechbrain_llase.augment.mixture import mix
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.metrics import DNSMOS
from speechbrain_llase.processing.framing import SAMPLE_RATE

RECIPE = "recipes/LibriSpeech/enhance/llase_mini/evaluate.py"
PUBLISHED = {"selm": "SELM", "llase_g1": "LLaSE-G1"}  # folders beside noisy
DEVELOPMENT_SEED = 424242
DEVELOPMENT_S = 6  # longest mixture of the development set
DEVELOPMENT_ROOMS_SEED = 4242
LEAST_OVRL = 3.0  # DNSMOS of the speech in the development set's rooms
A_SPEAKER = 3  # utterances of each that is not LibriSpeech's
QUIET = 1e-5  # RMS under which a noise counts as silent


def read_sets(data: Path, names: list[str]) -> dict[str, list[Clip]]:
    """Make the sets that are named out of a data folder.

    Arguments
    ---------
    data : Path
        With clean/valid, noise/valid, dns and more/; see the recipe.
    names : list of str
        Of "mixtures", "rooms", "dns", "development" and
        "development_rooms".

    Returns
    -------
    sets : dict
        Name to clips with the waves "noisy" and "clean", rounded to 16 bits
        as files are, and those of published systems.
    """
    makers = {
        "mixtures": mixtures,
        "rooms": rooms,
        "dns": dns,
        "development": development,
        "development_rooms": development_rooms,
    }
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


def development(data: Path, number: int = 24) -> list[Clip]:
    """Mixtures at -5 to 20 dB of what the recipe's development.json names."""
    names, speakers = held_out(), defaultdict(list)
    librispeech, rest = by_corpus(names["clean"])
    for name in rest:
        speakers[tuple(Path(name).stem.split("_")[:2])].append(name)
    others = [x for one in sorted(speakers) for x in speakers[one][:A_SPEAKER]]
    rng, clips = np.random.default_rng(DEVELOPMENT_SEED), []
    for index in range(number):
        name = librispeech[index % len(librispeech)]
        if index % 2:
            name = others[rng.integers(len(others))]
        speech = cut(read(data / name), DEVELOPMENT_S * SAMPLE_RATE, rng)
        noise = read(data / names["noise"][rng.integers(len(names["noise"]))])
        if len(noise) < len(speech):
            noise = np.resize(noise, len(speech))
        else:
            noise = cut(noise, len(speech), rng)
        if np.sqrt((noise**2).mean()) < QUIET:
            noise = noise + 1e-4 * rng.standard_normal(len(noise)).astype("f4")
        mixture = mix(speech, noise, float(rng.uniform(-5, 20)), -25.0)
        waves = {"noisy": mixture.noisy, "clean": mixture.clean}
        gain = 0.5 / max(float(wave.abs().max()) for wave in waves.values())
        waves = {row: wave.numpy() * gain for row, wave in waves.items()}
        clips.append(as_files(f"{index:02d}", waves))
    return clips


def held_out() -> dict[str, list[str]]:
    """What development.json names: lists "clean", "noise" and "rir"."""
    file = (Path(__file__).parents[1] / RECIPE).with_name("development.json")
    return json.loads(file.read_text("utf-8"))


def by_corpus(names: list[str]) -> tuple[list[str], list[str]]:
    """Part names of speech: LibriSpeech's, and the rest."""
    librispeech = [x for x in names if x.startswith("clean/")]
    return librispeech, [x for x in names if x not in librispeech]


def development_rooms(data: Path, number: int = 16) -> list[Clip]:
    """As `rooms`, of what development.json names; each room in its turn.

    Speech of which DNSMOS thinks little is left out: it has noise or a room
    of its own, and is the target here.
    """
    dnsmos, recipe, names = DNSMOS(1), load_recipe(), held_out()
    rng, clips = np.random.default_rng(DEVELOPMENT_ROOMS_SEED), []
    corpora = by_corpus(names["clean"])
    while len(clips) < number:
        index = len(clips)
        corpus = corpora[index % 2]
        dry = read(data / corpus[rng.integers(len(corpus))])
        dry = cut(dry, DEVELOPMENT_S * SAMPLE_RATE, rng)
        if dnsmos(dry)["OVRL"] < LEAST_OVRL:
            continue
        room = read(data / names["rir"][index % len(names["rir"])])
        softer_db = rng.uniform(-9, 0)
        noise = read(data / names["noise"][rng.integers(len(names["noise"]))])
        if np.sqrt((np.resize(noise, len(dry)) ** 2).mean()) < QUIET:
            continue
        snr_db = rng.uniform(0, 20)
        waves = recipe.in_room(dry, room, softer_db, noise, snr_db)
        clips.append(as_files(f"{index:02d}", waves))
    return clips


def cut(wave: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut `size` samples, or all where there are fewer, at a random place."""
    start = rng.integers(max(1, len(wave) - size + 1))
    return wave[start : start + size]


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
