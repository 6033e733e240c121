"""What tests of runs over URLs, shards and tables share."""

import dataclasses
import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from speechbrain_llase.bulk.filesystems import connect
from speechbrain_llase.bulk.manifest import manifest_path
from speechbrain_llase.bulk.records import Record, read_records
from speechbrain_llase.bulk.storage import (
    list_files,
    open_stream,
    write_bytes,
)
from speechbrain_llase.dataio.urls import join

RATE = 16000
STEP = 1 / 32768


def encode(samples: int, seed: int) -> bytes:
    """A WAV file of bursts of noise."""
    rng = np.random.default_rng(seed)
    bursts = np.sin(np.linspace(0, 25, samples)).clip(0)
    wave = (0.3 * bursts * rng.standard_normal(samples)).clip(-1, 1)
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def write_inputs(top: str, files: int) -> None:
    """A tree of short files, a bad one, a shard with a bad one, a table."""
    for k in range(files):
        data = encode(3200 + 800 * (k % 5), k)
        write_bytes(join(top, f"day{k % 3}/a{k}.wav"), data)
    write_bytes(join(top, "day0/bad.wav"), b"RIFF is not enough")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        for k in range(4):
            add(out, f"u{k}.wav", encode(4000, 100 + k) if k else b"bad")
            add(out, f"u{k}.txt", f"text {k}".encode())
    write_bytes(join(top, "shards/0.tar"), tar.getvalue())
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {"audio": [encode(4000, 200 + k) for k in range(3)], "k": [0, 1, 2]}
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    write_bytes(join(top, "table.parquet"), file.getvalue())


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def read_results(top: str) -> dict[str, np.ndarray | bytes]:
    """Every recording (T,) and other member below a folder, by its name."""
    results = {}
    for place, key, _ in list_files(top):
        with open_stream(place) as file:
            data = file.read()
        if key.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for info in tar:
                    inside = tar.extractfile(info).read()
                    results[f"{key}/{info.name}"] = decode(inside)
        elif key.endswith(".parquet"):
            import pyarrow.parquet as pq

            table = pq.read_table(io.BytesIO(data))
            for k, cell in enumerate(table["audio"]):
                results[f"{key}/{k}"] = decode(cell.as_py())
        elif not key.startswith("manifest"):
            results[key] = decode(data)
    return results


def decode(data: bytes) -> np.ndarray | bytes:
    if data[:4] != b"RIFF":
        return data
    wave, rate = soundfile.read(io.BytesIO(data))
    assert rate == RATE
    return wave


def assert_same(ours: dict, theirs: dict) -> None:
    """Names are equal, recordings too, within one 16-bit step."""
    assert ours.keys() == theirs.keys()
    for name, wave in ours.items():
        if isinstance(wave, bytes):
            assert wave == theirs[name]
        else:
            assert np.abs(wave - theirs[name]).max() < 1.5 * STEP


def lines(manifest: Path) -> dict[str, Record]:
    """The manifest's records by output, without what varies; no line twice."""
    records = list(read_records(manifest))
    named = {
        record.output: dataclasses.replace(record, work_s=0.0)
        for record in records
    }
    assert len(named) == len(records)
    return named


def manifest_of(output: str, name: str = "manifest.jsonl") -> Path:
    """Where the manifest of a run to a URL lies."""
    return manifest_path(output, name)


def leftovers(place: str) -> list[str]:
    """Temporary files below a URL."""
    fs, path = connect(place)
    return [name for name in fs.find(path) if "partial" in name]
