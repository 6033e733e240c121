"""The tasks of LLaSE-G1 are learned: mixtures, items, inputs, heads, loss.

Two talkers say tones, the one low, the other high; a token says which tone. A
tiny LM is trained on a task and another one on noise alone, equally long.
"""

import math

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_llase.augment.task_mixer import TaskMixer
from speechbrain_llase.lobes.multitask_lm import MultitaskLM
from speechbrain_llase.lobes.wavlm_frontend import Frontend
from speechbrain_llase.processing.framing import num_rows
from speechbrain_llase.training.adapters import Frozen
from speechbrain_llase.training.items import FileReader, make_dataset
from speechbrain_llase.training.multitask import (
    TaskBrain,
    TaskItemMaker,
    TaskLoss,
)
from speechbrain_llase.training.sampler import collate
from speechbrain_llase.training.token_cache import TokenCache, TokenWriter

RATE = 16000
TONES = 500 * np.arange(1, 9)  # Hz; the first four are of the low talker
SYLLABLE = 1600  # samples
PAUSE = 8  # its token
BATCHES, ROUNDS, ITEMS = 10, 6, 8
MIXTURES = {
    "synthetic_prob": 1.0,
    "rir_prob": 0.0,
    "snr_db": (10, 30),
    "noise_speed": (1.0, 1.0),
    "eq_db": 0.0,
    "echo_db": (-3, 3),
    "drive": (0.0, 2.0),
    "delay_s": (0.0, 0.0),
    "loss": (0.3, 0.3),
    "burst": (3.0, 3.0),
}


class Bands(Frontend):
    """How loud the tones are, frame by frame; no row of zeros."""

    zero_row = False

    def extract_runs(self, runs):
        feats = [
            torch.log1p(
                30 * torch.fft.rfft(w.unfold(1, 320, 320)).abs()[..., 10:170:10]
            )
            for w in runs
        ]
        feats = [
            f[:, : num_rows(w.shape[1], False)] for f, w in zip(feats, runs)
        ]
        shapes = [tuple(f.shape[:2]) for f in feats]
        return torch.cat([f.flatten(0, 1) for f in feats]), shapes


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight utterances of each talker, 2 s long, and their tokens."""
    folder, rng = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    entries, time = {}, np.arange(SYLLABLE) / RATE
    with TokenWriter(folder / "tokens", "tones") as writer:
        for k in range(16):
            said = rng.integers(0, 5, 20) % 5
            said = np.where(said == 4, PAUSE, said + 4 * (k % 2))
            tones = [
                (x < PAUSE) * np.sin(2 * np.pi * TONES[x % 8] * time)
                for x in said
            ]
            path = folder / f"{'lh'[k % 2]}/{k}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, 0.2 * np.concatenate(tones), RATE)
            tokens = np.repeat(said, SYLLABLE // 320)
            writer.add(path.read_bytes(), torch.from_numpy(tokens))
            name = path.relative_to(folder).with_suffix("").as_posix()
            entries[name] = {"clean_wav": str(path), "duration": 2.0}
    return entries, TokenCache(folder / "tokens")


def make_items(data, task):
    """Items of a task, and what makes them."""
    entries, tokens = data
    mixer = TaskMixer([], [], entries, task, **MIXTURES)
    reader = FileReader(RATE, False)
    maker = TaskItemMaker(reader, tokens, mixer, RATE, 0, task=task)
    return make_dataset(entries, maker), maker


def make_brain():
    """A tiny LM with few tokens to choose from."""
    torch.manual_seed(0)
    lm = MultitaskLM(16, 16, 2, 2, 64, dropout=0.0)
    for name in ("predict_layer_x", "predict_layer_y"):
        setattr(lm, name, torch.nn.Linear(32, PAUSE + 1))
    modules = {"frontend": Frozen(Bands()), "token_loss": TaskLoss(lm, 4096)}
    return TaskBrain(modules, run_opts={"device": "cpu"})


def draw(data, task, epoch):
    """One batch of an epoch."""
    dataset, maker = make_items(data, task)
    maker.set_epoch(epoch)
    at = np.random.default_rng(epoch).choice(len(dataset), ITEMS, False)
    return collate([dataset[int(k)] for k in at])


def train(data, task):
    """Train as a recipe does, step by step."""
    brain = make_brain()
    optimizer = torch.optim.AdamW(brain.modules.parameters(), 3e-3)
    batches = [draw(data, task, epoch) for epoch in range(BATCHES)]
    for batch in ROUNDS * batches:
        scores = brain.compute_forward(batch, None)
        optimizer.zero_grad()
        (scores.loss / scores.frames).backward()
        optimizer.step()
    return brain


@torch.no_grad()
def mean_loss(brain, data, task, hears=True):
    """Mean loss over batches of no epoch of the training."""
    total = []
    for epoch in range(10_000, 10_004):
        batch = draw(data, task, epoch)
        if not hears:
            batch.reference.lengths.zero_()
        scores = brain.compute_forward(batch, None)
        total.append(float(scores.loss / scores.frames))
    return sum(total) / len(total)


@pytest.fixture(scope="module")
def only_enhances(data):
    """What is trained on noise alone."""
    return train(data, "se")


@pytest.mark.parametrize("task", ["aec", "plc", "tse", "ss"])
def test_a_task_is_learned(data, only_enhances, task):
    """The loss falls below that of enhancement, by what is heard beside."""
    brain = train(data, task)
    found = mean_loss(brain, data, task)
    plain = mean_loss(only_enhances, data, task, hears=False)
    deaf = mean_loss(brain, data, task, hears=False)
    print(task, found, plain, deaf)
    assert found < 0.7 * plain and found < 0.7 * math.log(9)
    assert task == "plc" or found < 0.85 * deaf


def test_recordings_bring_their_own_reference(data):
    """Cut where the mixture is; of a task that it does not fit, refused."""
    entries, tokens = data
    names = list(entries)
    wavs = [entries[name]["clean_wav"] for name in names[:3]]
    entry = dict(zip(("clean_wav", "noisy_wav"), wavs[:2], strict=True))
    beside = entry | {"reference_wav": wavs[2]}

    def make(given, task):
        reader = FileReader(RATE, False)
        maker = TaskItemMaker(reader, tokens, None, RATE // 2, 0, task=task)
        return list(maker.make("x", given))

    found = make(beside, "ss")
    wholes = [
        torch.from_numpy(soundfile.read(w, dtype="float32")[0]) for w in wavs
    ]
    starts = [
        k
        for k in range(0, 2 * RATE - RATE // 2 + 1, 320)
        if torch.equal(wholes[0][k : k + RATE // 2], found[1])
    ]
    (start,) = starts
    for wave, whole in ((found[0], wholes[1]), (found[3], wholes[2])):
        assert torch.equal(wave, whole[start : start + RATE // 2])
    assert found[4] == "ss" and len(found[2]) == RATE // 2 // 320
    assert len(make(entry, "ss")[3]) == 1  # nothing beside it
    for given, task in (
        (beside, "se"),
        (entry, "aec"),
        (beside, "tse"),
        (entry, ["se", "plc"]),
    ):
        with pytest.raises(ValueError, match="reference is not of task="):
            make(given, task)
