"""How a training sounds: scores between floor and ceiling.

The floor is the noisy signal, the ceiling clean speech through the codec;
what the model makes of the noisy signal lies between them, or should.
"""

from collections.abc import Callable

import torch

from speechbrain_llase.metrics import WordEdits
from speechbrain_llase.nnet.fsq import decodes_mean, mean_codes
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    match_gain,
    to_peak,
)


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
        self.decodes_mean = decodes_mean(decoder_hears)
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
        self,
        part: str,
        dataset,
        frontend: torch.nn.Module,
        token_lm: torch.nn.Module,
        vocoder: torch.nn.Module,
        device: str,
    ) -> dict[str, float]:
        """Enhance and score clips: items with noisy, clean and tokens.

        Floor and ceiling of a part of the data are scored once. The token LM
        has `predict`, or gives logits where the decoder hears the mean. Gives
        `noisy_OVRL`, `enhanced_OVRL`, `codec_OVRL` and so on, means over
        clips; words are edits over all words.
        """
        for name, make in self.factories.items():
            if name not in self.metrics:
                self.metrics[name] = make()
        kept, clips = self.kept.get(part, {}), []
        for at in range(min(self.num_clips, len(dataset))):
            item = dataset[at]
            clean = item["clean"]
            noisy = to_peak(item["noisy"]).to(device).unsqueeze(0)
            feats = frontend(noisy)
            tokens = {
                "enhanced": (
                    mean_codes(token_lm(feats))
                    if self.decodes_mean
                    else token_lm.predict(feats)
                ),
                "codec": item["tokens"].to(device).unsqueeze(0),
            }
            rows = {"noisy": item["noisy"]}
            if kept:
                rows, tokens = {}, {"enhanced": tokens["enhanced"]}
            for row, row_tokens in tokens.items():
                wav = vocoder(row_tokens)[0].float().cpu()
                wav = fit_length(wav, len(clean))
                rows[row] = wav * match_gain(wav, clean)
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
