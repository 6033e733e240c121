"""What the precisions cost: tokens that stay, digits that stay, and DNSMOS.

Every clip of a folder is enhanced with the weights held in float32, bfloat16
and int8; tokens are compared with those of float32.

    python benchmarks/precision.py --noisy FOLDER
    python benchmarks/precision.py --noisy FOLDER --source models/llase

Authors
 * The speechbrain_llase contributors 2026
"""

import argparse
from pathlib import Path

import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.fsq import tokens_to_levels
from speechbrain_llase.metrics import DNSMOS

SUFFIXES = {".flac", ".mp3", ".ogg", ".opus", ".wav"}
KINDS = ("float32", "bfloat16", "int8")


def share(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Percentage of equal entries of two lists."""
    same = [a == b for a, b in zip(ours, theirs, strict=True)]
    return 100 * float(torch.cat([x.flatten() for x in same]).float().mean())


def main() -> None:
    """Print a table, a row a precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--noisy", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--source", default="llase_mini")
    args = parser.parse_args()
    files = sorted(
        file for file in args.noisy.iterdir() if file.suffix in SUFFIXES
    )
    if not files:
        parser.error(f"there is no audio in {args.noisy}")
    score, exact = DNSMOS(), None
    print("| | tokens, % | digits, % | SIG | BAK | OVRL | P.808 |")
    print("|---|---|---|---|---|---|---|")
    for kind in KINDS:
        model = EnhanceLLaSE.from_hparams(
            args.source,
            overrides={"compute": kind},
            run_opts={"device": "cpu"},
        )
        waves = [model.load_audio(str(file)).unsqueeze(0) for file in files]
        tokens = [model.tokenize(wav) for wav in waves]
        exact = exact or tokens
        digits = (
            [tokens_to_levels(each) for each in some]
            for some in (tokens, exact)
        )
        scores = [
            score(model.enhance_batch(wav)[0], model.hparams.sample_rate)
            for wav in waves
        ]
        means = [
            sum(each[name] for each in scores) / len(scores)
            for name in scores[0]
        ]
        columns = [f"{share(tokens, exact):.1f}", f"{share(*digits):.1f}"]
        columns += [f"{mean:.2f}" for mean in means]
        print(f"| `{kind}` | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
