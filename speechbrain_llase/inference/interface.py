"""What SpeechBrain's `Pretrained` does otherwise for networks in stages."""

import copy
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.run_opts import RunOptions

from speechbrain_llase.dataio.audio_formats import (
    FORMATS,
    Format,
    read_tags,
)
from speechbrain_llase.dataio.audio_reader import Taken
from speechbrain_llase.dataio.audio_writer import write_whole
from speechbrain_llase.dataio.own_rate import at_own_rate, rate_kept
from speechbrain_llase.inference.loading import pick_device, with_refiner
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.nnet import compilation, precision


class StagedInterface(Pretrained):
    """A model whose networks are run by `Stages`, on the device of its weights.

    The networks are neither compiled nor wrapped as a whole, for no stage runs
    their `forward`; `to` moves the stages with the weights.
    """

    STAGES = Stages  # the class of them

    def __init__(self, modules, hparams, *args, added=(), **kwargs):
        hparams = {**hparams, **dict(added)}
        super().__init__(
            with_refiner(modules, hparams), hparams, *args, **kwargs
        )

    def make_stages(self) -> Stages:
        """Make the stages for the device and precision of the run options."""
        exact = self.computes_in == "float32"  # or autocast has nothing to do
        fuses = compilation.can_fuse(self.compile, self.device)
        run = self.device, self.inference_ctx if exact else None, fuses
        return self.STAGES(self.mods, self.hparams, *run)

    def having(self, **settings) -> "StagedInterface":
        """Give the same model, its networks shared, with other settings.

        Those of its YAML that need no other network: generative, window_s, ...;
        and mix, the share of what is enhanced in the result, 0 to 1.
        """
        other = copy.copy(self)
        other.stages = self.stages.having(**settings)
        other.hparams = other.stages.hparams
        return other

    def kept(
        self,
        blocks: Iterable[torch.Tensor],
        file: tuple[str, Taken],
        target: str | Path | None = None,
    ) -> Iterator[torch.Tensor]:
        """Bring the blocks (T,) of a result to its input's rate, if it is kept.

        A ValueError before any block, if the target's format lacks this rate.
        """
        rate = self.hparams.sample_rate
        rate_kept(*file, rate, Path(target or "").suffix)
        return at_own_rate(blocks, *file, rate)

    def write(
        self,
        target: str | Path,
        blocks: Iterable[torch.Tensor],
        subtype: str | None,
        file: tuple[str, Taken],
    ) -> None:
        """Write the blocks (T,) of a result, with its input's tags or picture."""
        ending = Path(target).suffix.lower()[1:]
        if subtype is not None and ending in FORMATS:
            Format(ending, subtype)  # refuses what does not go together
        rate = rate_kept(*file, self.hparams.sample_rate, ending)
        write_whole(target, blocks, rate, file, subtype, read_tags(file[0]))

    def _compile(self) -> None:
        """Compile no network as a whole."""

    def _wrap_distributed(self) -> None:
        """Wrap no network, and refuse what asks for that."""
        if self.data_parallel_backend:
            raise ValueError(
                "data_parallel_backend=True splits batches of a training; to "
                "enhance on several GPUs, load one model for each (run_opts="
                "{'device': 'cuda:1'}), or see docs/folders.md."
            )
        refuse_half(self.precision, self.device)

    def _apply(
        self, move: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> "StagedInterface":
        """Do what `to`, `cuda` and the like ask for: move, in the same dtype.

        A ValueError for another dtype, and for a device that the model is not
        for or that is not here.
        """
        try:
            probe = move(torch.zeros(1, dtype=torch.float32))
        except (RuntimeError, AssertionError) as err:
            raise ValueError(f"The model cannot be moved there: {err}") from err
        if probe.dtype != torch.float32:
            raise ValueError(
                f"A loaded model does not change its dtype (to {probe.dtype}); "
                'load it with overrides={"compute": "bfloat16"}.'
            )
        kind = probe.device.type
        for compute in self.computes_in.split(", "):
            precision.choose(compute, kind)
        refuse_half(self.precision, kind)
        super()._apply(move, recurse)
        self.device = str(next(self.mods.parameters()).device)
        self.stages = self.make_stages()
        return self


def refuse_half(name: str, device: str) -> None:
    """Raise a ValueError for half precision on a CPU, which lacks it."""
    if name == "fp16" and torch.device(device).type == "cpu":
        raise ValueError(
            "precision='fp16' is for GPUs, and the device is the CPU; choose "
            "fp32 or bf16."
        )


def check_options(
    run_opts: dict | RunOptions | Namespace | None,
) -> dict | RunOptions | Namespace | None:
    """Check the device that SpeechBrain's run options name, if they do.

    Gives the options, with the device as a string that PyTorch knows; a
    ValueError for a device that is unknown or not here.
    """
    given = run_opts or {}
    given = given if isinstance(given, dict) else vars(given)
    if given.get("device") is None:
        return run_opts
    device = pick_device(str(given["device"]))
    if isinstance(run_opts, dict):
        return {**run_opts, "device": device}
    run_opts.device = device
    return run_opts
