#!/usr/bin/env python3
"""Stand-in checkpoints: files in the official formats, filled from tensor names alone.

    python stand_in.py tiny.json OUT     writes OUT/{WavLM-Large.pt, best.pt.tar, xcodec2.ckpt, w2v_bert.safetensors}
    python stand_in.py g1_tiny.json OUT  writes OUT/model.pt.tar

The released code, given these weights and the case's noisy wave, produced the arrays in the .npz of the same name.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch


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
        weights["discriminator.discriminators.0.convs.0.bias"] = torch.zeros(16)
        weights["fc_post_s.bias"] = torch.zeros(16)
        torch.save(
            {"state_dict": weights, "epoch": 4, "global_step": 1400000},
            out / "xcodec2.ckpt",
        )
    if "w2v_bert" in parts:
        from safetensors.torch import save_file

        save_file(state_dict(spec, "w2v_bert"), out / "w2v_bert.safetensors")
    name = "model.pt.tar" if spec["case"].startswith("g1") else "best.pt.tar"
    torch.save(
        {"model_state_dict": state_dict(spec, "lm"), "epoch": 0}, out / name
    )


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2])
