"""Storage: the same on this machine, in memory and behind a server."""

import importlib.util
import os
from pathlib import Path

import pytest

from speechbrain_llase.bulk import filesystems as systems, storage
from speechbrain_llase.dataio import urls as places


@pytest.fixture
def s3():
    """URL of a bucket."""
    from s3_server import serve

    with serve() as url:
        yield url


@pytest.fixture(params=["path", "file", "memory", "hdfs", "s3"])
def top(request, tmp_path) -> str:
    """A folder of each kind, not made yet."""
    kinds = {
        "path": lambda: str(tmp_path / "top"),
        "file": lambda: f"file://{tmp_path}/top",
        "memory": lambda: f"memory://{tmp_path.name}/top",
        "hdfs": lambda: request.getfixturevalue("hdfs") + "/top",
        "s3": lambda: request.getfixturevalue("s3") + "/top",
    }
    return kinds[request.param]()


def read(place: str) -> bytes:
    with storage.open_stream(place) as file:
        return file.read()


def test_write_list_read(top):
    """A tree comes back as it was written, and patterns choose from it."""
    data = {f"day{k % 2}/a-{k}.bin": os.urandom(k * 999_999) for k in range(4)}
    for key, value in data.items():
        place = places.join(top, key)
        assert not storage.exists(place)
        storage.write_bytes(place, value)
        assert storage.exists(place)
    storage.write_bytes(places.join(top, ".hidden/x"), b"x")
    found = storage.list_files(top)
    assert [key for _, key, _ in found] == sorted(data)
    for place, key, size in found:
        assert size == len(data[key])
        assert read(place) == data[key]
        with storage.local_copy(place) as path:
            assert path.read_bytes() == data[key]
            assert path.suffix == ".bin"
    some = storage.list_files(f"{top}/*/a-[12].bin")
    assert [key for _, key, _ in some] == ["day0/a-2.bin", "day1/a-1.bin"]
    (one,) = storage.list_files(f"{top}/day1/a-3.bin")
    assert one[:2] == (f"{top}/day1/a-3.bin", "a-3.bin")
    assert not storage.exists(f"{top}/day1"), "a folder is no file"


def test_streams_can_be_sought_in(top):
    """A parquet reader begins at the end."""
    data = os.urandom(3_000_000)
    storage.write_bytes(f"{top}/a", data)
    with storage.open_stream(f"{top}/a") as file:
        assert file.seekable()
        file.seek(-7, os.SEEK_END)
        assert file.read() == data[-7:]
        file.seek(1_234_567)
        assert file.read(100) == data[1_234_567:][:100]


def test_all_or_nothing(top):
    """A write that fails leaves what was there, and nothing beside it."""
    place = f"{top}/a.wav"
    storage.write_bytes(place, b"first")
    with pytest.raises(RuntimeError, match="broken"):
        with storage.new_file(place) as path:
            path.write_bytes(b"half")
            assert read(place) == b"first"
            raise RuntimeError("broken")
    assert read(place) == b"first"
    storage.write_bytes(place, b"second")
    assert read(place) == b"second"
    fs, path = systems.connect(top)
    names = [Path(name).name for name in fs.find(path)]
    assert names == ["a.wav"], "no partial file is left"
    storage.remove(place)
    assert not storage.exists(place)


def test_a_lost_upload_leaves_nothing(hdfs, monkeypatch):
    """A move that the server refuses is an error, not a success."""
    fs, _ = systems.connect(hdfs)
    monkeypatch.setattr(type(fs), "mv", lambda *_, **__: None)
    with pytest.raises(OSError, match="/a: there is no such file"):
        storage.write_bytes(f"{hdfs}/a", b"data")
    assert fs.find("/") == []


def test_local_files_are_synced_before_the_rename(tmp_path, monkeypatch):
    """The order that survives a power cut."""
    calls = []
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("fsync"))
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda *a: (calls.append("rename"), replace(*a))
    )
    storage.write_bytes(str(tmp_path / "a"), b"data")
    assert calls == ["fsync", "rename", "fsync"]


@pytest.mark.parametrize(
    "key", ["../a", "a/../../b", "/etc/a", "a//b", "a\\..\\b", "s3://b/a", ""]
)
def test_keys_stay_in_their_folder(key):
    with pytest.raises(ValueError, match="is refused"):
        places.join("s3://bucket/clean", key)


def test_a_hostile_listing_is_refused(monkeypatch):
    """A server that names files outside the folder is not followed."""
    storage.write_bytes("memory://hostile/a", b"x")
    fs, _ = systems.connect("memory://hostile")
    infos = {"/hostile/../../etc/a": {"type": "file", "size": 1}}
    monkeypatch.setattr(type(fs), "find", lambda *_, **__: infos)
    with pytest.raises(ValueError, match="is refused"):
        storage.list_files("memory://hostile")


def test_errors_in_one_line(hdfs):
    with pytest.raises(ValueError, match="nosuch:// is not known to fsspec"):
        storage.list_files("nosuch://bucket/a")
    with pytest.raises(ValueError, match="chains"):
        storage.list_files("zip://a.wav::memory://a.zip")
    with pytest.raises(FileNotFoundError, match="no such file, folder"):
        storage.list_files(f"{hdfs}/missing")
    with pytest.raises(PermissionError, match="no access .not yours"):
        storage.list_files(f"{hdfs}/locked")
    with pytest.raises(PermissionError, match="Check the credentials"):
        storage.write_bytes(f"{hdfs}/locked/a", b"x")
    with pytest.raises(OSError, match="webhdfs://127.0.0.1:1/a: ") as caught:
        storage.list_files("webhdfs://127.0.0.1:1/a")
    assert "\n" not in str(caught.value)


def test_a_missing_bucket(s3):
    with pytest.raises(FileNotFoundError, match="folder or bucket"):
        storage.list_files("s3://nobody")
    with pytest.raises(FileNotFoundError, match="folder or bucket"):
        storage.write_bytes("s3://nobody/a", b"x")
    storage.write_bytes(f"{s3}/large", bytes(70_000_000))  # in parts
    ((_, _, size),) = storage.list_files(f"{s3}/large")
    assert size == 70_000_000


@pytest.mark.parametrize(
    "url, package",
    [("s3://b/a", "s3fs"), ("gs://b/a", "gcsfs"), ("abfs://b/a", "adlfs")],
)
def test_a_missing_package_is_named(url, package):
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(ValueError, match=f"(?i)install {package} "):
        storage.list_files(url)


def test_no_secret_is_told():
    url = "webhdfs://user:secret@127.0.0.1:1/a"
    with pytest.raises(OSError) as caught:
        storage.list_files(url)
    assert "secret" not in str(caught.value)
    assert places.name_of("https://host/a.wav?X-Token=secret") == "a.wav"
    assert "secret" not in places.show(f"{url} https://host/a?t=secret")
