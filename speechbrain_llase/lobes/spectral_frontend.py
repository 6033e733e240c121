"""SpectralFrontend: WavLM's transformer over spectra, for small models.

Seven convolutions over the waveform take more than an hour of speech to
learn: those of earlier weights of llase_mini, with clean speech to hear, told
53 % of the digits that its codec's encoder finds. Here the encoder's own stem stands
in their place; position embedding, transformer and rows are WavLM's (Chen et
al., arXiv:2110.13900). w2v-BERT 2.0 hears mel bands, too.
"""

import torch

from speechbrain_llase.lobes.spectral_encoder import SpectralStem
from speechbrain_llase.lobes.wavlm import build_encoder, run_encoder
from speechbrain_llase.lobes.wavlm_frontend import Frontend
from speechbrain_llase.nnet.precision import hold_weights, weights_to_come

GAIN = 0.4  # brings speech of full scale near the level of the codec's


class SpectralFrontend(Frontend):
    """A spectral stem and the transformer of WavLM.

    Arguments
    ---------
    num_mels : int
        Mel bands of the stem; see `SpectralStem`.
    num_blocks : int
        Its ConvNeXt blocks.
    hidden_size : int
        Width of stem and transformer, a multiple of 16.
    num_layers, num_heads, ffn_size, num_buckets, max_distance : int
        Of the transformer; see `WavLMFrontend`.
    dropout, compute : float, str
        See `WavLMFrontend`; what hears the spectra stays in float32.

    Example
    -------
    >>> frontend = SpectralFrontend(20, 1, 32, 1, 2, 64, 320, 800)
    >>> frontend(torch.rand(2, 16000)).shape
    torch.Size([2, 50, 32])
    """

    def __init__(
        self,
        num_mels: int,
        num_blocks: int,
        hidden_size: int,
        num_layers: int,
        num_heads: int,
        ffn_size: int,
        num_buckets: int,
        max_distance: int,
        dropout: float = 0.0,
        compute: str = "float32",
    ):
        super().__init__()
        sizes = num_layers, num_heads, ffn_size, num_buckets, max_distance
        self.stem = SpectralStem(num_mels, hidden_size, num_blocks)
        with weights_to_come():
            self.encoder = build_encoder(hidden_size, *sizes, dropout)
        self.compute = hold_weights(self, compute, ("stem.embed", "stem.fine"))

    def extract_runs(self, runs: list[torch.Tensor]) -> tuple:
        """Run the stem on each run and the transformer on all rows."""
        feats = [self.stem(GAIN * wavs) for wavs in runs]
        shapes = [tuple(f.shape[:2]) for f in feats]
        rows = torch.cat([f.flatten(0, 1) for f in feats])
        return run_encoder(self.encoder, rows, shapes), shapes
