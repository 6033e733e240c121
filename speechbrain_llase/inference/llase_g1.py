"""LLaSEG1: one model for five tasks, some with a second input.

Read enhancement.py first: every task goes the way of `enhance_batch` there,
over the stages of multitask.py.
"""

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_writer import (
    check_writable,
    split_batch,
    write_voices,
)
from speechbrain_llase.dataio.own_rate import rate_kept
from speechbrain_llase.dataio.whole_files import whole_file
from speechbrain_llase.inference.enhancement import EnhanceLLaSE
from speechbrain_llase.inference.long_files import enhance_blocks
from speechbrain_llase.inference.multitask import (
    LIKE_ENHANCEMENT,
    TASKS,
    MultitaskStages,
)
from speechbrain_llase.inference.reports import Report
from speechbrain_llase.inference.sources import fetch_audio, fetch_taken
from speechbrain_llase.inference.streaming import EnhancerStream
from speechbrain_llase.processing.packet_loss import find_gaps

logger = get_logger(__name__)
Waves = torch.Tensor | Sequence[torch.Tensor]
Enhanced = torch.Tensor | tuple[torch.Tensor, list[Report]]


class LLaSEG1(EnhanceLLaSE):
    """A ready-to-use model for enhancement, packet loss, echo and speakers.

    Waves are float (B, T), 16 kHz; `lengths` are relative, (B,), and those of
    the first input. A second input is (B, S), or, where its items are not
    equally long, a list of (S,) each. Outputs
    are float32, of the length of the first input, at the level of the voice in
    it. `passes` is how often the model runs, each time but the first on its
    own output; each costs as much as the first. `return_details` gives the
    report of each item, too. Without a task's name, as in `enhance_file`, it
    is used as `EnhanceLLaSE` is.

    Arguments
    ---------
    *args, **kwargs
        As of `EnhanceLLaSE`.

    Example
    -------
    >>> from speechbrain_llase import LLaSEG1
    >>> model = LLaSEG1.from_hparams("models/llase_g1")  # doctest: +SKIP
    >>> near = model.cancel_echo_batch(microphone, loopback)  # doctest: +SKIP
    >>> voices = model.separate_batch(mixture)  # doctest: +SKIP
    >>> voices.shape  # doctest: +SKIP
    torch.Size([1, 160000, 2])
    """

    STAGES = MultitaskStages

    @classmethod
    def from_hparams(cls, source="llase_g1", *args, **kwargs) -> "LLaSEG1":
        """Load a model with a `MultitaskLM`; see `EnhanceLLaSE`."""
        return super().from_hparams(source, *args, **kwargs)

    def doing(
        self,
        task: str,
        references: Sequence[torch.Tensor | str] = (),
        **settings,
    ) -> "LLaSEG1":
        """Give the same model, bound to a task.

        Arguments
        ---------
        task : str
            se, plc, aec, tse or ss.
        references : sequence
            What is heard beside each item or file: (S,) or a path.
        **settings
            passes, aligns and peak_normalised; see `MultitaskStages`.

        Raises
        ------
        ValueError
            A setting is not allowed, or guard or candidates are on, which
            compare the output with the input, for a task whose output is
            another than its input.
        """
        model = self.having(task=task, references=references, **settings)
        if self.is_watched and task not in LIKE_ENHANCEMENT:
            raise ValueError(
                f"Guard and candidates want the output to be like the input, "
                f"which task={task} does not. Switch them off."
            )
        return model

    # -- batches -------------------------------------------------------------

    def enhance_batch(
        self,
        noisy: torch.Tensor,
        lengths: torch.Tensor | None = None,
        return_details: bool = False,
        passes: int | None = None,
    ) -> Enhanced:
        """Enhance a batch (B, T), or do what the model is bound to."""
        model = self if passes is None else self.doing("se", passes=passes)
        enhanced = super(LLaSEG1, model).enhance_batch(
            noisy, lengths, return_details
        )
        if not return_details or not model.stages.conceals:
            return enhanced
        wavs, found = enhanced
        items = split_batch(noisy, lengths)
        return wavs, list(map(add_gaps, found, map(find_gaps, items)))

    def conceal_batch(
        self,
        lossy: torch.Tensor,
        lengths: torch.Tensor | None = None,
        return_details: bool = False,
        passes: int = 1,
    ) -> Enhanced:
        """Fill the gaps of a batch (B, T) of which packets, zeros, are lost.

        Reports say where runs of zeros of 10 ms and more are.
        """
        model = self.doing("plc", passes=passes)
        return model.enhance_batch(lossy, lengths, return_details)

    def cancel_echo_batch(
        self,
        microphone: torch.Tensor,
        loopback: Waves,
        lengths: torch.Tensor | None = None,
        return_details: bool = False,
        passes: int = 1,
        aligns: bool = True,
    ) -> Enhanced:
        """Take out of (B, T) what a loudspeaker plays, (B, S).

        With `aligns`, a constant delay of up to 600 ms between the two is
        found and removed. A loopback that is shorter is followed by nothing.
        """
        settings = {"passes": passes, "aligns": aligns}
        model = self.doing("aec", list(loopback), **settings)
        return model.enhance_batch(microphone, lengths, return_details)

    def extract_batch(
        self,
        mixture: torch.Tensor,
        enrolment: Waves,
        lengths: torch.Tensor | None = None,
        return_details: bool = False,
        passes: int = 1,
    ) -> Enhanced:
        """Extract from (B, T) the voice that speaks in an enrolment (B, S).

        Of an enrolment, as much is heard as a window is long.
        """
        model = self.doing("tse", list(enrolment), passes=passes)
        return model.enhance_batch(mixture, lengths, return_details)

    def separate_batch(
        self,
        mixture: torch.Tensor,
        lengths: torch.Tensor | None = None,
        passes: int = 1,
    ) -> torch.Tensor:
        """Separate two speakers: (B, T) to (B, T, 2), as SpeechBrain does."""
        model = self.doing("ss", passes=passes)
        return model.enhance_batch(mixture, lengths).transpose(1, 2)

    def predict_tokens(
        self,
        mixtures: torch.Tensor,
        lengths: torch.Tensor | None = None,
        task: str = "se",
        references: Waves | None = None,
        peak_normalised: bool | None = None,
        passes: int = 1,
    ) -> torch.Tensor:
        """Predict the tokens of a task; see `EnhanceLLaSE`.

        Arguments
        ---------
        mixtures, lengths
            As for the task's batches.
        task : str
            se, plc, aec, tse, or ss, of which the second speaker's tokens are
            given (the first one's are those of se).
        references : optional
            What is heard beside the mixtures, (B, S) or a list; no delay is
            removed.
        peak_normalised : bool, optional
            Whether waves are divided by their peak. None does what the
            released reader of the task does: se, plc, ss are, aec, tse are
            not.
        passes : int
            How often the model runs.

        Returns
        -------
        tokens : torch.Tensor
            int64 (B, N), 50 a second, in [0, 65536); -1 past the end.
        """
        if task in TASKS and (references is None) != (
            not TASKS[task].reference
        ):
            raise ValueError(
                f"task={task!r} hears {TASKS[task].reference or 'nothing'} "
                "beside the mixture: pass references for aec and tse alone."
            )
        settings = {"passes": passes, "peak_normalised": peak_normalised}
        model = self.doing(
            task,
            list(references if references is not None else ()),
            aligns=False,
            **settings,
        )
        return super(LLaSEG1, model).predict_tokens(mixtures, lengths)

    def stream(self, *args, **kwargs) -> EnhancerStream:
        """Begin to enhance, or to conceal, audio that arrives in chunks."""
        if self.stages.task_name not in LIKE_ENHANCEMENT:
            raise ValueError(
                f"A stream has one input and one output, and task="
                f"{self.stages.task_name} needs more: pass whole files."
            )
        return super().stream(*args, **kwargs)

    # -- files ---------------------------------------------------------------

    def enhance_file(
        self,
        filename: str | Path,
        output_filename: str | Path | None = None,
        return_details: bool = False,
        passes: int | None = None,
        **kwargs,
    ) -> torch.Tensor | tuple[torch.Tensor, Report]:
        """Enhance a file, or do what the model is bound to."""
        model = self if passes is None else self.doing("se", passes=passes)
        how = output_filename, return_details
        return super(LLaSEG1, model).enhance_file(filename, *how, **kwargs)

    def conceal_file(
        self,
        filename: str | Path,
        output_filename: str | Path | None = None,
        return_details: bool = False,
        passes: int = 1,
        **kwargs,
    ) -> torch.Tensor | tuple[torch.Tensor, Report]:
        """Fill the gaps of a file; see `enhance_file` and `conceal_batch`."""
        model = self.doing("plc", passes=passes)
        how = output_filename, return_details
        return model.enhance_file(filename, *how, **kwargs)

    def cancel_echo_file(
        self,
        microphone: str | Path,
        loopback: str | Path,
        output_filename: str | Path | None = None,
        return_details: bool = False,
        passes: int = 1,
        aligns: bool = True,
        **kwargs,
    ) -> torch.Tensor | tuple[torch.Tensor, Report]:
        """Take out of a file what another one plays; see `enhance_file`."""
        heard = [fetch_audio(loopback, **kwargs)]
        model = self.doing("aec", heard, passes=passes, aligns=aligns)
        how = output_filename, return_details
        return model.enhance_file(microphone, *how, **kwargs)

    def extract_file(
        self,
        mixture: str | Path,
        enrolment: str | Path,
        output_filename: str | Path | None = None,
        return_details: bool = False,
        passes: int = 1,
        **kwargs,
    ) -> torch.Tensor | tuple[torch.Tensor, Report]:
        """Extract a voice that speaks in another file; see `enhance_file`."""
        heard = [fetch_audio(enrolment, **kwargs)]
        model = self.doing("tse", heard, passes=passes)
        how = output_filename, return_details
        return model.enhance_file(mixture, *how, **kwargs)

    def separate_file(
        self,
        filename: str | Path,
        output_filenames: tuple[str | Path, str | Path],
        passes: int = 1,
        **kwargs,
    ) -> None:
        """Separate a file of any length into two, in flat memory."""
        for name in output_filenames:
            check_writable(Path(name))
        model = self.doing("ss", passes=passes)
        file = fetch_taken(filename, **kwargs)
        if file[1].channels == "each":
            raise ValueError(
                "A separation gives two files of one channel: take "
                "channels='mix' or a number."
            )
        blocks = enhance_blocks(model.stages, *file)
        blocks = model.kept(blocks, file, output_filenames[0])
        rate = rate_kept(*file, self.hparams.sample_rate)
        with ExitStack() as stack:
            partial = [
                stack.enter_context(whole_file(name))
                for name in output_filenames
            ]
            write_voices(partial, blocks, rate)


def add_gaps(report: Report, gaps: list[tuple[int, int]]) -> Report:
    """Note in a report where packets are lost."""
    return dataclasses.replace(report, gaps=tuple(gaps))
