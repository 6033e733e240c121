#!/usr/bin/env python3
"""Stand-in checkpoints: files in the official formats, filled from tensor names alone.

    python stand_in.py tiny.json OUT     writes OUT/{WavLM-Large.pt, best.pt.tar, xcodec2.ckpt, xcodec2.safetensors, w2v_bert.safetensors}
    python stand_in.py g1_tiny.json OUT  writes OUT/model.pt.tar (g1_small.json: with WavLM-Large.pt and xcodec2.* of its own)

The released code, given these weights and the case's noisy wave, produced the arrays in the .npz of the same name.
"""

import json
import sys
import zlib
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file


def tensor(case, key, shape, lo, hi):
    """One float32 tensor, uniform in [lo, hi), drawn from the legacy (frozen) NumPy stream seeded by its name."""
    seed = zlib.crc32(f"{case}:{key}".encode())
    size = int(np.prod(shape)) if len(shape) else 1
    u = np.random.RandomState(seed).random_sample(size)
    return torch.from_numpy(
        (lo + (hi - lo) * u).astype(np.float32).reshape(shape)
    )


def state_dict(spec, part):
    """Every tensor of one part ("wavlm", "lm", "xcodec2" or "w2v_bert") of a case."""
    return {
        key: tensor(spec["case"], key, **m)
        for key, m in spec["manifest"][part].items()
    }


def anti_aliasing_filter():
    """The 12 taps that every upsample and downsample of the official codec encoder stores: Kaiser-windowed sinc, cut at a quarter."""
    beta = 0.1102 * (2.285 * 5 * np.pi * 4 * 0.3 + 7.95 - 8.7)
    taps = np.kaiser(12, beta) * np.sinc(0.5 * (np.arange(12) - 5.5))
    return torch.from_numpy((taps / taps.sum()).astype(np.float32)).reshape(
        1, 1, 12
    )


def stored_buffers(keys):
    """What the official Xcodec2 files hold beside weights: the inverse STFT's window, and two filters an activation."""
    buffers = {"generator.head.istft.window": torch.hann_window(1280)}
    for key in keys:
        if key.startswith("CodecEnc.") and key.endswith(".act.alpha"):
            stem = key[: -len("act.alpha")]
            for name in ("upsample.filter", "downsample.lowpass.filter"):
                buffers[stem + name] = anti_aliasing_filter()
    return buffers


def write(spec, out):
    """Write the case's parts under the names and layouts that the official files have."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    parts = spec["manifest"]
    if "wavlm" in parts:
        torch.save(
            {"cfg": spec["wavlm_cfg"], "model": state_dict(spec, "wavlm")},
            out / "WavLM-Large.pt",
        )
    if (
        "xcodec2" in parts
    ):  # the official file also carries training-only networks, to be ignored
        weights = state_dict(spec, "xcodec2")
        weights |= stored_buffers(list(weights))
        save_file(
            weights
            | {"semantic_model.encoder.layers.0.a.weight": torch.zeros(4)},
            out / "xcodec2.safetensors",
        )
        for other in (
            "discriminator.discriminators.0.convs.0.bias",
            "spec_discriminator.a.bias",
            "fc_post_s.bias",
            "model_spk.a.bias",
            "SemanticDecoder_module.a.bias",
            "criteria.mel_loss.mel_transforms.0.spectrogram.window",
        ):
            weights[other] = torch.zeros(16)
        extras = {
            "hyper_parameters": Namespace(lr=1e-4),
            "lr_schedulers": [{"lr_lambdas": [None]}],
        }  # as training objects that only pickle knows
        torch.save(
            {
                "state_dict": weights,
                "epoch": 4,
                "global_step": 1400000,
                **extras,
            },
            out / "xcodec2.ckpt",
        )
    if "w2v_bert" in parts:
        save_file(state_dict(spec, "w2v_bert"), out / "w2v_bert.safetensors")
    name = "model.pt.tar" if spec["case"].startswith("g1") else "best.pt.tar"
    lm = {"model_state_dict": state_dict(spec, "lm"), "epoch": 0}
    if name == "best.pt.tar":  # the official one carries Adam's moments
        moments = {
            "step": torch.tensor(1.0),
            "exp_avg": torch.zeros(4),
            "exp_avg_sq": torch.zeros(4),
        }
        lm["optim_state_dict"] = {"state": {0: moments}}
    torch.save(lm, out / name)


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
