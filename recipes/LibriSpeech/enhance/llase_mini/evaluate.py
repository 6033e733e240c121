#!/usr/bin/env python3
"""Measure an enhancer on real noisy clips and on seeded mixtures.

To run this script, do the following:
> python evaluate.py --source MODEL --dns DATA/dns \
>     --clean DATA/clean/valid --noise DATA/noise/valid --output results.json

MODEL is a folder with a model or the name of a packaged one. Rows are the
noisy input, the enhanced wave, the clean original and, with `--codec FOLDER`,
the clean original resynthesised by the codec of that folder (the ceiling).
Columns are DNSMOS, differential word error and speaker similarity.

Mixture i is utterance i of `--clean` (sorted paths, repeated from the first),
whole and at its own level, plus one noise without a room: a recording of
`--noise` for even i, a synthesised noise for odd i. All of it is drawn from
`numpy.random.default_rng([2026, i])`, so everyone measures the same mixtures.

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
import dataclasses
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from speechbrain.dataio import audio_io
from tqdm import tqdm

from speechbrain_llase import __version__
from speechbrain_llase.metrics import DNSMOS, SpeakerSimilarity, WordDifference
from speechbrain_llase.mixing import (
    NOISE_KINDS,
    load_folder,
    mix,
    synthesise_noise,
)

SAMPLE_RATE = 16000  # Hz
SEED = 2026
SNR_DB = (-5.0, 20.0)
RESAMPLINGS = 5000  # of the bootstrap
COLUMNS = ("SIG", "BAK", "OVRL", "P808", "dWER", "speaker")
_measures = {}  # of a scoring process, built once


@dataclasses.dataclass(frozen=True)
class Clip:
    """One noisy wave and its clean original."""

    name: str
    noisy: torch.Tensor  # (T,) float32
    clean: torch.Tensor  # (T,) float32
    about: dict  # how it was made, for the report


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
    sets = {}
    if args.dns:
        sets["dns"] = dns_clips(args.dns)
    if args.clean:
        sets["mixtures"] = mixtures(args.clean, args.noise, args.num_mixtures)
    systems = load_systems(args)
    report = {"settings": settings(args), "sets": {}}
    for name, clips in sets.items():
        scores = evaluate(clips, systems, args)
        summary = summarise(scores, with_interval=name == "mixtures")
        report["sets"][name] = {"summary": summary, "clips": scores}
        print(f"\n{name}: {len(clips)} clips\n\n{table(summary)}")
    args.output.write_text(json.dumps(report, indent=1, allow_nan=False))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", required=True, help="model folder or name")
    parser.add_argument("--dns", type=Path, help="folder with noisy and clean")
    parser.add_argument("--clean", type=Path, help="speech of the mixtures")
    parser.add_argument("--noise", type=Path, help="noises of the mixtures")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--codec", help="model folder with a codec")
    parser.add_argument("--num-mixtures", type=int, default=40)
    parser.add_argument("--device", default="cpu", help="of the enhancer")
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes that score"
    )
    parser.add_argument(
        "--without",
        nargs="+",
        choices=("words", "speaker"),
        default=[],
        help="measures to leave out; words take two thirds of the time",
    )
    args = parser.parse_args(arguments)
    if not (args.dns or args.clean):
        parser.error("give --dns, or --clean and --noise, or all three")
    if bool(args.clean) != bool(args.noise):
        parser.error("--clean and --noise go together")
    if args.num_mixtures < 1 or args.jobs < 1:
        parser.error("--num-mixtures and --jobs are at least 1")
    if not args.output.resolve().parent.is_dir():
        parser.error(f"the folder of --output {args.output} does not exist")
    return args


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
        clips.append(Clip(Path(name).stem, noisy, clean, {}))
    return clips


def read(file: Path) -> torch.Tensor:
    """Read one wave (T,)."""
    wave, rate = audio_io.load(file)
    if rate != SAMPLE_RATE or wave.shape[0] != 1:
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
        about = {"kind": kind, "snr_db": round(snr_db, 2)}
        name = f"{i:03d}"
        clips.append(Clip(name, mixture.noisy, mixture.clean, about))
    return clips


def load_systems(args: argparse.Namespace) -> dict:
    """Give what makes the wave (T,) of each row from a clip."""
    from speechbrain_llase import EnhanceLLaSE

    enhancer = EnhanceLLaSE.from_hparams(
        args.source, run_opts={"device": args.device}
    )
    systems = {
        "noisy": lambda clip: clip.noisy,
        "enhanced": lambda clip: enhancer.enhance_batch(clip.noisy[None])[0],
        "clean": lambda clip: clip.clean,
    }
    if args.codec:
        from speechbrain_llase.codec import load_codec

        codec = load_codec(args.codec)
        systems["codec"] = lambda clip: codec.resynthesise(clip.clean[None])[0]
    return systems


def settings(args: argparse.Namespace) -> dict:
    """What the figures depend on, for the report."""
    return {
        "source": args.source,
        "codec": args.codec,
        "num_mixtures": args.num_mixtures,
        "seed": SEED,
        "without": args.without,
        "version": __version__,
        "torch": torch.__version__,
    }


def evaluate(
    clips: list[Clip], systems: dict, args: argparse.Namespace
) -> dict:
    """Run every system on every clip and score what comes out.

    Arguments
    ---------
    clips : list of Clip
    systems : dict
        Row name to a function from a clip to its wave.
    args : argparse.Namespace
        Uses jobs and without.

    Returns
    -------
    scores : dict
        Clip name to {"seconds", what is known of the clip, "scores"}, the
        last from row name to figures; "scaled_by" there tells of a wave that
        went over full scale.
    """
    spawn = multiprocessing.get_context("spawn")
    scores = {}
    with (
        ProcessPoolExecutor(
            args.jobs, spawn, initializer=_start, initargs=(args.without,)
        ) as pool,
        tqdm(total=2 * len(clips), unit="step", desc="enhance, score") as bar,
    ):
        pending = {}
        for clip in clips:
            seconds = clip.noisy.numel() / SAMPLE_RATE
            about = {"seconds": round(seconds, 3)} | clip.about
            waves, timing = {}, time.perf_counter()
            for row, system in systems.items():
                waves[row] = system(clip).cpu().numpy()
            about["run_s"] = round(time.perf_counter() - timing, 3)
            pending[clip.name] = about, pool.submit(score, waves)
            bar.update()
        for name, (about, future) in pending.items():
            scores[name] = about | {"scores": future.result()}
            bar.update()
    return scores


def score(waves: dict[str, np.ndarray]) -> dict[str, dict]:
    """Score the waves of one clip, in a process of its own.

    Arguments
    ---------
    waves : dict
        Row name to (T,) float32; "clean" is the reference.

    Returns
    -------
    figures : dict
        Row name to SIG, BAK, OVRL, P808, edits, words and speaker (0 for a
        wave that is all zero), and scaled_by where that is below 1.
    """
    waves = {row: _within_full_scale(wave) for row, wave in waves.items()}
    clean, _ = waves["clean"]
    words, speaker = _measures.get("words"), _measures.get("speaker")
    clean_words = words.read(clean) if words else []
    figures = {}
    for row, (wave, scaled_by) in waves.items():
        figures[row] = dict(_measures["dnsmos"](wave))
        if scaled_by < 1:
            figures[row]["scaled_by"] = scaled_by
        if words:
            found = clean_words if row == "clean" else words.read(wave)
            edits = words.compare(found, clean_words)
            figures[row] |= {"edits": edits.edits, "words": edits.words}
        if speaker:
            voiced = wave.any()
            figures[row]["speaker"] = speaker(wave, clean) if voiced else 0.0
    return figures


def _start(without):
    """Build the measures of a scoring process."""
    torch.set_num_threads(1)
    _measures["dnsmos"] = DNSMOS(num_threads=1)
    if "words" not in without:
        _measures["words"] = WordDifference()
    if "speaker" not in without:
        _measures["speaker"] = SpeakerSimilarity()


def _within_full_scale(wave):
    """Scale a wave down that goes over full scale, and say by how much."""
    peak = float(np.abs(wave).max())
    factor = 1.0 if peak <= 1 else 0.99 / peak
    return wave * np.float32(factor), factor


def summarise(scores: dict, with_interval: bool) -> dict:
    """Average the figures of all clips.

    Arguments
    ---------
    scores : dict
        As `evaluate` gives them.
    with_interval : bool
        Add the 95 % interval of a percentile bootstrap over the clips.

    Returns
    -------
    summary : dict
        Row name to column name to [mean] or [mean, low, high]. The word
        error is the sum of the edits over the sum of the clean words.
    """
    clips = [clip["scores"] for clip in scores.values()]
    rng = np.random.default_rng(SEED)
    draws = rng.integers(len(clips), size=(RESAMPLINGS, len(clips)))
    draws = np.concatenate([[np.arange(len(clips))], draws])
    summary = {}
    for row in clips[0]:
        summary[row] = {}
        for column in COLUMNS:
            key = "edits" if column == "dWER" else column
            if key not in clips[0][row]:
                continue
            values = np.array([clip[row][key] for clip in clips])
            counts = np.ones(len(clips))
            if column == "dWER":
                counts = np.array([clip[row]["words"] for clip in clips])
            totals = counts[draws].sum(1)  # (1 + RESAMPLINGS,)
            means = values[draws].sum(1) / np.maximum(totals, 1)
            figures = [float(means[0])]
            if with_interval:
                figures += np.percentile(means[1:], [2.5, 97.5]).tolist()
            summary[row][column] = [round(figure, 4) for figure in figures]
    return summary


def table(summary: dict) -> str:
    """Write a summary as a Markdown table."""
    columns = list(next(iter(summary.values())))
    lines = ["| |" + "".join(f" {column} |" for column in columns)]
    lines.append("|---|" + "---|" * len(columns))
    for row, cells in summary.items():
        shown = "".join(f" {_cell(cells[column])} |" for column in columns)
        lines.append(f"| {row} |{shown}")
    return "\n".join(lines)


def _cell(figures):
    """A mean, with its interval where there is one."""
    mean, *interval = (f"{figure:.2f}" for figure in figures)
    return f"{mean} ({' to '.join(interval)})" if interval else mean


if __name__ == "__main__":
    sys.exit(main())
