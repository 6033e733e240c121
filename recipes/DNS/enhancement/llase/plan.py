#!/usr/bin/env python3
"""How long will it take? Measures this machine and plans a training.

To run this script, do the following:
> python plan.py hparams/train.yaml --hours 5000 --gpus 8

It needs no data and no model: the networks of the YAML are built with random
weights, and a few steps of training, the mixing and the extraction of tokens
are timed, on one device. The tokens are those of the YAML's `base` where it
names one, else of Xcodec2 with random weights. The plan is arithmetic on these figures: its hours
hold if all GPUs are like the one measured and nothing else holds them up.
"""

import argparse
import re
import resource
import sys
import tempfile
import time
from contextlib import nullcontext

import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml

from speechbrain_llase.augment.noise_mixer import NoiseMixer
from speechbrain_llase.lobes.xcodec2_tokenizer import (
    CodecEncoder,
    SemanticEncoder,
    Xcodec2Tokenizer,
)
from speechbrain_llase.training.token_extraction import SpeechTokenizer

RATE = 16000  # Hz
TOKENS = 50  # a second
MIXED = 20  # segments that are mixed
KEY_BYTES = 24  # of a recording in the cache, beside its tokens
UTTERANCE_S = 10.0  # assumed for the cache


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print the plan.

    Arguments
    ---------
    arguments : list of str, optional
        Command line; None takes that of the process.

    Returns
    -------
    status : int
        0.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("yaml", help="of a training in this folder, with mixtures")
    add("--hours", type=float, default=5000.0, help="of clean speech")
    add("--gpus", type=int, default=8)
    add("--epochs", type=int, help="default: number_of_epochs of the YAML")
    add("--batch-s", type=float, help="default: max_batch_length of the YAML")
    add("--steps", type=int, default=3, help="that are timed, after one more")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        hparams = read(args.yaml, scratch)
    batch_s = args.batch_s or hparams["batching"]["max_batch_length"]
    extraction = time_extraction(hparams["base"], args.device, args.steps)
    free(args.device)
    training, memory = time_training(hparams, batch_s, args)
    mixing = time_mixing(hparams)
    epochs = args.epochs or hparams["number_of_epochs"]
    print(f"measured on {args.device}, {torch.get_num_threads()} threads:")
    print(f"  extraction {extraction:8.2f} s of audio a second")
    print(
        f"  training   {training:8.2f} s of audio a second, {batch_s:.0f} s a"
    )
    print(f"             step, {memory / 1e9:.1f} GB at most")
    print(f"  mixing     {mixing:8.2f} s of audio a second and core")
    print(
        f"plan for {args.hours:g} h, {args.gpus} such devices, {epochs} epochs:"
    )
    for line in plan(args, extraction, training, mixing, epochs):
        print(f"  {line}")
    return 0


def read(file: str, scratch: str) -> dict:
    """Build what a YAML says; what it writes goes to a scratch folder."""
    with open(file, encoding="utf-8") as fin:
        text = fin.read()
    unset = re.findall(r"^(\w+): !PLACEHOLDER", text, re.MULTILINE)
    given = dict.fromkeys(unset, "") | {"output_folder": scratch}
    return load_hyperpyyaml(text, given)


def settle(network: torch.nn.Module) -> torch.nn.Module:
    """Give a network small random weights, so that none is denormal."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.02)
    return network


def time_extraction(base: str, device: str, steps: int) -> float:
    """Seconds of audio a second of a base's encoder, or of Xcodec2's."""
    wavs = torch.rand(1, round(UTTERANCE_S * RATE), device=device) - 0.5
    if base:
        tokenizer, wavs = SpeechTokenizer(base, device), wavs[0]
    else:
        tokenizer = Xcodec2Tokenizer(
            SemanticEncoder(1024, 16, 16, 4096), CodecEncoder(1024, 1024, 48)
        )
        tokenizer = settle(tokenizer).to(device).eval()
    with torch.no_grad():
        wall = timed(lambda: tokenizer(wavs), device, steps)
    return steps * UTTERANCE_S / wall


def time_training(hparams, batch_s, args) -> tuple[float, int]:
    """Seconds of audio a second, and the bytes that it takes at most."""
    device = args.device
    for name in ("frontend", "token_lm"):
        settle(hparams[name])
    hparams["fine_tuned"].adapt()
    for network in hparams["modules"].values():  # the vocoder, too
        network.to(device)
    frontend = hparams["modules"]["frontend"]
    loss_of = hparams["token_loss"]
    weights = [w for w in loss_of.parameters() if w.requires_grad]
    optimizer = hparams["opt_class"](weights)
    samples = round(hparams["segment_s"] * RATE)
    count = max(1, round(batch_s / hparams["segment_s"]))
    noisy = torch.rand(count, samples, device=device) - 0.5
    half = hparams["precision"] == "bf16"
    kind = torch.device(device).type
    context = torch.autocast(kind, torch.bfloat16) if half else nullcontext()

    def step():
        with context:
            feats = frontend(noisy)
            goals = torch.randint(65536, feats.shape[:2], device=device)
            scores = loss_of(feats, goals)
        (scores.loss / scores.frames).backward()
        optimizer.step()
        optimizer.zero_grad()

    wall = timed(step, device, args.steps)
    if kind == "cuda":
        memory = torch.cuda.max_memory_allocated(device)
    else:
        memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return args.steps * count * hparams["segment_s"] / wall, memory


def time_mixing(hparams) -> float:
    """Seconds of audio a second that one core mixes, of synthesised noise."""
    settings = hparams["mixtures"] | {"synthetic_prob": 1.0}
    mixer = NoiseMixer([], [], sample_rate=RATE, resample=False, **settings)
    rng = np.random.default_rng(0)
    samples = round(hparams["segment_s"] * RATE)
    clean = torch.from_numpy(rng.standard_normal(samples).astype("f4")) / 10
    wall = timed(lambda: mixer(clean, rng), "cpu", MIXED)
    return MIXED * hparams["segment_s"] / wall


def timed(run, device: str, times: int) -> float:
    """Seconds that some runs take, after one that is not counted."""
    for counted in (False, True):
        begin = time.perf_counter()
        for _ in range(times if counted else 1):
            run()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def free(device: str) -> None:
    """Forget the memory that extraction took."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def plan(args, extraction, training, mixing, epochs) -> list[str]:
    """Say what the figures mean for the whole data."""
    seconds = 3600 * args.hours
    once = seconds / args.gpus / 3600  # hours at one second a second
    disk = seconds * (2 * TOKENS + KEY_BYTES / UTTERANCE_S)
    return [
        f"tokens on disk   {disk / 1e9:10.2f} GB",
        f"extraction       {once / extraction:10.1f} h, once",
        f"an epoch         {once / training:10.1f} h",
        f"the training     {epochs * once / training:10.1f} h",
        f"cores for mixing {training / mixing:10.2f} a GPU",
    ]


if __name__ == "__main__":
    sys.exit(main())
