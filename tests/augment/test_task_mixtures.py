"""Echoes, lost packets, other talkers: each as drawn, and nothing else."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.augment import mixture
from speechbrain_llase.augment.echo import make_echo
from speechbrain_llase.augment.lost_packets import PACKET, lose_packets
from speechbrain_llase.augment.task_mixer import MIXED_TASKS, TaskMixer
from speechbrain_llase.inference.multitask import TASKS
from speechbrain_llase.processing.packet_loss import find_gaps

RATE = 16000
QUIET = {"synthetic_prob": 1.0, "rir_prob": 0.0, "snr_db": (60, 60)}
PITCHES = {f"{k // 2}/{k % 2}": 200 * (k + 1) for k in range(6)}


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """Three speakers, two utterances each, every one a tone of its own."""
    folder = tmp_path_factory.mktemp("talkers")
    found = {}
    for name, pitch in PITCHES.items():
        path = folder / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        tone = 0.1 * np.sin(2 * np.pi * pitch * np.arange(2 * RATE) / RATE)
        soundfile.write(path, tone, RATE, subtype="FLOAT")
        found[name] = {"clean_wav": str(path)}
    return found


def mix(entries, task, seed=0, name="1/0", **settings):
    """One mixture of a second of an utterance."""
    mixer = TaskMixer([], [], entries, task, **QUIET | settings)
    clean = soundfile.read(entries[name]["clean_wav"], dtype="float32")[0]
    clean = torch.from_numpy(clean[:RATE])
    return mixer(clean, np.random.default_rng(seed), name)


def loudest(wave):
    """The utterance whose tone is the loudest in a wave."""
    bins = np.abs(np.fft.rfft(np.asarray(wave)))
    pitch = np.argmax(bins) * RATE / len(wave)
    return min(PITCHES, key=lambda name: abs(PITCHES[name] - pitch))


def db(wave, other):
    """Ratio of mean powers in dB."""
    return 10 * float(torch.log10(wave.square().mean() / other.square().mean()))


# -- echoes --------------------------------------------------------------------


def test_a_linear_echo_is_the_loopback_in_a_room():
    """Late by the delay, through the response, and no longer."""
    rng = np.random.default_rng(0)
    far = rng.standard_normal(3000).astype("f4")
    rir = np.r_[0, 0, 2.0, 1.0]  # its direct path is the third sample
    echo = make_echo(far, rir, delay=100)
    assert echo.dtype == np.float32 and not echo[:100].any()
    wanted = far[:-100] + 0.5 * np.r_[0, far[:-101]]
    np.testing.assert_allclose(echo[100:], wanted, atol=1e-5)


def test_a_driven_loudspeaker_adds_odd_harmonics():
    """The more the harder, at the same peak."""
    tone = 0.3 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE)
    thirds = []
    for drive in (0.0, 1.0, 4.0):
        echo = make_echo(tone, drive=drive)
        assert np.abs(echo).max() == pytest.approx(0.3, rel=1e-3)
        bins = np.abs(np.fft.rfft(echo))
        thirds.append(bins[300] / bins[100])
        assert bins[200] / bins[100] < 1e-4
    assert thirds[0] < 1e-4 and 0.01 < 2 * thirds[1] < thirds[2]


def test_an_echo_is_at_its_ratio(entries):
    """Without room, drive and delay: what the reference is, that is added."""
    settings = {"drive": (0, 0), "delay_s": (0, 0)}
    plain = mix(entries, "se")
    for ratio_db in (-7.0, 4.0):
        found = mix(entries, "aec", echo_db=(ratio_db,) * 2, **settings)
        scale = found.clean.norm() / plain.clean.norm()
        echo = found.noisy - scale * plain.noisy
        assert db(found.reverberant, echo) == pytest.approx(ratio_db, abs=0.01)
        share = echo @ found.reference / found.reference.square().sum()
        assert torch.allclose(echo, share * found.reference, atol=1e-4)
        assert loudest(found.reference)[0] != "1"  # somebody else
        assert found.noisy.abs().max() <= 0.991


# -- lost packets --------------------------------------------------------------


@pytest.mark.parametrize("bad_loss", [1.0, 0.6])
def test_packets_are_lost_as_often_and_in_bursts(bad_loss):
    """Share and length of bursts are those asked for."""
    rng = np.random.default_rng(1)
    wave = np.ones(200_000 * 4)
    lossy = lose_packets(wave, 0.2, 5.0, rng, bad_loss, packet=4)
    lost = lossy.reshape(-1, 4) == 0
    assert (lost.all(1) == lost.any(1)).all()  # whole packets
    lost = lost[:, 0]
    assert lost.mean() == pytest.approx(0.2, abs=0.01)
    bursts = np.diff(np.r_[0, lost, 0]).tolist().count(1)
    length = lost.sum() / bursts
    if bad_loss == 1:
        assert length == pytest.approx(5.0, rel=0.05)
    else:
        assert 1.5 < length < 3.0  # broken by packets that came through
    again = lose_packets(wave, 0.2, 5.0, np.random.default_rng(1), bad_loss, 4)
    assert np.array_equal(lossy, again)


def test_a_lossy_mixture_is_the_plain_one_between_gaps(entries):
    """And its gaps are what the model's own look for them finds."""
    plain, lossy = (mix(entries, x, seed=3).noisy for x in ("se", "plc"))
    gaps = find_gaps(lossy)
    assert gaps and all(start % PACKET == 0 for start, _ in gaps)
    kept = lossy != 0
    assert torch.equal(lossy[kept], plain[kept])
    assert sum(b - a for a, b in gaps) == int((~kept).sum())
    for loss, burst in ((1.0, 2), (0.2, 0.5), (-0.1, 2)):
        with pytest.raises(ValueError, match="must lie in"):
            lose_packets(np.ones(9), loss, burst, np.random.default_rng(0))


# -- other talkers -------------------------------------------------------------


def test_an_enrolment_is_another_utterance_of_who_is_wanted(entries):
    """The other talker is somebody else, at the ratio asked for."""
    for seed in range(6):
        found = mix(entries, "tse", seed, other_db=(-3, -3))
        assert loudest(found.reference) == "1/1"
        assert loudest(found.noisy)[0] != "1"  # 3 dB louder
        assert loudest(found.clean) == "1/0"
        other = found.noisy - found.reverberant
        assert db(found.reverberant, other) == pytest.approx(-3, abs=0.05)
        assert RATE // 2 <= len(found.reference) <= RATE


def test_of_two_speakers_the_louder_one_is_the_first(entries):
    """Either nothing is beside it, or the louder other, as it is in there."""
    seen = set()
    for seed in range(12):
        found = mix(entries, "ss", seed, other_db=(2, 4))
        other = found.noisy - found.reverberant
        ratio = db(found.reverberant, other)
        seen.add(found.reference is None)
        assert loudest(found.clean) == "1/0"
        if found.reference is None:
            assert 1.9 < ratio < 4.1 and loudest(found.noisy) == "1/0"
        else:
            assert -4.1 < ratio < -1.9
            assert loudest(found.reference)[0] != "1"
            assert db(other - found.reference, other) < -40
    assert seen == {True, False}


def test_the_generator_decides(entries):
    """Of several tasks one is drawn; the same again with the same seed."""
    tasks = list(MIXED_TASKS)
    assert set(tasks) == TASKS.keys()
    made = [mix(entries, tasks, seed) for seed in range(25)]
    assert {x.task for x in made} == set(tasks)
    for seed, first in enumerate(made):
        again = mix(entries, tasks, seed)
        assert torch.equal(first.noisy, again.noisy)
        assert (first.reference is None) == (again.reference is None)
    assert len({float(x.noisy[5000]) for x in made}) == 25


def test_refusals(entries):
    """Unknown tasks, nobody else, nothing else of the same speaker."""
    alone = {name: entries[name] for name in ("1/0", "1/1", "2/0")}
    cases = (
        (entries, "asr", "not known; choose from se, plc, aec"),
        (entries, [], "not known"),
        ({"a": entries["1/0"]}, "aec", "there is one speaker: a"),
        (alone, ["se", "tse"], "the only ones of theirs: 2/0"),
    )
    for given, task, said in cases:
        with pytest.raises(ValueError, match=said):
            TaskMixer([], [], given, task, **QUIET)
    with pytest.raises(ValueError, match="echo_db"):
        TaskMixer([], [], entries, "aec", echo_db=(3, 1), **QUIET)
    for lost in ({"loss": (0.5, 0.95)}, {"burst": (0.5, 2)}):
        with pytest.raises(ValueError, match="burst=.* at least 1 packet"):
            TaskMixer([], [], entries, "plc", **lost, **QUIET)


def test_an_echo_that_comes_after_the_end_adds_nothing():
    """All of it is late: silence is added, and nothing becomes nan."""
    tone = 0.1 * np.sin(np.arange(1600) * 0.2, dtype=np.float32)
    noisy = mixture.mix(tone, np.ones(1600, np.float32), 10.0)
    late = make_echo(tone, delay=1600)
    louder, _ = mixture.overlay(noisy, late, 0.0)
    assert torch.equal(louder.noisy, noisy.noisy)
