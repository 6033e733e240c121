#!/usr/bin/env python3
"""Measure an enhancer on real noisy clips and on seeded mixtures.

To run this script, do the following:
> python evaluate.py --source MODEL --dns DATA/dns \
>     --clean DATA/clean/valid --noise DATA/noise/valid --rooms DATA \
>     --output results.json

MODEL is a folder with a model or the name of a packaged one. Rows are the
noisy input, the enhanced wave, the clean original and, with `--codec FOLDER`,
the clean original resynthesised by the codec of that folder (the ceiling).
Columns are those of `speechbrain-llase evaluate`; the speaker model is
Resemblyzer, the recogniser that of --asr, as there.

Mixture i is utterance i of `--clean` (sorted paths, repeated from the first),
whole and at its own level, plus one noise without a room: a recording of
`--noise` for even i, a synthesised noise for odd i. All of it is drawn from
`numpy.random.default_rng([2026, i])`, so everyone measures the same mixtures.

As many mixtures in rooms, of 8 s at most, are made of `clean/valid` and
`more/{clean,rir,noise}/valid` of `--rooms`: 0 to 20 dB, reverberation as
recorded or up to 9 dB softer, as for near talkers. The speech in the room is as
loud as the dry one, which is the target, and in time with it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import fftconvolve
from speechbrain.dataio import audio_io
from tqdm import tqdm

from speechbrain_llase.augment.mixture import mix
from speechbrain_llase.augment.synthetic_noise import (
    NOISE_KINDS,
    synthesise_noise,
)
from speechbrain_llase.dataio.recordings import load_folder
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.evaluation.report import describe_settings, write_text
from speechbrain_llase.evaluation.scoring import (
    MEASURES,
    Scores,
    Settings,
    score_clips,
)
from speechbrain_llase.evaluation.summary import summarise, table
from speechbrain_llase.processing.framing import SAMPLE_RATE

SEED = 2026
SNR_DB = (-5.0, 20.0)
ROOMS_SEED = 7
ROOM_S = 8  # longest mixture in a room
DIRECT = 40  # samples after the peak of a response that are direct sound
SIDE = ("level", "pesq", "estoi", "si-sdr")  # measures only made with --all


def main(arguments: list[str] | None = None) -> int:
    """Evaluate, print the tables and write the report.

    Arguments
    ---------
    arguments : list of str, optional
        Command line; None takes that of the process.

    Returns
    -------
    status : int
        0.
    """
    args = parse(arguments)
    sets = read_sets(args)
    systems = load_systems(args)
    settings = read_settings(args)
    report = {"settings": about(args, settings), "sets": {}}
    for name, clips in sets.items():
        made = run_systems(clips, systems)
        scores = list(
            tqdm(
                score_clips(made, settings, args.jobs),
                total=len(clips),
                desc=name,
                unit="clip",
            )
        )
        summary = summarise(scores)
        report["sets"][name] = {
            "summary": summary,
            "clips": {score.clip.name: listed(score) for score in scores},
        }
        shown = table(summary, with_interval=name != "dns")
        print(f"\n{name}: {len(clips)} clips\n\n{shown}")
    write_text(args.output, json.dumps(report, indent=1, allow_nan=False))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", required=True, help="model folder or name")
    add_data_options(parser)
    parser.add_argument("--rooms", type=Path, help="DATA, for those in rooms")
    parser.add_argument("--asr", default="whisper", help="recogniser")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--codec", help="model folder with a codec")
    parser.add_argument(
        "--all",
        action="store_true",
        help=f"measure also {', '.join(SIDE)}",
    )
    parser.add_argument(
        "--without",
        nargs="+",
        choices=("words", "speaker"),
        default=[],
        help="measures to leave out; words take two thirds of the time",
    )
    args = parser.parse_args(arguments)
    check_data_options(parser, args)
    return args


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the clips and how they are run."""
    add = parser.add_argument
    add("--dns", type=Path, help="folder with noisy and clean")
    add("--clean", type=Path, help="speech of the mixtures")
    add("--noise", type=Path, help="noises of the mixtures")
    add("--num-mixtures", type=int, default=40)
    add("--device", default="cpu", help="of the enhancer")
    add("--jobs", type=int, default=1, help="processes that score")
    add("--cache", type=Path, help="folder that keeps the readings")


def check_data_options(
    parser: argparse.ArgumentParser, args: argparse.Namespace
) -> None:
    """Refuse what does not go together."""
    if not (args.dns or args.clean or getattr(args, "rooms", None)):
        parser.error("give --dns, --clean and --noise, --rooms, or all four")
    if bool(args.clean) != bool(args.noise):
        parser.error("--clean and --noise go together")
    if args.num_mixtures < 1 or args.jobs < 1:
        parser.error("--num-mixtures and --jobs are at least 1")
    if not args.output.resolve().parent.is_dir():
        parser.error(f"the folder of --output {args.output} does not exist")


def read_settings(args: argparse.Namespace) -> Settings:
    """Give the arguments as `Settings`."""
    without = (*args.without, *(() if args.all else SIDE))
    assert set(without) <= set(MEASURES)
    return Settings(args.asr, "resemblyzer", without, cache=args.cache)


def read_sets(args: argparse.Namespace) -> dict[str, list[Clip]]:
    """Read and make the clips that the arguments name."""
    sets = {}
    if args.dns:
        sets["dns"] = dns_clips(args.dns)
    if args.clean:
        sets["mixtures"] = mixtures(args.clean, args.noise, args.num_mixtures)
    if folder := getattr(args, "rooms", None):
        sets["rooms"] = rooms(folder, args.num_mixtures)
    return sets


def dns_clips(folder: Path) -> list[Clip]:
    """Read pairs of files of the same name below noisy/ and clean/."""
    names = sorted(file.name for file in (folder / "noisy").glob("*.flac"))
    if not names:
        raise ValueError(f"There is no .flac file in {folder / 'noisy'}.")
    clips = []
    for name in names:
        noisy = read(folder / "noisy" / name)
        clean = read(folder / "clean" / name)
        if noisy.shape != clean.shape:
            raise ValueError(
                f"{name} has {noisy.numel()} noisy and {clean.numel()} clean "
                "samples; give pairs of one length."
            )
        waves = {"noisy": noisy.numpy(), "clean": clean.numpy()}
        clips.append(Clip(Path(name).stem, waves))
    return clips


def read(file: Path, channels: int | None = 1) -> torch.Tensor:
    """Read one wave (T,), the first of any number of channels if None."""
    wave, rate = audio_io.load(file)
    if rate != SAMPLE_RATE or wave.shape[0] != (channels or wave.shape[0]):
        raise ValueError(f"{file} is not mono at {SAMPLE_RATE} Hz; convert it.")
    return wave[0]


def mixtures(clean: Path, noise: Path, number: int) -> list[Clip]:
    """Make the seeded mixtures, as the top of this file says.

    Arguments
    ---------
    clean, noise : Path
        Folders of 16 kHz mono audio.
    number : int
        How many.

    Returns
    -------
    clips : list of Clip
    """
    utterances = load_folder(clean, SAMPLE_RATE)
    recordings = load_folder(noise, SAMPLE_RATE)
    clips = []
    for i in range(number):
        rng = np.random.default_rng([SEED, i])
        speech = utterances[i % len(utterances)]
        snr_db = rng.uniform(*SNR_DB)
        if i % 2:
            kind = str(rng.choice(NOISE_KINDS))
            drawn = synthesise_noise(kind, len(speech), SAMPLE_RATE, rng)
        else:
            index = int(rng.integers(len(recordings)))
            kind = f"recording {index}"
            recording = recordings[index].numpy()
            places = rng.integers(recording.size) + np.arange(len(speech))
            drawn = recording.take(places, mode="wrap")
        mixture = mix(speech, drawn, snr_db, kind=kind)
        waves = {
            "noisy": mixture.noisy.numpy(),
            "clean": mixture.clean.numpy(),
        }
        facts = {"kind": kind, "snr_db": round(snr_db, 2)}
        clips.append(Clip(f"{i:03d}", waves, about=facts))
    return clips


def rooms(data: Path, number: int) -> list[Clip]:
    """Make the seeded mixtures in rooms, as the top of this file says.

    Arguments
    ---------
    data : Path
        Folder of 16 kHz audio, with clean/valid and more/.
    number : int
        How many.

    Returns
    -------
    clips : list of Clip
    """
    kinds = {
        "speech": ("clean/valid", "more/clean/valid"),
        "rir": ("more/rir/valid",),
        "noise": ("more/noise/valid",),
    }
    files = {
        kind: [f for x in folders for f in sorted((data / x).glob("*.flac"))]
        for kind, folders in kinds.items()
    }
    rng, clips = np.random.default_rng(ROOMS_SEED), []

    def draw(kind):
        file = files[kind][rng.integers(len(files[kind]))]
        return read(file, channels=None).numpy()

    for index in range(number):
        dry, room = draw("speech")[: ROOM_S * SAMPLE_RATE], draw("rir")
        softer_db = rng.uniform(-9, 0)
        noise, snr_db = draw("noise"), rng.uniform(0, 20)
        waves = in_room(dry, room, softer_db, noise, snr_db)
        facts = {"snr_db": round(snr_db, 2)}
        clips.append(Clip(f"{index:02d}", waves, about=facts))
    return clips


def in_room(
    dry: np.ndarray,
    room: np.ndarray,
    softer_db: float,
    noise: np.ndarray,
    snr_db: float,
) -> dict[str, np.ndarray]:
    """Mix speech in a room with noise, as the top of this file says.

    Arguments
    ---------
    dry, room, noise : np.ndarray
        (T,) each, of any length; of the noise, T samples from the first on,
        repeated where there are fewer.
    softer_db : float
        What is added to the level of the reverberation, at most 0 dB.
    snr_db : float
        Of the speech in the room.

    Returns
    -------
    waves : dict
        "noisy" and "clean", (T,) as dry; the larger peak of both is 0.5.
    """
    direct = int(np.abs(room).argmax())
    softer = np.ones(len(room), np.float32)
    softer[direct + DIRECT :] = 10 ** (softer_db / 20)
    wet = fftconvolve(dry, room * softer)[direct : direct + len(dry)]
    wet *= np.sqrt((dry**2).mean() / ((wet**2).mean() + 1e-12))
    noise = np.resize(noise, len(dry))
    ratio = (wet**2).mean() / ((noise**2).mean() + 1e-12)
    noise *= np.sqrt(ratio) / 10 ** (snr_db / 20)
    noisy = wet + noise
    gain = 0.5 / max(np.abs(noisy).max(), np.abs(dry).max())
    return {"noisy": noisy * gain, "clean": dry * gain}


def load_systems(args: argparse.Namespace) -> dict[str, Callable]:
    """Give what makes the wave (T,) of each row from noisy and clean."""
    from speechbrain_llase import EnhanceLLaSE

    enhancer = EnhanceLLaSE.from_hparams(
        args.source, run_opts={"device": args.device}
    )
    systems = {
        "noisy": lambda noisy, clean: noisy,
        "enhanced": lambda noisy, clean: enhancer.enhance_batch(noisy[None])[0],
        "clean": lambda noisy, clean: clean,
    }
    if args.codec:
        from speechbrain_llase.lobes.mel_codec import load_codec

        codec = load_codec(args.codec)
        systems["codec"] = lambda noisy, clean: codec.resynthesise(clean[None])[
            0
        ]
    return systems


def run_systems(
    clips: Iterable[Clip], systems: dict[str, Callable]
) -> Iterator[Clip]:
    """Run every system on every clip.

    Arguments
    ---------
    clips : iterable of Clip
        With the waves "noisy" and "clean".
    systems : dict
        Row to a function from both waves to its wave.

    Yields
    ------
    clip : Clip
        With a wave a row, and what is known of it: "seconds", "run_s" and
        "scaled_by" of rows that went over full scale.
    """
    for clip in clips:
        pair = [torch.from_numpy(clip.waves[x]) for x in ("noisy", "clean")]
        facts = {"seconds": round(len(pair[0]) / SAMPLE_RATE, 3)}
        waves, timing = {}, time.perf_counter()
        for row, system in systems.items():
            waves[row] = system(*pair).cpu().numpy()
        facts["run_s"] = round(time.perf_counter() - timing, 3)
        for row, wave in waves.items():
            peak = float(np.abs(wave).max())
            if peak > 1:  # as a file it would be scaled, too
                waves[row] = wave / np.float32(peak)
                facts.setdefault("scaled_by", {})[row] = round(1 / peak, 4)
        yield replace(clip, waves=waves, about={**facts, **clip.about})


def listed(score: Scores) -> dict:
    """What the report holds of one clip."""
    skipped = [f"{x.row} {x.column}: {x.reason}" for x in score.skipped]
    return {**score.clip.about, "scores": score.rows, "skipped": skipped}


def about(args: argparse.Namespace, settings: Settings) -> dict:
    """What the figures depend on, for the report."""
    return {
        "source": args.source,
        "codec": args.codec,
        "num_mixtures": args.num_mixtures,
        "seed": SEED,
        **describe_settings(settings),
    }


if __name__ == "__main__":
    sys.exit(main())
