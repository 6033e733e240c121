"""Clean speech -> cache of tokens: resumable, shared by processes."""

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from speechbrain.utils.distributed import infer_device, run_on_main
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from speechbrain_llase.dataio.manifests import first_few
from speechbrain_llase.inference.sources import resolve_source
from speechbrain_llase.lobes.mel_codec import load_codec
from speechbrain_llase.lobes.xcodec2_tokenizer import load_tokenizer
from speechbrain_llase.processing.framing import MIN_SAMPLES, SAMPLE_RATE
from speechbrain_llase.processing.signal_processing import to_active_level
from speechbrain_llase.training.items import Recording
from speechbrain_llase.training.token_cache import TokenCache, TokenWriter

logger = get_logger(__name__)
ID_DIGITS = 12


class SpeechTokenizer:
    """The tokenizer that belongs to a model folder, and its name.

    The folder has `tokenizer.yaml` (the encoding half of Xcodec2, written by
    `speechbrain-llase convert --w2v-bert`) or `codec.yaml` (llase_mini and its
    like), else a FileNotFoundError.
    """

    def __init__(self, source: str, device: str):
        folder = Path(str(resolve_source(source)))
        self.device = device
        if (folder / "tokenizer.yaml").is_file():
            tokenizer = load_tokenizer(str(folder)).to(device)
            self._encode, networks, kind = tokenizer, tokenizer, "xcodec2"
        elif (folder / "codec.yaml").is_file():
            codec = load_codec(str(folder))
            codec.device = device
            networks = codec.mods["encoder"].to(device)
            level_db = codec.hparams.codec_level_db
            kind = f"mel{level_db}"
            self._encode = lambda w: codec.encode(to_active_level(w, level_db))
        else:
            raise FileNotFoundError(
                f"{folder} has neither tokenizer.yaml nor codec.yaml, so no "
                "tokens can be made for it; convert the official files with "
                "speechbrain-llase convert --w2v-bert."
            )
        networks.eval().requires_grad_(False)
        self.tokenizer_id = f"{kind}-{weights_id(networks)}"

    @torch.no_grad()
    def __call__(self, wav: torch.Tensor) -> torch.Tensor:
        """Encode (T,) to int64 (N,), on the CPU."""
        if len(wav) < MIN_SAMPLES:
            raise ValueError(
                f"{len(wav)} samples are too few, tokens need {MIN_SAMPLES}."
            )
        return self._encode(wav.unsqueeze(0).to(self.device))[0].cpu()


def weights_id(module: torch.nn.Module) -> str:
    """Name a network by its weights: 12 hexadecimal digits."""
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:ID_DIGITS]


def open_tokens(hparams: dict) -> TokenCache:
    """Open a recipe's tokens, which must be those of the model's own codec.

    `hparams` has tokens_folder, base and tokenizer_id; where that is None, it
    is computed from the base, which must have an encoder. A ValueError, if
    the tokens are of another tokenizer.
    """
    wanted = hparams["tokenizer_id"] or run_on_main(
        tokenizer_id_of, [hparams["base"]]
    )
    return TokenCache(hparams["tokens_folder"], wanted)


def tokenizer_id_of(base: str) -> str:
    """Name the tokenizer of a model folder, which is loaded for it."""
    try:
        return SpeechTokenizer(base, "cpu").tokenizer_id
    except FileNotFoundError as err:
        raise FileNotFoundError(
            f"{err} To train on tokens that another folder's codec made, "
            "which must be the same codec, give their tokenizer_id: "
            "extract_tokens.py prints it."
        ) from err


@dataclasses.dataclass
class Extracted:
    """What one process did."""

    made: int = 0  # recordings tokenised now
    known: int = 0  # recordings that had their tokens
    audio_s: float = 0.0  # seconds tokenised now
    wall_s: float = 0.0  # seconds it took
    bad: list[str] = dataclasses.field(default_factory=list)
    tokenizer_id: str = ""

    def __str__(self) -> str:
        """Report in one line."""
        speed = self.audio_s / max(self.wall_s, 1e-9)
        return (
            f"Tokens of {self.tokenizer_id}: {self.made} recordings made "
            f"({self.audio_s:.0f} s of audio, {speed:.1f} s a second), "
            f"{self.known} were there, {len(self.bad)} left out."
        )


def parse_shard(text: str | None) -> tuple[int, int]:
    """Read which share of the work is this process's: index and count.

    "0/4" is the first of four; None takes torchrun's rank, or all.
    """
    if text is None:
        rank = int(os.environ.get("RANK", 0))
        return rank, int(os.environ.get("WORLD_SIZE", 1))
    index, _, count = str(text).partition("/")
    if not (index.isdecimal() and count.isdecimal()) or int(index) >= int(
        count
    ):
        raise ValueError(
            f"shard={text!r}; write INDEX/COUNT, from 0/4 to 3/4 for four."
        )
    return int(index), int(count)


def extract_tokens(
    entries: dict[str, dict],
    read: Callable[[dict], Recording],
    tokenizer: SpeechTokenizer,
    folder: str | Path,
    *,
    shard: tuple[int, int] = (0, 1),
    flush_every: int = 1000,
    most_bad: float = 0.0,
    progressbar: bool = True,
) -> Extracted:
    """Tokenise what is not in the cache, a folder, yet.

    Of entries (ID -> entry), every count-th one is done, if `shard` is an
    index and that count. A kill costs `flush_every` recordings at most. A
    ValueError, if more than the share `most_bad` of the entries cannot be
    read; fewer are named at the end.
    """
    index, count = shard
    mine = list(entries.items())[index::count]
    result = Extracted(tokenizer_id=tokenizer.tokenizer_id)
    begin = time.monotonic()
    with TokenWriter(folder, tokenizer.tokenizer_id, flush_every) as writer:
        bar = tqdm(mine, unit="file", disable=None if progressbar else True)
        for name, entry in bar:
            try:
                recording = read(entry)
                if recording.content in writer:
                    result.known += 1
                    continue
                tokens = tokenizer(recording.clean)
            except (ValueError, OSError) as err:
                result.bad.append(f"{name}: {err}")
                if len(result.bad) > most_bad * len(mine):
                    raise ValueError(
                        f"{len(result.bad)} of {len(mine)} recordings cannot "
                        f"be tokenised, allowed is a share of {most_bad}: "
                        f"{first_few(result.bad)}"
                    ) from err
                continue
            writer.add(recording.content, tokens)
            result.made += 1
            result.audio_s += len(recording.clean) / SAMPLE_RATE
            result.wall_s = time.monotonic() - begin
            speed = result.audio_s / result.wall_s
            bar.set_postfix_str(f"{speed:.1f} s of audio a second")
    if result.bad:
        logger.warning("Left out: %s", first_few(result.bad))
    return result


def extract_recipe(
    hparams: dict,
    run_opts: dict,
    entries: dict[str, dict],
    read: Callable[[dict], Recording],
) -> Extracted:
    """Run `extract_tokens` as a recipe's YAML and command line say.

    Reads base, tokens_folder, shard, flush_every and most_bad of `hparams`,
    device and noprogressbar of `run_opts`; for the others see there.
    """
    device = run_opts.get("device") or infer_device()
    tokenizer = SpeechTokenizer(hparams["base"], device)
    return extract_tokens(
        entries,
        read,
        tokenizer,
        hparams["tokens_folder"],
        shard=parse_shard(hparams["shard"]),
        flush_every=hparams["flush_every"],
        most_bad=hparams["most_bad"],
        progressbar=not run_opts.get("noprogressbar", False),
    )
