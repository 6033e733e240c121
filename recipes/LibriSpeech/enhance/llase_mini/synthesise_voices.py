#!/usr/bin/env python3
"""Speech of voices that nobody has, for the wide runs of the recipe.

To run this script, do the following (pip install kokoro-onnx):
> python synthesise_voices.py --text sentences.txt --hours 2 \
>     --model kokoro-v1.0.onnx --voices voices-v1.0.bin \
>     --output DATA/synthetic/clean/train

Kokoro-82M (Apache-2.0) reads sentences of a text. Each has a voice of its
own: up to three of Kokoro's voices of one sex are mixed, drawn out a little
from their mean, and spoken in the manner of an English one. Such speech has
no background, and there is no end of it; a second takes a core half a second.
The script goes on where it was broken off.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from speechbrain_llase.processing.framing import SAMPLE_RATE

LETTERS = 35, 190  # of a sentence
PLAIN = re.compile(r"[A-Za-z0-9 ,.;:!?'\"()-]+")
SPEEDS = 0.82, 1.18
MOST_MIXED = 3
WIDER = 0.9, 1.15  # how far from the mean of all, times the mixture's distance
TIMBRE = 128  # the first entries of a style; the others are the manner
OWN_MANNER = 0.25
EDGES_S = 0.15, 0.2  # of silence that stays
LOUD = 0.01  # of the peak, where speech begins


def main() -> None:
    """Write utterances until there are enough."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--text", type=Path, required=True, help="English, UTF-8")
    add("--model", required=True, help="Kokoro-82M as ONNX")
    add("--voices", required=True, help="its voices, an archive of NumPy")
    add("--output", type=Path, required=True, help="a folder")
    add("--hours", type=float, default=2.0, help="of speech (default: 2)")
    add("--seed", type=int, default=0)
    args = parser.parse_args()
    sentences = read_sentences(args.text)
    from kokoro_onnx import Kokoro

    speaker = Kokoro(args.model, args.voices)
    voices = {name: speaker.voices[name] for name in speaker.voices}
    args.output.mkdir(parents=True, exist_ok=True)
    seconds, number = 0.0, 0
    order = np.random.default_rng(args.seed).permutation(len(sentences))
    with tqdm(total=round(3600 * args.hours), unit=" s", disable=None) as bar:
        while seconds < 3600 * args.hours:
            path = args.output / f"kokoro_{number:06d}.flac"
            if not path.exists():
                rng = np.random.default_rng([args.seed, number])
                sentence = sentences[order[number % len(order)]]
                wave = say(speaker, voices, sentence, rng)
                beside = path.with_suffix(".part")
                soundfile.write(beside, wave, SAMPLE_RATE, format="FLAC")
                beside.replace(path)
            found = soundfile.info(path).duration
            seconds, number = seconds + found, number + 1
            bar.update(round(seconds) - bar.n)


def read_sentences(path: Path) -> list[str]:
    """Find sentences of ordinary length and letters in a text, each once."""
    words = " ".join(path.read_text("utf-8").split())
    found = [
        sentence
        for sentence in re.split(r"(?<=[.!?])\s+", words)
        if LETTERS[0] <= len(sentence) <= LETTERS[1]
        and PLAIN.fullmatch(sentence)
    ]
    if not found:
        raise ValueError(
            f"{path} holds no English sentence of {LETTERS[0]} to "
            f"{LETTERS[1]} letters; give a text with some."
        )
    return sorted(set(found))


def say(
    speaker, voices: dict[str, np.ndarray], sentence: str, rng
) -> np.ndarray:
    """Read a sentence in a new voice: float32 (T,) at 16 kHz."""
    voice, speed = mix_voices(voices, rng), float(rng.uniform(*SPEEDS))
    wave, rate = speaker.create(sentence, voice, speed, "en-us", trim=False)
    wave = soxr.resample(wave, rate, SAMPLE_RATE, "VHQ")
    loud = np.flatnonzero(np.abs(wave) > LOUD * np.abs(wave).max())
    before, after = (round(edge * SAMPLE_RATE) for edge in EDGES_S)
    wave = wave[max(0, loud[0] - before) : loud[-1] + after]
    return wave / max(1.0, 1.02 * np.abs(wave).max())


def mix_voices(voices: dict[str, np.ndarray], rng) -> np.ndarray:
    """Mix a voice of those of one sex: styles (lengths, 1, 256).

    Names are Kokoro's: a letter of the language, "f" or "m", "_", a name.
    """
    sex = "fm"[rng.integers(2)]
    group = sorted(name for name in voices if name[1] == sex)
    count = rng.integers(1, min(MOST_MIXED, len(group)) + 1)
    chosen = rng.choice(group, count, replace=False)
    shares = rng.dirichlet(np.full(len(chosen), 0.8))
    mixed = sum(voices[k] * w for k, w in zip(chosen, shares, strict=True))
    mean = sum(voices[name] for name in group) / len(group)
    mixed = mean + (mixed - mean) * rng.uniform(*WIDER)
    english = [name for name in group if name[0] in "ab"]
    manner = voices[english[rng.integers(len(english))]]
    mixed[..., TIMBRE:] *= OWN_MANNER
    mixed[..., TIMBRE:] += (1 - OWN_MANNER) * manner[..., TIMBRE:]
    return mixed.astype(np.float32)


if __name__ == "__main__":
    main()
