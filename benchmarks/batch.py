"""A batch of ragged utterances beside the same ones, one by one.

    python benchmarks/batch.py [--source llase_mini] [--compute float32]

16 utterances of 2 to 10 s of noise in bursts (seeded). Both ways are run in
turn, `--repeats` times; medians and the largest difference of the waves are
printed, and the floor: the arithmetic of the networks, as PyTorch counts it,
over the rate at which this machine multiplies matrices of such a width.

    python benchmarks/batch.py --details [--count 8] [--guard]

The same batch with reports and without, in turn: 8 s each, medians, ratio. With
--guard, the guard watches the entropy, which needs no other model.
"""

import argparse
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.inference.guard import Guard
from speechbrain_llase.nnet.layers import input_dtype

RATE = 16000


def utterances(count: int, seconds: float | None = None) -> list[torch.Tensor]:
    """Noise in bursts, 2 to 10 s or of one length, (T,) each."""
    rng = torch.Generator().manual_seed(0)
    lengths = torch.rand(count, generator=rng) * 8 + 2
    if seconds:
        lengths = torch.full((count,), seconds)
    items = []
    for seconds in lengths:
        wav = torch.randn(int(seconds * RATE), generator=rng)
        level = 0.05 + 0.1 * (torch.sin(torch.arange(len(wav)) / 4000) > 0)
        items.append(wav * level)
    return items


def matrix_rate(model: EnhanceLLaSE) -> float:
    """Operations a second of a feed-forward layer on all rows of 10 s."""
    linear = model.mods.token_lm.backbone.layers[0].mlp.up_proj
    rows = torch.randn(500, linear.in_features, device=model.device)
    rows = rows.to(input_dtype(linear))
    best = float("inf")
    for _ in range(50):
        start = time.perf_counter()
        linear(rows)
        best = min(best, time.perf_counter() - start)
    return 2 * rows.numel() * linear.out_features / best


def compare_details(model: EnhanceLLaSE, args: argparse.Namespace) -> None:
    """Time `enhance_batch` with reports beside the same call without."""
    batch = torch.stack(utterances(args.count, 8.0))
    guard = Guard(enabled=True, max_entropy=9.0) if args.guard else Guard()
    spent = {False: [], True: []}
    for _ in range(args.repeats + 1):
        for wanted, times in spent.items():
            model.guard = guard if wanted else Guard()
            start = time.perf_counter()
            model.enhance_batch(batch, return_details=wanted)
            times.append(time.perf_counter() - start)
    without, with_them = (statistics.median(t[1:]) for t in spent.values())
    print(
        f"{args.source} {args.compute}, {args.count} utterances of 8 s: "
        f"{without:.2f} s, with details {with_them:.2f} s, ratio "
        f"{with_them / without:.3f}"
    )


def main() -> None:
    """Time both ways and compare their results."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--source", default="llase_mini")
    add("--compute", default="float32")
    add("--count", type=int, default=16)
    add("--repeats", type=int, default=3)
    add("--device", default="cpu")
    add("--details", action="store_true")
    add("--guard", action="store_true")
    args = parser.parse_args()
    model = EnhanceLLaSE.from_hparams(
        args.source,
        overrides={"window_batch": args.count, "compute": args.compute},
        run_opts={"device": args.device},
    )
    if args.details:
        return compare_details(model, args)
    items = utterances(args.count)
    batch = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
    lengths = torch.tensor([len(x) for x in items]) / batch.shape[1]

    def alone() -> list[torch.Tensor]:
        return [model.enhance_batch(item[None])[0] for item in items]

    def together() -> torch.Tensor:
        return model.enhance_batch(batch, lengths)

    spent = {alone: [], together: []}
    for _ in range(args.repeats + 1):
        for way in spent:
            start = time.perf_counter()
            results = way()
            spent[way].append(time.perf_counter() - start)
            if way is alone:
                singles = results
    worst = max(
        float((results[k, : len(single)] - single).abs().max())
        for k, single in enumerate(singles)
    )
    with FlopCounterMode(display=False) as counter:
        alone()
    rate = matrix_rate(model)
    one, all_ = (statistics.median(times[1:]) for times in spent.values())
    seconds = sum(len(x) for x in items) / RATE
    print(
        f"{args.source} {args.compute}, {args.count} utterances, "
        f"{seconds:.0f} s: one by one {one:.2f} s, together {all_:.2f} s, "
        f"ratio {one / all_:.2f}; floor "
        f"{counter.get_total_flops() / rate:.2f} s at {rate / 1e9:.0f} "
        f"GFLOP/s; largest difference {worst:.1e}"
    )


if __name__ == "__main__":
    main()
