"""Shards and tables: recordings are replaced, all else is carried."""

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.bulk import tar_shards
from speechbrain_llase.bulk.container_items import InsideOptions
from speechbrain_llase.bulk.open_file import Stopped
from speechbrain_llase.bulk.storage import new_file

ANY = InsideOptions()


def enhance_shard(model, source, target, *args, **kwargs):
    """Enhance a shard as a worker does: it appears whole, or not at all."""
    with new_file(target) as path:
        return tar_shards.enhance_shard(model, source, path, *args, **kwargs)


@pytest.fixture(scope="module")
def noisy() -> list[np.ndarray]:
    """Five recordings (T,) of bursts, 0.3 to 0.7 s."""
    rng = np.random.default_rng(0)
    waves = []
    for k in range(5):
        bursts = np.sin(np.linspace(0, 25, 4800 + 1600 * k)).clip(0)
        waves.append(0.3 * bursts * rng.standard_normal(len(bursts)))
    return [wave.clip(-1, 1) for wave in waves]


def encode(wave: np.ndarray, kind: str = "WAV", rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind, subtype="PCM_16")
    return file.getvalue()


def decode(data: bytes) -> np.ndarray:
    wave, rate = soundfile.read(io.BytesIO(data))
    assert rate == 16000
    return wave


def expected(model, wave: np.ndarray) -> np.ndarray:
    """What the model makes of a 16-bit recording."""
    wave = torch.from_numpy(decode(encode(wave))).float()
    return model.enhance_batch(wave[None])[0].cpu().numpy()


def check(model, data: bytes, wave: np.ndarray) -> None:
    """The bytes hold the enhanced recording, within one 16-bit step."""
    assert soundfile.info(io.BytesIO(data)).subtype == "PCM_16"
    error = np.abs(decode(data) - expected(model, wave)).max()
    assert error < 1.5 / 32768


def write_tar(path, members, mode="w") -> None:
    """Write (name, bytes) or TarInfo."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size, info.mtime, info.mode = len(member[1]), 12345, 0o640
            tar.addfile(info, io.BytesIO(member[1]))


def read_tar(path) -> dict[str, tuple[bytes, tarfile.TarInfo]]:
    with tarfile.open(path) as tar:
        return {i.name: (tar.extractfile(i).read(), i) for i in tar}


PICKLE = b"cos\nsystem\n(S'touch sprung'\ntR."  # would run a command


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_shard(tiny, noisy, tmp_path, ending):
    """Members keep their order, times and bytes; audio becomes 16 bit."""
    source, target = (str(tmp_path / f"{n}{ending}") for n in "ab")
    members = []
    for k, wave in enumerate(noisy):
        name = f"./dir/utt{k}"
        members += [(f"{name}.pkl", PICKLE), (f"{name}.flac", b"")]
        members[-1] = (f"{name}.flac", encode(wave, "FLAC"))
        members.append((f"{name}.json", json.dumps({"k": k}).encode()))
        members.append((f"{name}.png", bytes(600_000)))
    write_tar(source, members, "w:gz" if ending.endswith("gz") else "w")
    contents = enhance_shard(tiny, source, target, ANY)
    assert (contents.items, contents.failures) == (5, [])
    total = sum(map(len, noisy)) / 16000
    assert contents.seconds == pytest.approx(total)
    assert contents.confidence < 0
    made = read_tar(target)
    assert list(made) == [name for name, _ in members]
    given = dict(members)
    for name, (data, info) in made.items():
        assert (info.mtime, info.mode) == (12345, 0o640)
        if not name.endswith(".flac"):
            assert data == given[name]
    for k, wave in enumerate(noisy):
        check(tiny, made[f"./dir/utt{k}.flac"][0], wave)
    assert not (tmp_path / "sprung").exists()
    with open(target, "rb") as file:
        assert (file.read(2) == b"\x1f\x8b") == ending.endswith("gz")


def test_webdataset_reads_it(tiny, noisy, tmp_path):
    """Written by webdataset, enhanced, read by webdataset."""
    wds = pytest.importorskip("webdataset")
    source, target = (str(tmp_path / f"{n}.tar") for n in "ab")
    with wds.TarWriter(source) as sink:
        for k, wave in enumerate(noisy):
            sample = {"wav": encode(wave), "json": {"k": k}, "txt": f"text {k}"}
            sink.write({"__key__": f"utt{k}", **sample})
    enhance_shard(tiny, source, target, InsideOptions(audio_format="flac"))
    samples = list(wds.WebDataset(target, shardshuffle=False))
    assert [s["__key__"] for s in samples] == [f"utt{k}" for k in range(5)]
    for k, sample in enumerate(samples):
        assert json.loads(sample["json"]) == {"k": k}
        assert sample["txt"] == f"text {k}".encode()
        check(tiny, sample["flac"], noisy[k])


def test_column_of_a_shard(tiny, noisy, tmp_path):
    """Of KEY.noisy.wav and KEY.clean.wav, the one that is named."""
    source, target = (str(tmp_path / f"{n}.tar") for n in "ab")
    write_tar(
        source,
        [("u.noisy.wav", encode(noisy[0])), ("u.clean.wav", encode(noisy[1]))],
    )
    with pytest.raises(ValueError, match="clean.wav, noisy.wav. Name the one"):
        enhance_shard(tiny, source, target, ANY)
    assert not (tmp_path / "b.tar").exists()
    enhance_shard(tiny, source, target, InsideOptions(column="noisy.wav"))
    made = read_tar(target)
    check(tiny, made["u.noisy.wav"][0], noisy[0])
    assert made["u.clean.wav"][0] == encode(noisy[1])


def test_bad_members_are_left_out(tiny, noisy, tmp_path):
    """Damaged audio, hostile names and links fail alone, and are told."""
    link = tarfile.TarInfo("l.wav")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    source, target = (str(tmp_path / f"{n}.tar") for n in "ab")
    write_tar(
        source,
        [
            ("a.wav", b"RIFF is not enough"),
            ("a.json", b"{}"),
            ("../../b.wav", encode(noisy[0])),
            ("/etc/c.txt", b"x"),
            link,
            ("d.wav", encode(noisy[1])),
            ("d.mp3", encode(noisy[2])),
        ],
    )
    contents = enhance_shard(tiny, source, target, ANY)
    assert list(read_tar(target)) == ["a.json", "d.wav"]
    assert contents.items == 6
    failures = dict(contents.failures)
    assert "cannot be read as audio" in failures["a.wav"]
    assert "is refused" in failures["../../b.wav"]
    assert "is refused" in failures["/etc/c.txt"]
    assert "link" in failures["l.wav"]
    assert "has a member d.wav already" in failures["d.mp3"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "b.tar"]


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_shards(tiny, noisy, tmp_path, damage):
    """No new shard appears, and nothing is left beside its place."""
    source, target = tmp_path / "a.tar", tmp_path / "b.tar"
    write_tar(source, [(f"{k}.wav", encode(w)) for k, w in enumerate(noisy)])
    data = source.read_bytes()
    source.write_bytes(
        {"cut": data[:20000], "text": b"no" * 999}.get(damage, b"")
    )
    with pytest.raises(ValueError, match="not a tar file, or damaged|no KEY"):
        enhance_shard(tiny, str(source), str(target), ANY)
    assert list(tmp_path.iterdir()) == [source]


def test_a_stop_leaves_nothing(tiny, noisy, tmp_path):
    source, target = tmp_path / "a.tar", tmp_path / "b.tar"
    write_tar(source, [(f"{k}.wav", encode(w)) for k, w in enumerate(noisy)])
    calls = []
    with pytest.raises(Stopped):
        enhance_shard(
            tiny,
            str(source),
            str(target),
            ANY,
            lambda: len(calls) > 20 or calls.append(1),
        )
    assert list(tmp_path.iterdir()) == [source]


class TestTables:
    """Parquet and Arrow files."""

    @pytest.fixture(autouse=True)
    def arrow(self):
        self.pa = pytest.importorskip("pyarrow")
        self.pq = pytest.importorskip("pyarrow.parquet")

    def enhance(self, model, source, target, options):
        from speechbrain_llase.bulk.tables import enhance_table

        with new_file(target) as path:
            return enhance_table(model, source, path, options)

    def test_struct(self, tiny, noisy, tmp_path):
        """Bytes and path are replaced; other columns and metadata stay."""
        source, target = (str(tmp_path / f"{n}.parquet") for n in "ab")
        cells = [
            {"bytes": encode(w, "FLAC"), "path": f"{k}.flac"}
            for k, w in enumerate(noisy)
        ]
        cells[1] = {"bytes": encode(noisy[1], "WAV"), "path": "x/1.mp3"}
        cells[2] = {"bytes": b"not audio", "path": "2.wav"}
        cells[3] = None
        texts = [["a", None], [], None, ["b"], ["c"]]
        table = self.pa.table(
            {"id": [5, 4, 3, 2, 1], "audio": cells, "texts": texts}
        ).replace_schema_metadata({"mine": "kept"})
        self.pq.write_table(table, source, row_group_size=2)
        contents = self.enhance(tiny, source, target, ANY)
        assert contents.items == 5
        failed = dict(contents.failures)
        assert failed.keys() == {"row 2 (2.wav)", "row 3"}
        made = self.pq.read_table(target)
        assert made.schema.equals(table.schema)
        assert made.schema.metadata[b"mine"] == b"kept"
        assert made["id"].equals(table["id"])
        assert made["texts"].equals(table["texts"])
        rows = made["audio"].to_pylist()
        assert rows[2] is rows[3] is None
        assert [rows[k]["path"] for k in (0, 1, 4)] == [
            "0.flac",
            "x/1.wav",
            "4.flac",
        ]
        for k in (0, 1, 4):
            check(tiny, rows[k]["bytes"], noisy[k])
        assert rows[0]["bytes"][:4] == b"fLaC"

    def test_many_rows_keep_their_order(self, tiny, noisy, tmp_path):
        """More rows than are read together."""
        source, target = (str(tmp_path / f"{n}.parquet") for n in "ab")
        waves = [noisy[k % 2][: 3200 + 40 * k] for k in range(70)]
        cells = [encode(wave) for wave in waves]
        table = self.pa.table({"sound": cells, "k": list(range(70))})
        self.pq.write_table(table, source)
        with pytest.raises(ValueError, match=r"columns: sound .binary., k"):
            self.enhance(tiny, source, target, ANY)
        self.enhance(tiny, source, target, InsideOptions("sound"))
        made = self.pq.read_table(target)
        assert made["k"].to_pylist() == list(range(70))
        lengths = [len(decode(data.as_py())) for data in made["sound"]]
        assert lengths == [len(wave) for wave in waves]
        check(tiny, made["sound"][69].as_py(), waves[69])

    @pytest.mark.parametrize("how", ["save_to_disk", "parquet"])
    def test_hugging_face(self, tiny, noisy, tmp_path, how):
        """A table of `datasets` comes back as one, with the new rate."""
        datasets = pytest.importorskip("datasets")
        cells = [
            {"bytes": encode(wave, rate=8000), "path": f"{k}.wav"}
            for k, wave in enumerate(noisy)
        ]
        schema = datasets.Features(
            text=datasets.Value("string"),
            speech=datasets.Audio(sampling_rate=8000, decode=False),
        ).arrow_schema
        columns = {"text": list("abcde"), "speech": cells}
        made = datasets.Dataset(self.pa.table(columns, schema))
        if how == "parquet":
            source = tmp_path / "a.parquet"
            made.to_parquet(source)
        else:
            made.save_to_disk(tmp_path / "saved")
            (source,) = (tmp_path / "saved").glob("*.arrow")
        target = tmp_path / "b.parquet"
        contents = self.enhance(tiny, str(source), str(target), ANY)
        assert contents.items == 5 and not contents.failures
        back = datasets.Dataset.from_parquet(
            str(target), cache_dir=str(tmp_path / "cache")
        )
        assert back["text"][:] == list("abcde")
        assert back.features["speech"].sampling_rate == 16000
        back = back.cast_column("speech", datasets.Audio(decode=False))
        for k, row in enumerate(back):
            wave = decode(row["speech"]["bytes"])
            assert len(wave) == 2 * len(noisy[k])

    def test_what_is_no_table(self, tiny, tmp_path):
        source, target = tmp_path / "a.parquet", tmp_path / "b.parquet"
        for data in (b"", b"PAR1 and nonsense", b"plain text, not a table"):
            source.write_bytes(data)
            with pytest.raises(ValueError, match="not a table, or damaged"):
                self.enhance(tiny, str(source), str(target), ANY)
        self.pq.write_table(self.pa.table({"audio": ["a.wav"]}), source)
        with pytest.raises(ValueError, match="audio .string."):
            self.enhance(tiny, str(source), str(target), ANY)
        assert list(tmp_path.iterdir()) == [source]
