"""Training of a `MultitaskLM`: several tasks, some with a second input.

Every item says its task; what the LM hears, and which head is compared, is as
`inference/multitask.py` has it. So one batch may hold several tasks.
"""

import numpy as np
import torch

from speechbrain_llase.inference.multitask import TASKS
from speechbrain_llase.lobes.multitask_lm import MULTITASK_HEADS
from speechbrain_llase.lobes.wavlm_frontend import item_samples
from speechbrain_llase.processing.framing import MIN_SAMPLES
from speechbrain_llase.processing.signal_processing import to_peak
from speechbrain_llase.training.brain import TokenLMBrain
from speechbrain_llase.training.items import ItemMaker, Recording
from speechbrain_llase.training.token_loss import (
    NO_TOKEN,
    TokenLoss,
    TokenScores,
)


class TaskItemMaker(ItemMaker):
    """Makes items that have a task, and what is heard beside them.

    An item's reference is float32 (S,), at most as long as `noisy`; one sample
    where there is none. The mixer is a `TaskMixer`. Recordings that have a
    noisy signal of their own are of one task, and what is heard beside them
    goes along with it: se, plc, aec or ss.

    Arguments
    ---------
    *given
        As for `ItemMaker`.
    task : str or list of str
        That of a `TaskMixer`, or of the recordings.
    """

    provides = (*ItemMaker.provides, "reference", "task")

    def __init__(self, *given, task: str | list[str]):
        super().__init__(*given)
        self.task = task

    def mix(
        self,
        name: str,
        recording: Recording,
        part: slice,
        rng: np.random.Generator,
    ) -> tuple:
        """Give noisy and clean (T,), reference (S,) and task of a part."""
        if recording.noisy is None:
            made = self.mixer(recording.clean[part], rng, name)
            found, task = (made.noisy, made.clean), made.task
            reference = made.reference
        else:
            found, task = super().mix(name, recording, part, rng), self.task
            reference = recording.reference
            self._check_recording(reference is not None)
            reference = None if reference is None else reference[part]
        if reference is None:
            reference = torch.zeros(1)
        return *found, reference, task

    def _check_recording(self, has_reference):
        """Refuse recordings that do not fit the task."""
        allowed = {"se": {False}, "plc": {False}, "aec": {True}}
        allowed["ss"] = {False, True}  # speaker by speaker
        if has_reference not in allowed.get(str(self.task), ()):
            raise ValueError(
                f"A recording {'with' if has_reference else 'without'} a "
                f"reference is not of task={self.task}. Pairs are of se or plc; "
                "aec needs a reference_wav beside both, ss beside one half; "
                "for tse and several tasks give speech, to be mixed."
            )


class TaskLoss(TokenLoss):
    """A `TokenLoss` for a `MultitaskLM`: two inputs, and a head for each item.

    Example
    -------
    >>> from speechbrain_llase.lobes.multitask_lm import MultitaskLM
    >>> task_loss = TaskLoss(MultitaskLM(32, 16, 1, 2, 32), 8)
    >>> feats, targets = torch.rand(2, 50, 32), torch.randint(9, (2, 50))
    >>> references = [None, torch.rand(30, 32)]
    >>> task_loss(feats, targets, references, ["x", "y"]).frames
    tensor(100)
    """

    def forward(
        self,
        feats: torch.Tensor,
        targets: torch.Tensor,
        references: list[torch.Tensor | None],
        heads: list[str],
    ) -> TokenScores:
        """Predict the tokens of a batch and compare.

        Features are float (B, N, D_in), references (M, D_in) each, M at most
        N, or None; targets int64 (B, N), -100 past the end of an item.
        """
        lm = self.token_lm
        joined = torch.stack(list(map(lm.join, feats, references)))
        runs = [tuple(targets.shape)]
        scores = []
        hidden = lm.through(heads[0]).hidden(joined.flatten(0, 1), runs)
        for head in MULTITASK_HEADS:
            own = torch.tensor([x == head for x in heads]).to(targets.device)
            if own.any():
                goals = targets.where(own[:, None], NO_TOKEN)
                scores.append(self.compare(hidden, lm.through(head), goals))
        return sum(scores[1:], scores[0])


class TaskBrain(TokenLMBrain):
    """Trains on batches of `TaskItemMaker`, with a `TaskLoss`."""

    def compute_forward(self, batch, stage) -> TokenScores:
        """Predict the clean tokens of noisy speech, by its task, and compare."""
        batch = batch.to(self.device)
        noisy, lengths = batch.noisy
        tasks = [TASKS[name] for name in batch.task]
        divided = torch.tensor([task.divides_by_peak for task in tasks])
        divided = divided.to(self.device)[:, None]
        heard = torch.where(divided, to_peak(noisy), noisy)
        feats = self.modules.frontend(heard, lengths)
        return self.modules.token_loss(
            feats,
            fit_targets(batch.tokens.data, feats.shape[1]),
            self.extract_references(*batch.reference),
            [task.head for task in tasks],
        )

    def extract_references(
        self, waves: torch.Tensor, lengths: torch.Tensor
    ) -> list[torch.Tensor | None]:
        """Extract features (M, D) of waves (B, S); None of under 400 samples."""
        sizes = item_samples(waves, lengths)
        long = [k for k, size in enumerate(sizes) if size >= MIN_SAMPLES]
        if not long:
            return [None] * len(sizes)
        with torch.no_grad():
            extract = self.modules.frontend.network.extract_each
            feats = extract([waves[k, : sizes[k]] for k in long])
        found = dict(zip(long, feats, strict=True))
        return [found.get(k) for k in range(len(sizes))]


def fit_targets(tokens: torch.Tensor, rows: int) -> torch.Tensor:
    """Drop each item's last token (B, N) if a frontend has no row of zeros.

    Example
    -------
    >>> fit_targets(torch.tensor([[1, 2, 3], [4, 5, -100]]), 2).tolist()
    [[1, 2], [4, -100]]
    """
    if tokens.shape[1] == rows:
        return tokens
    ended = tokens[:, 1:] == NO_TOKEN
    return tokens[:, :-1].masked_fill(ended, NO_TOKEN)
