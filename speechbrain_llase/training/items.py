"""Items of training: a noisy signal and the tokens of its clean speech.

Item and epoch decide all randomness, whichever process makes the item, so
that runs repeat and a resumed run sees what it would have seen.
"""

import dataclasses
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import torch
from speechbrain.dataio.dataset import DynamicItemDataset

from speechbrain_llase.augment.noise_mixer import NoiseMixer
from speechbrain_llase.dataio.recordings import read_speech
from speechbrain_llase.processing.framing import HOP_LENGTH, MIN_SAMPLES
from speechbrain_llase.processing.signal_processing import SILENT, power
from speechbrain_llase.training.token_cache import TokenCache

TRIES = 10  # drawn before the loudest place is taken


@dataclasses.dataclass(frozen=True)
class Recording:
    """One utterance as read."""

    content: bytes  # what the clean speech was decoded from
    clean: torch.Tensor  # (T,) float32
    noisy: torch.Tensor | None = None  # (T,) float32
    reference: torch.Tensor | None = None  # (T,) float32, heard beside noisy


class FileReader:
    """Reads the files that an entry of a manifest names.

    Files have the sample rate (Hz), unless they are to be resampled.
    """

    def __init__(self, sample_rate: int, resample: bool):
        self.sample_rate, self.resample = sample_rate, resample

    def __call__(self, entry: dict) -> Recording:
        """Read clean_wav, and noisy_wav, reference_wav where they are."""
        how = self.sample_rate, self.resample
        content, clean = read_speech(entry["clean_wav"], *how)
        beside = {}
        for key in ("noisy_wav", "reference_wav"):
            if not entry.get(key):
                continue
            _, wav = read_speech(entry[key], *how)
            if len(wav) != len(clean):
                raise ValueError(
                    f"{entry[key]} has {len(wav)} samples, its clean "
                    f"original {len(clean)}; they must be equally long."
                )
            beside[key.removesuffix("_wav")] = wav
        return Recording(content, clean, **beside)


class ItemMaker:
    """Makes the items of one part of the data.

    `read` turns an entry into a `Recording`; `tokens` are those of the clean
    speech; a mixer is needed where recordings have no noisy signal of their
    own. `segment` is the most samples of an item, a multiple of 320; None
    keeps all.
    """

    provides = ("noisy", "clean", "tokens")  # in the order of `make`

    def __init__(
        self,
        read: Callable[[dict], Recording],
        tokens: TokenCache,
        mixer: NoiseMixer | None,
        segment: int | None,
        seed: int,
    ):
        if segment is not None and (
            segment % HOP_LENGTH or segment < MIN_SAMPLES
        ):
            raise ValueError(
                f"A segment of {segment} samples is no whole number of "
                f"{HOP_LENGTH} samples (20 ms), two or more."
            )
        self.read, self.tokens, self.mixer = read, tokens, mixer
        self.segment, self.seed = segment, seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose which epoch's items are made, in all worker processes."""
        self._epoch.fill_(epoch)

    def make(self, name: str, entry: dict) -> Iterator[torch.Tensor]:
        """Make one item of an entry and its ID.

        Yields noisy and clean, float32 (T,), the clean tokens of the frames
        of `noisy`, int64 (N,), and what else the maker provides. A ValueError names a recording that
        cannot be used.
        """
        rng = np.random.default_rng(
            [self.seed, int(self._epoch), zlib.crc32(name.encode())]
        )
        try:
            recording = self.read(entry)
            tokens = self.tokens.find(recording.content, len(recording.clean))
            start, stop = self._crop(recording.clean, rng)
            part = slice(start, stop)
            noisy, clean, *more = self.mix(name, recording, part, rng)
        except (KeyError, ValueError, OSError) as err:
            what = err.args[0] if isinstance(err, KeyError) else err
            raise ValueError(f"{name}: {what}") from err
        if self.segment is not None and len(clean) == self.segment:
            tokens = tokens[start // HOP_LENGTH :][: self.segment // HOP_LENGTH]
        yield from (noisy, clean, tokens, *more)

    def mix(
        self,
        name: str,
        recording: Recording,
        part: slice,
        rng: np.random.Generator,
    ) -> tuple:
        """Give noisy and clean (T,) of a part of a recording."""
        clean = recording.clean[part]
        if recording.noisy is not None:
            return recording.noisy[part], clean
        mixture = self.mixer(clean, rng)
        return mixture.noisy, mixture.clean

    def _crop(self, clean, rng):
        """A segment that starts on a frame and holds speech."""
        if self.segment is None or len(clean) <= self.segment:
            return 0, len(clean)
        last = (len(clean) - self.segment) // HOP_LENGTH
        for _ in range(TRIES):
            start = HOP_LENGTH * int(rng.integers(last + 1))
            if power(clean[start:][: self.segment].numpy()) >= SILENT:
                return start, start + self.segment
        windows = clean.double().square().unfold(0, self.segment, HOP_LENGTH)
        start = HOP_LENGTH * int(windows.mean(1).argmax())
        return start, start + self.segment


def make_dataset(
    entries: dict[str, dict], maker: ItemMaker
) -> DynamicItemDataset:
    """Put entries (ID -> entry) and maker together in SpeechBrain's form.

    Its items have the keys id, noisy, clean, tokens, and what else the maker
    provides.
    """
    wrapped = {name: {"entry": entry} for name, entry in entries.items()}
    dataset = DynamicItemDataset(wrapped)
    made = list(maker.provides)
    dataset.add_dynamic_item(maker.make, takes=["id", "entry"], provides=made)
    dataset.set_output_keys(["id", *made])
    return dataset


def item_seconds(
    entries: dict[str, dict], segment_s: float | None
) -> list[float]:
    """Length of every item in seconds, for `DynamicBatchSampler`."""
    longest = float("inf") if segment_s is None else segment_s
    return [min(entry["duration"], longest) for entry in entries.values()]
