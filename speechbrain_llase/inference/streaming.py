"""EnhancerStream: enhance audio while it is being recorded."""

import torch

from speechbrain_llase.dataio.audio_writer import NOT_SAMPLES, is_finite
from speechbrain_llase.inference.stages import Stages
from speechbrain_llase.inference.window_stream import WindowStream
from speechbrain_llase.processing.framing import HOP_LENGTH
from speechbrain_llase.processing.signal_processing import (
    GainMatcher,
    fit_length,
)

RAMP = 320  # samples over which a new gain is reached; 20 ms


class EnhancerStream:
    """Audio in chunks of any size in, enhanced audio out.

    With the peak (and, for models whose level does not follow the input's,
    the gain) of the whole recording, the output is that of `enhance_file` with
    the same windows, one window at a time. Without them both are estimated
    from what came so far: the input is divided by its peak up to the end of
    the window that runs (context included), and the output is scaled by the
    gain that matches all speech up to then, reached over 20 ms. Speech then
    starts at a level that settles within the first windows. Samples that would
    pass full scale, and the peak of the input so far, are cut off there.

    Arguments
    ---------
    stages : Stages
        Of the model that enhances.
    peak : float, optional
        Largest absolute sample of the recording.
    gain : float, optional
        Factor of the model's output; 1.0 gives the model's own level.

    Raises
    ------
    ValueError
        The peak is not positive, or the gain is negative.
    """

    @torch.inference_mode(False)  # or it could not go on outside of that
    def __init__(
        self,
        stages: Stages,
        peak: float | None = None,
        gain: float | None = None,
    ):
        if peak is not None and not peak > 0:
            raise ValueError(f"peak={peak} must be above 0, or None.")
        if gain is not None and not gain >= 0:
            raise ValueError(f"gain={gain} must be 0 or above, or None.")
        if gain is not None:
            stages = stages.having(restore_level=False)
        self.stages = stages
        self.windows = WindowStream(stages, batch=1)
        self.peak = peak
        self.gain = gain
        self.given_peak = peak is not None
        if stages.keeps_level or not stages.hparams.restore_level:
            self.gain = 1.0 if gain is None else gain
        self.matcher = None if self.gain is not None else GainMatcher()
        self.noisy = self.nothing()  # not matched yet
        self.arrived = self.given = 0
        self.closed = False

    @property
    def latency(self) -> int:
        """Samples from an input sample to its output, at most.

        A window runs when it and its context have arrived; joined context
        comes from the next window, which has to arrive too.
        """
        stages = self.stages
        rows = stages.window + stages.context
        if stages.joined:
            rows += stages.window
        return rows * HOP_LENGTH + stages.reach + stages.crossfade // 2

    @torch.inference_mode(False)
    @torch.no_grad()
    def push(self, wav: torch.Tensor) -> torch.Tensor:
        """Take the next samples: float (T,), 16 kHz, any T.

        Gives the next that are final, float32 (S,), often none. A TypeError,
        if they are not floating point; a ValueError, if they are not one
        channel or not finite, or the stream is closed.
        """
        self.check(wav)
        wav = wav.to(self.stages.device).float()
        self.arrived += len(wav)
        if self.matcher:
            self.noisy = torch.cat((self.noisy, wav))
        if not self.given_peak and len(wav):
            self.follow_peak(float(wav.abs().max()))
        return self.scale(self.windows.push(wav / (self.peak or 1.0)))

    @torch.inference_mode(False)
    @torch.no_grad()
    def close(self) -> torch.Tensor:
        """End the stream; return the rest, so that no sample is missing."""
        if self.closed:
            return self.nothing()
        self.closed = True
        rest = self.windows.finish() if self.peak else self.noisy[:0]
        return self.scale(fit_length(rest, self.arrived - self.given))

    def nothing(self) -> torch.Tensor:
        """Give no samples (0,), where the model is."""
        return torch.zeros(0, device=self.stages.device, dtype=torch.float32)

    def check(self, wav: torch.Tensor) -> None:
        """Refuse what is not a chunk of audio."""
        if self.closed:
            raise ValueError("The stream is closed; begin another.")
        if not isinstance(wav, torch.Tensor):
            raise TypeError(
                f"A chunk is a {type(wav).__name__}; pass a torch.Tensor of "
                "(time,), such as torch.from_numpy(chunk)."
            )
        if wav.dim() != 1:
            raise ValueError(
                f"A chunk has the shape {tuple(wav.shape)}; allowed is "
                "(time,), one channel."
            )
        if not wav.is_floating_point():
            raise TypeError(
                f"A chunk is {wav.dtype}; pass floating point samples, "
                "integers divided by their full scale (32768 for 16 bits)."
            )
        if not is_finite(wav):
            raise ValueError(f"A chunk holds samples that are {NOT_SAMPLES}.")

    def follow_peak(self, peak: float) -> None:
        """Rescale what waits in the windows when the peak grows."""
        if peak <= (self.peak or 0):
            return
        if self.peak:
            self.windows.scale(self.peak / peak)
        self.peak = peak

    def scale(self, enhanced: torch.Tensor) -> torch.Tensor:
        """Bring what is final to its level, within full scale."""
        self.given += len(enhanced)
        limit = max(1.0, self.peak or 0.0)
        return self.at_level(enhanced).clamp(-limit, limit)

    def at_level(self, enhanced: torch.Tensor) -> torch.Tensor:
        """Apply the gain, or find a better one first."""
        if self.stages.keeps_level:  # at which the windows are fed
            return enhanced * (self.gain * (self.peak or 1.0))
        if not len(enhanced) or not self.matcher:
            return enhanced * (self.gain if self.gain is not None else 1.0)
        self.matcher.add(enhanced, self.noisy[: len(enhanced)])
        self.noisy = self.noisy[len(enhanced) :]
        gain = self.matcher.gain()
        before = gain if self.gain is None else self.gain
        self.gain = gain
        steps = torch.arange(len(enhanced), device=enhanced.device).float()
        ramp = ((steps + 1) / RAMP).clamp(max=1)
        return enhanced * (before + (gain - before) * ramp)
