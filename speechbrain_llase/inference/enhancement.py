"""EnhanceLLaSE: noisy speech in, clean out. Read it first, then stages.py."""

from collections.abc import Callable
from pathlib import Path

import torch
from speechbrain.utils.fetching import FetchSource

from speechbrain_llase import moved
from speechbrain_llase.dataio.audio_writer import check_writable, split_batch
from speechbrain_llase.inference import reports
from speechbrain_llase.inference.candidates import Candidates
from speechbrain_llase.inference.guard import Guard
from speechbrain_llase.inference.interface import StagedInterface, check_options
from speechbrain_llase.inference.loading import part_overrides
from speechbrain_llase.inference.long_files import enhance_blocks
from speechbrain_llase.inference.sources import fetch_taken, resolve_source
from speechbrain_llase.inference.streaming import EnhancerStream
from speechbrain_llase.inference.windows import by_file
from speechbrain_llase.nnet import precision
from speechbrain_llase.processing.signal_processing import fit_length


class EnhanceLLaSE(StagedInterface):
    """A ready-to-use model for speech enhancement with a token LM.

    The networks are frontend (WavLM features), token_lm (clean Xcodec2 tokens),
    vocoder (speech) and, where a model has one, refiner (what the input says
    clearly); the settings are those of the model's hyperparams.yaml.

    Arguments
    ---------
    *args, **kwargs
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
    HPARAMS_NEEDED = ["sample_rate", "window_batch", "restore_level"]
    HPARAMS_NEEDED += ["window_s", "context_s", "crossfade_s", "context_from"]

    def enhance_batch(
        self,
        noisy: torch.Tensor,
        lengths: torch.Tensor | None = None,
        return_details: bool = False,
    ) -> torch.Tensor | tuple[torch.Tensor, list[reports.Report]]:
        """Enhance a batch of waveforms.

        Arguments
        ---------
        noisy : torch.Tensor
            float (B, T), 16 kHz, any level.
        lengths : torch.Tensor, optional
            (B,), relative, in (0, 1]. None means that all items are full.
        return_details : bool
            Give the report of each item, too: confidence, guard, candidates.

        Returns
        -------
        enhanced : torch.Tensor
            float32 (B, T) on the model's device, at the level of the speech
            in the input (or the model's own if restore_level is False); zeros
            past an item's end, for silence and for under 400 samples (25 ms).

        Raises
        ------
        TypeError, ValueError
            Integers; a shape, lengths or samples that are not allowed.
        """
        stages = self.stages
        items = [item.to(self.device) for item in split_batch(noisy, lengths)]
        plans = [stages.plan(item) for item in items]  # the windows of each
        windows = stages.cut(items, plans)  # (T,) each, in [-1, 1]
        feats = stages.extract(windows, plans)  # (N, D) each, 50 rows a second
        # refine(decode(score(feats)), windows): tokens (N,), waves (320 N,)
        waves, posteriors = stages.generate(feats, windows)
        enhanced = stages.restore(waves, plans, items)  # (T,), noisy's level
        if return_details or self.is_watched:
            review = reports.Reviewer(self, items, plans, windows, posteriors)
            enhanced, found = review(enhanced, log=not return_details)
        wavs = [fit_length(wav, noisy.shape[1]) for wav in enhanced]
        wavs = (torch.stack(wavs) if wavs else noisy).to(self.device).float()
        return (wavs, found) if return_details else wavs

    forward = enhance_batch

    def __init__(self, *args, freeze_params: bool = True, **kwargs):
        super().__init__(*args, freeze_params=freeze_params, **kwargs)
        networks = self.mods, self.MODULES_NEEDED
        self.computes_in = precision.make_ready(*networks, freeze_params)
        self.stages = self.make_stages()
        own = self.hparams  # guard and candidates are off in older models
        self.guard = getattr(own, "guard", None) or Guard()
        self.candidates = getattr(own, "candidates", None) or Candidates()
        if self.guard.enabled and not own.restore_level:
            raise ValueError("guard needs restore_level: True, to mix.")

    @classmethod
    def from_hparams(
        cls,
        source: str | Path | FetchSource = "llase_mini",
        hparams_file: str = "hyperparams.yaml",
        **kwargs,
    ) -> "EnhanceLLaSE":
        """Load a model. Its YAML runs code: load only from whom you trust.

        Arguments
        ---------
        source : str, Path or FetchSource
            A packaged model ("llase_mini", with weights; "llase", official
            weights), else a folder, a URL or a Hugging Face id "org/name".
        hparams_file, **kwargs
            Of SpeechBrain: run_opts, overrides, savedir, local_strategy,
            fetch_config. The precision "bf16" means ``compute: bfloat16``.
            Any model takes the overrides refine (True, or a model with a
            refiner) and, refined, generative (0 to 1).

        Raises
        ------
        ValueError
            The source is none of these, a checkpoint does not fit, or the
            device is not here.
        """
        source = resolve_source(source)
        kwargs |= part_overrides(kwargs.pop("overrides", None))
        freeze = kwargs.get("freeze_params", True)
        kwargs["run_opts"] = check_options(kwargs.get("run_opts"))
        with precision.loading_for(kwargs["run_opts"], freeze):
            return super().from_hparams(source, hparams_file, **kwargs)

    def enhance_file(
        self,
        filename: str | Path,
        output_filename: str | Path | None = None,
        return_details: bool = False,
        subtype: str | None = None,
        **kwargs,
    ) -> torch.Tensor | tuple[torch.Tensor, reports.Report]:
        """Enhance a file: float32 (T,), scaled down if it is over full scale.

        Arguments
        ---------
        filename : str or Path
            Of any kind; channels are averaged (``channels="each"``, ``track=2``,
            ``keep_highs=True``: see `Taken`). ``savedir``: of what is fetched.
        output_filename : str or Path, optional
            Where to write the result (mono, 16 kHz if no rate is kept, in the
            format of its ending, with the input's tags) once it is whole.
        return_details : bool
            Give a report, too: confidence, guard and candidates.
        subtype : str, optional
            "24" (bits) or "float", for WAV and FLAC; None: 16 bits.

        Raises
        ------
        OSError, ValueError
            No such file, no folder to write into; no audio in the file.
        """
        if output_filename is not None:
            check_writable(Path(output_filename))
        file = fetch_taken(filename, **kwargs)
        blocks = enhance_blocks(self.stages, *file)  # nothing is run yet
        if return_details or self.is_watched:
            wav, report = reports.enhance_file(self, *file, not return_details)
            blocks = [wav]
        wav = torch.cat(list(self.kept(blocks, file, output_filename)))
        if output_filename is not None:
            self.write(output_filename, [wav], subtype, file)
        wav = wav.to(self.device)
        return (wav, report) if return_details else wav

    def stream_file(
        self,
        filename: str | Path,
        output_filename: str | Path,
        progress: Callable[[int, int], None] | None = None,
        subtype: str | None = None,
        **kwargs,
    ) -> None:
        """Enhance a file of any length in flat memory; see `enhance_file`.

        `progress` is called with samples done and samples in all, at 16 kHz.
        """
        reports.refuse_watched(self)
        check_writable(Path(output_filename))
        file = fetch_taken(filename, **kwargs)
        blocks = enhance_blocks(self.stages, *file, progress)
        blocks = self.kept(blocks, file, output_filename)
        self.write(output_filename, blocks, subtype, file)

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
            Of the whole recording, if known; see `EnhancerStream`.
        window_s, context_s, crossfade_s : float, optional
            Seconds (or the model's; shorter ones lower latency and quality).
        """
        reports.refuse_watched(self)
        sizes = {"window_s": window_s, "context_s": context_s}
        stages = self.stages.having(**sizes, crossfade_s=crossfade_s)
        return EnhancerStream(stages, peak, gain)

    def predict_tokens(
        self, noisy: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Predict the clean Xcodec2 tokens of a batch; see `enhance_batch`.

        Returns
        -------
        tokens : torch.Tensor
            int64 (B, N), 50 a second, in [0, 65536); -1 past the end of an
            item. Silent and too short items have none.
        """
        items = [item.to(self.device) for item in split_batch(noisy, lengths)]
        plans, posteriors = self.stages.predict(items)
        shape = len(items), self.stages.num_rows(noisy.shape[1])
        tokens = torch.full(shape, -1, device=self.device)
        for row, plan, found in zip(tokens, plans, by_file(posteriors, plans)):
            for window, known in zip(plan, found):
                kept = window.kept(known.tokens)  # a late pass has fewer
                row[window.start :][: len(kept)] = kept
        return tokens

    tokenize, decode = predict_tokens, moved.decode_by_stages  # old names

    @property
    def is_watched(self) -> bool:
        """Whether the guard is on or candidates are drawn."""
        return self.guard.enabled or self.candidates.num_candidates > 1
