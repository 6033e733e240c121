"""Tokens of clean speech on disk, found by what was tokenised.

A key is a hash of a recording's bytes, so tokens can never be taken for those
of audio that has changed or moved. A cache is a folder of safetensors shards
that hold `keys` (R, 16), `ends` (R,) and `tokens` (all in one row, 2 bytes
each: 5,000 h take 1.8 GB). A shard appears whole or not at all: after a kill,
what was flushed is there and the rest is done again.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from speechbrain_llase.dataio.whole_files import whole_file
from speechbrain_llase.nnet.fsq import VOCAB_SIZE
from speechbrain_llase.processing.framing import num_rows

KEY_BYTES = 16
KEY_TYPE = f"S{KEY_BYTES}"  # of keys in numpy; zeros at the end are implied
SHARD_FILES = "[!.]*.safetensors"  # without those that are being written
FORMAT = "speechbrain_llase tokens 1"


def content_key(content: bytes) -> bytes:
    """Hash a file, or the member of an archive, to a key of 16 bytes.

    Example
    -------
    >>> content_key(b"speech").hex()
    '05fb617ad543807c0c3fe7ae9d1f33aa'
    """
    return hashlib.sha256(content).digest()[:KEY_BYTES]


def read_shard(path: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """Read what a shard says of itself.

    The name of the tokenizer, keys, uint8 (R, 16), and ends, int64 (R,), of
    each recording's tokens. A ValueError, if the file is no shard of a token
    cache.
    """
    try:
        with safe_open(path, "np") as shard:
            about = shard.metadata() or {}
            if about.get("format") != FORMAT:
                raise ValueError(
                    f"{path} is no shard of a token cache; give a folder that "
                    "extract_tokens.py wrote."
                )
            keys, ends = shard.get_tensor("keys"), shard.get_tensor("ends")
    except SafetensorError as err:
        raise ValueError(
            f"{path} is damaged ({err}); delete it and run extract_tokens.py "
            "again, which fills the gap."
        ) from err
    return about["tokenizer"], keys, ends


class TokenCache:
    """A folder of tokens, written by `TokenWriter`, to read.

    A tokenizer_id refuses tokens of any other tokenizer. A FileNotFoundError,
    if there are no shards; a ValueError for a damaged one or another
    tokenizer's.

    Example
    -------
    >>> folder = getfixture("tmpdir")
    >>> with TokenWriter(folder, "mel-1234") as writer:
    ...     writer.add(b"speech", torch.arange(50))
    >>> TokenCache(folder, "mel-1234").find(b"speech", 16000)[:3]
    tensor([0, 1, 2])
    """

    def __init__(self, folder: str | Path, tokenizer_id: str | None = None):
        self.folder = Path(folder)
        self.paths = sorted(self.folder.glob(SHARD_FILES))
        if not self.paths:
            raise FileNotFoundError(
                f"There are no tokens in {folder}; run extract_tokens.py."
            )
        keys, self.places = [], []
        for at, path in enumerate(self.paths):
            found, shard_keys, ends = read_shard(path)
            tokenizer_id = tokenizer_id or found
            if found != tokenizer_id:
                raise ValueError(
                    f"{path} holds tokens of {found}, wanted are those of "
                    f"{tokenizer_id}; run extract_tokens.py with the same base "
                    "into a folder of its own, and name it as tokens_folder."
                )
            starts = np.concatenate([[0], ends[:-1]])
            shard = np.full_like(ends, at)
            self.places.append(np.stack([shard, starts, ends], 1))
            keys.append(np.ascontiguousarray(shard_keys).view(KEY_TYPE)[:, 0])
        self.tokenizer_id = tokenizer_id
        keys = np.concatenate(keys)
        self.places = np.concatenate(self.places)
        order = np.argsort(keys)
        self.keys, self.places = keys[order], self.places[order]
        self._open = {}

    def __len__(self) -> int:
        """Recordings that have tokens."""
        return len(np.unique(self.keys))

    def __contains__(self, content: bytes) -> bool:
        """Tell whether these bytes have been tokenised."""
        return self._place(content) is not None

    def find(self, content: bytes, num_samples: int) -> torch.Tensor:
        """Read the tokens of one recording, int64 (N,), by its file's bytes.

        `num_samples` is its length at 16 kHz, which its tokens must match,
        else a ValueError; a KeyError for bytes that were never tokenised.
        """
        place = self._place(content)
        if place is None:
            raise KeyError(
                f"{self.folder} has no tokens of this recording: it is new or "
                "was changed since. Run extract_tokens.py again."
            )
        shard, start, end = place
        if end - start != num_rows(num_samples):
            raise ValueError(
                f"The recording has {num_samples} samples, "
                f"{num_rows(num_samples)} frames, but {end - start} tokens in "
                f"{self.paths[shard]}; delete that file and extract again."
            )
        tokens = self._shard(shard).get_slice("tokens")[start:end]
        return torch.from_numpy(tokens.astype(np.int64))

    def _place(self, content):
        """Find shard, start and end of a recording's tokens."""
        key = np.array(content_key(content), KEY_TYPE)
        at = int(np.searchsorted(self.keys, key))
        if at == len(self.keys) or self.keys[at] != key:
            return None
        return self.places[at].tolist()

    def _shard(self, at):
        """Keep a shard open, in each process for itself."""
        handle = (os.getpid(), at)
        if handle not in self._open:
            self._open[handle] = safe_open(self.paths[at], "np")
        return self._open[handle]

    def __getstate__(self):
        """Leave open files behind when sent to another process."""
        return {**self.__dict__, "_open": {}}


class TokenWriter:
    """Adds tokens to a folder; use it in a `with` block.

    Several processes may write into one folder, which is made if it is not
    there. A shard holds `flush_every` recordings: the most that a kill can
    cost. A PermissionError, if the folder cannot be written; a ValueError, if
    it holds tokens of another tokenizer.
    """

    def __init__(
        self, folder: str | Path, tokenizer_id: str, flush_every: int = 1000
    ):
        self.folder = Path(folder)
        self.tokenizer_id = tokenizer_id
        self.flush_every = flush_every
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK):
            raise PermissionError(
                f"The folder {folder} cannot be written; name another one."
            )
        self.waiting = {}
        self.done = set()
        if any(self.folder.glob(SHARD_FILES)):
            cache = TokenCache(folder, tokenizer_id)
            self.done = {
                bytes(key).ljust(KEY_BYTES, b"\0") for key in cache.keys
            }

    def __contains__(self, content: bytes) -> bool:
        """Tell whether these bytes need no more work."""
        key = content_key(content)
        return key in self.done or key in self.waiting

    def add(self, content: bytes, tokens: torch.Tensor) -> None:
        """Take the tokens, int64 (N,) in [0, 65536), of one recording."""
        tokens = tokens.cpu().numpy()
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < VOCAB_SIZE:
            raise ValueError(f"Tokens must lie in [0, {VOCAB_SIZE}).")
        self.waiting[content_key(content)] = tokens.astype(np.uint16)
        if len(self.waiting) >= self.flush_every:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one shard, named after its keys."""
        if not self.waiting:
            return
        keys = sorted(self.waiting)
        rows = [self.waiting[key] for key in keys]
        tensors = {
            "keys": np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16),
            "ends": np.cumsum([row.size for row in rows]).astype(np.int64),
            "tokens": np.concatenate(rows),
        }
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        about = {"format": FORMAT, "tokenizer": self.tokenizer_id}
        with whole_file(self.folder / f"{name}.safetensors") as partial:
            save_file(tensors, partial, about)
            partial.chmod(0o644)  # safetensors writes for the owner alone
        self.done |= set(keys)
        self.waiting.clear()

    def __enter__(self) -> "TokenWriter":
        """Begin."""
        return self

    def __exit__(self, *failure) -> None:
        """Write the rest, after an error too: it was computed."""
        self.flush()
