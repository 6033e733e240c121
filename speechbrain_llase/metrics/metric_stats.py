"""Any measure of this package as a SpeechBrain `MetricStats`."""

from collections.abc import Callable, Sequence

import torch
from speechbrain.utils.logger import get_logger
from speechbrain.utils.metric_stats import MetricStats

from speechbrain_llase.metrics.word_edits import WordEdits

logger = get_logger(__name__)


class SpeechStats(MetricStats):
    """Collect the scores of one measure over a test set.

    Unlike plain `MetricStats`, it takes measures of one wave (DNSMOS), with
    several figures (a dict) or with counts (word edits, which are summed
    before they are divided), and it skips what cannot be scored: the ids
    and the reasons are in `skipped` and count as nothing, not as zero.

    Arguments
    ---------
    metric : callable
        Measure of waves (T,): metric(wav) or metric(wav, clean), giving a
        float, a dict of floats or a `WordEdits`.

    Example
    -------
    >>> from speechbrain_llase.metrics import SISDR
    >>> stats = SpeechStats(SISDR())
    >>> clean = torch.tensor([[0.5, -0.5, 0.5, -0.5], [0.0, 0.0, 0.0, 0.0]])
    >>> noise = torch.tensor([0.05, 0.05, -0.05, -0.05])
    >>> stats.append(["a", "b"], predict=clean + noise, target=clean)
    >>> round(stats.summarize("average"), 3), list(stats.skipped)
    (20.0, ['b'])
    """

    def __init__(self, metric: Callable):
        super().__init__(metric, n_jobs=1, batch_eval=False)

    def clear(self) -> None:
        """Forget all scores."""
        super().clear()
        self.skipped = {}  # id -> reason

    def append(
        self,
        ids: Sequence[str],
        predict: torch.Tensor,
        target: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
    ) -> None:
        """Score a batch.

        Arguments
        ---------
        ids : sequence of str
            Names of the items.
        predict : torch.Tensor
            float (B, T), waves to judge, 16 kHz.
        target : torch.Tensor, optional
            float (B, T), clean waves, for measures that need them.
        lengths : torch.Tensor, optional
            (B,), relative, in (0, 1].
        """
        if lengths is None:
            lengths = torch.ones(len(predict))
        samples = (lengths * predict.shape[1]).round().long().tolist()
        for k, (name, count) in enumerate(zip(ids, samples, strict=True)):
            waves = [x[k, :count] for x in (predict, target) if x is not None]
            try:
                score = self.metric(*waves)
            except ValueError as err:
                self.skipped[name] = str(err)
                continue
            self.ids.append(name)
            self.scores.append(score)

    def summarize(self, field: str | None = None) -> float | dict:
        """Average the scores.

        Arguments
        ---------
        field : str, optional
            One entry of the summary; None gives all.

        Returns
        -------
        summary : float or dict
            "average", "min_score", "min_id", "max_score", "max_id" for one
            figure per item (of word edits, the rates, the average being total
            edits over total words), one such dict per name for several; and
            "num_scored" and "num_skipped".

        Raises
        ------
        ValueError
            If nothing was scored.
        """
        if not self.scores:
            raise ValueError(
                f"Nothing was scored, {len(self.skipped)} skipped: "
                f"{list(self.skipped.values())[:3]}"
            )
        if isinstance(self.scores[0], dict):
            self.summary = {
                name: _summary(self.ids, [x[name] for x in self.scores])
                for name in self.scores[0]
            }
        elif isinstance(self.scores[0], WordEdits):
            self.summary = _summary(self.ids, [x.rate for x in self.scores])
            total = sum(self.scores, WordEdits(0, 0))
            self.summary["average"] = total.rate
        else:
            self.summary = _summary(self.ids, self.scores)
        self.summary["num_scored"] = len(self.scores)
        self.summary["num_skipped"] = len(self.skipped)
        return self.summary if field is None else self.summary[field]

    def write_stats(self, filestream, verbose: bool = False) -> None:
        """Write the summary and what was skipped; log it, too, if verbose."""
        lines = [f"{key}: {x}" for key, x in self.summarize().items()]
        lines += [f"skipped {name}: {x}" for name, x in self.skipped.items()]
        message = "\n".join(lines) + "\n"
        filestream.write(message)
        if verbose:
            logger.info(message)


def _summary(ids, scores):
    """Average and extremes; NaN scores count for nothing."""
    known = [(x, name) for x, name in zip(scores, ids) if x == x]
    if not known:
        return {"average": float("nan")}
    (low, low_id), (high, high_id) = min(known), max(known)
    return {
        "average": sum(x for x, _ in known) / len(known),
        "min_score": low,
        "min_id": low_id,
        "max_score": high,
        "max_id": high_id,
    }
