"""The tasks of LLaSE-G1: what each hears, and how its passes run.

As the released script has it (Kang et al., arXiv:2503.00493), window by
window. In a pass after the first, the model hears its own output, as 16-bit
numbers, for the script puts it into a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from speechbrain_llase.dataio.audio_reader import read_blocks
from speechbrain_llase.dataio.sample_buffer import SampleSpool, SpeakerSpools
from speechbrain_llase.inference.confidence import Posterior
from speechbrain_llase.inference.references import (
    AtPeak,
    Enrolment,
    Inputs,
    Loopback,
    Reference,
)
from speechbrain_llase.inference.speaker_places import (
    PlaceKeeper,
    SpeakerStitcher,
)
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.inference.windows import (
    Stitcher,
    Window,
    by_file,
    window_spans,
)
from speechbrain_llase.lobes.multitask_lm import MultitaskLM, OneHead
from speechbrain_llase.processing.delay import Samples, find_delay
from speechbrain_llase.processing.framing import HOP_LENGTH, MIN_SAMPLES
from speechbrain_llase.processing.packet_loss import keep_received
from speechbrain_llase.processing.signal_processing import fit_length

FULL_SCALE = 32768  # of 16 bits


@dataclass(frozen=True)
class Task:
    """How the released script reads the inputs of a task, and runs it."""

    head: str = "x"
    reference: str | None = None  # what is heard beside the mixture
    keeps_reference: bool = False  # in passes after the first
    divides_by_peak: bool = True
    separates: bool = False  # two outputs


TASKS = {
    "se": Task(),  # speech enhancement
    "plc": Task(),  # packet-loss concealment
    "aec": Task(reference="loopback", divides_by_peak=False),  # echo
    "tse": Task("y", "enrolment", True, False),  # target-speaker extraction
    "ss": Task(separates=True),  # separation of two speakers
}
LIKE_ENHANCEMENT = ("se", "plc")  # the output should be like the input


class MultitaskStages(Stages):
    """The stages of a model with a `MultitaskLM`, for one of its tasks.

    Settings beside those of `Stages`, by `having`: task, passes,
    peak_normalised (None: as the released reader of the task), aligns (whether
    the delay of a loopback is removed) and references: what is heard beside
    each file, (T,) or the path of a file.

    Raises
    ------
    ValueError
        If a setting is out of its range or does not fit the networks.
    """

    def __init__(self, mods, hparams, *run):
        super().__init__(mods, hparams, *run)
        lm, name = mods["token_lm"], getattr(hparams, "task", "se")
        if name not in TASKS:
            raise ValueError(
                f"task={name!r} is not known; choose one of {', '.join(TASKS)}."
            )
        if not isinstance(lm, MultitaskLM) or self.joined:
            raise ValueError(
                "This model enhances and has no other task: those need a "
                "MultitaskLM as token_lm and context_from: own, and here are "
                f"{type(lm).__name__} and {hparams.context_from}. Load "
                "llase_g1, or take EnhanceLLaSE."
            )
        if self.refines and name not in LIKE_ENHANCEMENT:
            raise ValueError(
                "A refiner brings the output near to the input, which "
                f"task={name} must not; it is for "
                f"{' and '.join(LIKE_ENHANCEMENT)}. Leave refine out."
            )
        if name != "se":  # talkers that are not wanted, lost packets
            self.follows = self.keeps_level = False
        self.task_name, self.task = name, TASKS[name]
        self.hears_reference = self.task.reference is not None
        self.conceals = name == "plc"
        self.references = getattr(hparams, "references", ())
        self.aligns = getattr(hparams, "aligns", True)
        self.passes = getattr(hparams, "passes", 1)
        if (name, self.passes) != ("se", 1):
            self.told = {"task": name, "passes": self.passes}
        spent = (self.passes - 1) * HOP_LENGTH + self.crossfade // 2
        if self.passes < 1 or spent > self.context * HOP_LENGTH:
            raise ValueError(
                f"passes={self.passes} must be at least 1, and each after the "
                f"first takes 0.02 s of context_s={hparams.context_s}, of which "
                "the cross-fade needs its half. Choose fewer, or more context."
            )
        wanted = getattr(hparams, "peak_normalised", None)
        self.normalises = wanted
        self.divides_by_peak = (
            self.task.divides_by_peak if wanted is None else wanted
        )

    @property
    def token_lm(self) -> OneHead:
        """The token LM behind its first layers, with the task's head."""
        return self.mods["token_lm"].through(self.task.head)

    def cut(
        self, noisy: list[torch.Tensor], plans: list[list[Window]]
    ) -> list[torch.Tensor | Inputs]:
        """Cut files into windows, with what is heard beside each."""
        windows = super().cut(noisy, plans)
        references = self.references_of(len(noisy))
        if not references:
            return windows
        heard = []
        for wav, plan, source in zip(noisy, plans, references, strict=True):
            if plan:
                reference = self.beside(wav, source)
                sizes = self.context, self.reach, len(wav)
                heard += [reference(*x) for x in window_spans(plan, *sizes)]
        return list(map(Inputs, windows, heard))

    def references_of(self, count: int) -> Sequence[torch.Tensor | str]:
        """Give what is heard beside so many files; a ValueError for others."""
        heard, given = self.task.reference, len(self.references)
        if given != (count if heard else 0):
            raise ValueError(
                f"task={self.task_name} hears {heard or 'nothing'} beside a "
                f"mixture: there are {count} mixtures and {given} references; "
                f"pass {'one for each' if heard else 'none'}."
            )
        return self.references

    def beside(self, noisy: Samples, source: Samples | str) -> Reference:
        """Make a reference of a wave, or of a file that is read whole."""
        if isinstance(source, str):
            rate = self.hparams.sample_rate
            source = torch.cat(list(read_blocks(source, rate)))
        if self.normalises:
            source = AtPeak(source)
        if self.task.reference == "enrolment":
            return Enrolment(source)
        delay = find_delay(noisy, source) if self.aligns else None
        return Loopback(source, delay or 0)

    def extract(
        self,
        windows: list[torch.Tensor | Inputs],
        plans: list[list[Window]] | None = None,
    ) -> list[Inputs]:
        """Extract what the last pass hears; all before it are run here."""
        windows = [x if isinstance(x, Inputs) else Inputs(x) for x in windows]
        others = {id(x.reference): x.reference for x in windows}
        others.pop(id(None), None)
        beside = [x.to(self.device).float() for x in others.values()]
        waves = [x.mixture for x in windows]
        feats = self.features(waves + beside)
        beside = dict(zip(others, feats[len(waves) :], strict=True))
        given = [
            Inputs(f, beside.get(id(x.reference)))
            for f, x in zip(feats, windows)
        ]
        heard = given
        for _ in range(self.passes - 1):
            fed = self.hear_again(self.run_pass(heard)[1])
            heard = [
                x
                if f is None
                else Inputs(
                    f, x.reference if self.task.keeps_reference else None
                )
                for f, x in zip(fed, heard, strict=True)
            ]
        if not self.task.separates:
            return heard
        tokens, waves = self.run_pass(heard)
        mixtures = [x.mixture for x in given]
        return list(map(Inputs, mixtures, self.hear_again(waves), tokens))

    def features(self, waves: list[torch.Tensor]) -> list[torch.Tensor]:
        """Extract features (N, D) of waves (T,)."""
        return self._run(self.mods["frontend"].extract_each, waves)

    def hear_again(
        self, waves: list[torch.Tensor]
    ) -> list[torch.Tensor | None]:
        """Extract features of outputs (320 N,), written with 16 bits.

        None for what is too short.
        """
        long = [k for k, wav in enumerate(waves) if len(wav) >= MIN_SAMPLES]
        feats = self.features([to_16_bits(waves[k]) for k in long])
        found = dict(zip(long, feats, strict=True))
        return [found.get(k) for k in range(len(waves))]

    def run_pass(
        self, heard: list[Inputs]
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Predict tokens (N,) and decode them to waves (320 N,)."""
        tokens, _ = super().score(self.join(heard))
        return tokens, super().decode(tokens)

    def join(self, heard: list[Inputs]) -> list[torch.Tensor]:
        """Project both inputs of the LM: (N, 2 d_model) each."""
        lm = self.mods["token_lm"]
        return self._run(
            lambda some: [lm.join(x.mixture, x.reference) for x in some], heard
        )

    def score(
        self, feats: list[Inputs], likely: bool = False
    ) -> tuple[list, list[Posterior]]:
        """Predict tokens, as `Stages` does; of two speakers a pair each.

        Posteriors are of the second speaker then.
        """
        codes, posteriors = super().score(self.join(feats), likely)
        if self.task.separates:
            codes = [(x.first, c) for x, c in zip(feats, codes, strict=True)]
        return codes, posteriors

    def decode(self, codes: list) -> list[torch.Tensor]:
        """Decode tokens: (320 N,) each, of two speakers (320 N, 2)."""
        if not self.task.separates:
            return super().decode(codes)
        waves = super().decode([tokens for pair in codes for tokens in pair])
        return [
            torch.stack((fit_length(first, len(second)), second), 1)
            for first, second in zip(waves[::2], waves[1::2], strict=True)
        ]

    def new_stitcher(self) -> Stitcher | SpeakerStitcher:
        """Begin to join the windows of a file."""
        if self.task.separates:
            return SpeakerStitcher(HOP_LENGTH, self.crossfade)
        return super().new_stitcher()

    def new_spool(self) -> SampleSpool | SpeakerSpools:
        """Begin to put the result of a file aside."""
        return SpeakerSpools() if self.task.separates else super().new_spool()

    def restore(
        self,
        waves: list[torch.Tensor],
        plans: list[list[Window]],
        noisy: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Join windows to files (T,), of two speakers (2, T)."""
        if not self.task.separates:
            return super().restore(waves, plans, noisy)
        voices = []
        for pieces, plan in zip(by_file(waves, plans), plans, strict=True):
            voices += map(PlaceKeeper(), pieces, plan)
        both = [
            super(MultitaskStages, self).restore(
                [piece[:, k] for piece in voices], plans, noisy
            )
            for k in range(2)
        ]
        return list(map(torch.stack, zip(*both, strict=True)))

    def comparable(
        self, enhanced: torch.Tensor, noisy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Leave lost packets out of what levels are matched on."""
        if self.conceals:
            enhanced = keep_received(enhanced, noisy)
        return enhanced, noisy


def to_16_bits(wav: torch.Tensor) -> torch.Tensor:
    """Round (T,) down, and clip it, as a file of 16 bits holds it."""
    wav = (wav.float() * FULL_SCALE).floor()
    return wav.clamp(-FULL_SCALE, FULL_SCALE - 1) / FULL_SCALE
