"""What a run's fingerprint depends on, and what it does not."""

import shutil

import pytest

from speechbrain_llase.bulk import run_settings as description
from speechbrain_llase.bulk.run_settings import describe_run, model_id


def test_it_says_what_outputs_depend_on(tiny, tiny_folder):
    run = describe_run(tiny, tiny_folder)
    assert run.model.startswith(f"{tiny_folder.name}@")
    assert run.as_dict()["compute"] == "float32"
    assert run.settings["guard"] is False
    assert len(run.fingerprint) == 12
    assert describe_run(tiny, tiny_folder).fingerprint == run.fingerprint


def test_batches_do_not_matter(tiny, load_tiny, tiny_folder):
    expected = describe_run(tiny, tiny_folder).fingerprint
    other = describe_run(load_tiny(window_batch=7), tiny_folder)
    assert other.fingerprint == expected


@pytest.mark.parametrize(
    "key, value",
    [
        ("window_s", 5.0),
        ("context_from", "own"),
        ("restore_level", True),
        ("guard", {"enabled": True, "mix": 0.5}),
        ("candidates", {"num_candidates": 3, "seed": 1}),
    ],
)
def test_settings_do(tiny, load_tiny, tiny_folder, key, value):
    before = describe_run(tiny, tiny_folder)
    if key in ("guard", "candidates"):
        from speechbrain_llase.inference.candidates import Candidates
        from speechbrain_llase.inference.guard import Guard

        model = load_tiny(restore_level=True)
        kind = {"guard": Guard, "candidates": Candidates}[key]
        setattr(model, key, kind(**value))
    else:
        model = load_tiny(**{key: value})
    after = describe_run(model, tiny_folder)
    assert after.fingerprint != before.fingerprint
    changed = {
        name
        for name, x in after.as_dict().items()
        if before.as_dict()[name] != x
    }
    assert changed - {"restore_level"} <= {key} and key in after.settings
    precision = describe_run(tiny, tiny_folder, "bf16")
    assert precision.fingerprint != before.fingerprint


def test_every_byte_of_a_model_does(tiny_folder, tmp_path):
    folder = tmp_path / tiny_folder.name
    shutil.copytree(tiny_folder, folder)
    before = model_id(tiny_folder)
    assert model_id(folder) == before
    (folder / "notes.md").write_text("not a part of it")
    assert model_id(folder) == before
    with open(folder / "vocoder.ckpt", "r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    assert model_id(folder) != before


def test_weights_from_elsewhere_do(tiny, tmp_path, monkeypatch):
    """As those of the packaged llase, and of models on a hub."""
    weights = tmp_path / "token_lm.ckpt"
    weights.write_bytes(bytes(200))
    names = ("llase", "org/name", "https://me:secret@host/model")
    paths = {"token_lm": str(weights), "vocoder": "not/fetched.ckpt"}
    before = [model_id(name, paths) for name in names]
    assert before[0] != model_id("llase")
    assert before[1].startswith("org/name@")
    assert before[2].startswith("https://***@host/model@")
    assert model_id("org/name", {"token_lm": weights}) == before[1]
    weights.write_bytes(bytes(199) + b"x")
    for name, old in zip(names, before, strict=True):
        assert model_id(name, paths) != old
    monkeypatch.setattr(tiny.hparams.pretrainer, "paths", paths)
    assert describe_run(tiny, "org/name").model == model_id("org/name", paths)


def test_large_weights_are_looked_into(tmp_path, monkeypatch):
    monkeypatch.setattr(description, "PIECE", 10)
    monkeypatch.setattr(description, "WHOLE", 10000)
    weights = tmp_path / "token_lm.ckpt"
    found = set()
    for size, place in ((10001, 3), (10001, 5075), (10001, 10000), (10002, 3)):
        content = bytearray(size)
        content[place] = 1
        weights.write_bytes(content)
        found.add(model_id("org/name", {"token_lm": weights}))
    assert len(found) == 4


def test_names_of_models():
    assert model_id("llase_mini").startswith("llase_mini@")
    assert model_id("org/name") == "org/name"
    assert model_id("https://host/model") == "https://host/model"
    assert model_id("https://a:b@host/model") == "https://***@host/model"
