"""What pictures show of a wave: spectrogram and level, in flat memory.

Only what a picture can show is kept: at most 2000 columns of the spectrogram
and one figure every 20 ms.
"""

from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch

from speechbrain_llase.dataio.audio_reader import read_blocks
from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import ACTIVE_RANGE, FRAME

N_FFT = 512  # samples
COLUMN = 160  # samples from one column to the next; two are a FRAME
MAX_COLUMNS = 2000  # of a spectrogram; more are averaged
TRANSFORMED = 800  # columns at a time, or as many as are averaged into two
MIN_POWER = 1e-12  # -120 dB: what is lower counts as this


@dataclass(frozen=True)
class Track:
    """What the panels show of one wave."""

    start_s: float  # where it begins in its file
    duration_s: float
    nyquist_khz: float
    spectrogram: np.ndarray  # float32 (F, C), dB; 257 bins, C <= 2000
    power: np.ndarray  # float32 (M,), mean square of each 320 samples
    frame_s: float  # seconds of each of these; 0.02 at 16 kHz

    @property
    def stop_s(self) -> float:
        """Where it ends in its file."""
        return self.start_s + self.duration_s

    @property
    def active_db(self) -> float:
        """Level where speech is (dBFS), as `signal_processing.active_level`."""
        if not self.power.size or not self.power.any():
            return -np.inf
        active = self.power >= self.power.max() * ACTIVE_RANGE
        return float(10 * np.log10(self.power[active].mean(dtype=np.float64)))


def track_file(
    path: str | Path, start_s: float = 0.0, stop_s: float | None = None
) -> Track:
    """Measure a file, or a part of it, as the model hears it.

    Arguments
    ---------
    path : str or Path
        Any rate and number of channels; resampled to 16 kHz and averaged to
        one channel.
    start_s : float
        Where the part begins, in seconds.
    stop_s : float, optional
        Where it ends; the file's end if None or later.

    Returns
    -------
    track : Track

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file cannot be read as audio, or nothing of it lies between
        start_s and stop_s.
    """
    if not 0 <= start_s < (np.inf if stop_s is None else stop_s):
        raise ValueError(
            f"A part from {start_s:g} s to {stop_s:g} s is asked for; the "
            "start must be at least 0 and below the stop."
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    first = round(start_s * SAMPLE_RATE)
    last = None if stop_s is None else round(stop_s * SAMPLE_RATE)
    done = 0
    with SampleSpool() as wave:
        for block in read_blocks(path, SAMPLE_RATE):
            left = len(block) if last is None else last - done
            wave.write(block[max(0, first - done) : max(0, left)])
            done += len(block)
            if last is not None and done >= last:
                break
        if not wave.length:
            raise ValueError(
                f"{path} ends at {done / SAMPLE_RATE:.2f} s; nothing is left "
                f"of it from {start_s:g} s on."
            )
        return measure_track(wave, SAMPLE_RATE, start_s)


def track_wave(
    wav: torch.Tensor, sample_rate: int = SAMPLE_RATE, start_s: float = 0.0
) -> Track:
    """Measure a wave that is in memory.

    Arguments
    ---------
    wav : torch.Tensor
        float (T,), T at least 1.
    sample_rate : int
        In Hz.
    start_s : float
        Where its first sample stands on the time axis, in seconds.

    Returns
    -------
    track : Track

    Raises
    ------
    ValueError
        The wave has another shape or no samples.

    Example
    -------
    >>> track = track_wave(torch.full((16000,), 0.1))
    >>> track.spectrogram.shape, round(track.active_db, 1)
    ((257, 101), -20.0)
    """
    if wav.ndim != 1 or not wav.numel():
        raise ValueError(
            f"The wave has shape {tuple(wav.shape)}; give (T,), T at least 1."
        )
    with SampleSpool() as wave:
        wave.write(wav.detach())
        return measure_track(wave, sample_rate, start_s)


def measure_track(wave: SampleSpool, sample_rate: int, start_s: float) -> Track:
    """Take what pictures show of a wave, block by block."""
    columns = wave.length // COLUMN + 1
    group = -(-columns // MAX_COLUMNS)  # columns that are averaged into one
    spectrogram = np.empty((N_FFT // 2 + 1, -(-columns // group)), np.float32)
    power = np.empty(wave.length // FRAME, np.float32)
    pairs = max(1, TRANSFORMED // (2 * group))
    column = frame = 0
    blocks = wave.blocks(2 * pairs * group * COLUMN)
    before, end = torch.zeros(N_FFT // 2), torch.zeros(N_FFT // 2)
    for block, after in pairwise(chain(blocks, [end])):
        count = len(block) // COLUMN + (after is end)
        near = torch.cat((before, block, after[: N_FFT // 2], end))
        for part in column_power(near, count).split(group, 1):
            level_db = 10 * torch.log10(part.mean(1) + MIN_POWER)
            spectrogram[:, column] = level_db.numpy()
            column += 1
        whole = block[: len(block) - len(block) % FRAME].view(-1, FRAME)
        power[frame : frame + len(whole)] = whole.square().mean(1).numpy()
        frame += len(whole)
        before = block[-N_FFT // 2 :]
    times = start_s, wave.length / sample_rate
    frame_s = FRAME / sample_rate
    return Track(*times, sample_rate / 2000, spectrogram, power, frame_s)


def column_power(wav: torch.Tensor, count: int) -> torch.Tensor:
    """Power (F, count) of the first columns of (T,)."""
    spectra = torch.stft(
        wav[: N_FFT + (count - 1) * COLUMN],
        N_FFT,
        COLUMN,
        window=torch.hann_window(N_FFT),
        center=False,
        return_complex=True,
    )
    return spectra.abs().square()
