"""What a low latency costs: streams in ever shorter windows.

    python benchmarks/streaming.py --noisy FOLDER [--source llase_mini]

Every file is fed in chunks of 20 ms, first with its peak and gain given, as
`enhance_file` has them (a), then with causal estimates (b). Printed are the
latency that follows from window and context, the longest and the mean time of
a chunk that ran a window, seconds of work a second of audio, and DNSMOS.
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
    """Run all settings and print a table."""
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
    for sizes in SETTINGS:
        names = dict(zip(("window_s", "context_s", "crossfade_s"), sizes))
        times, given, causal = [], [], []
        for wav in wavs:
            peak = float(wav.abs().max())
            out, some = feed(model.stream(peak, 1.0, **names), wav)
            times += some
            given.append(dnsmos(within_scale(out * match_gain(out, wav))))
            out, _ = feed(model.stream(**names), wav)
            causal.append(dnsmos(within_scale(out)))
        latency = model.stream(**names).latency / model.hparams.sample_rate
        seconds = sum(map(len, wavs)) / model.hparams.sample_rate
        scores = " ".join(
            f"({way}) "
            + " / ".join(
                f"{statistics.mean(s[key] for s in some):.2f}"
                for key in ("SIG", "BAK", "OVRL", "P808")
            )
            for way, some in (("a", given), ("b", causal))
        )
        print(
            f"{sizes}: latency {latency:.2f} s, window "
            f"{1e3 * statistics.mean(times):.0f} ms (at most "
            f"{1e3 * max(times):.0f}), {sum(times) / seconds:.3f} s/s, "
            f"{scores}",
            flush=True,
        )


if __name__ == "__main__":
    main()
