"""What the precisions cost: tokens that stay, digits that stay, and DNSMOS.

Every clip of a folder is enhanced with the weights held in float32, bfloat16
and int8; tokens are compared with those of float32 on the CPU. On a GPU, the
rows named "fused" are those of `run_opts={"compile": True}`.

    python benchmarks/precision.py --noisy FOLDER
    python benchmarks/precision.py --noisy FOLDER --source models/llase
    python benchmarks/precision.py --noisy FOLDER --device cuda --no-scores
"""

import argparse
from pathlib import Path

import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.metrics import DNSMOS
from speechbrain_llase.metrics.checks import within_scale
from speechbrain_llase.nnet.fsq import tokens_to_levels

SUFFIXES = {".flac", ".mp3", ".ogg", ".opus", ".wav"}
KINDS = {  # by device: what weights are held in, and whether layers are fused
    "cpu": [("float32", False), ("bfloat16", False), ("int8", False)],
    "cuda": [
        ("float32", False),
        ("float32", True),
        ("bfloat16", False),
        ("bfloat16", True),
    ],
}


def share(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Percentage of equal entries of two lists."""
    same = [a == b for a, b in zip(ours, theirs, strict=True)]
    return 100 * float(torch.cat([x.flatten() for x in same]).float().mean())


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--noisy", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--source", default="llase_mini")
    parser.add_argument("--device", default="cpu", choices=sorted(KINDS))
    parser.add_argument(
        "--no-scores", action="store_true", help="leave DNSMOS out"
    )
    args = parser.parse_args()
    args.files = sorted(
        file for file in args.noisy.iterdir() if file.suffix in SUFFIXES
    )
    if not args.files:
        parser.error(f"there is no audio in {args.noisy}")
    return args


def load(source: str, device: str, kind: str, fused: bool) -> EnhanceLLaSE:
    """Load the model in one form."""
    return EnhanceLLaSE.from_hparams(
        source,
        overrides={"compute": kind},
        run_opts={"device": device, "compile": fused},
    )


def dnsmos(waves: list[torch.Tensor], rate: int) -> list[str]:
    """Mean scores, as columns."""
    score = DNSMOS()
    scores = [score(within_scale(wave), rate) for wave in waves]
    names = scores[0]
    return [
        f"{sum(each[n] for each in scores) / len(scores):.2f}" for n in names
    ]


def main() -> None:
    """Print a table, a row a form."""
    args = parse_arguments()
    model = load(args.source, "cpu", "float32", False)
    waves = [model.load_audio(str(file)).unsqueeze(0) for file in args.files]
    exact = [model.predict_tokens(wav) for wav in waves]
    names = [] if args.no_scores else ["SIG", "BAK", "OVRL", "P.808"]
    print(
        f"| {args.device} | {' | '.join(['tokens, %', 'digits, %', *names])} |"
    )
    print("|---" * (3 + len(names)) + "|")
    for kind, fused in KINDS[args.device]:
        model = load(args.source, args.device, kind, fused)
        tokens = [model.predict_tokens(wav).cpu() for wav in waves]
        digits = (
            [tokens_to_levels(each) for each in some]
            for some in (tokens, exact)
        )
        columns = [f"{share(tokens, exact):.2f}", f"{share(*digits):.2f}"]
        if not args.no_scores:
            enhanced = [model.enhance_batch(wav)[0].cpu() for wav in waves]
            columns += dnsmos(enhanced, model.hparams.sample_rate)
        name = f"`{kind}`" + (", fused" if fused else "")
        print(f"| {name} | {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
