"""How fast a model runs, stage by stage, beside the floor and the baseline.

Every configuration runs in a process of its own: a synthetic file is enhanced
end to end, `--repeats` times after a warm-up, with a clock around each stage;
medians are kept. On a GPU such clocks cost time, and have runs of their own.
The floor is
the arithmetic of a stage over the rate at which this machine multiplies
matrices in that precision, measured in the same run; the share of the limit
is the floor over what was measured. `released` is the released procedure on
library modules (benchmarks/released.py).

Examples
--------
  python benchmarks/speed.py                      official dimensions, 60 s
  python benchmarks/speed.py --model llase_mini --seconds 4 60 1200
  python benchmarks/speed.py --compute bfloat16 --window 10 2 joined
  python benchmarks/speed.py --compute bfloat16 int8 --seconds 28 --items 8 \
      --window-batch 1 4 --processes 1 2 4 --threads 1
  python benchmarks/speed.py --device cuda --compute released bfloat16 \
      --window-batch 32 --items 32 --graphs off on
"""

import argparse
import itertools
import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import wraps
from pathlib import Path

import numpy as np
import soundfile
import torch

RATE = 16000
STAGES = ("conv front", "WavLM layers", "LM", "head", "vocoder", "I/O")
WIDTH, FFN, HEAD = 1024, 4096, 65536  # official dimensions
PIECE = 700  # rows of a matrix product, and of a window, for the floor
PATIENCE_S = 900  # that a process waits for those beside it


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default="llase", choices=["llase", "llase_mini"])
    add("--seconds", nargs="+", type=float, default=[60.0], metavar="S")
    add(
        "--compute",
        nargs="+",
        default=["released", "float32", "bfloat16", "int8"],
        choices=["released", "float32", "bfloat16", "int8"],
    )
    add("--window-batch", nargs="+", type=int, default=[1], metavar="N")
    add("--threads", nargs="+", type=int, default=[0], metavar="N")
    add(
        "--processes",
        nargs="+",
        type=int,
        default=[1],
        metavar="N",
        help="that run at once, each with so many threads and the same input; "
        "the figures are those of all together",
    )
    add(
        "--window",
        nargs=3,
        metavar=("WINDOW_S", "CONTEXT_S", "SCHEME"),
        help="instead of the model's, as 10 2 joined",
    )
    add(
        "--items",
        type=int,
        default=0,
        metavar="N",
        help="waves in memory that are enhanced as one batch, instead of a "
        "file that is streamed",
    )
    add("--compile", action="store_true", help="run_opts of that name")
    add(
        "--graphs",
        nargs="+",
        default=["on"],
        choices=["on", "off"],
        help="CUDA graphs on a GPU; with --items, results are compared with "
        "those without",
    )
    add(
        "--no-tf32",
        action="store_true",
        help="switch off TF32, which SpeechBrain switches on: float32 products "
        "of a GPU with the full mantissa",
    )
    add("--repeats", type=int, default=3, metavar="N")
    add("--device", default="cpu")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def count_flops() -> dict[str, float]:
    """Arithmetic of each stage for one second, official dimensions.

    Products and sums count as two; attention is that of a window of `PIECE`
    rows, half of it where it is causal. Context is not counted.
    """
    rows = 50
    square, feed = WIDTH * WIDTH, WIDTH * FFN
    seen = 2 * PIECE * WIDTH  # products of a row with keys and values
    widths = [(10, 1, 3200), (3, 512, 1600), (3, 512, 800), (3, 512, 400)]
    widths += [(3, 512, 200), (2, 512, 100), (2, 512, 50)]
    conv = sum(512 * kernel * width * n for kernel, width, n in widths)
    wavlm = 512 * WIDTH + 128 * WIDTH * WIDTH // 16
    wavlm += 6 * (4 * square + 2 * feed + seen)
    lm = square + 12 * (4 * square + 3 * feed + seen / 2)
    vocoder = 8 * 2 * WIDTH + 2 * square + 7 * square + 8 * 3 * square
    vocoder += 12 * (4 * square + 2 * feed + seen) + 1282 * WIDTH
    return {
        "conv front": 2 * conv,
        "WavLM layers": 2 * rows * wavlm,
        "LM": 2 * rows * lm,
        "head": 2 * rows * HEAD * WIDTH,
        "vocoder": 2 * rows * vocoder,
        "I/O": 0.0,
    }


def matrix_rate(compute: str, device: str, windows: int) -> float:
    """Operations a second of one product of all windows with a weight."""
    from speechbrain_llase.nnet.int8 import Int8Linear, quantise_rows
    from speechbrain_llase.nnet.packed_linear import PackedLinear
    from speechbrain_llase.nnet.precision import has_fast_bfloat16

    kind = torch.bfloat16 if compute == "bfloat16" else torch.float32
    rows = torch.randn(PIECE * windows, WIDTH, device=device)
    linear = torch.nn.Linear(WIDTH, FFN, bias=False, device=device)
    run, given = linear.to(kind), [rows.to(kind)]
    if compute == "bfloat16" and device == "cpu" and has_fast_bfloat16(device):
        run = PackedLinear(run)
    if compute == "int8":
        matrix, scale = quantise_rows(rows)
        run, given = Int8Linear(linear).multiply, [matrix, scale.bfloat16()]
    with torch.inference_mode():
        best = min(clock(lambda: run(*given), device) for _ in range(30))
    return 2 * len(rows) * WIDTH * FFN / best


def clock(work, device: str) -> float:
    """Seconds that some work takes."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def build(task: dict):
    """Load the model; `llase` gets random weights, which cost the same."""
    from hyperpyyaml import load_hyperpyyaml

    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.inference.sources import resolve_source
    from speechbrain_llase.nnet import precision as compute

    settings = {
        "compute": task["compute"],
        "window_batch": task["window_batch"],
    }
    if task["window"]:
        window_s, context_s, scheme = task["window"]
        settings["window_s"], settings["context_s"] = map(
            float, (window_s, context_s)
        )
        settings["context_from"] = scheme
    run_opts = {"device": task["device"], "compile": task["compile"]}
    if task["model"] != "llase":
        model = EnhanceLLaSE.from_hparams(
            task["model"], overrides=settings, run_opts=run_opts
        )
        return with_graphs(model, task["graphs"])
    path = Path(resolve_source("llase")) / "hyperparams.yaml"
    text = path.read_text().split("pretrainer:")[0]
    with compute.loading(task["device"]), torch.no_grad():
        hparams = load_hyperpyyaml(text, settings)
        for network in hparams["modules"].values():
            for weight in network.to(task["device"]).parameters():
                weight.normal_(std=0.02).add_(float(weight.dim() == 1))
            compute.filled(network)
    model = EnhanceLLaSE(hparams["modules"], hparams, run_opts)
    return with_graphs(model, task["graphs"])


def with_graphs(model, wanted: str):
    """Give the model, on a GPU with CUDA graphs if they are wanted."""
    if wanted == "on" and torch.device(model.device).type == "cuda":
        from speechbrain_llase.nnet.cuda_graphs import Graphs

        model.stages.graphs = Graphs(model.device)
    return model


def time_stages(model, spent: dict[str, float]) -> None:
    """Note what each stage takes, by wrapping its function."""
    from speechbrain_llase.lobes import wavlm

    def wrap(owner, name, stage):
        inner = getattr(owner, name)

        @wraps(inner)
        def timed(*args, **kwargs):
            results = []
            spent[stage] += clock(
                lambda: results.append(inner(*args, **kwargs)), model.device
            )
            return results[0]

        setattr(owner, name, timed)

    if hasattr(model.mods.frontend, "stem"):
        wrap(model.mods.frontend.stem, "forward", "conv front")
    else:
        wrap(wavlm, "convolve_wav", "conv front")
    wrap(model.mods.frontend, "extract_each", "WavLM layers")
    head = "logits" if model.mods.token_lm.head == "digits" else "pick"
    wrap(model.mods.token_lm, head, "head")
    wrap(model.mods.token_lm, "hidden", "LM")
    wrap(model.mods.vocoder, "decode_each", "vocoder")


def measure(task: dict) -> dict:
    """Run one configuration in this process."""
    if task["threads"]:
        torch.set_num_threads(task["threads"])
    released = task["compute"] == "released"
    start = time.perf_counter()
    model = build_released(task["device"]) if released else build(task)
    if task["no_tf32"]:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    load_s = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        work, audio_s = prepare(model, task, Path(folder))
        first_s = clock(work, task["device"])
        begins.wait(PATIENCE_S)
        runs, stages = [], []
        if released or torch.device(task["device"]).type != "cpu":
            runs = [clock(work, task["device"]) for _ in range(task["repeats"])]
        worst = None if released else graph_error(model, work)
        if not released:
            stages = run_stages(model, work, task)
        runs = runs or [sum(parts.values()) for parts in stages]
    middle = statistics.median(runs)
    parts = {
        name: statistics.median(s[name] for s in stages) / audio_s
        for name in (STAGES if stages else ())
    }
    windows = 1 if released else task["window_batch"]
    return task | {
        "s_per_s": middle / audio_s,
        "stages": parts,
        "peak_bytes": peak_bytes(task["device"]),
        "build_s": load_s,
        "first_s": first_s,
        "rate": matrix_rate(task["compute"], task["device"], windows),
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "graph_error": worst,
    }


def graph_error(model, work) -> float | None:
    """Largest difference that CUDA graphs make; None where none is captured."""
    graphs = model.stages.graphs
    found = work() if graphs and any(graphs.known.values()) else None
    if found is None:  # nothing captured, or a file that is written
        return None
    model.stages.graphs = None
    error = float((work() - found).abs().max())
    model.stages.graphs = graphs
    return error


def build_released(device: str) -> torch.nn.Module:
    """The baseline, with random weights."""
    from released import Released
    from transformers.initialization import no_init_weights

    with no_init_weights():
        model = Released().eval().to(device)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.02).add_(float(weight.dim() == 1))
    return model


def prepare(model, task: dict, folder: Path) -> tuple:
    """Make the input; return what enhances it, and its seconds."""
    source, target = folder / "in.wav", folder / "out.wav"
    write_noise(source, task["seconds"])
    if task["compute"] == "released":
        return lambda: model.enhance(source, target), task["seconds"]
    if not task["items"]:
        return lambda: model.stream_file(source, target), task["seconds"]
    wave = torch.from_numpy(soundfile.read(source, dtype="float32")[0])
    batch = torch.stack([wave.roll(k) for k in range(task["items"])])
    return lambda: model.enhance_batch(batch), task["items"] * task["seconds"]


def run_stages(model, work, task: dict) -> list[dict[str, float]]:
    """Run with a clock around each stage; the rest of a run is I/O."""
    spent = defaultdict(float)
    time_stages(model, spent)
    stages = []
    for _ in range(task["repeats"]):
        spent.clear()
        took = clock(work, task["device"])
        stages.append(split(dict(spent), took))
    return stages


def peak_bytes(device: str) -> int:
    """Largest memory of this process, or of the GPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def split(spent: dict[str, float], whole: float) -> dict[str, float]:
    """Take nested stages out of what holds them; the rest is I/O."""
    spent["WavLM layers"] -= spent["conv front"]
    return spent | {"I/O": whole - sum(spent.values())}


def write_noise(path: Path, seconds: float) -> None:
    """Write seeded noise in bursts."""
    rng = np.random.default_rng(0)
    count = round(RATE * seconds)
    level = 0.05 + 0.1 * (np.sin(np.arange(count) / 4000) > 0)
    soundfile.write(path, level * rng.standard_normal(count), RATE)


def run_all(args: argparse.Namespace) -> list[dict]:
    """Run every configuration in a fresh process."""
    fixed = {
        "model": args.model,
        "window": args.window,
        "repeats": args.repeats,
        "device": args.device,
        "items": args.items,
        "compile": args.compile,
        "no_tf32": args.no_tf32,
    }
    turns = itertools.product(
        args.seconds,
        args.threads,
        args.processes,
        args.window_batch,
        args.compute,
        args.graphs,
    )
    names = ("seconds", "threads", "processes", "window_batch", "compute")
    results = []
    for *turn, graphs in turns:
        task = fixed | dict(zip(names, turn, strict=True), graphs=graphs)
        if task["compute"] == "released" and graphs != args.graphs[0]:
            continue  # it has none
        results.append(measure_together(task))
        print_result(results[-1], results)
    return results


def measure_together(task: dict) -> dict:
    """Run one configuration in fresh processes; figures of all together."""
    count, context = task["processes"], multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        count, context, initializer=meet, initargs=(context.Barrier(count),)
    ) as pool:
        found = [pool.submit(measure, task) for _ in range(count)]
        found = [each.result() for each in found]
    whole = {"s_per_s": 1 / sum(1 / each["s_per_s"] for each in found)}
    whole["peak_bytes"] = sum(each["peak_bytes"] for each in found)
    threads = task["threads"] or torch.get_num_threads()
    whole["cores"] = min(os.cpu_count(), count * threads)
    return found[0] | whole


def meet(barrier) -> None:
    """Let this process begin to measure when all are ready."""
    global begins
    begins = barrier


def print_result(result: dict, results: list[dict]) -> None:
    """Print one configuration, beside the floor and the baseline."""
    base = [
        r["s_per_s"]
        for r in results
        if r["compute"] == "released" and r["seconds"] == result["seconds"]
    ]
    threads = result["threads"] or torch.get_num_threads()
    cores = result["cores"]
    line = (
        f"{result['model']} {result['compute']:9} {result['seconds']:6g} s, "
        f"batch {result['window_batch']}, processes {result['processes']}, "
        f"threads {threads}: {result['s_per_s']:.5f} s/s "
        f"({1 / result['s_per_s']:.1f} times real time, "
        f"{1 / result['s_per_s'] / cores:.1f} a core of {cores}), "
        f"first run {result['first_s']:.1f} s, peak "
        f"{result['peak_bytes'] / 1e9:.2f} GB, matrices "
        f"{result['rate'] / 1e9:.0f} GFLOP/s"
    )
    if torch.device(result["device"]).type == "cuda":
        line += f", TF32 {'on' if result['tf32'] else 'off'}"
        line += f", graphs {result['graphs']}"
        if result["graph_error"] is not None:
            line += f" (results differ by {result['graph_error']:.1e} at most)"
    if base:
        line += f", {base[-1] / result['s_per_s']:.2f} times the baseline"
    print(line, flush=True)
    if result["model"] != "llase" or not result["stages"]:
        return
    if result["processes"] > 1:
        return  # a floor is that of one process
    floors = count_flops()
    for name in STAGES:
        floor = floors[name] / result["rate"]
        times = f"{result['stages'][name] / floor:6.2f}" if floor else "     -"
        print(
            f"    {name:13} {1e3 * result['stages'][name]:8.4g} ms/s  floor "
            f"{1e3 * floor:7.3g}  times the floor {times}"
        )
    whole = sum(floors.values()) / result["rate"]
    print(
        f"    {'all':13} {1e3 * result['s_per_s']:8.4g} ms/s  floor "
        f"{1e3 * whole:7.3g}  times the floor {result['s_per_s'] / whole:6.2f}, "
        f"{whole / result['s_per_s']:.0%} of the limit",
        flush=True,
    )


def main() -> None:
    """Run, print, and write JSON if asked to."""
    args = parse_arguments()
    card = args.device
    if torch.device(card).type == "cuda":
        card = torch.cuda.get_device_name(card)
    print(f"{platform.processor() or platform.machine()}, {card}")
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads",
        flush=True,
    )
    results = run_all(args)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
