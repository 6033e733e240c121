"""Which weights of a loaded model learn: all, LoRA, the last layers, none."""

from fnmatch import fnmatch

import torch
from speechbrain.nnet.adapters import AdaptedModel
from speechbrain.utils import checkpoints
from torch.nn.utils import parametrize

from speechbrain_llase.pretrained.pickles import listed
from speechbrain_llase.pretrained.tensors import read_tensors

CHOICES = ("all", "lora", "last")


class Frozen(torch.nn.Module):
    """A network that is used and never trained.

    `Brain` puts all modules back to training mode each epoch, which turns
    dropout on; this one stays in eval mode and its weights want no gradient.

    Arguments
    ---------
    network : torch.nn.Module
        What is frozen; it may be loaded later.

    Example
    -------
    >>> frozen = Frozen(torch.nn.Dropout(0.5)).train()
    >>> frozen(torch.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, *args, **kwargs):
        """Run the network; no gradient is kept."""
        with torch.no_grad():
            return self.network(*args, **kwargs)


class LowRank(torch.nn.Module):
    """A weight (D_out, D_in) plus a low-rank update, which begins at zero.

    LoRA (Hu et al., arXiv:2106.09685) as a parametrization of torch: whoever
    reads the layer's weight, reads the sum, scaled by alpha / rank.
    """

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float):
        super().__init__()
        down = torch.empty(rank, weight.shape[1], device=weight.device)
        self.down = torch.nn.Parameter(down)
        torch.nn.init.kaiming_uniform_(self.down, a=5**0.5)
        up = torch.zeros(weight.shape[0], rank, device=weight.device)
        self.up = torch.nn.Parameter(up)
        self.scale = alpha / rank

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Add the update to (D_out, D_in)."""
        return weight + (self.scale * self.up @ self.down).to(weight.dtype)


def add_low_rank(
    linear: torch.nn.Module, rank: int, alpha: float
) -> torch.nn.Module:
    """Parametrise a linear layer's weight as `LowRank`, in place."""
    update = LowRank(linear.weight, rank, alpha)
    parametrize.register_parametrization(linear, "weight", update)
    return linear


@checkpoints.register_checkpoint_hooks
class FineTunedLM(AdaptedModel):
    """A token LM of which some weights learn; only those are saved.

    Load the LM's weights, then call `adapt` once. SpeechBrain's `LoRA` puts a
    module in a layer's place, which hides the weight that `nnet.layers` reads;
    here the layer stays and its weight is parametrised.

    Arguments
    ---------
    token_lm : TokenLM
        What is trained.
    train : str
        "all" weights; "lora", low-rank updates of the linear layers named by
        `lora_layers`; or "last", the layers named by `last_layers`.
    lora_layers, last_layers : list of str
        Names of modules, with the wildcards of the shell.
    lora_rank : int
        Rank of the updates.
    lora_alpha : float
        Updates are scaled by alpha / rank.

    Raises
    ------
    ValueError
        The choice is unknown, no layer has such a name, or LoRA is to update
        a layer that is not linear.
    """

    def __init__(
        self,
        token_lm: torch.nn.Module,
        train: str,
        lora_layers: list[str],
        last_layers: list[str],
        lora_rank: int = 16,
        lora_alpha: float = 16.0,
    ):
        if train not in CHOICES:
            raise ValueError(
                f"train={train!r} is not known; choose {', '.join(CHOICES)}."
            )
        patterns = {"all": ["*"], "lora": lora_layers, "last": last_layers}
        check_layers(token_lm, patterns[train])
        super().__init__(
            token_lm,
            add_low_rank,
            target_layers=lora_layers if train == "lora" else [],
            unfrozen_layers=[] if train == "lora" else patterns[train],
            adapter_kwargs={"rank": lora_rank, "alpha": lora_alpha},
            manual_adapter_insertion=True,
        )
        self.choice = train
        self.replace_layers.sort()  # the order in which updates are drawn
        for name in self.replace_layers:
            layer = token_lm.get_submodule(name)
            if not isinstance(layer, torch.nn.Linear):
                raise ValueError(
                    f"{name} is {type(layer).__name__}; LoRA updates linear "
                    "layers, name those in lora_layers."
                )

    def adapt(self) -> "FineTunedLM":
        """Put the updates in."""
        self.insert_adapters()
        return self

    def merged(self) -> torch.nn.Module:
        """Put the updates into the weights and give the plain token LM."""
        for layer in list(self.adapted_model.modules()):
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight")
        return self.adapted_model

    def learning(self) -> dict[str, torch.Tensor]:
        """The weights that are trained, by name."""
        return {
            name: weight
            for name, weight in self.adapted_model.named_parameters()
            if weight.requires_grad
        }

    @checkpoints.mark_as_saver
    def saver(self, path):
        """Save what learns, and nothing else."""
        weights = {k: w.detach() for k, w in self.learning().items()}
        torch.save(weights, path)

    @checkpoints.mark_as_loader
    def loader(self, path, end_of_epoch=True):
        """Load what `saver` wrote, strictly.

        A ValueError, if the file holds weights of another size, or of another
        choice of what to train; nothing is copied then.
        """
        ours, theirs = self.learning(), read_tensors(str(path))
        wrong = sorted(
            name
            for name in ours.keys() | theirs.keys()
            if name not in ours
            or name not in theirs
            or ours[name].shape != theirs[name].shape
        )
        if wrong:
            raise ValueError(
                f"{path} does not fit a token LM of this size of which "
                f"{self.choice} is trained: {listed(wrong)}."
            )
        with torch.no_grad():
            for name, weight in ours.items():
                weight.copy_(theirs[name])


def check_layers(network: torch.nn.Module, patterns: list[str]) -> None:
    """Refuse patterns of which one fits no module's name."""
    names = [name for name, _ in network.named_modules() if name]
    missing = [x for x in patterns if not any(fnmatch(n, x) for n in names)]
    if missing or not patterns:
        raise ValueError(
            f"The token LM has no layer {missing or patterns}; its layers are "
            f"{listed(names)}"
        )
