"""A model whose networks copy: what goes in comes out, through real windows."""

import types

import torch

from speechbrain_llase.bulk.run_settings import Description
from speechbrain_llase.inference.candidates import Candidates
from speechbrain_llase.inference.confidence import Posterior
from speechbrain_llase.inference.guard import Guard
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.processing.framing import HOP_LENGTH, num_rows
from speechbrain_llase.processing.signal_processing import fit_length


class Copier(Stages):
    """An EnhanceLLaSE and its stages without networks; a row is its samples."""

    computes_in = "bfloat16"

    def __init__(self, is_watched=False, window_batch=2):
        self.is_watched = is_watched
        self.guard, self.candidates = Guard(), Candidates()
        self.fed = []  # samples of every window
        hparams = types.SimpleNamespace(
            sample_rate=16000,
            window_s=1.0,
            context_s=0.1,
            crossfade_s=0.0,
            context_from="own",
            window_batch=window_batch,
            restore_level=True,
        )
        networks = {"frontend": None, "token_lm": None}
        super().__init__(networks, hparams, torch.device("cpu"))
        self.stages = self

    def extract(self, wavs):
        self.fed += [len(wav) for wav in wavs]
        rows = [num_rows(len(wav)) for wav in wavs]
        return [
            fit_length(wav, HOP_LENGTH * n).reshape(n, HOP_LENGTH)
            for wav, n in zip(wavs, rows, strict=True)
        ]

    def score(self, feats, likely=False):
        likely = [torch.full((len(rows),), -0.5) for rows in feats]
        return feats, list(map(Posterior, feats, feats, likely))

    def decode(self, tokens):
        return [rows.flatten() for rows in tokens]


def describe_run(enhancer, source, precision="fp32"):
    """Describe a run with a copier, as the real one does with files."""
    settings = {
        "window_s": enhancer.hparams.window_s,
        "precision": precision,
        "compute": enhancer.computes_in,
    }
    return Description(str(source), settings)
