"""SpeechBrain's synthesised DNS shards, unchanged, item by item.

`recipes/DNS` of SpeechBrain writes WebDataset archives: every sample has
`clean_audio.pth`, `noise_audio.pth` and `noisy_audio.pth` (float32, 16 kHz,
4 s) beside text, and each folder a meta.json. They are indexed and read
through once, and then read in any order, so batches, ranks and resuming work
as with files.
"""

import io
import json
import re
import tarfile
from pathlib import Path
from pickle import UnpicklingError

import torch

from speechbrain_llase.dataio.audio_checks import keep_good
from speechbrain_llase.dataio.manifests import first_few
from speechbrain_llase.dataio.preparation import refuse_missing_lists
from speechbrain_llase.dataio.whole_files import whole_file
from speechbrain_llase.processing.framing import MIN_SAMPLES
from speechbrain_llase.training.items import Recording

CLEAN, NOISY = "clean_audio.pth", "noisy_audio.pth"
PARTS = ("train", "valid")


def prepare_shards(hparams: dict) -> None:
    """Write what is where in the shards, for both parts.

    Reads train_shards, valid_shards, sample_rate, manifest_folder, most_bad
    (share of samples that may be unusable) and skip_prep: the lists must be
    there. See `index_shards` for what is raised.
    """
    folder = Path(hparams["manifest_folder"])
    if hparams["skip_prep"]:
        refuse_missing_lists(folder, tuple(f"{p}_shards.json" for p in PARTS))
        return
    folder.mkdir(parents=True, exist_ok=True)
    rate = hparams["sample_rate"]
    sources = hparams["train_shards"], hparams["valid_shards"]
    for part, source in zip(PARTS, sources, strict=True):
        entries = index_shards(source, rate)
        entries = check_samples(entries, rate, hparams["most_bad"])
        with whole_file(folder / f"{part}_shards.json") as partial:
            partial.write_text(json.dumps(entries), encoding="utf-8")


def load_shards(folder: str | Path, part: str) -> dict[str, dict]:
    """Read the entries that `prepare_shards` wrote."""
    path = Path(folder) / f"{part}_shards.json"
    return json.loads(path.read_text(encoding="utf-8"))


def check_samples(
    entries: dict[str, dict], sample_rate: int, most_bad: float
) -> dict[str, dict]:
    """Read every sample and keep what can be used; see `check_entries`."""
    read = ShardReader()

    def look(entry):
        try:
            samples = len(read(entry).clean)
        except (ValueError, OSError) as err:
            return str(err)
        if samples < MIN_SAMPLES:
            return f"{samples} samples are too few"
        return samples / sample_rate

    return keep_good(entries, look, most_bad)


def index_shards(folder: str | Path, sample_rate: int) -> dict[str, dict]:
    """Find every sample of the shards below a folder, or below its folders.

    Gives key -> archive, place and size of its members, duration in seconds. A
    FileNotFoundError, if there are no shards, or one of a row or samples that
    meta.json counts are missing; a ValueError, if a sample lacks a member, a
    key is there twice, or an archive is damaged.
    """
    folder = Path(folder)
    folders = sorted({path.parent for path in folder.rglob("shard-*.tar")})
    if not folders:
        raise FileNotFoundError(
            f"There is no shard-*.tar below {folder}; name the folder that "
            "create_wds_shards.py of SpeechBrain's DNS recipe wrote."
        )
    entries = {}
    for place in folders:
        shards = sorted(place.glob("shard-*.tar"))
        refuse_gaps(shards)
        found = {}
        for shard in shards:
            for key, entry in index_shard(shard, sample_rate).items():
                if key in found or key in entries:
                    raise ValueError(f"{shard}: the key {key} is there twice.")
                found[key] = entry
        refuse_lost_samples(place, len(found))
        entries |= found
    return entries


def index_shard(shard: Path, sample_rate: int) -> dict[str, dict]:
    """Find the samples of one archive; see `index_shards`."""
    members: dict[str, dict] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                key, _, kind = Path(member.name).name.partition(".")
                place = [member.offset_data, member.size]
                members.setdefault(key, {})[kind] = place
                archive.members = []  # do not keep what was seen
    except tarfile.TarError as err:
        raise ValueError(
            f"{shard} is damaged ({err}); write or fetch it again."
        ) from err
    incomplete = [
        k for k, m in members.items() if not {CLEAN, NOISY} <= m.keys()
    ]
    if incomplete:
        raise ValueError(
            f"{shard}: without {CLEAN} or {NOISY} are {first_few(incomplete)}."
        )
    entries = {
        key: {"shard": str(shard), "clean": m[CLEAN], "noisy": m[NOISY]}
        for key, m in members.items()
    }
    for entry in list(entries.values())[:1]:  # a shard's are equally long
        first = ShardReader(with_noisy=False)(entry).clean
        for other in entries.values():
            other["duration"] = len(first) / sample_rate
    return entries


def refuse_gaps(shards: list[Path]) -> None:
    """Refuse a row of numbered shards in which one is missing."""
    numbers = [int(re.sub(r"\D", "", shard.stem)) for shard in shards]
    missing = sorted(set(range(max(numbers))) - set(numbers))
    if missing:
        raise FileNotFoundError(
            f"{shards[0].parent} has {len(shards)} shards up to number "
            f"{max(numbers)}; missing are {first_few([str(n) for n in missing])}."
        )


def refuse_lost_samples(folder: Path, found: int) -> None:
    """Refuse a folder with fewer samples than its meta.json counts."""
    meta = folder / "meta.json"
    if not meta.is_file():
        return
    wanted = json.loads(meta.read_text(encoding="utf-8"))["num_data_samples"]
    if found < wanted:
        raise FileNotFoundError(
            f"{folder} has {found} samples, its meta.json counts {wanted}; "
            "shards are missing."
        )


class ShardReader:
    """Reads the samples that `index_shards` found; the noisy ones, if asked."""

    def __init__(self, with_noisy: bool = True):
        self.with_noisy = with_noisy

    def __call__(self, entry: dict) -> Recording:
        """Read one sample; nothing but tensors is unpickled."""
        content = read_member(entry["shard"], *entry["clean"])
        clean = decode_tensor(content, entry["shard"])
        if not self.with_noisy:
            return Recording(content, clean)
        noisy = read_member(entry["shard"], *entry["noisy"])
        noisy = decode_tensor(noisy, entry["shard"])
        if len(noisy) != len(clean):
            raise ValueError(
                f"{entry['shard']}: a sample has {len(noisy)} noisy and "
                f"{len(clean)} clean samples; write the shard again."
            )
        return Recording(content, clean, noisy)


def read_member(shard: str, offset: int, size: int) -> bytes:
    """Read a piece of an archive."""
    with open(shard, "rb") as file:
        file.seek(offset)
        return file.read(size)


def decode_tensor(content: bytes, shard: str) -> torch.Tensor:
    """Load what torch.save wrote: float (T,) or (1, T)."""
    try:
        tensor = torch.load(io.BytesIO(content), weights_only=True)
    except (RuntimeError, ValueError, EOFError, UnpicklingError) as err:
        raise ValueError(f"{shard}: a sample is damaged: {err}") from err
    wav = tensor.squeeze().float()
    if wav.dim() != 1 or not wav.isfinite().all():
        raise ValueError(
            f"{shard}: a sample has the shape {tuple(tensor.shape)} or is not "
            "finite; wanted is one channel of finite values."
        )
    return wav
