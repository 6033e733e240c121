"""Measures against the clean wave: PESQ, ESTOI and SI-SDR.

They compare samples or short spectra, so they punish a generated wave that
sounds right but is not the same wave: SI-SDR is unfit for generative output
and PESQ and ESTOI are hard on it. They are here because people ask for them.
"""

import warnings

import numpy as np

from speechbrain_llase.metrics.checks import Wave, check_pair, import_package
from speechbrain_llase.processing.framing import SAMPLE_RATE


class IntrusiveMeasure:
    """A measure of a wave against its clean original."""

    def __call__(
        self, wav: Wave, clean: Wave, sample_rate: int = SAMPLE_RATE
    ) -> float:
        """Compare one wave with its clean original.

        Arguments
        ---------
        wav, clean : torch.Tensor or np.ndarray
            (T,) floating within [-1, 1]. PESQ needs 0.25 s, ESTOI 0.4 s of
            speech.
        sample_rate : int
            In Hz; only 16000 is supported.

        Returns
        -------
        score : float

        Raises
        ------
        ValueError
            If a wave is not allowed, or the measure has no score for it.
        """
        return self.compare(*check_pair(wav, clean, sample_rate))

    def compare(self, wav: np.ndarray, clean: np.ndarray) -> float:
        """Compare two float32 waves (T,) that have been checked."""
        raise NotImplementedError


class PESQ(IntrusiveMeasure):
    """Wide-band PESQ (ITU-T P.862.2), from about 1 to 4.64, by `pesq`.

    Raises
    ------
    ImportError
        If pesq is not installed.

    Example
    -------
    >>> PESQ()(clean, clean)  # doctest: +SKIP
    4.64
    """

    def __init__(self):
        self._package = import_package("pesq", "pesq==0.0.4")

    def compare(self, wav: np.ndarray, clean: np.ndarray) -> float:
        """Score the pair; it must hold an utterance that PESQ can find."""
        try:
            return float(self._package.pesq(SAMPLE_RATE, clean, wav, "wb"))
        except self._package.PesqError as err:
            reason = err.args[0] if err.args else type(err).__name__
            if isinstance(reason, bytes):
                reason = reason.decode()
            raise ValueError(f"PESQ cannot score this pair: {reason}") from err


class ESTOI(IntrusiveMeasure):
    """Extended short-time objective intelligibility, up to 1, by `pystoi`.

    Jensen and Taal, IEEE TASLP 24(11), 2016.

    Raises
    ------
    ImportError
        If pystoi is not installed.

    Example
    -------
    >>> ESTOI()(clean, clean)  # doctest: +SKIP
    1.0
    """

    def __init__(self):
        self._package = import_package("pystoi", "'pystoi>=0.4,<0.5'")

    def compare(self, wav: np.ndarray, clean: np.ndarray) -> float:
        """Score the pair; it must hold 384 ms of active frames."""
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Not enough STFT frames")
            try:
                score = self._package.stoi(clean, wav, SAMPLE_RATE, True)
            except (RuntimeWarning, ValueError) as err:
                raise ValueError(
                    "ESTOI needs 0.4 s of speech (384 ms of active frames) "
                    "in the clean wave; this one has less."
                ) from err
        return float(score)


class SISDR(IntrusiveMeasure):
    """Scale-invariant signal-to-distortion ratio in dB (zero-mean form).

    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019. Unfit for
    generative output, whose phase is its own; printed with that mark.

    Example
    -------
    >>> import torch
    >>> clean = torch.tensor([0.5, -0.5, 0.5, -0.5])
    >>> noise = torch.tensor([0.05, 0.05, -0.05, -0.05])
    >>> round(SISDR()(clean + noise, clean), 3)
    20.0
    """

    def compare(self, wav: np.ndarray, clean: np.ndarray) -> float:
        """Score the pair, in dB; its waves must differ and share something."""
        pair = wav, clean
        wav, clean = (x.astype(np.float64) - x.mean(dtype="f8") for x in pair)
        if not wav.any() or not clean.any():
            raise ValueError("SI-SDR of a constant wave is not defined.")
        target = np.dot(wav, clean) / np.dot(clean, clean) * clean
        signal, rest = np.sum(target**2), np.sum((wav - target) ** 2)
        # What float32 samples can tell apart; below, rounding is measured.
        if rest <= 1e-14 * signal:
            raise ValueError("The waves are the same: SI-SDR is infinite.")
        if signal <= 1e-30 * rest:
            raise ValueError("The waves share nothing: SI-SDR is -infinite.")
        return float(10 * np.log10(signal / rest))
