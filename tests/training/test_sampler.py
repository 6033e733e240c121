"""Batches of the ranks: shared, never twice, other ones left out each epoch."""

import pytest
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.sampler import DynamicBatchSampler

from speechbrain_llase.training.sampler import RankBatches, make_loader

SECONDS = [0.5 + 0.25 * (k % 7) for k in range(60)]
SETTINGS = {
    "max_batch_length": 4.0,
    "num_buckets": 3,
    "shuffle": True,
    "batch_ordering": "random",
}


def make():
    """Items and, in each process, the same sampler."""
    dataset = DynamicItemDataset({str(k): {} for k in range(len(SECONDS))})
    return dataset, DynamicBatchSampler(
        dataset, lengths_list=SECONDS, seed=1, **SETTINGS
    )


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_no_item_is_given_twice(world_size):
    """In any epoch; all ranks have as many batches, as their length says."""
    ranks = [RankBatches(make()[1], k, world_size) for k in range(world_size)]
    seen, orders = [], set()
    for epoch in range(1, 6):
        shares = []
        for rank in ranks:
            rank.set_epoch(epoch)
            shares.append(list(rank))
            assert len(rank) == len(shares[0]) == len(shares[-1]) > 0
        batches = [batch for share in shares for batch in share]
        items = [item for batch in batches for item in batch]
        assert len(items) == len(set(items))
        whole = list(ranks[0].batches)
        assert 0 <= len(whole) - len(batches) < world_size
        assert all(batch in whole for batch in batches)
        orders.add(str(batches))
        seen += items
    assert len(orders) == 5
    assert set(seen) == set(range(len(SECONDS)))  # nothing is left out for ever


def test_too_many_ranks():
    """Fewer batches than processes: some would have nothing to do."""
    dataset, batches = make()
    count = len(batches)
    loader = make_loader(dataset, SECONDS, SETTINGS, 1, 0, count - 1, count)
    assert len(loader) == 1
    with pytest.raises(ValueError, match="cannot be shared by 1000"):
        make_loader(dataset, SECONDS, SETTINGS, 1, 0, 0, 1000)
