"""Where packets are lost: runs of zeros, which no microphone gives."""

import torch

LEAST_GAP = 160  # samples; 10 ms at 16 kHz


def find_gaps(wav: torch.Tensor) -> list[tuple[int, int]]:
    """Find the runs of zeros of 10 ms and more: first sample, past the last.

    Arguments
    ---------
    wav : torch.Tensor
        (T,) at 16 kHz.

    Example
    -------
    >>> wav = torch.ones(1000)
    >>> wav[100:300] = wav[400:500] = 0
    >>> find_gaps(wav)
    [(100, 300)]
    """
    silent = torch.nn.functional.pad((wav == 0).int(), (1, 1))
    edges = silent.diff().nonzero().flatten().tolist()
    runs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, stop) for start, stop in runs if stop - start >= LEAST_GAP]


def keep_received(wav: torch.Tensor, lossy: torch.Tensor) -> torch.Tensor:
    """Silence a wave (T,) where packets of the lossy one (T,) are lost."""
    wav = wav.clone()
    for start, stop in find_gaps(lossy):
        wav[start:stop] = 0
    return wav


class GapCounter:
    """Count what is lost of a wave that comes in blocks.

    Example
    -------
    >>> counter = GapCounter()
    >>> for block in torch.cat((torch.ones(50), torch.zeros(200))).split(100):
    ...     counter.add(block)
    >>> counter.finish()
    (1, 200)
    """

    def __init__(self):
        self.count = self.lost = self.run = 0

    def add(self, wav: torch.Tensor) -> None:
        """Take the next samples (T,)."""
        heard = wav.nonzero().flatten()
        if not len(heard):
            self.run += len(wav)
            return
        self.run += int(heard[0])
        self.close()
        for start, stop in find_gaps(wav[heard[0] : heard[-1] + 1]):
            self.run = stop - start
            self.close()
        self.run = len(wav) - 1 - int(heard[-1])

    def close(self) -> None:
        """End a run of zeros."""
        if self.run >= LEAST_GAP:
            self.count += 1
            self.lost += self.run
        self.run = 0

    def finish(self) -> tuple[int, int]:
        """Count the gaps, and the samples in them."""
        self.close()
        return self.count, self.lost
