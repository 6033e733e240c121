"""EnhanceLLaSE: noisy speech in, clean speech out.

Read this file first: the stages stand in the order the data flows, and
nothing else calls across them.

Authors
 * The speechbrain_llase contributors 2026
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.distributed import infer_device
from speechbrain.utils.fetching import FetchSource
from speechbrain.utils.logger import get_logger

from speechbrain_llase.dataio.audio_writer import (
    check_writable,
    is_heard,
    split_batch,
    write_whole,
)
from speechbrain_llase.inference import reports as careful
from speechbrain_llase.inference.candidates import Candidates
from speechbrain_llase.inference.confidence import predict_scored
from speechbrain_llase.inference.guard import Guard
from speechbrain_llase.inference.long_files import enhance_blocks
from speechbrain_llase.inference.sources import find_audio, resolve_source
from speechbrain_llase.inference.streaming import EnhancerStream
from speechbrain_llase.inference.window_stream import Conveyor
from speechbrain_llase.inference.windows import (
    Window,
    cut_audio,
    join_context,
    plan_windows,
    seconds_to_rows,
    stitch,
)
from speechbrain_llase.lobes.refiner import pair
from speechbrain_llase.nnet import precision as compute
from speechbrain_llase.nnet.compilation import fusing
from speechbrain_llase.nnet.fsq import hears_mean
from speechbrain_llase.processing.framing import HOP_LENGTH, num_rows
from speechbrain_llase.processing.signal_processing import (
    fit_length,
    match_gain,
    to_peak,
)

logger = get_logger(__name__)
SCHEMES = ("joined", "own")
PADDING = -1  # in the tokens of a batch, past the end of an item


class EnhanceLLaSE(Pretrained):
    """A ready-to-use model for speech enhancement with a token LM.

    See ``Pretrained``. The pipeline is frontend (WavLM features), token_lm
    (clean Xcodec2 tokens), vocoder (speech) and, where a model has one, refiner
    (what the input says clearly); see hyperparams.yaml of a model for its
    settings.

    Arguments
    ---------
    *args : tuple
        Forwarded to ``Pretrained``.
    **kwargs : dict
        Forwarded to ``Pretrained``; device and precision are chosen by
        ``run_opts={"device": "cuda", "precision": "bf16"}``; with
        ``"compile": True`` the layers are fused, after some seconds at first.

    Example
    -------
    >>> import torch
    >>> from speechbrain_llase import EnhanceLLaSE
    >>> enhancer = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    >>> enhancer.enhance_batch(torch.rand(2, 8000) - 0.5).shape
    torch.Size([2, 8000])
    """

    MODULES_NEEDED = ["frontend", "token_lm", "vocoder"]
    HPARAMS_NEEDED = [
        "sample_rate",
        "window_s",
        "context_s",
        "crossfade_s",
        "context_from",
        "window_batch",
        "restore_level",
    ]

    def __init__(self, *args, freeze_params: bool = True, **kwargs):
        super().__init__(*args, freeze_params=freeze_params, **kwargs)
        missing = [
            name for name in self.MODULES_NEEDED if name not in self.mods
        ]
        if missing:
            raise ValueError(
                f"The model has no module {', '.join(missing)}; its modules "
                f"must be named {', '.join(self.MODULES_NEEDED)}."
            )
        for name in self.MODULES_NEEDED:
            compute.refuse_empty(self.mods[name])
            if freeze_params:
                compute.finish(self.mods[name])
        held = {m.compute for m in self.mods.values() if hasattr(m, "compute")}
        held = held or {"float32"}
        self.computes_in = ", ".join(sorted(held))
        if held - {"float32"}:
            self.inference_ctx = nullcontext()  # autocast has nothing to do
        logger.info("Weights are held in %s.", self.computes_in)
        if self.hparams.context_from not in SCHEMES:
            raise ValueError(
                f"context_from={self.hparams.context_from!r} is not known; "
                f"choose one of {', '.join(SCHEMES)}."
            )
        self.refines = "refiner" in self.mods
        if self.refines and self.hparams.context_from != "own":
            raise ValueError(
                "A refiner hears the audio of each window: it needs "
                f"context_from: own, not {self.hparams.context_from}."
            )
        settings = self.hparams
        self.window, self.context, self.crossfade = self._window_sizes(
            settings.window_s, settings.context_s, settings.crossfade_s
        )
        self.hears_mean = self._hears_mean()
        # Sections that older models do not have; without them both are off.
        self.guard = getattr(settings, "guard", None) or Guard()
        self.candidates = getattr(settings, "candidates", None) or Candidates()
        if self.guard.enabled and not settings.restore_level:
            raise ValueError(
                "guard needs restore_level: True; it mixes output with input."
            )

    def _compile(self) -> None:
        """Note that `run_opts={"compile": True}` asks for fused layers.

        The stages are no single forward pass, so networks as wholes, which
        SpeechBrain compiles, would never be run; see fusion.py.
        """
        self.fuses = bool(self.compile)
        if self.fuses and torch.device(self.device).type != "cuda":
            logger.warning(
                "compile=True pays on a CUDA device alone, and the device is "
                "%s: layers run as they are.",
                self.device,
            )
            self.fuses = False

    def _hears_mean(self) -> bool:
        """Check what the decoder hears; models need not say it."""
        mean = hears_mean(getattr(self.hparams, "decoder_hears", "best"))
        head = getattr(self.mods.token_lm, "head", None)
        if mean and head != "digits":
            raise ValueError(
                "decoder_hears: mean needs a token LM with head: digits; "
                f"this one has {head!r}. Choose best."
            )
        return mean

    def _window_sizes(
        self, window_s: float, context_s: float, crossfade_s: float
    ) -> tuple[int, int, int]:
        """Check and turn seconds into rows, rows and samples."""
        hop_s = HOP_LENGTH / self.hparams.sample_rate
        window = seconds_to_rows("window_s", window_s, hop_s)
        context = seconds_to_rows("context_s", context_s, hop_s)
        if window < 1 or not 0 <= crossfade_s <= window_s:
            raise ValueError(
                f"window_s={window_s} must be positive and "
                f"crossfade_s={crossfade_s} between 0 and window_s."
            )
        return window, context, round(crossfade_s * self.hparams.sample_rate)

    @classmethod
    def from_hparams(
        cls,
        source: str | Path | FetchSource = "llase_mini",
        hparams_file: str = "hyperparams.yaml",
        **kwargs,
    ) -> "EnhanceLLaSE":
        """Load a model.

        Warning: the YAML of a model runs code. Load only models of people
        whom you would let run a program on your machine.

        Arguments
        ---------
        source : str, Path or FetchSource
            The name of a packaged model ("llase_mini", with weights; "llase",
            official weights from the hubs), else an existing folder, else a
            URL, else a Hugging Face id "org/name".
        hparams_file : str
            The YAML in that source.
        **kwargs : dict
            Forwarded to SpeechBrain: run_opts, overrides, savedir,
            local_strategy, fetch_config and others. run_opts
            ``{"precision": "bf16"}`` means ``compute: bfloat16``.

        Returns
        -------
        enhancer : EnhanceLLaSE
            Ready to enhance.

        Raises
        ------
        ValueError
            The source is none of these, or a checkpoint does not fit.
        """
        source = resolve_source(source)
        options = kwargs.get("run_opts") or {}
        options = options if isinstance(options, dict) else vars(options)
        device = options.get("device") or infer_device()
        bf16 = options.get("precision") == "bf16"
        wanted = "bfloat16" if bf16 else None
        if not kwargs.get("freeze_params", True):
            wanted = "float32"  # weights that are trained
        with compute.loading(device, wanted):
            return super().from_hparams(source, hparams_file, **kwargs)

    def enhance_batch(
        self,
        noisy: torch.Tensor,
        lengths: torch.Tensor | None = None,
        return_details: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, list[careful.Report]]:
        """Enhance a batch of waveforms.

        Arguments
        ---------
        noisy : torch.Tensor
            float (B, T), 16 kHz, any level.
        lengths : torch.Tensor, optional
            (B,), relative, in (0, 1]. None means that all items are full.
        return_details : bool
            Give reports, too: confidence, guard and candidates of each item.

        Returns
        -------
        enhanced : torch.Tensor
            float32 (B, T) on the model's device, at the level of the speech
            in the input (or the model's own if restore_level is False).
            Zeros past the end of an item; silent items and items under 400
            samples (25 ms) give zeros.
        reports : list of Report
            Only if return_details.

        Raises
        ------
        TypeError
            The samples are integers or complex.
        ValueError
            The shape, the lengths or a sample (NaN, infinite) is not allowed.
        """
        items = [item.to(self.device) for item in split_batch(noisy, lengths)]
        if return_details or self.is_watched:
            watch = self.guard, self.candidates
            pairs = [careful.enhance(self, item, *watch) for item in items]
            enhanced = [wav for wav, _ in pairs]
        else:
            enhanced = self._enhance(items)
        wavs = torch.stack([fit_length(e, noisy.shape[1]) for e in enhanced])
        if return_details:
            return wavs, [report for _, report in pairs]
        if self.guard.enabled:
            for _, report in pairs:
                careful.log_decisions(report)
        return wavs

    def forward(
        self, noisy: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Enhance a batch; see `enhance_batch`."""
        return self.enhance_batch(noisy, lengths)

    def enhance_file(
        self,
        filename: str | Path,
        output_filename: str | Path | None = None,
        return_details: bool = False,
        **kwargs,
    ) -> torch.Tensor | tuple[torch.Tensor, careful.Report]:
        """Enhance a file.

        Arguments
        ---------
        filename : str or Path
            Any rate and number of channels; it is resampled to 16 kHz and
            averaged to one channel.
        output_filename : str or Path, optional
            Where to write the result (16 kHz, mono, 16 bits). It appears
            only when it is complete. Over full scale, the result is scaled
            down, with a warning.
        return_details : bool
            Give a report, too: confidence, guard and candidates.
        **kwargs : dict
            ``savedir`` for files from a URL or the hub.

        Returns
        -------
        enhanced : torch.Tensor
            float32 (T,).
        report : Report
            Only if return_details.

        Raises
        ------
        FileNotFoundError
            There is no such file, or no folder to write into.
        ValueError
            The file holds no audio or cannot be read as such.
        """
        if output_filename is not None:
            check_writable(Path(output_filename))
        path = find_audio(filename, **kwargs)
        if return_details or self.is_watched:
            enhanced, report = careful.enhance_file(self, path)
            if not return_details:
                careful.log_decisions(report)
        else:
            enhanced = torch.cat(list(enhance_blocks(self, path)))
        if output_filename is not None:
            write_whole(output_filename, [enhanced], self.hparams.sample_rate)
        enhanced = enhanced.to(self.device)
        return (enhanced, report) if return_details else enhanced

    def stream_file(
        self,
        filename: str | Path,
        output_filename: str | Path,
        progress: Callable[[int, int], None] | None = None,
        **kwargs,
    ) -> None:
        """Enhance a file of any length in flat memory; return nothing.

        Arguments
        ---------
        filename, output_filename : str or Path
            As for `enhance_file`.
        progress : callable, optional
            Called with samples done and samples in all, at 16 kHz.
        **kwargs : dict
            As for `enhance_file`.

        Raises
        ------
        FileNotFoundError, ValueError
            As for `enhance_file`.
        """
        self._refuse_watched()
        check_writable(Path(output_filename))
        path = find_audio(filename, **kwargs)
        blocks = enhance_blocks(self, path, progress)
        write_whole(output_filename, blocks, self.hparams.sample_rate)

    def stream(
        self,
        peak: float | None = None,
        gain: float | None = None,
        window_s: float | None = None,
        context_s: float | None = None,
        crossfade_s: float | None = None,
    ) -> EnhancerStream:
        """Begin to enhance audio that arrives in chunks.

        Arguments
        ---------
        peak, gain : float, optional
            Of the whole recording, where known; see `EnhancerStream`.
        window_s, context_s, crossfade_s : float, optional
            Instead of the model's; shorter ones lower the latency and the
            quality.

        Returns
        -------
        stream : EnhancerStream
            With `push`, `close` and `latency`.
        """
        self._refuse_watched()
        own = self.hparams
        own = own.window_s, own.context_s, own.crossfade_s
        given = zip((window_s, context_s, crossfade_s), own, strict=True)
        sizes = self._window_sizes(*(b if a is None else a for a, b in given))
        return EnhancerStream(self, self.conveyor(sizes, 1), peak, gain)

    def conveyor(
        self, sizes: tuple[int, int, int] | None = None, batch: int = 0
    ) -> Conveyor:
        """Windows of one file, run as its audio arrives.

        Arguments
        ---------
        sizes : tuple of (int, int, int), optional
            Rows of a window, rows of context, samples of a crossfade; the
            model's if None.
        batch : int
            Windows that run together; 0 means `window_batch`.
        """
        sizes = sizes or (self.window, self.context, self.crossfade)
        joined = self.hparams.context_from == "joined"
        return Conveyor(
            self, *sizes, joined, batch or self.hparams.window_batch
        )

    def tokenize(
        self, noisy: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Predict the clean Xcodec2 tokens of a batch.

        Arguments
        ---------
        noisy : torch.Tensor
            float (B, T), 16 kHz, any level.
        lengths : torch.Tensor, optional
            (B,), relative, in (0, 1].

        Returns
        -------
        tokens : torch.Tensor
            int64 (B, N), 50 a second, in [0, 65536); -1 past the end of an
            item. Silent and too short items have none.
        """
        items = split_batch(noisy, lengths)
        count = num_rows(noisy.shape[1])
        rows = torch.full((len(items), count), PADDING, device=self.device)
        heard = [k for k, item in enumerate(items) if is_heard(item)]
        wavs = [to_peak(items[k].to(self.device).float()) for k in heard]
        plans = [self._plan(wav) for wav in wavs]
        parts = self._cut(wavs, plans)
        tokens = iter(self.predict(self._features(parts, plans)))
        for k, plan in zip(heard, plans, strict=True):
            for window, part in zip(plan, islice(tokens, len(plan))):
                kept = part[window.left :][: window.stop - window.start]
                rows[k, window.start : window.stop] = kept
        return rows

    @property
    def is_watched(self) -> bool:
        """Whether the guard is on or candidates are drawn."""
        return self.guard.enabled or self.candidates.num_candidates > 1

    def _refuse_watched(self) -> None:
        if self.is_watched:
            raise ValueError(
                "guard and candidates look at whole files: use enhance_file, "
                "or switch them off to stream."
            )

    # -- the stages, on lists of windows of any lengths --------------------

    def extract(self, wavs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Extract features: (T,) each -> (N, D) each."""
        return self._run(self.mods.frontend.extract_each, wavs)

    def predict(self, feats: list[torch.Tensor]) -> list[torch.Tensor]:
        """Predict clean tokens: (N, D) each -> (N,) each."""
        return self._run(self.mods.token_lm.predict_each, feats)

    def hear(self, feats: list[torch.Tensor]) -> list[torch.Tensor]:
        """Predict what the decoder hears: tokens (N,) or mean codes (N, 8)."""
        if not self.hears_mean:
            return self.predict(feats)
        return self._run(self.mods.token_lm.codes_each, feats)

    def score(self, feats: list[torch.Tensor]) -> list[tuple]:
        """Do what `hear` does; give the tokens' log probabilities, too."""
        stage = partial(predict_scored, self.mods.token_lm, self.hears_mean)
        return self._run(stage, feats)

    def decode(self, heard: list[torch.Tensor]) -> list[torch.Tensor]:
        """Decode tokens (N,) or codes (N, 8) each -> (320 N,) each."""
        return self._run(self.mods.vocoder.decode_each, heard)

    def refine(
        self, decoded: list[torch.Tensor], noisy: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Refine (320 N,) each by the (T,) that they were made of."""
        if not self.refines:
            return decoded
        return self.refine_pairs(list(map(pair, decoded, noisy)))

    def refine_pairs(self, pairs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Refine decoded and noisy (320 N, 2) each -> (320 N,) each."""
        return self._run(self.mods.refiner.refine_each, pairs)

    @torch.no_grad()
    def _run(
        self, stage: Callable, windows: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Run a stage, `window_batch` windows at a time, alike ones first."""
        results = [None] * len(windows)
        order = sorted(range(len(windows)), key=lambda k: len(windows[k]))
        for at in range(0, len(order), self.hparams.window_batch):
            some = order[at : at + self.hparams.window_batch]
            with self.inference_ctx, fusing(self.fuses):
                outputs = stage([windows[k] for k in some])
            for k, output in zip(some, outputs, strict=True):
                results[k] = output
        return results

    # -- whole waveforms ---------------------------------------------------

    def _enhance(self, items: list[torch.Tensor]) -> list[torch.Tensor]:
        """Run the whole pipeline on waveforms (T,) of any lengths."""
        enhanced = [torch.zeros(len(x), device=self.device) for x in items]
        heard = [k for k, item in enumerate(items) if is_heard(item)]
        wavs = [to_peak(items[k].float()) for k in heard]
        plans = [self._plan(wav) for wav in wavs]
        noisy = self._cut(wavs, plans)
        feats = self._features(noisy, plans)
        pieces = iter(self.refine(self.decode(self.hear(feats)), noisy))
        for k, plan in zip(heard, plans, strict=True):
            parts = list(islice(pieces, len(plan)))
            wav = stitch(parts, plan, HOP_LENGTH, self.crossfade)
            enhanced[k] = self._restore(
                fit_length(wav, len(items[k])), items[k]
            )
        return enhanced

    def _plan(self, wav: torch.Tensor) -> list[Window]:
        return plan_windows(num_rows(len(wav)), self.window, self.context)

    def _cut(
        self, wavs: list[torch.Tensor], plans: list[list[Window]]
    ) -> list[torch.Tensor]:
        """Cut (T,) for every window of all waves, with context."""
        return [
            part
            for wav, plan in zip(wavs, plans, strict=True)
            for part in cut_audio(wav, plan, self.context)
        ]

    def _features(
        self, parts: list[torch.Tensor], plans: list[list[Window]]
    ) -> list[torch.Tensor]:
        """Extract (rows, D) for every window of all waves, with context."""
        feats = self.extract(parts)
        if self.hparams.context_from == "own":
            return feats
        rest = iter(feats)
        return [
            rows
            for plan in plans
            for rows in join_context(list(islice(rest, len(plan))), plan)
        ]

    def _restore(
        self, enhanced: torch.Tensor, noisy: torch.Tensor
    ) -> torch.Tensor:
        """Bring speech back to its level in the input: one gain a file."""
        if not self.hparams.restore_level:
            return enhanced
        return enhanced * match_gain(enhanced, noisy.float())
