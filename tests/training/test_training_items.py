"""Items of training: aligned, repeatable, never with another's tokens."""

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.augment.noise_mixer import NoiseMixer
from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import list_folder
from speechbrain_llase.dataio.recordings import read_speech
from speechbrain_llase.processing.framing import num_rows
from speechbrain_llase.training.items import (
    FileReader,
    ItemMaker,
    item_seconds,
    make_dataset,
)
from speechbrain_llase.training.token_cache import TokenCache, TokenWriter

RATE = 16000
PLAIN = {
    "sample_rate": RATE,
    "resample": False,
    "snr_db": (0, 10),
    "rir_prob": 0.0,
    "recorded_rir_prob": 0.0,
    "rt60_s": (0.1, 0.5),
    "synthetic_prob": 0.0,
    "two_noise_prob": 0.0,
    "noise_speed": (1.0, 1.0),
    "eq_db": 0.0,
    "fault_prob": 0.0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Speech of several lengths whose tokens count its frames, and noise."""
    folder = tmp_path_factory.mktemp("items")
    rng = np.random.default_rng(0)
    for part in ("clean", "noise", "rir"):
        (folder / part).mkdir()
    for k, seconds in enumerate((0.4, 1.0, 2.5)):
        wav = 0.1 * rng.standard_normal(int(seconds * RATE))
        soundfile.write(folder / f"clean/{k}.wav", wav, RATE)
    soundfile.write(
        folder / "noise/n.wav", 0.1 * rng.standard_normal(9000), RATE
    )
    decay = rng.standard_normal(2000) * np.exp(-np.arange(2000) / 200)
    soundfile.write(folder / "rir/r.wav", 0.3 * decay, RATE)
    entries = check_entries(list_folder(folder / "clean"), RATE, 0.0)
    with TokenWriter(folder / "tokens", "counting") as writer:
        for entry in entries.values():
            content, wav = read_speech(entry["clean_wav"], RATE)
            writer.add(content, torch.arange(num_rows(len(wav))))
    return folder, entries


def make(data, segment=16000, seed=0, **settings):
    """A dataset and its maker."""
    folder, entries = data
    mixer = NoiseMixer(
        [str(folder / "noise/n.wav")],
        [str(folder / "rir/r.wav")],
        **(PLAIN | settings),
    )
    maker = ItemMaker(
        FileReader(RATE, False),
        TokenCache(folder / "tokens"),
        mixer,
        segment,
        seed,
    )
    return make_dataset(entries, maker), maker


def test_tokens_belong_to_their_frames(data):
    """A segment of 1 s has 50 tokens, those of its own place."""
    dataset, maker = make(data, synthetic_prob=0.5)
    starts = set()
    for epoch in range(5):
        maker.set_epoch(epoch)
        for item, entry in zip(dataset, data[1].values(), strict=True):
            count = num_rows(len(item["noisy"]))
            assert item["tokens"].shape == (count,)
            whole = read_speech(entry["clean_wav"], RATE)[1]
            start = 320 * int(item["tokens"][0])
            piece = whole[start:][: len(item["clean"])]
            scale = (item["clean"] @ piece) / (piece @ piece)
            torch.testing.assert_close(item["clean"], scale * piece)
            assert len(item["noisy"]) == min(len(whole), 16000)
            starts.add(start)
    assert len(starts) > 3
    assert item_seconds(data[1], 1.0) == [0.4, 1.0, 1.0]
    assert item_seconds(data[1], None) == [0.4, 1.0, 2.5]


def test_item_and_epoch_decide(data):
    """The same again, in workers too, and other draws in other epochs."""
    settings = {"synthetic_prob": 0.5, "rir_prob": 0.5, "two_noise_prob": 0.5}
    settings |= {"recorded_rir_prob": 0.5, "fault_prob": 0.3, "eq_db": 6.0}
    dataset, maker = make(data, **settings)
    maker.set_epoch(3)
    first = [item["noisy"] for item in dataset]
    other, other_maker = make(data, **settings)
    loader = torch.utils.data.DataLoader(
        other, batch_size=None, num_workers=2, persistent_workers=True
    )
    for epoch in (0, 3):
        other_maker.set_epoch(epoch)
        drawn = [item["noisy"] for item in loader]
        same = [torch.equal(a, b) for a, b in zip(first, drawn, strict=True)]
        assert same == [epoch == 3] * 3


def test_ratio(data):
    """The noise added has the power that was asked for."""
    dataset, _ = make(data, snr_db=(7.0, 7.0))
    item = dataset[1]
    noise = item["noisy"] - item["clean"]
    ratio = item["clean"].square().mean() / noise.square().mean()
    assert 10 * torch.log10(ratio) == pytest.approx(7.0, abs=0.01)


def test_speech_is_found_between_silence(data, tmp_path):
    """A crop of a long pause is drawn again."""
    folder, _ = data
    wav = np.zeros(20 * RATE, np.float32)
    wav[200000:200100] = 0.1
    soundfile.write(tmp_path / "burst.wav", wav, RATE)
    entries = check_entries(list_folder(tmp_path), RATE, 0.0)
    with TokenWriter(tmp_path / "tokens", "x") as writer:
        for entry in entries.values():
            content, _ = read_speech(entry["clean_wav"], RATE)
            writer.add(content, torch.arange(num_rows(len(wav))))
    mixer = NoiseMixer([str(folder / "noise/n.wav")], [], **PLAIN)
    cache = TokenCache(tmp_path / "tokens")
    maker = ItemMaker(FileReader(RATE, False), cache, mixer, 3200, 0)
    dataset = make_dataset(entries, maker)
    item = dataset[0]
    start = 320 * int(item["tokens"][0])
    assert start < 200100 and start + 3200 > 200000


def test_noise_with_pauses(data, tmp_path):
    """Silent pieces are drawn again, whatever is done to them after."""
    folder, entries = data
    noise = np.zeros(60 * RATE, np.float32)
    noise[: 6 * RATE] = 0.1 * np.random.default_rng(0).standard_normal(6 * RATE)
    soundfile.write(tmp_path / "pauses.wav", noise, RATE)
    soundfile.write(tmp_path / "silent.wav", 0 * noise, RATE)
    names = ["pauses.wav", "silent.wav"]
    mixer = NoiseMixer([str(tmp_path / name) for name in names], [], **PLAIN)
    clean = read_speech(entries["0"]["clean_wav"], RATE)[1]
    for k in range(20):
        mixture = mixer(clean, np.random.default_rng(k))
        assert not torch.allclose(mixture.noisy, mixture.clean, atol=1e-4)
    mixer = NoiseMixer([str(tmp_path / "silent.wav")], [], **PLAIN)
    with pytest.raises(ValueError, match="silent.wav; leave out noise"):
        mixer(clean, np.random.default_rng(0))


def test_noise_that_went_bad_is_named(data, tmp_path):
    """The item and the file, whether cut off or gone."""
    folder, entries = data
    path = tmp_path / "n.flac"
    noise = 0.1 * np.random.default_rng(0).standard_normal(60 * RATE)
    soundfile.write(path, noise, RATE)
    maker = ItemMaker(
        FileReader(RATE, False),
        TokenCache(folder / "tokens"),
        NoiseMixer([str(path)], [], **PLAIN),
        16000,
        0,
    )
    assert next(maker.make("0", entries["0"])).isfinite().all()
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ValueError, match="^0: .*n.flac: "):
        next(maker.make("0", entries["0"]))
    path.unlink()
    with pytest.raises(ValueError, match="^0: .*n.flac: "):
        next(maker.make("0", entries["0"]))
    gone = {"clean_wav": str(tmp_path / "gone.wav")}
    with pytest.raises(ValueError, match="^0: .*gone.wav"):
        next(maker.make("0", gone))


def test_changed_audio_is_not_trained_on(data, tmp_path):
    """Edited after extraction: the item is refused by name."""
    folder, entries = data
    wav = np.random.default_rng(1).standard_normal(RATE) * 0.1
    soundfile.write(tmp_path / "new.wav", wav, RATE)
    entries = {"1": {"clean_wav": str(tmp_path / "new.wav"), "duration": 1.0}}
    dataset, _ = make((folder, entries))
    with pytest.raises(ValueError, match="1: .*was changed since"):
        dataset[0]


def test_wrong_settings(data):
    """Impossible ranges, shares and segments."""
    with pytest.raises(ValueError, match="snr_db"):
        make(data, snr_db=(5, 0))
    with pytest.raises(ValueError, match="noise_speed .*above 0"):
        make(data, noise_speed=(0, 1))
    with pytest.raises(ValueError, match="rir_prob"):
        make(data, rir_prob=1.5)
    with pytest.raises(ValueError, match="noises is an empty list"):
        NoiseMixer([], [], **PLAIN)
    with pytest.raises(ValueError, match="whole number"):
        make(data, segment=16001)


def test_pairs_must_be_equally_long(data):
    """A noisy file of another length."""
    _, entries = data
    entry = entries["0"] | {"noisy_wav": entries["1"]["clean_wav"]}
    with pytest.raises(ValueError, match="equally long"):
        FileReader(RATE, False)(entry)
