"""Delays between recordings, and packets that are lost."""

import pytest
import torch

from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.processing.delay import find_delay
from speechbrain_llase.processing.packet_loss import (
    GapCounter,
    find_gaps,
    keep_received,
)


def voice(seed, seconds=6):
    """Bursts of low-passed noise (T,), peak 0.5."""
    rng = torch.Generator().manual_seed(seed)
    count = 16000 * seconds
    wav = torch.randn(count, generator=rng).cumsum(0)
    wav = (
        wav
        - torch.nn.functional.avg_pool1d(
            wav[None], 401, 1, 200, count_include_pad=False
        )[0]
    )
    wav = wav * torch.sin(torch.arange(count) / 3000 + seed).clamp(min=0)
    return 0.5 * wav / wav.abs().max()


@pytest.mark.parametrize("delay", [0, 7, 160, 4000, 8000, -8000])
def test_delay_of_an_echo(delay):
    """To the sample, up to 500 ms, under a voice that is as loud."""
    far, near = voice(1), voice(2)
    echo = far.roll(delay)
    room = torch.zeros(800)
    room[[0, 130, 411]] = torch.tensor([0.8, 0.3, -0.2])
    echo = torch.nn.functional.conv1d(
        torch.nn.functional.pad(echo, (799, 0))[None, None],
        room.flip(0)[None, None],
    )[0, 0]
    microphone = 0.5 * torch.tanh(2 * echo) + near
    assert find_delay(microphone, far) == delay


def test_no_delay_where_nothing_is_shared():
    """Two voices, silence, and too little."""
    assert find_delay(voice(1), voice(2)) is None
    assert find_delay(torch.zeros(32000), voice(2)) is None
    assert find_delay(torch.zeros(0), voice(2)) is None


def test_delay_of_what_is_put_aside():
    """Spools are read a piece at a time, and give the same."""
    far = voice(1)
    with SampleSpool() as late, SampleSpool() as early:
        late.write(far.roll(1234))
        early.write(far)
        assert find_delay(late, early) == 1234
        assert torch.equal(early[100:200], far[100:200])
        assert len(early) == len(far) and not len(early[9:3])


def test_gaps_are_found_at_any_place():
    """At the ends, across blocks; short ones are no gaps."""
    wav = voice(1, 1)
    wav[wav == 0] = 1e-4
    places = [(0, 160), (1000, 1500), (2500, 2659), (15000, 16000)]
    for start, stop in places:
        wav[start:stop] = 0
    assert find_gaps(wav) == [places[0], places[1], places[3]]
    for size in (7, 77, 320, 16000):
        counter = GapCounter()
        for block in wav.split(size):
            counter.add(block)
        assert counter.finish() == (3, 160 + 500 + 1000)
    kept = keep_received(torch.ones(16000), wav)
    assert kept.sum() == 16000 - 1660
