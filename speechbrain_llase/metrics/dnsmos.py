"""DNSMOS: opinion scores predicted by networks that are pinned by hash.

Three scales go by that name: P.835 by `sig_bak_ovr.onnx` (here SIG, BAK and
OVRL), P.835 by the older `sig.onnx` and `bak_ovr.onnx`, and P.808 by
`model_v8.onnx` (here P808). Figures compare only within one of them.
"""

from pathlib import Path

from speechbrain_llase.metrics.checks import (
    Wave,
    check_sha256,
    check_wave,
    import_package,
)
from speechbrain_llase.processing.framing import SAMPLE_RATE

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
        runtime = import_package("onnxruntime", "onnxruntime")
        package = import_package(
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
        self, wav: Wave, sample_rate: int = SAMPLE_RATE
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
        wav = check_wave(wav, sample_rate)
        scores = self._score(wav, SAMPLE_RATE, is_personalized_MOS=False)
        return {
            "SIG": float(scores["sig_mos"]),
            "BAK": float(scores["bak_mos"]),
            "OVRL": float(scores["ovrl_mos"]),
            "P808": float(scores["p808_mos"]),
        }
