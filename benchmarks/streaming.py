"""What a low latency costs: streams in ever shorter windows.

    python benchmarks/streaming.py --noisy FOLDER [--source llase_mini]

Every file is fed in chunks of 20 ms, first with its peak and gain given, as
`enhance_file` has them (a), then with causal estimates (b). Printed are the
latency that follows from window and context, the longest and the mean time of
a chunk that ran a window, seconds of work a second of audio, and DNSMOS; at last,
down to which latency OVRL stays within 0.1 of that of the longest windows.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.dataio.recordings import load_folder
from speechbrain_llase.metrics import DNSMOS
from speechbrain_llase.metrics.checks import within_scale
from speechbrain_llase.processing.signal_processing import match_gain

SETTINGS = [  # window_s, context_s, crossfade_s
    (10.0, 1.0, 0.04),
    (2.0, 1.0, 0.04),
    (1.0, 0.5, 0.04),
    (0.5, 0.5, 0.02),
    (0.2, 0.3, 0.02),
    (0.1, 0.1, 0.02),
]
CHUNK = 320  # samples; 20 ms
MEASURES = ("SIG", "BAK", "OVRL", "P808")
ALLOWED = 0.1  # that a short window may take off OVRL


def feed(stream, wav: torch.Tensor) -> tuple[torch.Tensor, list[float]]:
    """Push a wave in chunks; return the result and the times of windows."""
    parts, times = [], []
    for chunk in wav.split(CHUNK):
        start = time.perf_counter()
        parts.append(stream.push(chunk))
        if len(parts[-1]):
            times.append(time.perf_counter() - start)
    start = time.perf_counter()
    parts.append(stream.close())
    times.append(time.perf_counter() - start)
    return torch.cat(parts), times


def main() -> None:
    """Run all settings, print a table, and which latency is short enough."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--noisy", type=Path, required=True)
    parser.add_argument("--source", default="llase_mini")
    args = parser.parse_args()
    model = EnhanceLLaSE.from_hparams(args.source, run_opts={"device": "cpu"})
    wavs = load_folder(args.noisy, model.hparams.sample_rate)
    dnsmos = DNSMOS()
    feed(model.stream(), wavs[0])  # warm-up
    print(
        "| window, context | latency | a window takes (most) | s/s | (a) | (b) |"
    )
    print("|---|---|---|---|---|---|")
    kept = {}  # latencies, and the lower OVRL of both ways
    for sizes in SETTINGS:
        names = dict(zip(("window_s", "context_s", "crossfade_s"), sizes))
        times, scores = measure(model, wavs, names, dnsmos)
        latency = model.stream(**names).latency / model.hparams.sample_rate
        kept[latency] = min(way["OVRL"] for way in scores)
        seconds = sum(map(len, wavs)) / model.hparams.sample_rate
        mean, most = 1e3 * statistics.mean(times), 1e3 * max(times)
        cells = [
            f"{sizes[0]:g} s, {sizes[1]:g} s",
            f"{latency:.2f} s",
            f"{mean:.0f} ms ({most:.0f})",
            f"{sum(times) / seconds:.3f}",
            *(" / ".join(f"{x:.2f}" for x in way.values()) for way in scores),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    longest = kept[max(kept)]
    near = [x for x, ovrl in kept.items() if ovrl >= longest - ALLOWED]
    print(f"least latency within {ALLOWED} of OVRL: {min(near):.2f} s")


def measure(
    model: EnhanceLLaSE, wavs: list[torch.Tensor], names: dict, dnsmos: DNSMOS
) -> tuple[list[float], list[dict[str, float]]]:
    """Stream all waves; times of windows, and mean scores of both ways."""
    times, given, causal = [], [], []
    for wav in wavs:
        peak = float(wav.abs().max())
        out, some = feed(model.stream(peak, 1.0, **names), wav)
        times += some
        given.append(dnsmos(within_scale(out * match_gain(out, wav))))
        out, _ = feed(model.stream(**names), wav)
        causal.append(dnsmos(within_scale(out)))
    scores = [
        {key: statistics.mean(s[key] for s in some) for key in MEASURES}
        for some in (given, causal)
    ]
    return times, scores


if __name__ == "__main__":
    main()
