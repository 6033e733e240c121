"""Whisper as a recogniser, through faster-whisper.

A recogniser that reads noisy speech, so that word changes say something about
the speech and not about the recogniser. It is heard alike everywhere: float32,
a beam of five, temperature 0, no words from the window before, and no four
words twice, as it would go round and round on damaged speech.
"""

from pathlib import Path

import numpy as np
import torch

from speechbrain_llase.metrics.checks import check_wave, import_package
from speechbrain_llase.processing.framing import SAMPLE_RATE

WHISPER_ASR = "whisper"
WHISPER_MODEL = "tiny.en"  # 75 MB
DECODING = {
    "beam_size": 5,
    "temperature": 0.0,
    "no_repeat_ngram_size": 4,
    "condition_on_previous_text": False,
    "without_timestamps": True,
}


class WhisperReader:
    """A Whisper model in the form of CTranslate2.

    Arguments
    ---------
    model : str
        A name that faster-whisper fetches from the hub ("tiny.en",
        "small.en", "large-v3" and others), or a folder with model.bin.
    device : str
        "cpu" or "cuda".
    language : str
        Of the speech; models that end in ".en" know English alone.

    Raises
    ------
    ImportError
        If faster-whisper is not installed.
    ValueError
        If the model cannot be loaded.

    Example
    -------
    >>> reader = WhisperReader("folder")  # doctest: +SKIP
    >>> reader(wave)  # doctest: +SKIP
    'The birch canoe slid on the smooth planks.'
    """

    def __init__(
        self,
        model: str = WHISPER_MODEL,
        device: str = "cpu",
        language: str = "en",
    ):
        self.name = f"{WHISPER_ASR}:{model}"
        self._language = language
        self._model = load_whisper(model, device)

    def __call__(
        self, wav: torch.Tensor | np.ndarray, sample_rate: int = SAMPLE_RATE
    ) -> str:
        """Recognise one wave.

        Arguments
        ---------
        wav : torch.Tensor or np.ndarray
            (T,) floating within [-1, 1].
        sample_rate : int
            In Hz; only 16000 is supported.

        Returns
        -------
        text : str
            Empty where nothing was recognised.
        """
        samples = check_wave(wav, sample_rate)
        segments, _ = self._model.transcribe(
            samples, language=self._language, **DECODING
        )
        return " ".join(segment.text.strip() for segment in segments)


def load_whisper(model: str, device: str):
    """Load a Whisper model in float32.

    Arguments
    ---------
    model : str
        Name or folder; see `WhisperReader`.
    device : str
        "cpu", "cuda" or "cuda:1".

    Returns
    -------
    model : faster_whisper.WhisperModel

    Raises
    ------
    ImportError
        If faster-whisper is not installed.
    ValueError
        If the name is not known, or the model cannot be fetched or read.
    """
    package = import_package("faster_whisper", "'faster-whisper>=1.1,<2'")
    kind, _, index = str(device).partition(":")
    try:
        return package.WhisperModel(
            str(model),
            device=kind,
            device_index=int(index or 0),
            compute_type="float32",
            cpu_threads=torch.get_num_threads(),
        )
    except (OSError, RuntimeError, ValueError) as err:
        reason = " ".join(str(err).split())[:200]
        raise ValueError(
            f"Whisper's {model} cannot be loaded ({type(err).__name__}: "
            f"{reason}). Give whisper:FOLDER, a folder with CTranslate2's "
            "model.bin, or a name that faster-whisper knows."
        ) from err


def find_whisper(name: str) -> str | None:
    """The model in "whisper" or "whisper:MODEL"; None for other recognisers.

    Arguments
    ---------
    name : str
        As `load_reader` takes it.

    Returns
    -------
    model : str, optional
        Name or folder; a folder's "~" is the home.

    Raises
    ------
    ValueError
        If nothing stands behind the colon.

    Example
    -------
    >>> find_whisper("whisper"), find_whisper("whisper:small.en")
    ('tiny.en', 'small.en')
    >>> find_whisper("pocketsphinx")
    """
    kind, colon, model = name.partition(":")
    if kind != WHISPER_ASR:
        return None
    if colon and not model:
        raise ValueError(
            f"{name!r} names no model; give whisper, whisper:small.en or "
            "whisper:FOLDER."
        )
    if model.startswith("~"):
        return str(Path(model).expanduser())
    return model or WHISPER_MODEL
