"""Speaker similarity: does the voice stay the same?"""

import numpy as np
import torch

from speechbrain_llase.metrics.checks import (
    Wave,
    check_rate,
    check_wave,
    import_package,
    load_interface,
)
from speechbrain_llase.processing.framing import SAMPLE_RATE

OFFLINE_SPEAKER = "resemblyzer"
HUB_SPEAKER = "speechbrain/spkrec-ecapa-voxceleb"


class SpeakerSimilarity:
    """Cosine between the voices of two waves, about 0.5 to 1.

    Resemblyzer's `VoiceEncoder` on its `preprocess_wav`, which brings quiet
    waves up to -30 dBFS and cuts long pauses (on copies), on the CPU.

    Raises
    ------
    ImportError
        If Resemblyzer is not installed.

    Example
    -------
    >>> similarity = SpeakerSimilarity()  # doctest: +SKIP
    >>> similarity(enhanced, clean)  # doctest: +SKIP
    0.88
    """

    name = OFFLINE_SPEAKER

    def __init__(self):
        self._package = import_package(
            "resemblyzer", "Resemblyzer==0.1.4 'setuptools<81'"
        )
        self._encoder = self._package.VoiceEncoder("cpu", verbose=False)

    def __call__(
        self, wav: Wave, clean: Wave, sample_rate: int = SAMPLE_RATE
    ) -> float:
        """Compare the voice of one wave with that of its clean original.

        Arguments
        ---------
        wav, clean : torch.Tensor or np.ndarray
            (T,) floating within [-1, 1], not all zero.
        sample_rate : int
            In Hz; only 16000 is supported.

        Returns
        -------
        cosine : float
        """
        embedded = self.embed(wav, sample_rate)
        return float(np.dot(embedded, self.embed(clean, sample_rate)))

    def embed(self, wav: Wave, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
        """Describe the voice of one wave, (T,) within [-1, 1], at 16 kHz.

        float32 (D,) of unit length; D is 256 for Resemblyzer. A ValueError, if
        the wave is all zero: silence has no voice.
        """
        wav = check_wave(wav, sample_rate)
        if not wav.any():
            raise ValueError("The wave is all zero: silence has no voice.")
        return self._embed(wav)

    def _embed(self, wav: np.ndarray) -> np.ndarray:
        wav = self._package.preprocess_wav(wav)
        if not wav.size:
            raise ValueError("No speech was found: there is no voice.")
        return self._encoder.embed_utterance(wav)


class HubSpeakerSimilarity(SpeakerSimilarity):
    """Cosine between two voices by a SpeechBrain `SpeakerRecognition`.

    Its figures are not on the scale of Resemblyzer's.

    Arguments
    ---------
    model : speechbrain.inference.speaker.SpeakerRecognition
        Any with `encode_batch`, at 16 kHz.
    name : str
        What it is called in reports.

    Raises
    ------
    ValueError
        If the model takes another sample rate.
    """

    def __init__(self, model, name: str):
        check_rate(model)
        self._model = model
        self.name = name

    def _embed(self, wav: np.ndarray) -> np.ndarray:
        """Embedding (D,) of unit length."""
        wavs = torch.from_numpy(wav.copy())[None]
        embedding = self._model.encode_batch(wavs).flatten().cpu()
        return torch.nn.functional.normalize(embedding, dim=0).numpy()


def load_speaker(name: str, device: str = "cpu") -> SpeakerSimilarity:
    """Load a measure of voices.

    Warning: a SpeechBrain model's YAML runs code; load only models of people
    whom you trust.

    Arguments
    ---------
    name : str
        "resemblyzer", a folder or a hub id of a SpeechBrain
        `SpeakerRecognition` model.
    device : str
        Of a SpeechBrain model.

    Returns
    -------
    similarity : SpeakerSimilarity

    Raises
    ------
    ImportError
        If Resemblyzer is asked for and not installed.
    ValueError
        If the model cannot be fetched or is none of these.
    """
    if name == OFFLINE_SPEAKER:
        return SpeakerSimilarity()
    from speechbrain.inference.speaker import SpeakerRecognition

    model = load_interface((SpeakerRecognition,), name, device, OFFLINE_SPEAKER)
    return HubSpeakerSimilarity(model, name)
