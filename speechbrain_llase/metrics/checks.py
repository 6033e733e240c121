"""What all measures share: checked waves, packages, files and models."""

import hashlib
import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import check_signal

Wave = torch.Tensor | np.ndarray  # (T,) floating


def check_wave(wav: Wave, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Check one wave (T,) within [-1, 1], and give it as float32.

    A ValueError, if it is empty, not 1-D, not floating, not finite or beyond
    full scale, or the rate is not 16000 Hz.
    """
    if sample_rate != SAMPLE_RATE:
        raise ValueError(
            f"sample_rate is {sample_rate}; resample to {SAMPLE_RATE} Hz."
        )
    wav = check_signal(wav, "The wave")
    if not wav.size:
        raise ValueError("The wave is empty; give at least one sample.")
    peak = np.abs(wav).max()
    if peak > 1:
        raise ValueError(
            f"The wave reaches {peak:.3f}, beyond full scale; scale it down "
            "first (the scores depend on the level)."
        )
    return wav.astype(np.float32, copy=False)


def check_pair(
    wav: Wave, clean: Wave, sample_rate: int = SAMPLE_RATE
) -> tuple[np.ndarray, np.ndarray]:
    """Check a wave and its clean original, as `check_wave` does.

    A ValueError, too, if the clean one is silent or the lengths differ.
    """
    wav, clean = (check_wave(x, sample_rate) for x in (wav, clean))
    if wav.shape != clean.shape:
        raise ValueError(
            f"The wave has {wav.size} samples and the clean one {clean.size}; "
            "cut both to one length."
        )
    if not clean.any():
        raise ValueError("The clean wave is all zero: nothing to compare.")
    return wav, clean


def within_scale(wav: torch.Tensor) -> np.ndarray:
    """Give (T,) as the measures take it: on the CPU, within full scale."""
    wav = wav.detach().float().cpu()
    return (wav / wav.abs().max().clamp(min=1.0)).numpy()


def import_package(module: str, requirements: str) -> ModuleType:
    """Import a package that only the evaluation needs.

    Where that fails, the ImportError tells what to give to pip.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise ImportError(
            f"{module} could not be imported ({err}); run "
            f"pip install {requirements}"
        ) from err


def check_sha256(file: Path, expected: str) -> None:
    """Raise a ValueError for a file whose SHA-256 (hexadecimal) is another."""
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(
            f"{file} has SHA-256 {found}, not {expected}; scores of other "
            "networks do not compare. Run pip install speechmos==0.0.1.1."
        )


def load_interface(interfaces: tuple, source: str, device: str, offline: str):
    """Load a SpeechBrain model with the first interface that it fits.

    Of the subclasses of `Pretrained`; the source is a folder or a hub id, and
    `offline` the name that needs no download, for the message. A ValueError,
    if the model cannot be fetched or fits none.
    """
    reasons = []
    for interface in interfaces:
        try:
            model = interface.from_hparams(source, run_opts={"device": device})
        except OSError as err:
            reason = " ".join(str(err).split())[:200]
            raise ValueError(
                f"{source} cannot be fetched ({type(err).__name__}: {reason}). "
                f"Give a local folder, or {offline!r}, which works offline."
            ) from err
        except (ValueError, AttributeError, KeyError) as err:
            reasons.append(f"{interface.__name__}: {err}")
            continue
        missing = [x for x in interface.MODULES_NEEDED if x not in model.mods]
        if not missing:
            return model
        reasons.append(f"{interface.__name__}: no module {missing[0]}")
    raise ValueError(f"{source} cannot be used. {'; '.join(reasons)}")


def check_rate(model, sample_rate: int = SAMPLE_RATE) -> None:
    """Refuse a SpeechBrain model that takes another sample rate (Hz).

    What it takes is said by its `audio_normalizer`; a ValueError, if that is
    not the rate of the waves that it would get.
    """
    taken = model.audio_normalizer.sample_rate
    if taken != sample_rate:
        raise ValueError(
            f"{type(model).__name__} takes {taken} Hz and the waves are at "
            f"{sample_rate} Hz; resample between the two, or choose a model "
            f"for {sample_rate} Hz."
        )
