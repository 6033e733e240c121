"""Batches of training: dynamic, shared by ranks, resumable."""

from collections.abc import Iterator
from functools import partial

import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import DynamicBatchSampler

from speechbrain_llase.training.token_loss import NO_TOKEN

collate = partial(
    PaddedBatch, per_key_padding_kwargs={"tokens": {"value": NO_TOKEN}}
)


class RankBatches(torch.utils.data.Sampler):
    """Every rank's own share of another sampler's batches.

    No batch is given twice and all ranks get equally many, so up to
    ``world_size - 1`` batches of an epoch are left out; other ones in the next
    epoch. The sampler gives the same batches in all processes.

    Example
    -------
    >>> batches = [[0, 1], [2], [3], [4, 5], [6]]
    >>> list(RankBatches(batches, 0, 2)), list(RankBatches(batches, 1, 2))
    ([[0, 1], [3]], [[2], [4, 5]])
    """

    def __init__(self, batches, rank: int, world_size: int):
        self.batches, self.rank, self.world_size = batches, rank, world_size

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of an epoch."""
        self.batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        """Give this rank's batches."""
        batches = list(self.batches)
        count = len(batches) // self.world_size
        return iter(batches[self.rank :: self.world_size][:count])

    def __len__(self) -> int:
        """Batches of this rank."""
        return len(self.batches) // self.world_size


def make_loader(
    dataset: DynamicItemDataset,
    seconds: list[float],
    batching: dict,
    seed: int,
    num_workers: int,
    rank: int = 0,
    world_size: int = 1,
) -> SaveableDataLoader:
    """Load batches that hold about the same amount of audio.

    `seconds` are the lengths of all items; `batching` is that of SpeechBrain's
    `DynamicBatchSampler`, with max_batch_length in seconds. Batches have id,
    noisy, clean and tokens (-100 as padding). A ValueError, if there are fewer
    batches than processes.
    """
    batches = DynamicBatchSampler(
        dataset,
        lengths_list=[max(s, 1e-3) for s in seconds],
        seed=seed,
        **batching,
    )
    sampler = RankBatches(batches, rank, world_size)
    if not len(sampler):
        raise ValueError(
            f"{len(batches)} batches cannot be shared by {world_size} "
            "processes; lower max_batch_length or use fewer."
        )
    return SaveableDataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate,
    )
