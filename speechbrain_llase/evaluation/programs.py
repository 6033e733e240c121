"""Other programs as enhancers: `name=command {input} {output}`.

Whatever turns one audio file into another can be measured beside a model:
its rate is converted, a constant delay is found and removed, its level is
kept.
"""

import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from speechbrain_llase.evaluation.clips import as_wave
from speechbrain_llase.processing.framing import SAMPLE_RATE

PLACES = ("{input}", "{output}")
LONGEST_DELAY = 4000  # samples; 0.25 s
LEAST_LIKENESS = 0.3  # correlation under which there is no delay to speak of
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
System = Callable[[np.ndarray], np.ndarray]  # noisy (T,) -> wave (T',)


class Program:
    """A program that reads one audio file and writes another.

    Arguments
    ---------
    given : str
        "name=command", the command with {input} and {output}, as
        "demucs=python demucs.py --from {input} --to {output}". It is split
        as a shell would, and run without one, on one thread.

    Raises
    ------
    ValueError
        If the name, or one of the two places, is missing.

    Example
    -------
    >>> Program("copy=cp {input} {output}").name
    'copy'
    """

    def __init__(self, given: str):
        self.name, _, command = given.partition("=")
        if not self.name or not all(place in command for place in PLACES):
            raise ValueError(
                f"{given!r} is no system; write name=command with "
                "{input} and {output} in the command."
            )
        self._words = shlex.split(command)

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """Enhance one wave.

        Arguments
        ---------
        noisy : np.ndarray
            (T,) float32 at 16 kHz, within [-1, 1].

        Returns
        -------
        wave : np.ndarray
            (T',) float32 at 16 kHz, as late as the program makes it.

        Raises
        ------
        ValueError
            If the program fails or writes no audio.
        """
        import soundfile

        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder, "noisy.wav"), Path(folder, "enhanced.wav")
            soundfile.write(files[0], noisy, SAMPLE_RATE, subtype="FLOAT")
            self._run(dict(zip(PLACES, map(str, files), strict=True)))
            if not files[1].is_file():
                raise ValueError(f"{self.name} wrote no {{output}}.")
            return as_wave(files[1])

    def _run(self, places: dict[str, str]) -> None:
        words = []
        for word in self._words:
            for place, file in places.items():
                word = word.replace(place, file)
            words.append(word)
        one_thread = os.environ | dict.fromkeys(THREAD_VARIABLES, "1")
        try:
            subprocess.run(
                words,
                check=True,
                env=one_thread,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as err:
            raise ValueError(f"{self.name} cannot be run: {err}") from err
        except subprocess.CalledProcessError as err:
            said = err.stderr.decode(errors="replace").strip()[-300:]
            raise ValueError(
                f"{self.name} ended with {err.returncode}: {said}"
            ) from err


def in_time(system: System, noisy: Sequence[np.ndarray]) -> System:
    """Give a system without the delay that it has on some waves.

    Arguments
    ---------
    system : callable
        As late as it is.
    noisy : sequence of np.ndarray
        (T,) each, that it is heard with.

    Returns
    -------
    system : callable
        (T,) -> (T,), in time.
    """
    delay = find_common_delay([system(wave) for wave in noisy], noisy)

    def enhance(wave: np.ndarray) -> np.ndarray:
        return remove_delay(system(wave), delay, len(wave))

    return enhance


def find_common_delay(
    waves: Sequence[np.ndarray], noisy: Sequence[np.ndarray]
) -> int:
    """Find by how many samples a system is late.

    The correlations of all waves with their inputs are added, so that one
    delay fits all.

    Arguments
    ---------
    waves, noisy : sequence of np.ndarray
        (T',) and (T,) each.

    Returns
    -------
    delay : int
        0 to 4000; 0 where the waves are not like the input at all, as those
        of a generative system with phases of its own are.

    Example
    -------
    >>> noise = np.random.default_rng(0).standard_normal(16000)
    >>> find_common_delay([np.concatenate([np.zeros(480), noise])], [noise])
    480
    """
    total = np.zeros(LONGEST_DELAY + 1)
    for wave, heard in zip(waves, noisy, strict=True):
        size = len(wave) + len(heard)
        cross = np.fft.irfft(
            np.fft.rfft(wave, size) * np.conj(np.fft.rfft(heard, size)), size
        )
        norm = np.linalg.norm(wave) * np.linalg.norm(heard)
        total += cross[: LONGEST_DELAY + 1] / max(norm, 1e-9)
    delay = int(np.argmax(total))
    return delay if total[delay] > LEAST_LIKENESS * len(waves) else 0


def remove_delay(wave: np.ndarray, delay: int, num_samples: int) -> np.ndarray:
    """Cut what is late, and bring (T',) to num_samples with zeros."""
    wave = wave[delay : delay + num_samples]
    return np.pad(wave, (0, num_samples - len(wave)))
