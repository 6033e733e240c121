"""The matrices among a network's weights, which Muon updates.

Muon (torch.optim.Muon, from torch 2.9 on) takes matrices alone; what is none,
and what has the first or last sizes of a network, is left to AdamW.
"""

from collections.abc import Sequence

import torch


class Matrices:
    """The matrices among a network's weights, and what is left.

    Kernels of images are taken as matrices (size_out, rest); stacks, such as
    those of `BandMixer`, as many of them.

    Arguments
    ---------
    network : torch.nn.Module
        Whose weights are trained.
    left_out : sequence of str
        Parts of names; weights of these names are no matrices.

    Example
    -------
    >>> network = torch.nn.Sequential(torch.nn.Linear(3, 4))
    >>> matrices = Matrices(network, ())
    >>> [tuple(x.shape) for x in (*matrices.views, *matrices.others)]
    [(4, 3), (4,)]
    """

    def __init__(self, network: torch.nn.Module, left_out: Sequence[str]):
        self.weights = [
            weight
            for name, weight in network.named_parameters()
            if weight.dim() > 1 and not any(part in name for part in left_out)
        ]
        ids = {id(weight) for weight in self.weights}
        self.others = [x for x in network.parameters() if id(x) not in ids]
        self.views = [
            torch.nn.Parameter(part)
            for weight in self.weights
            for part in as_matrices(weight.detach())
        ]

    def hand_on_gradients(self) -> None:
        """Give the views the gradients of their weights."""
        parts = [p for w in self.weights for p in as_matrices(w.grad)]
        for view, gradient in zip(self.views, parts, strict=True):
            view.grad = gradient.contiguous()


def as_matrices(weight: torch.Tensor) -> list[torch.Tensor]:
    """Views of a weight as matrices."""
    if weight.dim() == 4:  # (size_out, size_in, 3, width), channels last
        return [weight.permute(0, 2, 3, 1).flatten(1)]
    return list(weight) if weight.dim() == 3 else [weight]
