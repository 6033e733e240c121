#!/usr/bin/env python3
"""Show what candidates and a verifier gain over the arg max, if anything.

To run this script, do the following:
> python candidates_gain.py --source MODEL --dns DATA/dns \
>     --cache readings --output candidates.json

Every clip is enhanced with the arg max and with N sampled sequences a
temperature; then verifiers with several weights choose. What they choose is
scored against the clean original, which no verifier sees.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from evaluate import add_data_options, check_data_options, read_sets
from tqdm import tqdm

from speechbrain_llase import EnhanceLLaSE, metrics
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.evaluation.report import write_text
from speechbrain_llase.evaluation.scoring import Scorer, Settings
from speechbrain_llase.inference.candidates import Candidates
from speechbrain_llase.inference.confidence import measure_files
from speechbrain_llase.metrics.checks import within_scale
from speechbrain_llase.metrics.word_edits import word_share

WEIGHTS = {
    "confidence": {"confidence": 1.0},
    "speaker": {"speaker": 1.0},
    "DNSMOS": {"dnsmos": 1.0},
    "words": {"words": 1.0},
    "DNSMOS + 2 speaker + 2 words": {"dnsmos": 1, "speaker": 2, "words": 2},
}


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the report, print the table.

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
    enhancer = EnhanceLLaSE.from_hparams(
        args.source, run_opts={"device": args.device}
    )
    settings = Settings(
        "pocketsphinx",
        "resemblyzer",
        ("pesq", "estoi", "si-sdr", "level"),
        cache=args.cache,
    )
    judge = Judge(settings)
    sets = read_sets(args)
    clips = [clip for found in sets.values() for clip in found]
    report = {"source": args.source, "candidates": args.num_candidates}
    for temperature in args.temperatures:
        drawn = Candidates(args.num_candidates + 1, temperature, args.top_k)
        found = [judge(enhancer, drawn, clip) for clip in tqdm(clips)]
        report[f"temperature {temperature}"] = average(found)
    write_text(args.output, json.dumps(report, indent=1, allow_nan=False))
    print(table(report, args.temperatures))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--source", required=True, help="model folder or name")
    add_data_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--num-candidates", type=int, default=4)
    parser.add_argument(
        "--temperatures", type=float, nargs="+", default=[0.1, 0.3, 0.7]
    )
    parser.add_argument("--top-k", type=int, default=4)
    args = parser.parse_args(arguments)
    check_data_options(parser, args)
    return args


class Judge:
    """Score all candidates of a clip, and what every verifier chooses."""

    def __init__(self, settings: Settings):
        self._score = Scorer(settings)
        reader = metrics.PocketsphinxReader()
        if settings.cache:
            reader = metrics.CachedReader(reader, settings.cache)
        self._words = metrics.WordDifference(reader)
        self._voices = metrics.SpeakerSimilarity()

    def __call__(
        self, enhancer: EnhanceLLaSE, candidates: Candidates, clip: Clip
    ) -> dict[str, dict]:
        """Score one clip.

        Arguments
        ---------
        enhancer : EnhanceLLaSE
            Its stages are run.
        candidates : Candidates
            How they are drawn.
        clip : Clip
            With the waves "noisy" and "clean".

        Returns
        -------
        rows : dict
            "arg max", a verifier's name, or "mean of samples" to figures.
        """
        noisy = torch.from_numpy(clip.waves["noisy"])
        stages = enhancer.stages
        plans, known = stages.predict([noisy])
        windows = stages.cut([noisy], plans)
        drawn = [[part.tokens for part in known]]
        drawn += candidates.sample(stages, known, plans)
        waves, details = [], []
        for tokens in drawn:
            parts = stages.to_waves(tokens, windows)
            wave = stages.restore(parts, plans, [noisy])[0]
            waves.append(within_scale(wave))
            details += measure_files(stages, known, plans, tokens)
        rows = {f"{k:03d}": wave for k, wave in enumerate(waves)}
        scored = self._score(Clip(clip.name, rows | clip.waves)).rows
        given = [scored[name] for name in rows]
        terms = [
            self._terms(wave, clip, figures, own)
            for wave, figures, own in zip(waves, given, details, strict=True)
        ]
        found = {"noisy": scored["noisy"], "arg max": given[0]}
        for name, weights in WEIGHTS.items():
            totals = [sum(w * x[t] for t, w in weights.items()) for x in terms]
            best = int(np.argmax(totals))
            found[name] = {**given[best], "changed": float(best > 0)}
        means = {key: np.mean([x[key] for x in given[1:]]) for key in given[0]}
        return found | {"mean of samples": means}

    def _terms(self, wave, clip, figures, details):
        """What a verifier can know of a candidate."""
        noisy = clip.waves["noisy"]
        pair = [self._words.read(x) for x in (wave, noisy)]
        return {
            "confidence": details.summary().log_prob,
            "speaker": self._voices(wave, noisy),
            "dnsmos": figures["OVRL"],
            "words": 1 - word_share(*pair),
        }


def average(found: list[dict[str, dict]]) -> dict[str, dict[str, float]]:
    """Average the figures of all clips; word errors are totals."""
    rows = {}
    for name in found[0]:
        given = [clip[name] for clip in found]
        rows[name] = {
            key: round(float(np.mean([x[key] for x in given])), 4)
            for key in ("SIG", "BAK", "OVRL", "P808", "speaker")
        }
        words = sum(x["words"] for x in given)
        rows[name]["dWER"] = round(
            float(sum(x["edits"] for x in given) / words), 4
        )
        changed = [x.get("changed", 0.0) for x in given]
        rows[name]["changed"] = round(float(np.mean(changed)), 4)
    return rows


def table(report: dict, temperatures: list[float]) -> str:
    """Write the report as a Markdown table."""
    columns = ("OVRL", "P808", "dWER", "speaker", "changed")
    lines = ["| temperature | kept | " + " | ".join(columns) + " |"]
    lines.append("|---|---|" + "---|" * len(columns))
    for temperature in temperatures:
        for name, row in report[f"temperature {temperature}"].items():
            cells = " | ".join(f"{row[column]:.2f}" for column in columns)
            lines.append(f"| {temperature} | {name} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
