"""Reading speech and pieces of noise from files, at one rate."""

import io
from pathlib import Path

import numpy as np
import soundfile
import torch

from speechbrain_llase.dataio.manifests import list_folder
from speechbrain_llase.dataio.resampling import resample_mono


def read_speech(
    path: str | Path, sample_rate: int, resample: bool = False
) -> tuple[bytes, torch.Tensor]:
    """Read a file once, for its hash and for its samples.

    Gives the file as it is, and float32 (T,) at the sample rate (Hz). With
    `resample`, other rates and channels are resampled and averaged. A
    ValueError names the file, if rate or channels differ, if a sample is NaN
    or infinite, or if this is no audio.
    """
    content = Path(path).read_bytes()
    try:
        samples, rate = soundfile.read(
            io.BytesIO(content), dtype="float32", always_2d=True
        )
        samples = torch.from_numpy(samples)
        return content, conform(samples, rate, sample_rate, resample)
    except (ValueError, soundfile.LibsndfileError) as err:
        raise ValueError(f"{path}: {err}") from err


def load_folder(path: str | Path, sample_rate: int) -> list[torch.Tensor]:
    """Read all audio below a folder, in the order of its sorted paths.

    Every file must be mono and have `sample_rate` (Hz), else a ValueError
    names it. Gives float32 tensors (T,); see `list_folder`.
    """
    files = [entry["clean_wav"] for entry in list_folder(path).values()]
    return [read_speech(file, sample_rate)[1] for file in files]


def read_piece(
    path: str | Path,
    num_samples: int,
    sample_rate: int,
    resample: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """Read a random piece of a long file and no more: (num_samples,).

    A short file is repeated from a random place on. For rate (Hz) and
    `resample` see `read_speech`; a ValueError names a file that cannot be
    used.
    """
    try:
        with soundfile.SoundFile(path) as file:
            wanted = -(-num_samples * file.samplerate // sample_rate)
            start = int(rng.integers(max(file.frames - wanted, 0) + 1))
            file.seek(start)
            samples = file.read(wanted, dtype="float32", always_2d=True)
            rate = file.samplerate
        wav = conform(torch.from_numpy(samples), rate, sample_rate, resample)
    except (ValueError, soundfile.LibsndfileError) as err:
        raise ValueError(f"{path}: {err}") from err
    if not len(wav):
        raise ValueError(f"{path}: there are no samples at {start}.")
    if len(wav) < num_samples:
        wav = wav.roll(int(rng.integers(len(wav))))
        wav = wav.repeat(-(-num_samples // len(wav)))
    return wav[:num_samples].numpy()


def conform(
    samples: torch.Tensor, rate: int, sample_rate: int, resample: bool
) -> torch.Tensor:
    """Bring (T, C) to one rate and one channel, or refuse it."""
    if (rate, samples.shape[1]) != (sample_rate, 1):
        if not resample:
            raise ValueError(
                f"The audio has {rate} Hz and {samples.shape[1]} channel(s); "
                f"convert it to {sample_rate} Hz and one channel, or set "
                "resample."
            )
        mono = resample_mono(samples.numpy(), rate, sample_rate)
        samples = mono.unsqueeze(1)
    if not samples.isfinite().all():
        raise ValueError("The audio has NaN or infinite samples.")
    return samples[:, 0]
