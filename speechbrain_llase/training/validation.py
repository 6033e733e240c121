"""How a training sounds: scores between floor and ceiling.

The floor is the noisy signal, the ceiling clean speech through the codec;
what the model makes of the noisy signal lies between them, or should.
"""

from collections.abc import Callable
from types import SimpleNamespace

import torch

from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.metrics import WordEdits
from speechbrain_llase.nnet.fsq import decodes_mean

ONE_WINDOW = {  # settings in which a clip, up to a day, is one window
    "sample_rate": 16000,
    "window_batch": 1,
    "restore_level": True,
    "window_s": 86400.0,
    "context_s": 0.0,
    "crossfade_s": 0.0,
    "context_from": "own",
}


class Quality:
    """Scores the first clips of a dataset.

    Arguments
    ---------
    metrics : dict
        Name -> how to make the measure, each made at the first use:
        `dnsmos`, `words` and `speaker` of `speechbrain_llase.metrics`.
    num_clips : int
        Clips that are scored.
    decoder_hears : str
        "best" tokens or the "mean" of each digit's posterior, as in use.

    Raises
    ------
    ValueError
        A measure, or what the decoder hears, has another name.
    """

    def __init__(
        self,
        metrics: dict[str, Callable],
        num_clips: int,
        decoder_hears: str = "best",
    ):
        decodes_mean(decoder_hears)  # or refuse it
        self.hparams = SimpleNamespace(
            **ONE_WINDOW, decoder_hears=decoder_hears
        )
        unknown = sorted(metrics.keys() - {"dnsmos", "words", "speaker"})
        if unknown:
            raise ValueError(
                f"The metrics {unknown} are not known; choose from dnsmos, "
                "words and speaker."
            )
        self.factories, self.num_clips = metrics, num_clips
        self.metrics: dict[str, Callable] = {}
        # Part -> floor and ceiling, which never change
        self.kept: dict[str, dict[str, dict]] = {}

    @torch.no_grad()
    def __call__(
        self, part: str, dataset, mods: torch.nn.ModuleDict, device: str
    ) -> dict[str, float]:
        """Enhance and score clips: items with noisy, clean and tokens.

        Floor and ceiling of a part of the data are scored once. `mods` are
        those of a model, see `Stages`; each clip is one window. Gives
        `noisy_OVRL`, `enhanced_OVRL`, `codec_OVRL` and so on, means over
        clips; words are edits over all words.
        """
        for name, make in self.factories.items():
            if name not in self.metrics:
                self.metrics[name] = make()
        stages = Stages(mods, self.hparams, device)
        kept, clips = self.kept.get(part, {}), []
        for at in range(min(self.num_clips, len(dataset))):
            item = dataset[at]
            clean, plans = item["clean"], [stages.plan(item["noisy"])]
            windows = stages.cut([item["noisy"].to(device)], plans)
            feats = stages.extract(windows)
            waves = {"enhanced": stages.generate(feats, windows)[0]}
            rows = {}
            if not kept:
                rows["noisy"] = item["noisy"]
                waves["codec"] = stages.decode([item["tokens"].to(device)])
            for row, pieces in waves.items():
                wav = stages.restore(pieces, plans, [clean.to(device)])[0]
                rows[row] = wav.cpu()
            clips.append(
                {row: self._score(wav, clean) for row, wav in rows.items()}
            )
        scores = {row: average([c[row] for c in clips]) for row in clips[0]}
        self.kept[part] = kept | {
            row: scores[row] for row in scores if row != "enhanced"
        }
        return {
            f"{row}_{name}": value
            for row, values in (kept | scores).items()
            for name, value in values.items()
        }

    def _score(self, wav, clean):
        """All measures of one wave, brought into full scale."""
        wav, clean = (w / max(1.0, float(w.abs().max())) for w in (wav, clean))
        scores = {}
        if "dnsmos" in self.metrics:
            scores |= self.metrics["dnsmos"](wav)
        if "words" in self.metrics:
            scores["words"] = self.metrics["words"](wav, clean)
        if "speaker" in self.metrics and wav.any():
            scores["speaker"] = self.metrics["speaker"](wav, clean)
        return scores


def average(clips: list[dict]) -> dict[str, float]:
    """Mean of every score over the clips that have it."""
    means = {}
    for name in sorted(set().union(*clips)):
        values = [clip[name] for clip in clips if name in clip]
        if isinstance(values[0], WordEdits):
            means[name] = sum(values, WordEdits(0, 0)).rate
        else:
            means[name] = sum(values) / len(values)
    return means
