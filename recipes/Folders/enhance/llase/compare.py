#!/usr/bin/env python3
"""Did the fine-tuning help? Two models on the same mixtures, clip by clip.

To run this script, do the following:
> python compare.py --before llase_mini --after tuned \
>     --clean TEST_SPEECH --noise TEST_NOISE --output report.json

Every utterance of TEST_SPEECH is mixed `--repeats` times with a random piece
of a random file of TEST_NOISE, or with synthesised noise where `--noise` is
not given, at a random ratio. Everything is drawn from the utterance's place,
so the mixtures are the same for everyone. Of both models it prints loss and
accuracies against the clean tokens, DNSMOS, PESQ, ESTOI, word changes and
speaker similarity, and the difference with a 95 % interval: a bootstrap over
utterances, whose repeats stay together.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.augment.mixture import mix
from speechbrain_llase.augment.synthetic_noise import (
    NOISE_KINDS,
    synthesise_noise,
)
from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import list_folder
from speechbrain_llase.dataio.recordings import read_piece, read_speech
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.evaluation.report import write_text
from speechbrain_llase.evaluation.scoring import (
    Scorer,
    Settings,
    find_missing,
)
from speechbrain_llase.nnet.fsq import NUM_DIGITS
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import to_peak
from speechbrain_llase.training.token_extraction import SpeechTokenizer
from speechbrain_llase.training.token_loss import TokenLoss

SEED = 2026
RESAMPLINGS = 5000
ALONE = ("dnsmos",)  # measures that need no clean wave
AGAINST = ("pesq", "estoi", "words", "speaker")  # and those that do
LOSS_ROWS = 512  # frames whose logits exist at once
# What is printed: its name, sum over the clips of the one, by that of the other
FIGURES = {
    "loss": ("loss", "frames"),
    "tokens right": ("tokens_right", "frames"),
    "digits right": ("digits_right", "digits"),
    "SIG": ("SIG", None),
    "BAK": ("BAK", None),
    "OVRL": ("OVRL", None),
    "P.808": ("P808", None),
    "PESQ": ("pesq", None),
    "ESTOI": ("estoi", None),
    "dWER": ("edits", "words"),
    "speaker": ("speaker", None),
}


def main(arguments: list[str] | None = None) -> int:
    """Mix, enhance, score, and print a table.

    Arguments
    ---------
    arguments : list of str, optional
        Command line; None takes that of the process.

    Returns
    -------
    status : int
        0, or 2 where speech or noise cannot be used.
    """
    args = parse(arguments)
    tell(f"reading the speech in {args.clean}, every file to its end")
    try:
        speech = find_audio(args.clean, resample=False)
        noises = find_audio(args.noise, resample=True) if args.noise else []
    except (FileNotFoundError, ValueError) as err:
        print(f"error: {err}", file=sys.stderr)
        return 2
    tell(f"loading {args.before}, {args.after} and the measures")
    options = {"device": args.device}
    models = {
        name: EnhanceLLaSE.from_hparams(source, run_opts=options)
        for name, source in (("before", args.before), ("after", args.after))
    }
    tokenizer = SpeechTokenizer(args.before, args.device)
    scorers = make_scorers(args)
    clips = []
    with tqdm(total=len(speech) * args.repeats, unit="mixture") as bar:
        for at, (name, path) in enumerate(speech):
            clean = read_speech(path, SAMPLE_RATE)[1]
            for repeat in range(args.repeats):
                rng = np.random.default_rng([SEED, at, repeat])
                mixture = draw(clean, noises, args.snr_db, rng)
                rows = compare(mixture, models, tokenizer, scorers)
                about = {"kind": mixture.kind, "snr_db": mixture.snr_db}
                clips.append({"utterance": name, **about, "rows": rows})
                bar.update()
    summary = summarise(clips)
    print(f"\n{len(clips)} mixtures of {len(speech)} utterances\n")
    print(table(summary))
    report = {"settings": vars(args), "summary": summary, "clips": clips}
    write_text(args.output, json.dumps(report, indent=1, default=str))
    return 0


def tell(line: str) -> None:
    """Say what takes its time before the bar with the estimate begins."""
    print(f"{line} ...", file=sys.stderr, flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--before", default="llase_mini", help="model folder or name")
    add("--after", required=True, help="model folder: the fine-tuned one")
    add("--clean", type=Path, required=True, help="speech, mono, 16 kHz")
    add("--noise", type=Path, help="noise; without it, it is synthesised")
    add("--snr-db", type=float, nargs=2, default=(-5.0, 20.0))
    add("--repeats", type=int, default=2, help="mixtures of an utterance")
    add("--asr", default="pocketsphinx", help="see speechbrain-llase evaluate")
    add("--speaker", default="resemblyzer")
    add("--cache", type=Path, help="folder that keeps the readings")
    sides = [*ALONE, *AGAINST]
    add("--without", nargs="+", default=[], choices=sides)
    add("--device", default="cpu", help="of the models")
    add("--output", type=Path, required=True, help="JSON file")
    args = parser.parse_args(arguments)
    if args.repeats < 1 or args.snr_db[0] > args.snr_db[1]:
        parser.error("--repeats is at least 1, --snr-db LOW HIGH")
    if not args.output.resolve().parent.is_dir():
        parser.error(f"the folder of --output {args.output} does not exist")
    return args


def make_scorers(args) -> tuple[Scorer, Scorer]:
    """Make what scores a wave alone, and what needs the clean one.

    A measure whose package is missing is left out, and it is said.
    """
    scorers = []
    for other in (AGAINST, ALONE):
        without = ("level", "si-sdr", *other, *args.without)
        settings = Settings(args.asr, args.speaker, without, cache=args.cache)
        missing = find_missing(settings)
        for measure, remedy in missing.items():
            tell(f"{measure} is left out: {remedy}")
        without = (*without, *missing)
        scorers.append(Scorer(replace(settings, without=without)))
    return tuple(scorers)


def find_audio(folder: Path, resample: bool) -> list[tuple[str, str]]:
    """Name and path of every file of a folder, of which none may be bad."""
    entries = check_entries(
        list_folder(folder), SAMPLE_RATE, most_bad=0.0, resample=resample
    )
    return [(name, entry["clean_wav"]) for name, entry in entries.items()]


def draw(clean, noises, snr_db, rng):
    """Mix one utterance (T,) with one noise.

    Arguments
    ---------
    clean : torch.Tensor
        float32 (T,).
    noises : list of tuple
        Names and paths; without any, noise is synthesised.
    snr_db : tuple
        Lowest and highest ratio in dB.
    rng : np.random.Generator
        Source of all randomness.

    Returns
    -------
    mixture : Mixture
    """
    size = len(clean)
    if not noises:
        kind = str(rng.choice(NOISE_KINDS))
        noise = synthesise_noise(kind, size, SAMPLE_RATE, rng)
    else:
        path = noises[rng.integers(len(noises))][1]
        kind = Path(path).name
        noise = read_piece(path, size, SAMPLE_RATE, True, rng)
    return mix(clean, noise, rng.uniform(*snr_db), kind=kind)


def compare(mixture, models, tokenizer, scorers) -> dict[str, dict]:
    """Give what all figures of one mixture are made of.

    Arguments
    ---------
    mixture : Mixture
        The noisy and the clean wave.
    models : dict
        Row -> `EnhanceLLaSE`.
    tokenizer : SpeechTokenizer
        Of both models.
    scorers : tuple of Scorer
        Of the waves, without and with the clean one.

    Returns
    -------
    rows : dict
        "noisy", "before" and "after" -> name -> figure.
    """
    tokens = tokenizer(mixture.clean).unsqueeze(0)
    waves = {"noisy": mixture.noisy.numpy(), "clean": mixture.clean.numpy()}
    counts = {}
    for row, model in models.items():
        wave = model.enhance_batch(mixture.noisy.unsqueeze(0))[0].cpu()
        waves[row] = (wave / max(1.0, float(wave.abs().max()))).numpy()
        counts[row] = count_right(model, mixture.noisy, tokens)
    clean = waves.pop("clean")
    alone = scorers[0](Clip("", waves)).rows
    against = scorers[1](Clip("", {**waves, "clean": clean})).rows
    return {
        row: alone[row] | against[row] | counts.get(row, {}) for row in waves
    }


@torch.no_grad()
def count_right(model, noisy, tokens) -> dict[str, float]:
    """Compare the token LM's prediction, in one pass, with clean tokens."""
    stages = model.stages
    heard = noisy if stages.hears_speech else to_peak(noisy)
    feats = stages.extract([heard.to(model.device)])[0].unsqueeze(0)
    loss = TokenLoss(model.mods.token_lm, LOSS_ROWS)
    scores = loss(feats, tokens.to(model.device))
    return {
        "loss": float(scores.loss),
        "frames": int(scores.frames),
        "digits": NUM_DIGITS * int(scores.frames),
        "tokens_right": int(scores.tokens_right),
        "digits_right": int(scores.digits_right),
    }


def summarise(clips: list[dict]) -> dict[str, dict]:
    """Average every figure, with the interval of what changed.

    Arguments
    ---------
    clips : list of dict
        With utterance and rows.

    Returns
    -------
    summary : dict
        Name of the figure -> mean of each row that has it, "change" (after
        less before), "low" and "high".
    """
    names = sorted({clip["utterance"] for clip in clips})
    draws = np.random.default_rng(SEED).integers(
        len(names), size=(RESAMPLINGS, len(names))
    )
    draws = np.concatenate([[np.arange(len(names))], draws])
    summary = {}
    for figure, (above, below) in FIGURES.items():
        means = {}
        for row in ("noisy", "before", "after"):
            sums = {name: np.zeros(2) for name in names}
            for clip in clips:
                scores = clip["rows"][row]
                if all(above in clip["rows"][x] for x in ("before", "after")):
                    if above in scores:
                        count = scores[below] if below else 1
                        sums[clip["utterance"]] += scores[above], count
            totals = np.stack(list(sums.values()))[draws].sum(1)
            if totals[0, 1] > 0:
                means[row] = totals[:, 0] / np.maximum(totals[:, 1], 1e-9)
        if not {"before", "after"} <= means.keys():
            continue
        change = means["after"] - means["before"]
        low, high = np.percentile(change[1:], [2.5, 97.5])
        summary[figure] = {row: float(mean[0]) for row, mean in means.items()}
        summary[figure] |= {"change": float(change[0])}
        summary[figure] |= {"low": float(low), "high": float(high)}
    return summary


def table(summary: dict[str, dict]) -> str:
    """Write a summary in Markdown."""
    lines = [
        "| | noisy | before | after | change (95 %) |",
        "|---|---|---|---|---|",
    ]
    for name, values in summary.items():
        digits = 3 if "right" in name or name == "loss" else 2
        cells = [
            f"{values[row]:.{digits}f}" if row in values else ""
            for row in ("noisy", "before", "after")
        ]
        change, low, high = (
            f"{values[key]:+.{digits}f}" for key in ("change", "low", "high")
        )
        cells.append(f"{change} ({low} to {high})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
