"""What pictures show of a wave: spectrogram and level, in flat memory.

A file is read block by block and only what a picture can show is kept: at
most 2000 columns of the spectrogram and one figure every 20 ms.

Authors
 * The speechbrain_llase contributors 2026
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from speechbrain_llase.dataio.audio_reader import read_blocks
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import ACTIVE_RANGE, FRAME

N_FFT = 512  # samples
HOP_LENGTH = 128  # samples
MAX_COLUMNS = 2000  # of a spectrogram; more are averaged
BLOCK = 1 << 17  # samples of a tensor that are looked at at a time
SILENCE = 1e-12  # power, -120 dB: what is lower counts as this


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
        """Level where speech is (dBFS), as `signal.active_level`."""
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
    stop_s = np.inf if stop_s is None else stop_s
    if not 0 <= start_s < stop_s:
        raise ValueError(
            f"A part from {start_s:g} s to {stop_s:g} s is asked for; the "
            "start must be at least 0 and below the stop."
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    blocks = read_blocks(path, SAMPLE_RATE)
    first = round(start_s * SAMPLE_RATE)
    last = None if stop_s == np.inf else round(stop_s * SAMPLE_RATE)
    count = min(stop_s, length_s(path)) - start_s
    tracker = Tracker(SAMPLE_RATE, round(count * SAMPLE_RATE), start_s)
    for block in cut(blocks, first, last):
        tracker.push(block)
    if not tracker.samples:
        raise ValueError(
            f"{path} ends at {length_s(path):.2f} s; nothing is left of it "
            f"from {start_s:g} s on."
        )
    return tracker.finish()


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
    ((257, 126), -20.0)
    """
    if wav.ndim != 1 or not wav.numel():
        raise ValueError(
            f"The wave has shape {tuple(wav.shape)}; give (T,), T at least 1."
        )
    tracker = Tracker(sample_rate, len(wav), start_s)
    for block in wav.detach().cpu().float().split(BLOCK):
        tracker.push(block)
    return tracker.finish()


class Tracker:
    """Measure a wave that comes in blocks.

    Arguments
    ---------
    sample_rate : int
        In Hz.
    samples : int
        About how many will come; says how many columns are averaged.
    start_s : float
        Where the first one stands on the time axis, in seconds.
    """

    def __init__(self, sample_rate: int, samples: int, start_s: float):
        self.sample_rate = sample_rate
        self.start_s = start_s
        self.samples = 0
        self.group = -(-(samples // HOP_LENGTH + 1) // MAX_COLUMNS) or 1
        # Half a frame of zeros on both sides: columns are centred.
        self.waiting = torch.zeros(N_FFT // 2)
        self.ungrouped = torch.zeros(N_FFT // 2 + 1, 0)
        self.columns = []  # (F, c), power
        self.frames = []  # (m,), power
        self.unframed = torch.zeros(0)

    def push(self, block: torch.Tensor) -> None:
        """Take (T,)."""
        self.samples += len(block)
        wav = torch.cat((self.unframed, block))
        whole = len(wav) - len(wav) % FRAME
        self.frames.append(wav[:whole].view(-1, FRAME).square().mean(1))
        self.unframed = wav[whole:].clone()
        self._transform(block)

    def finish(self) -> Track:
        """End the wave."""
        self._transform(torch.zeros(N_FFT // 2))
        if self.ungrouped.shape[1]:
            self.columns.append(self.ungrouped.mean(1, keepdim=True))
        power = torch.cat(self.columns, 1)
        return Track(
            self.start_s,
            self.samples / self.sample_rate,
            self.sample_rate / 2000,
            (10 * torch.log10(power + SILENCE)).numpy(),
            torch.cat(self.frames).numpy(),
            FRAME / self.sample_rate,
        )

    def _transform(self, block: torch.Tensor) -> None:
        """Append the columns that are whole now, averaged in groups."""
        wav = torch.cat((self.waiting, block))
        count = (len(wav) - N_FFT) // HOP_LENGTH + 1
        if count < 1:
            self.waiting = wav
            return
        spectra = torch.stft(
            wav[: (count - 1) * HOP_LENGTH + N_FFT],
            N_FFT,
            HOP_LENGTH,
            window=torch.hann_window(N_FFT),
            center=False,
            return_complex=True,
        )
        self.waiting = wav[count * HOP_LENGTH :].clone()
        power = torch.cat((self.ungrouped, spectra.abs().square()), 1)
        whole = power.shape[1] - power.shape[1] % self.group
        grouped = power[:, :whole].unflatten(1, (-1, self.group)).mean(2)
        self.columns.append(grouped)
        self.ungrouped = power[:, whole:].clone()


def cut(
    blocks: Iterable[torch.Tensor], first: int, last: int | None
) -> Iterator[torch.Tensor]:
    """Yield the samples [first, last) of blocks (T,); read no further."""
    done = 0
    for block in blocks:
        stop = len(block) if last is None else min(len(block), last - done)
        part = block[max(0, first - done) : stop]
        done += len(block)
        if len(part):
            yield part
        if last is not None and done >= last:
            return


def length_s(path: str | Path) -> float:
    """Seconds of a file, as its header says; a ValueError if it has none."""
    try:
        return soundfile.info(str(path)).duration
    except soundfile.LibsndfileError as err:
        raise ValueError(f"{path} cannot be read as audio ({err}).") from err
