#!/usr/bin/env python3
"""Clips to score the tasks of LLaSE-G1 on, and what a plain filter makes of them.

To run this script, do the following:
> python make_task_clips.py --clean TEST_SPEECH --noise TEST_NOISE CLIPS

TEST_SPEECH has a folder for each speaker, with two utterances or more. Of
`--count` utterances CLIPS gets, by task, `noisy` and `clean` and, where
something is heard beside, `reference`. `far` is echo while nobody else speaks,
of which ERLE says something; `aec/nlms` and `far/nlms` are what is left of the
echo behind an adaptive filter (normalised least mean squares of 1,024 taps, its
delay given), which a network should beat. `codec` is `clean` through the
tokens of llase_mini's codec: the best that a model of its tokens can say.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import torch

from speechbrain_llase.augment.task_mixer import TaskMixer
from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import list_folder
from speechbrain_llase.dataio.recordings import read_speech
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.lobes.mel_codec import load_codec
from speechbrain_llase.processing.delay import find_delay
from speechbrain_llase.processing.framing import SAMPLE_RATE

SEED = 2026
TAPS, STEP = 1024, 0.5  # of the adaptive filter
MIXTURES = {
    "snr_db": (20.0, 40.0),
    "synthetic_prob": 0.0,
    "other_db": (-5.0, 5.0),
    "echo_db": (-10.0, 10.0),
}


def main(arguments: list[str] | None = None) -> int:
    """Mix the clips of every task; 0, as a script returns."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--clean", type=Path, required=True, help="speech, mono, 16 kHz")
    add("--noise", type=Path, required=True, help="noise, mono, 16 kHz")
    add("--count", type=int, default=20, help="clips of a task")
    add("--longest-s", type=float, default=8.0, help="seconds of a clip")
    add("output", type=Path, help="folder of the clips")
    args = parser.parse_args(arguments)
    speech, noise = (
        check_entries(list_folder(x), SAMPLE_RATE, most_bad=0.0)
        for x in (args.clean, args.noise)
    )
    noises = [entry["clean_wav"] for entry in noise.values()]
    names = np.random.default_rng(SEED).permutation(sorted(speech))
    codec = load_codec(str(resolve_source("llase_mini")))
    for task in ("plc", "aec", "tse", "ss"):
        room = {"rir_prob": 0.5 if task == "aec" else 0.0}
        mixer = TaskMixer(noises, [], speech, task, **MIXTURES, **room)
        for at, name in enumerate(names[: args.count]):
            clean = read_speech(speech[name]["clean_wav"], SAMPLE_RATE)[1]
            clean = clean[: round(args.longest_s * SAMPLE_RATE)]
            for folder, wave in draw(mixer, clean, name, at).items():
                path = args.output / folder.format(f"{at:02}")
                write(path, wave)
                if path.parent.name == "clean":
                    said = codec.resynthesise(torch.from_numpy(wave)[None])[0]
                    write(path.parents[1] / "codec" / path.name, said.numpy())
    return 0


def draw(
    mixer: TaskMixer, clean: torch.Tensor, name: str, at: int
) -> dict[str, np.ndarray]:
    """Mix an utterance (T,): what is written, by its place.

    Of a separation, a mixture is drawn whose other voice is known.
    """
    (task,), rng = mixer.tasks, np.random.default_rng([SEED, at])
    mixture = mixer(clean, rng, name)
    while task == "ss" and mixture.reference is None:
        mixture = mixer(clean, rng, name)
    noisy, wanted = mixture.noisy.numpy(), mixture.clean.numpy()
    made = {f"{task}/noisy/{{}}.wav": noisy}
    if task == "ss":
        other = mixture.reference.numpy()
        both = {1: other, 2: wanted}
        return made | {f"ss/clean/{{}}_{k}.wav": x for k, x in both.items()}
    made[f"{task}/clean/{{}}.wav"] = wanted
    if mixture.reference is not None:
        made[f"{task}/reference/{{}}.wav"] = mixture.reference.numpy()
    if task == "aec":
        played = mixture.reference.numpy()
        far = noisy - mixture.reverberant.numpy()
        made["far/noisy/{}.wav"], made["far/reference/{}.wav"] = far, played
        made["far/nlms/{}.wav"] = cancel(far, played)
        made["aec/nlms/{}.wav"] = cancel(noisy, played)
    return made


def cancel(microphone: np.ndarray, loopback: np.ndarray) -> np.ndarray:
    """Take what a filter can foretell of a loopback (T,) out of (T,)."""
    given = map(torch.from_numpy, (microphone, loopback))
    late = max((find_delay(*given) or 0) - TAPS // 16, 0)
    heard = np.pad(loopback, (TAPS - 1 + late, 0))[: microphone.size + TAPS - 1]
    rows = np.lib.stride_tricks.sliding_window_view(heard, TAPS)
    powers = np.square(rows).sum(1) + 1e-3
    taps, left = np.zeros(TAPS, np.float32), np.empty_like(microphone)
    for k, row in enumerate(rows):
        left[k] = microphone[k] - taps @ row
        taps += STEP * left[k] / powers[k] * row
    return left


def write(path: Path, wave: np.ndarray) -> None:
    """Write one file (T,), which stays within full scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.clip(-1, 1), SAMPLE_RATE)


if __name__ == "__main__":
    raise SystemExit(main())
