"""The stages of enhancement, in the order the data flows.

Every network takes and gives a list of windows, each of any length, so that
windows of several files may run together.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import SimpleNamespace

import torch

from speechbrain_llase.dataio.audio_writer import is_audible
from speechbrain_llase.dataio.sample_buffer import SampleSpool
from speechbrain_llase.inference.confidence import Posterior, score_each
from speechbrain_llase.inference.windows import (
    Stitcher,
    Window,
    by_file,
    cut_audio,
    join_context,
    plan_windows,
    seconds_to_rows,
    stitch,
)
from speechbrain_llase.lobes.refiner import pair
from speechbrain_llase.nnet.compilation import fusing
from speechbrain_llase.nnet.cuda_graphs import Graphs, replaying
from speechbrain_llase.nnet.fsq import decodes_mean
from speechbrain_llase.nnet.precision import own_precision
from speechbrain_llase.processing.framing import (
    HOP_LENGTH,
    MIN_SAMPLES,
    num_rows,
)
from speechbrain_llase.processing.hearing import hear
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    match_gain,
    to_peak,
    within_full_scale,
)
from speechbrain_llase.processing.speech_gain import SpeechGain

SCHEMES = ("joined", "own")
LEVEL_SOURCES = ("peak", "speech")  # that set what the frontend hears


class Stages:
    """The networks of a model, the windows they see, and how they are run.

    Arguments
    ---------
    mods : torch.nn.ModuleDict
        frontend, token_lm, vocoder and, where a model has one, refiner.
    hparams : SimpleNamespace
        Settings of the model's YAML: `EnhanceLLaSE.HPARAMS_NEEDED`, and those
        that not all models have: decoder_hears, hears, refine, generative,
        follow_level.
    device : torch.device or str
        Where the networks are.
    inference_ctx : context manager
        In which they run, such as autocast.
    fuses : bool
        Whether their layers run in compiled form.
    graphs : Graphs, optional
        CUDA graphs by which layers run.

    Raises
    ------
    ValueError
        If a setting is out of its range or does not fit the networks.
    """

    def __init__(
        self,
        mods: torch.nn.ModuleDict,
        hparams: SimpleNamespace,
        device: torch.device | str,
        inference_ctx: AbstractContextManager | None = None,
        fuses: bool = False,
        graphs: Graphs | None = None,
    ):
        self.mods, self.hparams, self.device = mods, hparams, device
        self.inference_ctx = inference_ctx or nullcontext()
        self.fuses, self.graphs, self.learns = fuses, graphs, False
        scheme = check_choice("context_from", hparams.context_from, SCHEMES)
        self.joined = scheme == "joined"
        hears = getattr(hparams, "hears", "peak")
        check_choice("hears", hears, LEVEL_SOURCES)
        self.hears_speech = hears == "speech"
        self.divides_by_peak = True  # files, before anything else
        self.hears_reference = False
        self.conceals = False  # whether lost packets are looked for
        self.told = {}  # settings that a run is described by, beside hparams
        wanted = getattr(hparams, "refine", True)
        self.refines = "refiner" in mods and bool(wanted)
        refiner = mods["refiner"] if self.refines else None
        self.generative = check_knob(refiner, hparams)
        keeps = getattr(refiner, "keeps_level", False) and self.hears_speech
        follows = hparams.restore_level and not keeps
        self.follows = follows and getattr(hparams, "follow_level", False)
        self.keeps_level = keeps or self.follows  # of each window
        self.mix = getattr(hparams, "mix", 1.0)  # share of what is enhanced
        if not 0 <= self.mix <= 1:
            raise ValueError(f"mix={self.mix} must lie in [0, 1].")
        if self.refines and self.joined:
            raise ValueError(
                "A refiner takes the audio of each window: it needs "
                f"context_from: own, not {scheme}."
            )
        choice = getattr(hparams, "decoder_hears", "best")
        self.decodes_mean = decodes_mean(choice)
        head = getattr(mods["token_lm"], "head", None)
        if self.decodes_mean and head != "digits":
            raise ValueError(
                "decoder_hears: mean needs a token LM with head: digits; "
                f"this one has {head!r}. Choose best."
            )
        self.zero_row = getattr(mods["frontend"], "zero_row", True)
        self.reach = 0 if self.zero_row else MIN_SAMPLES - HOP_LENGTH
        self._set_sizes()

    def _set_sizes(self) -> None:
        """Turn seconds into rows (window, context) and samples (crossfade)."""
        own = self.hparams
        hop_s = HOP_LENGTH / own.sample_rate
        self.window = seconds_to_rows("window_s", own.window_s, hop_s)
        self.context = seconds_to_rows("context_s", own.context_s, hop_s)
        if self.window < 1 or not 0 <= own.crossfade_s <= own.window_s:
            raise ValueError(
                f"window_s={own.window_s} must be positive and "
                f"crossfade_s={own.crossfade_s} between 0 and window_s."
            )
        self.crossfade = round(own.crossfade_s * own.sample_rate)

    def references_of(self, count: int) -> tuple:
        """Give what is heard beside so many files: nothing."""
        return ()

    def having(self, learns: bool = False, **settings) -> "Stages":
        """Give the same stages with other settings; None keeps the model's.

        Gradients flow through those that learn, and no autocast is theirs.
        """
        given = {k: x for k, x in settings.items() if x is not None}
        hparams = SimpleNamespace(**{**vars(self.hparams), **given})
        run = () if learns else (self.inference_ctx, self.fuses, self.graphs)
        stages = type(self)(self.mods, hparams, self.device, *run)
        stages.learns = learns
        return stages

    @property
    def token_lm(self) -> torch.nn.Module:
        """The token LM, as windows go through it."""
        return self.mods["token_lm"]

    # -- from files to windows: lists of all windows, file after file --------

    def plan(self, noisy: torch.Tensor) -> list[Window]:
        """Place windows on a file (T,): none if it is silent or too short."""
        if not is_audible(noisy):
            return []
        rows = self.num_rows(len(noisy))
        return plan_windows(rows, self.window, self.context)

    def num_rows(self, num_samples: int) -> int:
        """Count the rows that the frontend makes of a whole file."""
        return num_rows(num_samples, self.zero_row)

    def cut(
        self, noisy: list[torch.Tensor], plans: list[list[Window]]
    ) -> list[torch.Tensor]:
        """Scale files (T,) to [-1, 1]; cut out (T,) of each planned window."""
        scale = to_peak if self.divides_by_peak else torch.Tensor.float
        return [
            window
            for wav, plan in zip(noisy, plans, strict=True)
            if plan
            for window in cut_audio(
                scale(wav.float()), plan, self.context, self.reach
            )
        ]

    # -- the networks, on windows of any lengths -----------------------------

    def extract(
        self,
        windows: list[torch.Tensor],
        plans: list[list[Window]] | None = None,
    ) -> list[torch.Tensor]:
        """Extract features: (T,) each -> float32 (N, D) each, 50 rows a second.

        With the plans of all files, context rows are those of `context_from`;
        without, each window has its own.
        """
        if self.hears_speech:
            windows = [hear(window)[0] for window in windows]
        feats = self._run(self.mods["frontend"].extract_each, windows)
        if plans is None or not self.joined:
            return feats
        files = zip(by_file(feats, plans), plans, strict=True)
        return [x for own, plan in files for x in join_context(own, plan)]

    def score(
        self, feats: list[torch.Tensor], likely: bool = False
    ) -> tuple[list[torch.Tensor], list[Posterior]]:
        """Predict clean speech of features (N, D) each.

        With `likely`, it is said how likely the tokens are, too.

        Returns
        -------
        codes : list of torch.Tensor
            What `decode` takes: the most likely tokens, int64 (N,) each; or,
            with decoder_hears: mean, the mean codes, float32 (N, 8) each.
        posteriors : list of Posterior
            What the token LM knows of each window.
        """
        chosen = {"mean": self.decodes_mean, "likely": likely}
        stage = partial(score_each, self.token_lm, **chosen)
        pairs = self._run(stage, feats)
        return [codes for codes, _ in pairs], [known for _, known in pairs]

    def decode(self, codes: list[torch.Tensor]) -> list[torch.Tensor]:
        """Decode tokens (N,) or codes (N, 8) each -> float32 (320 N,) each."""
        return self._run(self.mods["vocoder"].decode_each, codes)

    def refine(
        self, waves: list[torch.Tensor], windows: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Refine (320 N,) each by the noisy (T,), if the model has a refiner."""
        if not self.refines:
            return waves
        refine = self.mods["refiner"].refine_each
        if self.generative is not None:
            refine = partial(refine, generative=self.generative)
        return self._run(refine, list(map(pair, waves, windows)))

    def to_waves(
        self, codes: list[torch.Tensor], windows: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Decode codes and refine them by the noisy (T,): (320 N,) each."""
        return self.refine(self.decode(codes), windows)

    def generate(
        self,
        feats: list[torch.Tensor],
        windows: list[torch.Tensor | None],
        choose: Callable[[Posterior], torch.Tensor] | None = None,
        likely: bool = False,
    ) -> tuple[list[torch.Tensor], list[Posterior]]:
        """Score features (N, D) each, decode them, and refine by the windows.

        `choose` picks other codes of a posterior than `score` does. Gives the
        wave (320 N,) of each window and the posterior behind it.
        """
        codes, posteriors = self.score(feats, likely)
        if choose:
            codes = [choose(known) for known in posteriors]
        return self.to_waves(codes, windows), posteriors

    def generate_pairs(
        self, pairs: list[tuple], likely: bool = False
    ) -> list[tuple[torch.Tensor, Posterior]]:
        """Do what `generate` does with (features, window) each, each alone."""
        found = self.generate(*zip(*pairs, strict=True), likely=likely)
        return list(zip(*found, strict=True))

    def generate_scored(self, pairs: list[tuple]) -> list[tuple]:
        """Do the same; say how likely the tokens are, too."""
        return self.generate_pairs(pairs, likely=True)

    @property
    def steps(self) -> tuple[Callable, Callable]:
        """What the windows of files in a folder go through, in order."""
        return self.extract, self.generate_scored

    def predict(
        self, noisy: list[torch.Tensor]
    ) -> tuple[list[list[Window]], list[Posterior]]:
        """Plan files (T,) and give the posteriors; nothing is decoded."""
        plans = [self.plan(wav) for wav in noisy]
        feats = self.extract(self.cut(noisy, plans), plans)
        return plans, self.score(feats)[1]

    # -- from windows to files -----------------------------------------------

    def restore(
        self,
        waves: list[torch.Tensor],
        plans: list[list[Window]],
        noisy: list[torch.Tensor],
    ) -> list[torch.Tensor]:
        """Join windows (320 N,) to files (T,) at the level of the noisy ones.

        Files without windows are zeros. No result passes full scale where its
        input did not: it is scaled down as a whole.
        """
        like = {"device": self.device, "dtype": torch.float32}
        enhanced = [torch.zeros(len(x), **like) for x in noisy]
        for k, pieces in enumerate(by_file(waves, plans)):
            if not pieces:
                continue
            plan, own = plans[k], noisy[k].detach().float()
            if self.follows:
                heard = self.cut([own], [plan])
                pieces = list(map(SpeechGain(), pieces, heard, plan))
            wav = stitch(pieces, plan, HOP_LENGTH, self.crossfade)
            wav = fit_length(wav, len(own))
            if self.keeps_level:
                wav = wav * self.fed_scale(float(own.abs().max()))
            elif self.hparams.restore_level:
                both = self.comparable(wav.detach(), own)
                wav = wav * match_gain(*both)
            wav = self.mix * wav + (1 - self.mix) * own if self.mix < 1 else wav
            enhanced[k] = within_full_scale(wav, own)
        return enhanced

    def fed_scale(self, peak: float) -> float:
        """What a file of this peak is divided by."""
        return peak if self.divides_by_peak else 1.0

    def new_stitcher(self) -> Stitcher:
        """Begin to join the windows of a file, one by one."""
        return Stitcher(HOP_LENGTH, self.crossfade)

    def new_spool(self) -> SampleSpool:
        """Begin to put the result of a file aside."""
        return SampleSpool()

    def comparable(
        self, enhanced: torch.Tensor, noisy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Give what of both (T,) levels are matched on."""
        return enhanced, noisy

    def _run(self, network: Callable, windows: list) -> list:
        """Run a network, `window_batch` windows at a time, alike ones first."""
        results = [None] * len(windows)
        learns = self.learns and torch.is_grad_enabled()
        order = sorted(range(len(windows)), key=lambda k: len(windows[k]))
        for at in range(0, len(order), self.hparams.window_batch):
            some = order[at : at + self.hparams.window_batch]
            grad = torch.set_grad_enabled(learns)
            own = nullcontext() if self.learns else own_precision(self.device)
            with (
                grad,
                own,
                self.inference_ctx,
                fusing(self.fuses),
                replaying(self.graphs),
            ):
                outputs = network([windows[k] for k in some])
            for k, output in zip(some, outputs, strict=True):
                results[k] = output
        return results


def check_choice(key: str, given: str, choices: tuple[str, ...]) -> str:
    """Refuse a setting that is none of its choices."""
    if given not in choices:
        raise ValueError(
            f"{key}={given!r} is not known; choose one of {', '.join(choices)}."
        )
    return given


def check_knob(
    refiner: torch.nn.Module | None, hparams: SimpleNamespace
) -> float | None:
    """Give the refiner's place between faithful (0) and generative (1).

    None where a model has no such knob; a ValueError if it is asked for
    all the same, or out of its range.
    """
    asked = getattr(hparams, "generative", None)
    known = getattr(refiner, "as_trained", None)
    if asked is None or (refiner is None and hasattr(hparams, "refine")):
        return known
    if known is None:
        raise ValueError(
            f"generative={asked} needs a SpectralRefiner, which this model "
            "does not have; leave it out, or see refine."
        )
    if not 0 <= asked <= 1:
        raise ValueError(f"generative={asked} must lie in [0, 1].")
    return float(asked)
