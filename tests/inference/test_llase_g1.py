"""The tasks of LLaSE-G1, against the released script and by what they promise."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase import EnhanceLLaSE, LLaSEG1
from speechbrain_llase.inference.guard import Guard
from speechbrain_llase.inference.multitask import TASKS

OWN_LEVEL = {"restore_level": False}


@pytest.fixture(scope="module")
def load_g1(g1_folder):
    """A function that loads the stand-in with other settings."""

    def load(**overrides):
        return LLaSEG1.from_hparams(
            g1_folder, overrides=overrides, run_opts={"device": "cpu"}
        )

    return load


@pytest.fixture(scope="module")
def g1(load_g1):
    """The stand-in; do not change it."""
    return load_g1(window_batch=3)


@pytest.fixture(scope="module")
def waves(g1_arrays):
    """The golden inputs (T,), in [-1, 1]."""
    names = "mixture", "reference", "long_reference", "plc_mixture"
    return {
        name: torch.from_numpy(g1_arrays[name]).float() / 32768
        for name in names
    }


def run(model, task, mixture, reference, lengths=None, **settings):
    """A task on a batch of mixtures, by its method."""
    own = {"aligns": False} if task == "aec" else {}
    beside = [reference] if task in ("aec", "tse") else []
    method = {
        "se": model.enhance_batch,
        "plc": model.conceal_batch,
        "aec": model.cancel_echo_batch,
        "tse": model.extract_batch,
        "ss": model.separate_batch,
    }[task]
    return method(mixture, *beside, lengths=lengths, **own, **settings)


# -- what the released script gives --------------------------------------------


RAW = {"peak_normalised": False}
TWICE = {"passes": 2}


@pytest.mark.parametrize(
    ("name", "task", "mixture", "reference", "settings"),
    [
        ("se", "se", "mixture", None, RAW),
        ("se_reader", "se", "mixture", None, {}),
        ("plc", "plc", "plc_mixture", None, RAW),
        ("aec", "aec", "mixture", "reference", {}),
        ("aec_long", "aec", "mixture", "long_reference", {}),
        ("tse", "tse", "mixture", "reference", {}),
        ("tse_long", "tse", "mixture", "long_reference", {}),
        ("ss_second_written", "ss", "mixture", None, RAW),
        ("second_pass", "se", "mixture", None, RAW | TWICE),
        ("aec_second_pass", "aec", "mixture", "reference", TWICE),
        ("tse_second_pass", "tse", "mixture", "reference", TWICE),
    ],
)
def test_tokens(g1, g1_arrays, waves, name, task, mixture, reference, settings):
    """Every one, of all tasks, passes and lengths of a reference."""
    beside = None if reference is None else waves[reference][None]
    tokens = g1.predict_tokens(
        waves[mixture][None], task=task, references=beside, **settings
    )[0]
    expected = g1_arrays[f"{name}_tokens"].tolist()
    assert tokens[: len(expected)].tolist() == expected
    assert not (tokens[len(expected) :] + 1).any()
    assert len(tokens) == (len(waves[mixture]) - 80) // 320


def test_the_reader_cuts_both(g1, g1_arrays, waves):
    """The released echo reader cuts the microphone to the loopback."""
    reference = waves["reference"][None]
    mixture = waves["mixture"][None, : reference.shape[1]]
    tokens = g1.predict_tokens(mixture, task="aec", references=reference)
    assert tokens[0].tolist() == g1_arrays["aec_reader_tokens"].tolist()


def test_waves(load_g1, g1_arrays, waves):
    """1e-5 of the released ones, zeros behind; and two speakers."""
    model = load_g1(**OWN_LEVEL)
    mixture, reference = waves["mixture"][None], waves["reference"][None]
    found = {
        "aec": model.cancel_echo_batch(mixture, reference, aligns=False)[0],
        "tse": model.extract_batch(mixture, reference)[0],
    }
    both = model.doing("ss", peak_normalised=False).enhance_batch(mixture)[0]
    found["se"] = both[0]
    for name, wav in found.items():
        golden = torch.from_numpy(g1_arrays[f"{name}_enhanced"])
        assert (wav[: len(golden)] - golden).abs().max() < 1e-5
        assert not wav[len(golden) :].any()
    tokens = torch.from_numpy(g1_arrays["ss_second_written_tokens"]).long()
    second = model.mods.vocoder(tokens[None])[0]
    assert (both[1][: len(second)] - second).abs().max() < 1e-5


# -- batches, files, windows ----------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_ragged_batches_are_single_ones(load_g1, waves, task):
    """Within 1e-4, length and level kept, one window or several."""
    model = load_g1(window_s=0.8, context_s=0.4, window_batch=3)
    mixture = waves["plc_mixture"]
    sizes = [len(mixture), 20000, 500, 300]
    batch = torch.stack([mixture, mixture * 0.01, mixture, mixture])
    lengths = torch.tensor(sizes) / len(mixture)
    beside = [waves["reference"], waves["long_reference"][:9000]] * 2
    found = run(model, task, batch, beside, lengths, passes=2)
    assert found.shape == batch.shape + (2,) * (task == "ss")
    for k, size in enumerate(sizes):
        single = batch[k : k + 1, :size]
        alone = run(model, task, single, [beside[k]], passes=2)
        assert (found[k, :size] - alone[0]).abs().max() < 1e-4
        assert not found[k, size:].any()
    assert not found[3].any()  # too short
    loud, quiet = found[0].norm() / sizes[0], found[1].norm() / sizes[1]
    assert 0.003 < quiet / loud < 0.03  # as the inputs are


def test_two_voices_at_their_input_s_rate(g1, waves, tmp_path):
    """As long as the mixture; each channel of it for itself is refused."""
    mixture = waves["plc_mixture"].repeat_interleave(3)[:-1]
    soundfile.write(tmp_path / "a.wav", mixture.numpy(), 48000)
    names = tmp_path / "1.wav", tmp_path / "2.wav"
    g1.separate_file(tmp_path / "a.wav", names, keep_highs=True)
    for name in names:
        found, rate = soundfile.read(name)
        assert rate == 48000 and found.shape == mixture.shape and found.any()
    with pytest.raises(ValueError, match="two files of one channel"):
        g1.separate_file(tmp_path / "a.wav", names, channels="each")


@pytest.mark.parametrize("task", TASKS)
def test_files_are_batches(load_g1, waves, tmp_path, task):
    """Flat memory and whole batches give the same, window by window."""
    model = load_g1(window_s=0.8, context_s=0.4)
    paths = {}
    for name in ("plc_mixture", "reference"):
        paths[name] = tmp_path / f"{name}.wav"
        soundfile.write(paths[name], waves[name].numpy(), 16000)
    mixture, reference = waves["plc_mixture"][None], waves["reference"]
    expected = run(model, task, mixture, [reference])[0]
    expected = expected / expected.abs().amax(0).clamp(min=1)
    output = tmp_path / "out.wav"
    if task == "ss":
        names = output, tmp_path / "second.wav"
        model.separate_file(paths["plc_mixture"], names)
        read = [soundfile.read(name, dtype="float32")[0] for name in names]
        read = torch.from_numpy(np.stack(read, 1))
        assert (read - expected).abs().max() < 2e-4
        return
    method = {
        "se": model.enhance_file,
        "plc": model.conceal_file,
        "aec": model.cancel_echo_file,
        "tse": model.extract_file,
    }[task]
    beside = [paths["reference"]] if task in ("aec", "tse") else []
    own = {"aligns": False} if task == "aec" else {}
    found = method(paths["plc_mixture"], *beside, output, **own)
    assert (found - expected).abs().max() < 1e-4
    read = soundfile.read(output, dtype="float32")[0]
    assert (torch.from_numpy(read) - expected).abs().max() < 2e-4
    both = method(
        paths["plc_mixture"], *beside, return_details=True, passes=2, **own
    )
    frames = (len(mixture[0]) - 80) // 320
    assert frames - len(both[1].details) == (task != "tse")
    assert bool(both[1].gaps) == (task == "plc")
    assert ('"gaps"' in both[1].as_json()) == (task == "plc")


def test_a_loopback_moves_and_an_enrolment_stays(load_g1, waves):
    """What stands beside the windows of a file."""
    model = load_g1(window_s=0.8, context_s=0.4)
    mixture, other = waves["mixture"], waves["reference"]
    for task, aligns in (("aec", False), ("tse", True)):
        stages = model.doing(task, [other], aligns=aligns).stages
        plan = stages.plan(mixture)
        windows = stages.cut([mixture], [plan])
        assert len(windows) == 4
        for window, place in zip(windows, plan):
            start = (place.start - place.left) * 320
            stop = start + len(window)
            wanted = mixture[start:stop]  # never divided by the peak
            assert torch.equal(window.mixture, wanted)
            if task == "tse":
                assert torch.equal(window.reference, other[: stop - start])
            elif start < len(other) - 400:
                assert torch.equal(window.reference, other[start:stop])
            else:
                assert window.reference is None
    assert window.reference is not None and len(window) < 31013


def test_a_delayed_loopback_is_aligned(load_g1, waves):
    """The output is that of a loopback that was moved by hand."""
    model = load_g1(window_s=0.8, context_s=0.4)
    far = torch.randn(48000, generator=torch.Generator().manual_seed(1)) / 9
    for delay in (3000, -3000):
        start = max(delay, 0)
        heard = torch.nn.functional.pad(far, (start, 0))[start - delay :]
        microphone = waves["mixture"][:40000] + 0.3 * heard[:40000]
        moved = heard[:40000] if delay > 0 else far[3000:43000]
        found = model.cancel_echo_batch(microphone[None], far[None])
        expected = run(model, "aec", microphone[None], moved[None])
        unmoved = run(model, "aec", microphone[None], far[None])
        if delay > 0:  # before it began, nothing is known of it
            assert (found - expected).abs().max() < 1e-4
        assert (found - unmoved).abs().max() > 1e-3


# -- what is refused ------------------------------------------------------------


def test_refusals(load_g1, g1, waves, tiny_folder, tmp_path):
    """A line says what was given, and what to do."""
    mixture = waves["mixture"][None]
    for settings, said in (
        ({"task": "asr"}, "task='asr' is not known; choose one of se, plc"),
        ({"task": "aec"}, "hears loopback beside the mixture"),
        ({"references": mixture}, "hears nothing beside"),
        ({"passes": 0}, "passes=0 must be at least 1"),
        ({"passes": 99}, "each after the first takes 0.02 s"),
        ({"task": "tse", "references": [mixture[0]] * 2}, "1 mixtures and"),
        ({"task": "tse", "references": 0 * mixture}, "no voice in them"),
    ):
        with pytest.raises(ValueError, match=said):
            g1.predict_tokens(mixture, **settings)
    with pytest.raises(ValueError, match="here are TokenLM and joined"):
        LLaSEG1.from_hparams(tiny_folder, run_opts={"device": "cpu"})
    model = load_g1()
    model.guard = Guard(enabled=True, mix=0.5)
    assert model.conceal_batch(mixture).shape == mixture.shape
    with pytest.raises(ValueError, match="Switch them off"):
        model.separate_batch(mixture)
    with pytest.raises(ValueError, match="A stream has one input"):
        g1.doing("ss").stream()
    for task, beside, said in (
        ("aec", [], "hears loopback beside a mixture: there are 1 mixtures"),
        ("plc", [mixture[0]], "hears nothing beside a mixture"),
    ):
        with pytest.raises(ValueError, match=said):
            g1.doing(task, beside).enhance_batch(mixture)
    soundfile.write(tmp_path / "a.wav", mixture[0].numpy(), 16000)
    with pytest.raises(ValueError, match="0 references; pass one for each"):
        g1.doing("tse").stream_file(tmp_path / "a.wav", tmp_path / "b.wav")


def test_a_refiner_of_what_is_like_its_input(load_g1, g1, waves):
    """It corrects what is enhanced; of other tasks it is refused."""
    refined, mixture = load_g1(refine=True), waves["mixture"][None]
    found = refined.enhance_batch(mixture)
    assert found.shape == mixture.shape and found.isfinite().all()
    assert not torch.allclose(found, g1.enhance_batch(mixture), atol=1e-3)
    with pytest.raises(
        ValueError, match="task=ss must not; it is for se and plc"
    ):
        refined.separate_batch(mixture)


def test_the_opening_class_is_a_drop_in(g1, g1_folder, waves):
    """Both classes enhance alike, in batches and as streams."""
    plain = EnhanceLLaSE.from_hparams(g1_folder, run_opts={"device": "cpu"})
    mixture = waves["mixture"]
    expected = plain.enhance_batch(mixture[None])
    found = g1.enhance_batch(mixture[None])
    assert (found - expected).abs().max() < 1e-5
    stream = g1.stream(window_s=0.8, context_s=0.4)
    parts = [stream.push(x) for x in mixture.split(5000)] + [stream.close()]
    assert len(torch.cat(parts)) == len(mixture)
