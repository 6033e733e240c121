"""Write llase_mini.npz: what the embedded model makes of the example clip.

Run it after new weights were published, never to make a failing test pass:

> python tests/golden/make_llase_mini.py
"""

import os
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.lobes.mel_codec import load_codec
from speechbrain_llase.lobes.spectral_encoder import magnitudes
from speechbrain_llase.processing.signal_processing import to_active_level

NOISY = Path(__file__).parents[2] / "examples" / "noisy.wav"
TARGET = Path(__file__).with_name("llase_mini.npz")
WINDOW_S = 3.0  # of the case in windows; the clip is 8.7 s
KEPT = slice(None, None, 16)  # bins of a wave's spectra that are kept


def load(**overrides) -> EnhanceLLaSE:
    """Load the embedded model in float32 on the CPU."""
    return EnhanceLLaSE.from_hparams(
        run_opts={"device": "cpu"}, overrides=overrides
    )


@torch.no_grad()
def outputs() -> dict[str, np.ndarray]:
    """Run every stage on the example clip.

    Returns
    -------
    arrays : dict
        tokens, windowed_tokens, codec_tokens (N,) uint16: of one window, of
        windows of 3 s, and of the codec's encoder; margins (N,) float16: how
        far, in logits, the nearest other token is from `tokens`; decoded,
        enhanced, windowed (N, 41) float32: magnitudes of every 16th bin of
        the wave of `tokens`, and of the enhanced clip in one window and in
        several. Of spectra, because phases that follow a pitch add up what
        machines round otherwise.
    """
    model, windowed = load(), load(window_s=WINDOW_S)
    noisy = model.load_audio(str(NOISY))[None]
    wav = noisy / noisy.abs().max()
    logits = model.mods.token_lm(model.mods.frontend(wav))[0]
    best = logits.topk(2, dim=-1).values  # (N, 8, 2)
    tokens = model.predict_tokens(noisy)
    codec = load_codec(
        str(resources.files("speechbrain_llase.hparams") / "llase_mini")
    )
    level_db = codec.hparams.codec_level_db
    waves = {
        "decoded": model.mods.vocoder(tokens),
        "enhanced": model.enhance_batch(noisy),
        "windowed": windowed.enhance_batch(noisy),
    }
    rows = {
        "tokens": tokens,
        "windowed_tokens": windowed.predict_tokens(noisy),
        "codec_tokens": codec.encode(to_active_level(noisy, level_db)),
    }
    arrays = {k: v[0].numpy().astype(np.uint16) for k, v in rows.items()}
    arrays |= {k: spectra(v[0]) for k, v in waves.items()}
    margins = (best[..., 0] - best[..., 1]).amin(-1)
    return arrays | {"margins": margins.numpy().astype(np.float16)}


def spectra(wave: torch.Tensor) -> np.ndarray:
    """What is kept of a wave (T,): float32 (N, 41)."""
    whole = wave[: len(wave) // 320 * 320]
    return magnitudes(whole[None])[0, :, KEPT].numpy()


def main() -> None:
    """Write beside the target, then rename."""
    scratch = TARGET.with_suffix(".part.npz")
    np.savez_compressed(scratch, **outputs())
    os.replace(scratch, TARGET)
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
