"""Mixtures: exact ratio and level, aligned target, reproducible draws."""

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import fftconvolve

from speechbrain_llase.augment.mixture import vary, with_fault
from speechbrain_llase.augment.mixture_dataset import (
    NOISE_KINDS,
    MixtureDataset,
    MixtureSampler,
    mix,
    synthesise_noise,
    synthesise_rir,
)
from speechbrain_llase.augment.noise_mixer import NoiseMixer
from speechbrain_llase.processing.signal_processing import power

RATE = 16000


def speech_like(rng, seconds=1.0):
    """Bursts of noise with pauses, as float32."""
    size = int(seconds * RATE)
    gate = np.repeat(rng.random(size // 1600 + 1) < 0.6, 1600)[:size]
    wave = rng.standard_normal(size) * (0.01 + gate) * 0.1
    return wave.astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def make_sampler(rng):
    clean = [speech_like(rng, 3.0) for _ in range(4)]
    noises = [synthesise_noise("pink", 8000, RATE, rng) for _ in range(2)]

    def make(**options):
        options = {"segment_s": 0.5, "babble_prob": 0.2} | options
        return MixtureSampler(clean, noises, [], **options)

    return make


def db(ratio):
    return 10 * np.log10(ratio)


@pytest.mark.parametrize("snr_db", [-20.0, -5.0, 0.0, 3.3, 20.0, 40.0])
@pytest.mark.parametrize("in_room", [False, True])
def test_ratio_and_level_are_exact(rng, snr_db, in_room):
    rir = synthesise_rir(0.3, RATE, rng) if in_room else None
    noise = synthesise_noise("brown", RATE, RATE, rng)
    mixture = mix(speech_like(rng), noise, snr_db, -35.0, rir)
    reverberant = mixture.reverberant.double().numpy()
    rest = mixture.noisy.double().numpy() - reverberant
    assert db(power(reverberant) / power(rest)) == pytest.approx(
        snr_db, abs=0.01
    )
    assert db(power(mixture.noisy.numpy())) == pytest.approx(-35, abs=0.001)
    assert mixture.level_db == pytest.approx(-35, abs=0.001)
    assert mixture.snr_db == snr_db


@pytest.mark.parametrize("snr_db", [-10.0, 10.0])
def test_noisy_less_speech_is_the_noise(rng, snr_db):
    noise = synthesise_noise("white", RATE, RATE, rng)
    mixture = mix(speech_like(rng), noise, snr_db, -30.0)
    rest = (mixture.noisy - mixture.reverberant).numpy()
    gain = np.dot(rest, noise) / np.dot(noise, noise)
    np.testing.assert_allclose(rest, gain * noise, atol=1e-6)
    assert torch.equal(mixture.reverberant, mixture.clean)


def test_level_of_the_speech_is_kept_without_a_level(rng):
    clean = speech_like(rng)
    mixture = mix(clean, synthesise_noise("white", RATE, RATE, rng), 10.0)
    np.testing.assert_array_equal(mixture.clean.numpy(), clean)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("delay", [0, 1, 333])
def test_target_is_aligned_with_the_direct_path(rng, delay, sign):
    clean = speech_like(rng)
    rir = np.concatenate([np.zeros(delay), synthesise_rir(0.4, RATE, rng)])
    noise = synthesise_noise("white", RATE, RATE, rng)
    mixture = mix(clean, noise, 30.0, -30.0, 0.3 * sign * rir)
    reverberant, target = mixture.reverberant.numpy(), mixture.clean.numpy()
    correlation = fftconvolve(reverberant, target[::-1])
    assert correlation.argmax() - (clean.size - 1) == 0
    gain = target[clean != 0] / clean[clean != 0]
    np.testing.assert_allclose(gain, gain[0], rtol=1e-4)
    full = np.convolve(target, rir)[delay : delay + clean.size]
    np.testing.assert_allclose(reverberant, full, atol=1e-5)


def test_nothing_clips(rng):
    noise = synthesise_noise("clicks", RATE, RATE, rng)
    mixture = mix(speech_like(rng), noise, 0.0, level_db=0.0)
    assert mixture.noisy.abs().max() <= 0.99 + 1e-6
    assert mixture.level_db < -1
    rest = (mixture.noisy - mixture.reverberant).double().numpy()
    ratio = power(mixture.reverberant.double().numpy()) / power(rest)
    assert db(ratio) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("kind", NOISE_KINDS)
@pytest.mark.parametrize("size", [1, 100, 12345, 48000])
def test_synthesised_noise(kind, size):
    noise = synthesise_noise(kind, size, RATE, np.random.default_rng(size))
    again = synthesise_noise(kind, size, RATE, np.random.default_rng(size))
    assert noise.shape == (size,) and noise.dtype == np.float32
    assert np.isfinite(noise).all()
    assert power(noise) == pytest.approx(0.01, rel=1e-3)
    np.testing.assert_array_equal(noise, again)


def test_noise_slopes(rng):
    """Pink loses 3 dB an octave, brown 6, white none."""
    for kind, slope in {"white": 0, "pink": -3, "brown": -6}.items():
        noise = synthesise_noise(kind, 20 * RATE, RATE, rng)
        bins = np.abs(np.fft.rfft(noise)) ** 2
        hz = 20  # bins of 1/20 Hz
        low, high = bins[400 * hz : 800 * hz], bins[800 * hz : 1600 * hz]
        assert db(high.mean() / low.mean()) == pytest.approx(slope, abs=0.5)


@pytest.mark.parametrize("rt60_s", [0.02, 0.1, 0.5, 1.0])
def test_room_response(rng, rt60_s):
    for _ in range(20):
        rir = synthesise_rir(rt60_s, RATE, rng)
        assert rir.shape == (round(rt60_s * RATE),)
        assert rir[0] == 1 and np.abs(rir[1:]).max() <= 0.9
        assert not rir[1:40].any()
    energy = np.zeros(rir.size)
    for _ in range(200):
        energy += synthesise_rir(rt60_s, RATE, rng) ** 2.0
    left = db(np.cumsum(energy[::-1])[::-1])
    if rt60_s >= 0.5:  # the reflections of the first 30 ms are over
        start, stop = int(0.1 * RATE), int(0.4 * RATE)
        fall = (left[start] - left[stop]) / 0.3 * rt60_s
        assert fall == pytest.approx(60, abs=6)


def test_speed_changes_the_pitch(rng):
    wave = tone(1000).astype(np.float32)
    fast = vary(lambda size: wave[:size], RATE, RATE, (1.25, 1.25), 0.0, rng)
    assert fast.shape == (RATE,)
    assert loudest_hz(fast) == pytest.approx(1250, rel=0.03)
    assert power(fast) == pytest.approx(power(wave), rel=0.02)
    same = vary(lambda size: wave[:size], RATE, RATE, (1.0, 1.0), 0.0, rng)
    start = (16875 - RATE) // 2  # 16875 is the fast length
    np.testing.assert_allclose(same, wave[start : start + RATE], atol=1e-5)


def test_colour_stays_within_its_gain(rng):
    flat = np.zeros(20000, dtype=np.float32)
    flat[8000] = 1
    for _ in range(20):
        out = vary(lambda size: flat[:size], RATE, RATE, (1, 1), 6.0, rng)
        gains = 2 * db(np.abs(np.fft.rfft(out))[50:7500])
        assert np.abs(gains).max() < 9.5  # half the tilt and the bell
        assert np.ptp(gains) > 0.1


def test_faults_touch_noisy_only(rng):
    noise = synthesise_noise("white", RATE, RATE, rng)
    mixture = mix(speech_like(rng), noise, 5.0, -20.0)
    for _ in range(10):
        faulty = with_fault(mixture, RATE, rng)
        assert torch.equal(faulty.clean, mixture.clean)
        assert torch.equal(faulty.reverberant, mixture.reverberant)
        assert not torch.equal(faulty.noisy, mixture.noisy)
        assert faulty.noisy.abs().max() <= 0.99 + 1e-6
        level_db = db(power(faulty.noisy.numpy()))
        assert faulty.level_db == pytest.approx(level_db, abs=1e-3)


def test_samples_obey_the_settings(make_sampler, rng):
    sampler = make_sampler(snr_db=(0, 5), level_db=(-40, -30), rir_prob=0.5)
    kinds = set()
    for _ in range(60):
        mixture = sampler.sample(rng)
        for wave in (mixture.noisy, mixture.clean, mixture.reverberant):
            assert wave.shape == (8000,) and wave.dtype == torch.float32
            assert wave.isfinite().all()
        assert 0 <= mixture.snr_db <= 5
        assert -40.01 <= mixture.level_db <= -29.99
        assert mixture.clean.square().mean() > 1e-8
        kinds.update(mixture.kind.split("+"))
    assert {"babble", "recorded"} < kinds
    assert kinds - {"babble", "recorded"} <= set(NOISE_KINDS)


def test_noise_from_memory_or_from_a_file(rng, tmp_path):
    """Either way the noise has the ratio that was drawn, and its name."""
    path = str(tmp_path / "noise.wav")
    speech = speech_like(rng, 0.5)
    noise = synthesise_noise("pink", RATE, RATE, rng)
    soundfile.write(path, noise, RATE, subtype="FLOAT")
    plain = {"synthetic_prob": 0.0, "rir_prob": 0.0, "noise_speed": (1, 1)}
    for source, kind in ((noise, "recorded"), (path, path)):
        mixer = NoiseMixer([source], [], two_noise_prob=1.0, **plain)
        mixture = mixer(speech, np.random.default_rng(0))
        assert mixture.kind == f"{kind}+{kind}"
        rest = (mixture.noisy - mixture.reverberant).double().numpy()
        ratio = power(mixture.reverberant.double().numpy()) / power(rest)
        assert db(ratio) == pytest.approx(mixture.snr_db, abs=0.01)


def tone(f0, seconds=2.0):
    return 0.1 * np.sin(2 * np.pi * f0 * np.arange(int(seconds * RATE)) / RATE)


def loudest_hz(wave):
    bins = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return bins.argmax() * RATE / len(wave)


def test_crops_hold_speech():
    """Nine tenths of the utterance are faint noise; no crop is."""
    rng = np.random.default_rng(0)
    wave = 1e-3 * rng.standard_normal(20 * RATE)
    wave[5 * RATE : 7 * RATE] += tone(440)
    sampler = MixtureSampler(
        [wave], [], [], 1.0, synthetic_prob=1.0, eq_db=0.0, rir_prob=0.0
    )
    for _ in range(50):
        bins = np.abs(np.fft.rfft(sampler.sample(rng).clean.numpy())) ** 2
        assert bins[300:600].sum() > 0.7 * bins.sum()  # of 1 Hz


def test_babble_is_of_others():
    rng = np.random.default_rng(0)
    plain = {"speed": (1, 1), "noise_speed": (1, 1), "eq_db": 0.0}
    sampler = MixtureSampler(
        [tone(500), tone(2000)],
        [],
        [],
        0.5,
        babble_prob=1.0,
        synthetic_prob=0.0,
        rir_prob=0.0,
        **plain,
    )
    for _ in range(10):
        mixture = sampler.sample(rng)
        target = loudest_hz(mixture.clean.numpy())
        other = loudest_hz((mixture.noisy - mixture.reverberant).numpy())
        assert {round(target), round(other)} == {500, 2000}


def test_short_recordings_are_repeated(rng):
    sampler = MixtureSampler(
        [speech_like(rng)], [tone(800, 0.6)], [], 1.0, synthetic_prob=0.0
    )
    for _ in range(5):
        mixture = sampler.sample(rng)
        noise = (mixture.noisy - mixture.reverberant).reshape(16, -1)
        powers = noise.square().mean(1)
        assert powers.min() > 0.5 * powers.max()


def test_faults_come_at_their_share(make_sampler):
    sound, faulty = make_sampler(), make_sampler(fault_prob=1.0)
    for seed in range(5):
        one = sound.sample(np.random.default_rng(seed))
        two = faulty.sample(np.random.default_rng(seed))
        assert torch.equal(one.clean, two.clean)
        assert not torch.equal(one.noisy, two.noisy)


def test_short_utterances_are_padded():
    rng = np.random.default_rng(0)
    sampler = MixtureSampler(
        [speech_like(rng, 0.2)], [], [], 2.0, synthetic_prob=1.0, rir_prob=0.0
    )
    places = set()
    for _ in range(5):
        clean = sampler.sample(rng).clean
        loud = (clean.abs() > 0.02 * clean.abs().max()).nonzero()
        assert loud[-1] - loud[0] < 0.3 * RATE
        places.add(int(loud[0]))
    assert len(places) == 5


def test_items_are_reproducible_and_distinct(make_sampler):
    one = MixtureDataset(make_sampler(), length=6, seed=3)
    two = MixtureDataset(make_sampler(), length=6, seed=3)
    other = MixtureDataset(make_sampler(), length=6, seed=4)
    seen = []
    for epoch in range(2):
        one.set_epoch(epoch)
        two.set_epoch(epoch)
        for i in (5, 1, 0, 3):
            assert torch.equal(one[i]["noisy"], two[i]["noisy"])
            assert torch.equal(one[i]["clean"], two[i]["clean"])
            assert one[i]["id"] == two[i]["id"] == f"mix-3-{epoch}-{i}"
            seen.append(one[i]["noisy"])
    seen.append(other[0]["noisy"])
    assert len({wave.numpy().tobytes() for wave in seen}) == len(seen)
    with pytest.raises(IndexError):
        one[6]


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_and_epochs_are_distinct(make_sampler, persistent):
    """Two workers give what one process gives, and no item twice."""
    dataset = MixtureDataset(make_sampler(), length=8, seed=5)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, num_workers=2, persistent_workers=persistent
    )
    seen = {}
    for epoch in range(2):
        dataset.set_epoch(epoch)
        for batch in loader:
            for name, noisy in zip(batch["id"], batch["noisy"]):
                seen[name] = noisy
        for i in range(8):
            item = dataset[i]
            assert torch.equal(seen[item["id"]], item["noisy"])
    assert len(seen) == 16
    assert len({wave.numpy().tobytes() for wave in seen.values()}) == 16


@pytest.mark.parametrize(
    "bad, message",
    [
        (np.full(800, np.nan), "NaN"),
        (np.full(800, np.inf), "infinite"),
        (np.ones((2, 800)), "1-D"),
        (np.ones(800, dtype=np.int16), "int16"),
        (np.zeros(800), "silent"),
        (np.zeros(0), "empty"),
    ],
)
@pytest.mark.parametrize("place", ["clean", "noise", "rir"])
def test_mix_refuses(bad, message, place):
    signals = {name: np.ones(800) for name in ("clean", "noise", "rir")}
    signals[place] = bad
    with pytest.raises(ValueError, match=f"(?s){place}.*{message}"):
        mix(snr_db=0.0, **signals)


def test_mix_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="800 samples and noise 801"):
        mix(np.ones(800), np.ones(801), 0.0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"clean": []}, "clean is an empty list"),
        ({"noises": []}, "noises is an empty list"),
        ({"clean": [torch.zeros(8000)]}, r"clean\[0\] is silent"),
        ({"noises": [torch.full((9,), torch.nan)]}, r"noises\[0\] has NaN"),
        ({"rirs": [torch.ones(2, 9)]}, r"rirs\[0\] has shape"),
        ({"clean": [torch.ones(1599)]}, "1599 samples"),
        ({"segment_s": 0.0}, "segment_s"),
        ({"snr_db": (5, 0)}, "snr_db is 5.0 to 0.0"),
        ({"speed": (0, 1)}, "speed"),
        ({"rir_prob": 1.1}, "rir_prob is 1.1"),
        ({"synthetic_prob": 0.9, "babble_prob": 0.2}, "add to 1.1"),
        ({"babble_prob": 0.1}, "two items"),
    ],
)
def test_sampler_refuses(options, message):
    given = {
        "clean": [torch.ones(8000)],
        "noises": [torch.ones(8000)],
        "rirs": [],
        "segment_s": 0.5,
    } | options
    with pytest.raises(ValueError, match=message):
        MixtureSampler(**given)


def test_others_refuse(make_sampler, rng):
    with pytest.raises(ValueError, match="'grey'; choose from white"):
        synthesise_noise("grey", 10, RATE, rng)
    with pytest.raises(ValueError, match="num_samples is 0"):
        synthesise_noise("white", 0, RATE, rng)
    with pytest.raises(ValueError, match="rt60_s is 0"):
        synthesise_rir(0.0, RATE, rng)
    with pytest.raises(ValueError, match="length is 0"):
        MixtureDataset(make_sampler(), length=0, seed=1)
    with pytest.raises(ValueError, match="epoch is -1"):
        MixtureDataset(make_sampler(), length=1, seed=1).set_epoch(-1)
