"""Checkpoints: every layout, strictly, and nothing that runs code."""

import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from speechbrain_llase.lobes.token_lm import TokenLM
from speechbrain_llase.lobes.wavlm_frontend import WavLMFrontend
from speechbrain_llase.lobes.xcodec2_vocoder import Xcodec2Vocoder
from speechbrain_llase.pretrained import loading as checkpoints
from speechbrain_llase.pretrained.loading import (
    load_frontend,
    load_token_lm,
    load_vocoder,
)
from speechbrain_llase.pretrained.tensors import (
    StoredTensor,
    open_tensors,
    read_tensors,
)


def build(name: str) -> torch.nn.Module:
    """A new module of the golden dimensions."""
    if name == "frontend":
        return WavLMFrontend([32] * 7, 64, 6, 4, 96, 320, 800)
    if name == "token_lm":
        return TokenLM(64, 48, 3, 4, 192)
    return Xcodec2Vocoder(64, 3, 2, 96, 256)


LOADERS = {
    "frontend": load_frontend,
    "token_lm": load_token_lm,
    "vocoder": load_vocoder,
}
OFFICIAL = {
    "frontend": "WavLM-Large.pt",
    "token_lm": "best.pt.tar",
    "vocoder": "xcodec2.ckpt",
}


@pytest.fixture
def official(stand_in_files):
    """A function that builds a module with the golden weights."""

    def load(name: str) -> torch.nn.Module:
        module = build(name)
        LOADERS[name](module, str(stand_in_files / OFFICIAL[name]))
        return module.eval()

    return load


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_own_layout_as_safetensors(official, tmp_path, name, dtype):
    """What we publish: a module's own keys, in half precision too."""
    tensors = {k: v.to(dtype) for k, v in official(name).state_dict().items()}
    path = tmp_path / f"{name}.ckpt"
    save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    module = build(name)
    LOADERS[name](module, str(path))
    for key, tensor in module.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensors[key].float()), key


@pytest.mark.parametrize("name", LOADERS)
def test_missing_unknown_misshapen(official, tmp_path, name):
    """All problems are named; nothing is copied."""
    tensors = {k: v.clone() for k, v in official(name).state_dict().items()}
    keys = sorted(tensors)
    del tensors[keys[0]]
    tensors[keys[-1]] = torch.zeros(3, 3, 3)
    tensors["what.is.this"] = torch.zeros(1)
    path = tmp_path / "bad.ckpt"
    save_file(tensors, path)
    module = build(name)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(ValueError) as error:
        LOADERS[name](module, str(path))
    for part in (keys[0], keys[-1], "what.is.this", "(3, 3, 3)"):
        assert part in str(error.value)
    after = module.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_foreign_file_loads_nothing(stand_in_files):
    """The LM's file in the vocoder's place is an error, not a warning."""
    with pytest.raises(ValueError, match="does not fit Xcodec2Vocoder"):
        load_vocoder(build("vocoder"), str(stand_in_files / "best.pt.tar"))


@pytest.mark.parametrize("name", LOADERS)
def test_truncated(stand_in_files, tmp_path, name):
    """A download that broke off, of either kind."""
    content = (stand_in_files / OFFICIAL[name]).read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        LOADERS[name](build(name), str(path))
    save_file({"a": torch.zeros(100)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="is damaged"):
        read_tensors(str(path))


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"PK\x03\x04"])
def test_other_files(tmp_path, content):
    """Empty, a web page, a broken archive."""
    path = tmp_path / "page.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="web page|damaged"):
        read_tensors(str(path))


class Trap:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickle_that_wants_to_run_code(tmp_path, writer):
    """It is refused, and it did not run."""
    sprung = tmp_path / "sprung"
    path = tmp_path / "trap.ckpt"
    if writer == "torch":
        torch.save({"state_dict": Trap(sprung)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ValueError, match="was not unpickled"):
        read_tensors(str(path))
    assert not sprung.exists()


def test_not_tensors(tmp_path):
    """A state dict with something else in it."""
    path = tmp_path / "odd.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1), "note": "hello"}}, path)
    with pytest.raises(ValueError, match="no tensors under note"):
        read_tensors(str(path))


def test_safetensors_are_equal(tmp_path):
    """read_tensors gives what safetensors itself gives."""
    path = tmp_path / "a.ckpt"
    save_file({"a": torch.rand(3)}, path)
    ours, theirs = read_tensors(str(path)), load_file(path)
    assert torch.equal(ours["a"], theirs["a"])


@pytest.mark.parametrize("is_archive", [True, False])
def test_both_forms_of_torch_save(tmp_path, is_archive):
    """Archives, which can be mapped into memory, and the older form."""
    tensors = {"a": torch.rand(3), "b": torch.rand(2, 2).half()}
    path = tmp_path / "a.pt"
    torch.save(
        {"model": tensors, "epoch": 4},
        path,
        _use_new_zipfile_serialization=is_archive,
    )
    found = open_tensors(str(path))
    assert {k: v.shape for k, v in found.items()} == {"a": (3,), "b": (2, 2)}
    for key, tensor in read_tensors(str(path)).items():
        assert tensor.dtype == tensors[key].dtype
        assert torch.equal(tensor, tensors[key])


@pytest.mark.parametrize("layout", ["pickle", "safetensors"])
@pytest.mark.parametrize("name", LOADERS)
def test_only_what_is_used_is_read(
    stand_in_files, tmp_path, monkeypatch, name, layout
):
    """Each value that the module holds is read, and no other."""
    path = stand_in_files / OFFICIAL[name]
    if layout == "safetensors":
        save_file(read_tensors(str(path)), tmp_path / "same.safetensors")
        path = tmp_path / "same.safetensors"
    total, read = 0, []

    def recording(path):
        """Stored tensors that note their size when they are read."""
        nonlocal total
        tensors = open_tensors(path)
        total = sum(t.shape.numel() for t in tensors.values())
        return {key: watched(stored) for key, stored in tensors.items()}

    def watched(stored):
        def note():
            read.append(stored.shape.numel())
            return stored.read()

        return StoredTensor(stored.shape, note)

    monkeypatch.setattr(checkpoints, "open_tensors", recording)
    module = build(name)
    LOADERS[name](module, str(path))
    used = sum(t.numel() for t in module.state_dict().values())
    if name == "vocoder":
        used += 1280 + 72 * 12  # compared with what the code computes
        # queries, keys and values are stored as one
        layers = module.decoder.layers
        used += 2 * sum(
            3 * layer.self_attn.q_proj.weight.numel() for layer in layers
        )
    assert sum(read) == used
    assert total > 1.05 * sum(t.numel() for t in module.state_dict().values())
