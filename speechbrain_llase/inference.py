"""EnhanceLLaSE: noisy speech in, clean speech out.

Read this file first: the stages stand in the order the data flows, and
nothing else calls across them.

Authors
 * The speechbrain_llase contributors 2026
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.fetching import FetchSource
from speechbrain.utils.logger import get_logger

from speechbrain_llase.audio import (
    check_writable,
    is_heard,
    split_batch,
    write_whole,
)
from speechbrain_llase.frontend import HOP_LENGTH, num_rows
from speechbrain_llase.signal import fit_length, match_gain, to_peak
from speechbrain_llase.windows import (
    Window,
    cut_audio,
    join_context,
    plan_windows,
    seconds_to_rows,
    stitch,
)

logger = get_logger(__name__)
SCHEMES = ("joined", "own")
PADDING = -1  # in the tokens of a batch, past the end of an item


class EnhanceLLaSE(Pretrained):
    """A ready-to-use model for speech enhancement with a token LM.

    See ``Pretrained``. The pipeline is frontend (WavLM features), token_lm
    (clean Xcodec2 tokens) and vocoder (speech); see hyperparams.yaml of a
    model for its settings.

    Arguments
    ---------
    *args : tuple
        Forwarded to ``Pretrained``.
    **kwargs : dict
        Forwarded to ``Pretrained``; device and precision are chosen by
        ``run_opts={"device": "cuda", "precision": "bf16"}``.

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

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        missing = [
            name for name in self.MODULES_NEEDED if name not in self.mods
        ]
        if missing:
            raise ValueError(
                f"The model has no module {', '.join(missing)}; its modules "
                f"must be named {', '.join(self.MODULES_NEEDED)}."
            )
        hop_s = HOP_LENGTH / self.hparams.sample_rate
        self.window, self.context = (
            seconds_to_rows(key, getattr(self.hparams, key), hop_s)
            for key in ("window_s", "context_s")
        )
        crossfade_s = self.hparams.crossfade_s
        self.crossfade = round(crossfade_s * self.hparams.sample_rate)
        if self.window < 1 or not 0 <= crossfade_s <= self.hparams.window_s:
            raise ValueError(
                f"window_s={self.hparams.window_s} must be positive and "
                f"crossfade_s={crossfade_s} between 0 and window_s."
            )
        if self.hparams.context_from not in SCHEMES:
            raise ValueError(
                f"context_from={self.hparams.context_from!r} is not known; "
                f"choose one of {', '.join(SCHEMES)}."
            )

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
            local_strategy, fetch_config and others.

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
        return super().from_hparams(source, hparams_file, **kwargs)

    def enhance_batch(
        self, noisy: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Enhance a batch of waveforms.

        Arguments
        ---------
        noisy : torch.Tensor
            float (B, T), 16 kHz, any level.
        lengths : torch.Tensor, optional
            (B,), relative, in (0, 1]. None means that all items are full.

        Returns
        -------
        enhanced : torch.Tensor
            float32 (B, T) on the model's device, at the level of the speech
            in the input (or the model's own if restore_level is False).
            Zeros past the end of an item; silent items and items under 400
            samples (25 ms) give zeros.

        Raises
        ------
        TypeError
            The samples are integers or complex.
        ValueError
            The shape, the lengths or a sample (NaN, infinite) is not allowed.
        """
        items = split_batch(noisy, lengths)
        enhanced = self._enhance([item.to(self.device) for item in items])
        return torch.stack([fit_length(e, noisy.shape[1]) for e in enhanced])

    def forward(
        self, noisy: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Enhance a batch; see `enhance_batch`."""
        return self.enhance_batch(noisy, lengths)

    def enhance_file(
        self,
        filename: str | Path,
        output_filename: str | Path | None = None,
        **kwargs,
    ) -> torch.Tensor:
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
        **kwargs : dict
            ``savedir`` for files from a URL or the hub.

        Returns
        -------
        enhanced : torch.Tensor
            float32 (T,).

        Raises
        ------
        FileNotFoundError
            There is no such file, or no folder to write into.
        ValueError
            The file holds no audio or cannot be read as such.
        """
        if output_filename is not None:
            check_writable(Path(output_filename))
        noisy = self._read(str(filename), **kwargs)
        enhanced = self.enhance_batch(noisy.unsqueeze(0))[0]
        peak = float(enhanced.abs().max())
        if peak > 1:
            logger.warning(
                "%s: the result peaks at %.2f; scaled to full scale.",
                filename,
                peak,
            )
            enhanced = enhanced / peak
        if output_filename is not None:
            write_whole(output_filename, enhanced, self.hparams.sample_rate)
        return enhanced

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
        tokens = self._predict(self._features(wavs, plans))
        for k, plan, parts in zip(heard, plans, tokens, strict=True):
            for window, part in zip(plan, parts, strict=True):
                kept = part[window.left :][: window.stop - window.start]
                rows[k, window.start : window.stop] = kept
        return rows

    # -- the stages: lists of files, each a list of windows ----------------

    def _enhance(self, items: list[torch.Tensor]) -> list[torch.Tensor]:
        """Run the whole pipeline on waveforms (T,) of any lengths."""
        enhanced = [torch.zeros(len(x), device=self.device) for x in items]
        heard = [k for k, item in enumerate(items) if is_heard(item)]
        wavs = [to_peak(items[k].float()) for k in heard]
        plans = [self._plan(wav) for wav in wavs]
        feats = self._features(wavs, plans)
        tokens = self._predict(feats)
        pieces = self._decode(tokens)
        for k, plan, parts in zip(heard, plans, pieces, strict=True):
            wav = stitch(parts, plan, HOP_LENGTH, self.crossfade)
            enhanced[k] = self._restore(
                fit_length(wav, len(items[k])), items[k]
            )
        return enhanced

    def _plan(self, wav: torch.Tensor) -> list[Window]:
        return plan_windows(num_rows(len(wav)), self.window, self.context)

    def _features(
        self, wavs: list[torch.Tensor], plans: list[list[Window]]
    ) -> list[list[torch.Tensor]]:
        """Extract (rows, D) for every window, its context rows included."""
        parts = [
            cut_audio(wav, plan, self.context)
            for wav, plan in zip(wavs, plans, strict=True)
        ]
        feats = self._run(self.mods.frontend, parts)
        if self.hparams.context_from == "own":
            return feats
        return [join_context(f, p) for f, p in zip(feats, plans, strict=True)]

    def _predict(
        self, feats: list[list[torch.Tensor]]
    ) -> list[list[torch.Tensor]]:
        return self._run(self.mods.token_lm.predict, feats)

    def _decode(
        self, tokens: list[list[torch.Tensor]]
    ) -> list[list[torch.Tensor]]:
        return self._run(self.mods.vocoder, tokens)

    @torch.no_grad()
    def _run(
        self, stage: Callable, files: list[list[torch.Tensor]]
    ) -> list[list[torch.Tensor]]:
        """Run one stage on all windows; equal lengths share a batch."""
        groups = defaultdict(list)
        for f, windows in enumerate(files):
            for w, window in enumerate(windows):
                groups[len(window)].append((f, w))
        results = [[None] * len(windows) for windows in files]
        for places in groups.values():
            for at in range(0, len(places), self.hparams.window_batch):
                some = places[at : at + self.hparams.window_batch]
                batch = torch.stack([files[f][w] for f, w in some])
                with self.inference_ctx:
                    outputs = stage(batch)
                for (f, w), output in zip(some, outputs, strict=True):
                    results[f][w] = output
        return results

    def _restore(
        self, enhanced: torch.Tensor, noisy: torch.Tensor
    ) -> torch.Tensor:
        """Bring speech back to its level in the input: one gain a file."""
        if not self.hparams.restore_level:
            return enhanced
        return enhanced * match_gain(enhanced, noisy.float())

    def _read(self, filename: str, **kwargs) -> torch.Tensor:
        remote = "savedir" in kwargs or filename.startswith("http")
        if not remote and not os.path.isfile(filename):
            raise FileNotFoundError(
                f"There is no file {filename}; pass a local audio file, or a "
                "URL or hub path together with savedir=FOLDER."
            )
        try:
            noisy = self.load_audio(filename, **kwargs)
        except (RuntimeError, OSError) as err:
            raise ValueError(
                f"{filename} cannot be read as audio ({err}); allowed are "
                "WAV, FLAC, OGG, MP3 and what else libsndfile reads."
            ) from err
        if len(noisy) == 0:
            raise ValueError(f"{filename} holds no samples.")
        if not noisy.isfinite().all():
            raise ValueError(f"{filename} holds NaN or infinite samples.")
        return noisy


def resolve_source(source: str | Path | FetchSource) -> str | FetchSource:
    """Find what a model's source means.

    Arguments
    ---------
    source : str, Path or FetchSource
        See `EnhanceLLaSE.from_hparams`.

    Returns
    -------
    source : str or FetchSource
        What SpeechBrain can fetch from.
    """
    if not isinstance(source, str | Path):
        return source
    name = str(source)
    packaged = resources.files("speechbrain_llase.hparams")
    names = sorted(
        entry.name
        for entry in packaged.iterdir()
        if entry.joinpath("hyperparams.yaml").is_file()
    )
    if name in names:
        return str(packaged.joinpath(name))
    if os.path.isdir(name) or re.match("https?://", name):
        return name
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return name
    raise ValueError(
        f"There is no model {name!r}. Pass one of {', '.join(names)}, an "
        "existing folder, a URL or a Hugging Face id (org/name)."
    )
