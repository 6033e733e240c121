"""Downloads, from a local server that speaks the hub's resolve API."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hub_server
import pytest
import soundfile
import torch
from layouts import ON_HUB

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.cli.parser import main
from speechbrain_llase.lobes.xcodec2_tokenizer import load_tokenizer
from speechbrain_llase.pretrained.convert import sha256
from speechbrain_llase.pretrained.download import (
    Download,
    check_space,
    fetch,
    folder_size,
    plan,
)
from speechbrain_llase.pretrained.official import MODELS
from speechbrain_llase.pretrained.tensors import read_tensors

LM = "/BeauKang01/LLaSE/resolve/main/best.pt.tar"
PIECE = 10_000
INTERRUPTIBLE = f"""
import signal, sys
# a process in the background may be born deaf to Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)
from huggingface_hub import constants
constants.DOWNLOAD_CHUNK_SIZE = {PIECE}
from speechbrain_llase.cli.parser import main
sys.exit(main(sys.argv[1:]))
"""
HEADS = ["--lm-heads", "4", "--codec-heads", "2"]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """The client writes 10 MB at a time: less, for small files."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", PIECE)


@pytest.fixture
def hub(official_files):
    """A running hub with the stand-ins of all official files."""
    files = {full: official_files / name for full, name in ON_HUB.items()}
    with hub_server.serve(files) as running:
        yield running


def download(hub, folder, *options) -> int:
    """Run the command."""
    return main(
        ["download", "llase", "--output", str(folder), *HEADS]
        + ["--endpoint", hub.endpoint, "--accept-licences", *options]
    )


def used(folder) -> int:
    """Bytes of the files in a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def check_golden(folder, golden) -> None:
    """The released code's tokens and wave come out of a folder."""
    model = EnhanceLLaSE.from_hparams(
        folder, overrides={"restore_level": False, "window_s": 30.0}
    )
    noisy = torch.from_numpy(golden["noisy"]).float()[None] / 32768
    assert model.predict_tokens(noisy)[0].tolist() == golden["tokens"].tolist()
    expected = torch.from_numpy(golden["enhanced"])[: noisy.shape[1]]
    assert (model.enhance_batch(noisy)[0] - expected).abs().max() < 1e-5


def test_download_converts_and_is_cached(hub, tmp_path, golden, capsys):
    """The golden tokens come out; a second time nothing is asked for."""
    folder, cache = tmp_path / "models" / "llase", tmp_path / "cache"
    options = ["--dtype", "float32", "--cache", str(cache)]
    assert download(hub, folder, *options) == 0
    shown, warned = capsys.readouterr()
    for text in ("CC-BY-NC-4.0", "best.pt.tar", " MB", str(folder)):
        assert text in shown
    assert warned.count("another version than the one") == 3
    check_golden(folder, golden)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sources"]["lm"]["sha256"] == hub.etags[LM]
    kept = cache / "BeauKang01--LLaSE" / "best.pt.tar"
    assert kept.read_bytes() == hub.files[LM].read_bytes()
    note = kept.with_name("best.pt.tar.sha256").read_text()
    assert note == f"{hub.etags[LM]}  best.pt.tar\n"
    hub.log.clear()
    assert download(hub, tmp_path / "models" / "again", *options) == 0
    assert not hub.log
    assert "there already" in capsys.readouterr().out
    # what was changed meanwhile is fetched anew
    kept.write_bytes(b"spoilt")
    assert download(hub, tmp_path / "models" / "third", *options) == 0
    assert hub.gets() == [(LM, None)]
    assert kept.read_bytes() == hub.files[LM].read_bytes()


def test_the_folder_alone_stays(hub, tmp_path, capsys):
    """No moments, no unused parts; the disk holds what was said at most."""
    cache = tmp_path / "cache"
    for options, most in (([], 0), (["--cache", str(cache)], 1)):
        folder = tmp_path / f"llase{most}"
        assert download(hub, folder, *options) == 0
        said = re.search(
            r"to fetch: (.+) MB; on disk at most (.+) MB, (.+) MB of it to stay",
            capsys.readouterr().out,
        )
        fetched, total, stays = (float(mb) * 1e6 for mb in said.groups())
        size = sum(hub.files[path].stat().st_size for path, _ in hub.gets()[:3])
        assert fetched == pytest.approx(size, abs=1e5)
        assert used(folder) <= total - fetched
        assert (stays == total) == bool(most)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "cache",
        "llase0",
        "llase1",
    ]
    assert used(tmp_path / "llase1") + used(cache) <= total
    # 39 M weights of 2 bytes; the LM's file has three values for each
    assert used(tmp_path / "llase0") < hub.files[LM].stat().st_size / 2


def test_as_a_user(hub, tmp_path, golden, capsys):
    """download with HF_ENDPOINT, doctor, enhance: each as it is typed."""
    folder, noisy = tmp_path / "llase", tmp_path / "noisy.wav"
    command = ["download", "llase", "--output", str(folder), *HEADS]
    subprocess.run(
        [sys.executable, "-m", "speechbrain_llase.cli.parser", *command]
        + ["--dtype", "float32", "--accept-licences"],
        env={**os.environ, "HF_ENDPOINT": hub.endpoint},
        check=True,
    )
    assert main(["doctor", str(folder), "--device", "cpu"]) == 0
    assert "BAD" not in capsys.readouterr().out
    soundfile.write(noisy, golden["noisy"], 16000)
    command = ["enhance", str(noisy), "--output", str(tmp_path / "enhanced")]
    assert main([*command, "--source", str(folder), "--device", "cpu"]) == 0
    enhanced, _ = soundfile.read(tmp_path / "enhanced" / "noisy.wav")
    model = EnhanceLLaSE.from_hparams(folder)
    wav = torch.from_numpy(golden["noisy"]).float()[None] / 32768
    assert model.predict_tokens(wav)[0].tolist() == golden["tokens"].tolist()
    expected = model.enhance_batch(wav)[0].numpy()
    assert abs(enhanced - expected).max() < 1e-4  # 16 bits


OTHERS = [name for name in ON_HUB if "xcodec2/" in name]


@pytest.mark.parametrize("codec", OTHERS)
def test_other_official_files(hub, tmp_path, golden, codec):
    """The codec in its authors' form, and w2v-BERT from its own file."""
    taken = [
        "--take",
        codec,
        "--take",
        "facebook/w2v-bert-2.0/model.safetensors",
    ]
    folder = tmp_path / "llase"
    assert download(hub, folder, "--dtype", "float32", *taken) == 0
    check_golden(folder, golden)
    tokenizer = load_tokenizer(str(folder))
    noisy = torch.from_numpy(golden["noisy"]).float()[None] / 32768
    tokens = tokenizer.encode(noisy)[0]
    assert tokens.tolist() == golden["codec_tokens"].tolist()


def test_truncated_on_the_hub(hub, tmp_path, capsys, official_files):
    """Whole as the hub has it, and no whole file: an error, and no folder."""
    cut = tmp_path / "cut"
    content = hub.files[LM].read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    hub.files[LM], hub.etags[LM] = (
        cut,
        hashlib.sha256(cut.read_bytes()).hexdigest(),
    )
    assert download(hub, tmp_path / "llase") == 1
    assert "is damaged" in capsys.readouterr().err
    assert not (tmp_path / "llase").exists()


def test_unknown_tensors(hub, tmp_path, capsys):
    """Refused with the way out; what was fetched is there for it."""
    weights = read_tensors(str(hub.files[LM]))
    weights |= {f"module.ema.{n}": torch.zeros(1) for n in range(12)}
    torch.save({"model_state_dict": weights}, tmp_path / "lm.pt")
    hub.files[LM] = tmp_path / "lm.pt"
    hub.etags[LM] = hashlib.sha256(
        (tmp_path / "lm.pt").read_bytes()
    ).hexdigest()
    assert download(hub, tmp_path / "llase") == 1
    error = capsys.readouterr().err
    assert error.count("module.ema.") == 11 and "and 2 more" in error
    assert "--ignore" in error
    hub.log.clear()
    assert download(hub, tmp_path / "llase", "--ignore", "module.ema.*") == 0
    assert not hub.log


def test_interrupted_download_resumes(hub, tmp_path, capsys):
    """The next run asks for the rest alone; nothing looks complete before."""
    first, second, *_ = hub.files
    hub.cut = 60_000
    assert download(hub, tmp_path / "llase") == 1
    assert "run the same command again" in capsys.readouterr().err
    assert not (tmp_path / "llase").exists()
    parts = list((tmp_path / "official_files").rglob("*.part"))
    assert [part.stat().st_size for part in parts] == [60_000]
    assert hub.files[first].read_bytes().startswith(parts[0].read_bytes())
    hub.broken = False
    hub.signature += 1  # the address of an hour ago holds no more
    hub.log.clear()
    assert download(hub, tmp_path / "llase") == 0
    assert hub.gets()[:2] == [(first, "bytes=60000-"), (second, None)]
    assert "of it to fetch" in capsys.readouterr().out
    assert (tmp_path / "llase" / "manifest.json").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_killed_process_resumes(hub, tmp_path):
    """Ctrl-C in the middle of a file: what came is kept."""
    hub.slow = True
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "download", "llase"]
        + ["--output", str(tmp_path / "llase"), "--accept-licences", *HEADS],
        env={**os.environ, "HF_ENDPOINT": hub.endpoint},
    )
    deadline, came = time.monotonic() + 300, 0
    while came < 100_000 and time.monotonic() < deadline:
        time.sleep(0.1)
        parts = (tmp_path / "official_files").rglob("*.part")
        came = sum(part.stat().st_size for part in parts)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    hub.slow = False
    hub.log.clear()
    assert download(hub, tmp_path / "llase") == 0
    (_, start), *others = hub.gets()
    assert start == "bytes=100000-"
    assert all(other is None for _, other in others)


@pytest.mark.parametrize("trouble", ["checksum", "page"])
def test_wrong_content_is_deleted(hub, tmp_path, capsys, trouble):
    """Another checksum than announced, and a web page in a file's place."""
    if trouble == "checksum":
        hub.etags[LM] = "0" * 64
        expected = f"SHA-256 {sha256(hub.files[LM])}"
    else:
        hub.page = b"<!doctype html><title>Please log in</title>"
        expected = "perhaps a web page; what came was deleted"
    assert download(hub, tmp_path / "llase") == 1
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "llase").exists()
    cache = tmp_path / "official_files"
    assert not list(cache.rglob("*.part"))
    assert not list(cache.rglob("best.pt.tar"))


def test_not_found(hub, tmp_path, capsys):
    """404 names the address."""
    del hub.files[LM]
    assert download(hub, tmp_path / "llase") == 1
    error = capsys.readouterr().err
    assert f"{hub.endpoint}{LM} is not there (HTTP 404)" in error
    assert not hub.gets()


def test_no_hub(hub, tmp_path, capsys):
    """A server that answers everything with a page has no ETag."""
    hub.etags = dict.fromkeys(hub.etags, "")
    assert download(hub, tmp_path / "llase") == 1
    assert "perhaps a log-in page" in capsys.readouterr().err


def test_offline(hub, tmp_path, capsys, monkeypatch):
    """Without network, the reason is said; nothing is written."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert download(hub, tmp_path / "llase") == 1
    assert "HF_HUB_OFFLINE is set" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    for server in hub.servers:
        server.shutdown()
        server.server_close()
    assert download(hub, tmp_path / "llase") == 1
    assert "cannot be fetched" in capsys.readouterr().err


@pytest.mark.parametrize("answer", ["n", "", None])
def test_licences_are_asked_for(hub, tmp_path, capsys, monkeypatch, answer):
    """No, nothing, or nobody to ask: no file is fetched."""
    monkeypatch.setattr("sys.stdin", Keyboard(answer is not None))
    monkeypatch.setattr("builtins.input", lambda _: answer)
    arguments = ["download", "llase", "--output", str(tmp_path / "llase")]
    assert main([*arguments, "--endpoint", hub.endpoint]) == 2
    assert "licences were not accepted" in capsys.readouterr().err
    assert not hub.gets()
    assert not list(tmp_path.iterdir())


def test_yes_is_taken(hub, tmp_path, monkeypatch):
    """A user who says yes is served."""
    monkeypatch.setattr("sys.stdin", Keyboard(True))
    monkeypatch.setattr("builtins.input", lambda _: "Yes")
    arguments = ["download", "llase", "--output", str(tmp_path / "llase")]
    assert main([*arguments, *HEADS, "--endpoint", hub.endpoint]) == 0


def test_existing_output_is_refused_before_fetching(hub, tmp_path, capsys):
    """Nothing is asked of the hub for a folder that cannot be written."""
    (tmp_path / "mine.txt").write_text("mine")
    assert download(hub, tmp_path) == 2
    assert "new or an empty" in capsys.readouterr().err
    assert not hub.log


def test_small_disk_is_refused(hub, tmp_path, monkeypatch):
    """Places on one disk are added up; the parts that are there are not."""
    cache, output = tmp_path / "cache", tmp_path / "models" / "llase"
    downloads = list(plan("llase", cache, hub.endpoint))
    folder = folder_size(downloads, "bfloat16", encoder=False)
    free = sum(d.size for d in downloads) + folder
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free - 2))
    with pytest.raises(OSError, match=r"Make room, or name other places"):
        check_space(downloads, cache, output, folder)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free + 2))
    check_space(downloads, cache, output, folder)
    fetch(downloads[0])
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(free - 2))
    check_space(list(plan("llase", cache, hub.endpoint)), cache, output, folder)


def test_known_sizes():
    """7.3 GB come, 1.1 GB stay, and a size of its own is noticed."""
    downloads = [
        Download(source, Path("nowhere"), source.size, "url")
        for source in MODELS["llase"]
    ]
    assert sum(d.remaining for d in downloads) == 7_301_221_705
    small = folder_size(downloads, "bfloat16", encoder=False)
    assert small == pytest.approx(1.096e9, rel=1e-3)
    whole = folder_size(downloads, "float32", encoder=True)
    assert whole == pytest.approx(3.96e9, rel=1e-3)
    exact, rough, _ = MODELS["llase"]
    assert not exact.differs(1_261_990_257)
    assert "1,261,990,256 bytes, where 1,261,990,257" in exact.differs(
        1_261_990_256
    )
    assert not rough.differs(3_522_285_568)
    assert "where about 3,522,000,000" in rough.differs(1_348_857_856)


class Usage:
    """What shutil.disk_usage tells."""

    def __init__(self, free: int):
        self.free = free


class Keyboard:
    """A standard input that is, or is not, a person's."""

    def __init__(self, there: bool):
        self.isatty = lambda: there
