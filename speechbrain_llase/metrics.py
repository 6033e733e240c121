"""Measures of enhanced speech: opinion scores, words and speaker.

Each class wraps a public package that is imported when the class is built.
All take waves at 16 kHz, check them and never rescale or clip them.

Authors
 * The speechbrain_llase contributors 2026
"""

import dataclasses
import hashlib
import importlib
from pathlib import Path

import numpy as np
import torch
from speechbrain.utils.edit_distance import accumulatable_wer_stats

SAMPLE_RATE = 16000  # Hz, of every wave here
DNSMOS_SHA256 = {  # as shipped in speechmos 0.0.1.1
    "sig_bak_ovr.onnx": (
        "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd"
    ),
    "model_v8.onnx": (
        "9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91"
    ),
}


class DNSMOS:
    """Predicted opinion scores of ITU-T P.835 and P.808, from 1 to about 5.

    DNSMOS P.835 (Reddy et al., arXiv:2110.01763) and DNSMOS (Reddy et al.,
    arXiv:2010.15258) as computed by `speechmos` 0.0.1.1: windows of 9.01 s
    every second, averaged; shorter clips are repeated. The scores depend on
    the level of the wave, which is therefore left as it is.

    Arguments
    ---------
    num_threads : int, optional
        Threads of the networks; None leaves it to onnxruntime.

    Raises
    ------
    ImportError
        If speechmos or what it needs is not installed.
    ValueError
        If num_threads is below 1 or the installed networks are not those of
        speechmos 0.0.1.1.

    Example
    -------
    >>> dnsmos = DNSMOS(num_threads=1)  # doctest: +SKIP
    >>> dnsmos(torch.randn(16000) / 10)  # doctest: +SKIP
    {'SIG': 1.1, 'BAK': 1.2, 'OVRL': 1.1, 'P808': 2.1}
    """

    def __init__(self, num_threads: int | None = None):
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads is {num_threads}; at least 1.")
        runtime = _import("onnxruntime", "onnxruntime")
        package = _import(
            "speechmos.dnsmos", "speechmos==0.0.1.1 librosa requests"
        )
        folder = Path(package.__file__).parent / "dnsmos_models"
        primary, p808 = (folder / name for name in DNSMOS_SHA256)
        for file in (primary, p808):
            check_sha256(file, DNSMOS_SHA256[file.name])
        self._score = package.DNSMOS(str(primary), str(p808))
        if num_threads is not None:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = num_threads
            options.inter_op_num_threads = num_threads
            self._score.onnx_sess = runtime.InferenceSession(primary, options)
            self._score.p808_onnx_sess = runtime.InferenceSession(p808, options)

    def __call__(
        self, wav: torch.Tensor | np.ndarray, sample_rate: int = SAMPLE_RATE
    ) -> dict[str, float]:
        """Score one wave.

        Arguments
        ---------
        wav : torch.Tensor or np.ndarray
            (T,) floating within [-1, 1].
        sample_rate : int
            In Hz; only 16000 is supported.

        Returns
        -------
        scores : dict
            SIG, BAK and OVRL (P.835: speech, background, overall) and P808.

        Raises
        ------
        ValueError
            If the wave is empty, not 1-D, not floating, not finite or beyond
            full scale, or the rate is another.
        """
        wav = _wave(wav, sample_rate)
        scores = self._score(wav, SAMPLE_RATE, is_personalized_MOS=False)
        return {
            "SIG": float(scores["sig_mos"]),
            "BAK": float(scores["bak_mos"]),
            "OVRL": float(scores["ovrl_mos"]),
            "P808": float(scores["p808_mos"]),
        }


@dataclasses.dataclass(frozen=True)
class WordEdits:
    """Differences between two readings; add them up over clips."""

    edits: int  # substitutions, deletions and insertions
    words: int  # in the reading of the clean wave

    def __add__(self, other: "WordEdits") -> "WordEdits":
        """Sum of both counts."""
        return WordEdits(self.edits + other.edits, self.words + other.words)

    @property
    def rate(self) -> float:
        """Edits over words; NaN where no word was read."""
        return self.edits / self.words if self.words else float("nan")


class WordDifference:
    """Words that a recogniser reads otherwise than in the clean wave.

    No transcript is needed: the reference is what the recogniser (the default
    English model of pocketsphinx 5, a fresh decoder for every wave, one
    utterance a wave) reads in the clean wave. Sum over clips, then divide.

    Raises
    ------
    ImportError
        If pocketsphinx is not installed.

    Example
    -------
    >>> words = WordDifference()  # doctest: +SKIP
    >>> words(enhanced, clean).rate  # doctest: +SKIP
    0.5
    """

    def __init__(self):
        self._package = _import("pocketsphinx", "'pocketsphinx>=5,<6'")

    def __call__(
        self,
        wav: torch.Tensor | np.ndarray,
        clean: torch.Tensor | np.ndarray,
        sample_rate: int = SAMPLE_RATE,
    ) -> WordEdits:
        """Compare one wave with its clean original.

        Arguments
        ---------
        wav, clean : torch.Tensor or np.ndarray
            (T,) floating within [-1, 1].
        sample_rate : int
            In Hz; only 16000 is supported.

        Returns
        -------
        edits : WordEdits
        """
        clean_words = self.read(clean, sample_rate)
        return self.compare(self.read(wav, sample_rate), clean_words)

    def read(
        self, wav: torch.Tensor | np.ndarray, sample_rate: int = SAMPLE_RATE
    ) -> list[str]:
        """Recognise one wave.

        Arguments
        ---------
        wav : torch.Tensor or np.ndarray
            (T,) floating within [-1, 1]; rounded to 16 bit.
        sample_rate : int
            In Hz; only 16000 is supported.

        Returns
        -------
        words : list of str
            Empty where nothing was recognised.
        """
        wav = _wave(wav, sample_rate)
        samples = np.round(wav * 32767).astype(np.int16)
        decoder = self._package.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")
        decoder.start_utt()
        decoder.process_raw(samples.tobytes(), full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr.split() if hypothesis else []

    @staticmethod
    def compare(words: list[str], clean_words: list[str]) -> WordEdits:
        """Count the edits between two readings.

        Arguments
        ---------
        words : list of str
            Read in the wave under test.
        clean_words : list of str
            Read in the clean wave.

        Returns
        -------
        edits : WordEdits

        Example
        -------
        >>> WordDifference.compare("a cat sat".split(), "the cat".split())
        WordEdits(edits=2, words=2)
        """
        stats = accumulatable_wer_stats([clean_words], [words])
        kinds = ("insertions", "deletions", "substitutions")
        return WordEdits(sum(stats[kind] for kind in kinds), len(clean_words))


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

    def __init__(self):
        self._package = _import(
            "resemblyzer", "Resemblyzer==0.1.4 'setuptools<81'"
        )
        self._encoder = self._package.VoiceEncoder("cpu", verbose=False)

    def __call__(
        self,
        wav: torch.Tensor | np.ndarray,
        clean: torch.Tensor | np.ndarray,
        sample_rate: int = SAMPLE_RATE,
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

    def embed(
        self, wav: torch.Tensor | np.ndarray, sample_rate: int = SAMPLE_RATE
    ) -> np.ndarray:
        """Describe the voice of one wave.

        Arguments
        ---------
        wav : torch.Tensor or np.ndarray
            (T,) floating within [-1, 1], not all zero.
        sample_rate : int
            In Hz; only 16000 is supported.

        Returns
        -------
        embedding : np.ndarray
            (256,) float32 of unit length.

        Raises
        ------
        ValueError
            If the wave is all zero: silence has no voice.
        """
        wav = _wave(wav, sample_rate)
        if not wav.any():
            raise ValueError("The wave is all zero: silence has no voice.")
        wav = self._package.preprocess_wav(wav)
        return self._encoder.embed_utterance(wav)


def check_sha256(file: Path, expected: str) -> None:
    """Refuse a file that is not the one measured with.

    Arguments
    ---------
    file : Path
        File to read.
    expected : str
        SHA-256, hexadecimal.

    Raises
    ------
    ValueError
        If the file has other content.
    """
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != expected:
        raise ValueError(
            f"{file} has SHA-256 {found}, not {expected}; scores of other "
            "networks do not compare. Run pip install speechmos==0.0.1.1."
        )


def _import(module: str, requirements: str):
    """Import a package that only the evaluation needs."""
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise ImportError(
            f"{module} could not be imported ({err}); run "
            f"pip install {requirements}"
        ) from err


def _wave(wav, sample_rate):
    """Check one wave and give it as float32."""
    if sample_rate != SAMPLE_RATE:
        raise ValueError(
            f"sample_rate is {sample_rate}; resample to {SAMPLE_RATE} Hz."
        )
    if isinstance(wav, torch.Tensor):
        wav = wav.detach().cpu().numpy()
    wav = np.asarray(wav)
    if (
        wav.ndim != 1
        or not wav.size
        or not np.issubdtype(wav.dtype, np.floating)
    ):
        raise ValueError(
            f"The wave has shape {wav.shape} and dtype {wav.dtype}; give a "
            "1-D floating signal of at least one sample."
        )
    if not np.isfinite(wav).all():
        raise ValueError("The wave has NaN or infinite samples; repair it.")
    peak = np.abs(wav).max()
    if peak > 1:
        raise ValueError(
            f"The wave reaches {peak:.3f}, beyond full scale; scale it down "
            "first (the scores depend on the level)."
        )
    return wav.astype(np.float32, copy=False)
