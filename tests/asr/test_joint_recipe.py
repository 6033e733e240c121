"""The recipe that puts an enhancer before a recogniser."""

import csv
import json
import logging
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes/RescueSpeech/ASR/llase"
LIST = ROOT / "tests/recipes/RescueSpeech.csv"  # in SpeechBrain's form
ROWS = {
    Path(row["Script_file"]).stem: row
    for row in csv.DictReader(LIST.read_text().splitlines())
}


@pytest.fixture
def run(asr_folder, tiny_folder, tmp_path, monkeypatch):
    """A function that runs a script of the recipe on three noisy clips."""
    rng = np.random.default_rng(0)
    rows = [["ID", "duration", "clean_wav", "noisy_wav", "wrd"]]
    for k in range(3):
        clean = 0.1 * rng.standard_normal(16000 + 1000 * k)
        for kind, wave in (("clean", clean), ("noisy", clean + clean[::-1])):
            soundfile.write(tmp_path / f"{kind}{k}.wav", wave, 16000)
        names = [f"$data_root/{kind}{k}.wav" for kind in ("clean", "noisy")]
        rows.append([f"clip{k}", "1.0", *names, "a fig hid"])
    with open(tmp_path / "test.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    (tmp_path / "asr").symlink_to(asr_folder)
    (tmp_path / "model").symlink_to(tiny_folder)
    monkeypatch.chdir(tmp_path)

    def run(*more: str, script: str = "evaluate") -> Path:
        argv = [str(RECIPE / f"{script}.py")]
        row = ROWS[script]
        argv += [str(RECIPE / f"hparams/{script}.yaml"), *more]
        argv += shlex.split(row["test_debug_flags"])
        argv += ["--device=cpu", "--noprogressbar"]
        monkeypatch.setattr(sys, "argv", argv)
        runpy.run_path(argv[0], run_name="__main__")
        checks = row["test_debug_checks"]
        (files,) = re.fullmatch(r"file_exists=\[(.+)\]", checks).groups()
        for name in files.split(","):
            assert (tmp_path / "out" / script / name).exists(), name
        return tmp_path / "out" / script

    hook, handlers = sys.excepthook, logging.getLogger().handlers[:]
    monkeypatch.syspath_prepend(RECIPE)
    yield run
    sys.excepthook = hook
    logging.getLogger().handlers[:] = handlers
    for name in ("evaluate", "words_loss"):
        sys.modules.pop(name, None)


def test_word_errors_of_every_row(run, capsys):
    """Noisy, enhanced and clean are read, each its own wave."""
    folder = run("--batch_size=2")
    results = json.loads((folder / "results.json").read_text())
    assert results.keys() == {"noisy", "enhanced", "clean"}
    assert all(row["num_scored_tokens"] == 9 for row in results.values())
    assert "enhanced: " in capsys.readouterr().out
    texts = {row: (folder / f"wer_{row}.txt").read_text() for row in results}
    assert all(text.count("clip") == 3 for text in texts.values())
    assert len(set(texts.values())) == 3


def test_list_without_clean_speech(run):
    """Then two rows are left."""
    folder = run("--columns={clean: null}")
    results = json.loads((folder / "results.json").read_text())
    assert results.keys() == {"noisy", "enhanced"}


@pytest.mark.parametrize("learns", ["recogniser", "enhancer", "both"])
def test_training_together(run, learns, load_asr, load_tiny):
    """The loss falls, what was named has learned, and all is evaluated."""
    names = ["recogniser", "enhancer"] if learns == "both" else [learns]
    folder = run(f"--learns=[{', '.join(names)}]", script="train")
    log = (folder / "train_log.txt").read_text()
    for part in ("train", "valid"):
        losses = [float(x) for x in re.findall(rf"{part} loss: ([\d.]+)", log)]
        assert len(losses) == 3 and losses[-1] < losses[0]
    results = json.loads((folder / "results.json").read_text())
    assert results.keys() == {"noisy", "enhanced", "clean"}
    best = min(
        folder.glob("save/CKPT+*"),
        key=lambda c: yaml.safe_load((c / "CKPT.yaml").read_text())["loss"],
    )
    weights = {p.stem: p for p in best.glob("*.ckpt")}
    began = {"recogniser": load_asr().mods, "enhancer": load_tiny().mods}
    began["enhancer"] = began["enhancer"]["token_lm"]
    for name, network in began.items():
        assert (name in weights) == (name in names)
        if name in names:
            ours = torch.load(weights[name], weights_only=True)
            ours = {k.removeprefix("networks."): w for k, w in ours.items()}
            theirs = network.state_dict()
            assert ours.keys() == theirs.keys()
            assert any(not torch.equal(ours[k], theirs[k]) for k in ours)
    again = run(f"--trained={best}")
    assert json.loads((again / "results.json").read_text()) == results


@pytest.fixture
def watch(run, monkeypatch):
    """A function that trains with --debug and watches every batch."""
    import speechbrain as sb

    seen = []
    forward, step = sb.Brain.fit_batch, torch.nn.utils.clip_grad_norm_

    def fit_batch(brain, batch):
        found = {"clipped": [], "cudnn": []}
        seen.append(found)

        def clip(weights, limit):
            weights = list(weights)
            found["clipped"].append({id(w) for w in weights})
            return step(weights, limit)

        def on_forward(*_):
            found["cudnn"].append(torch.backends.cudnn.enabled)
            found["modes"] = {
                "recogniser": brain.words_loss.training,
                "enhancer": brain.enhancing.mods.token_lm.training,
            }

        monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
        network = brain.words_loss.networks["encoder"]
        handle = network.register_forward_pre_hook(on_forward)
        loss = forward(brain, batch)
        handle.remove()
        found["parts"] = {
            name: {id(w) for w in part.parameters()}
            for name, part in brain.modules.items()
        }
        return loss

    monkeypatch.setattr(sb.Brain, "fit_batch", fit_batch)

    def watch(*learns: str) -> list[dict]:
        flags = [f"--learns=[{', '.join(learns)}]", "--debug"]
        run(*flags, "--batch_size=2", script="train")
        return seen

    return watch


@pytest.mark.parametrize("learns", [("enhancer",), ("recogniser", "enhancer")])
def test_modes_and_clipping(watch, learns, load_tiny):
    """No dropout in the enhancer; every part is clipped, by itself."""
    attention = load_tiny().mods.token_lm.backbone.layers[0].self_attn
    assert attention.dropout > 0
    seen = watch(*learns)
    assert len(seen) == 4  # two batches of two epochs
    for found in seen:
        trains = "recogniser" in learns
        assert found["modes"] == {"recogniser": trains, "enhancer": False}
        assert found["clipped"] == [found["parts"][name] for name in learns]
        assert found["cudnn"] == [trains]  # see compute_objectives
    assert torch.backends.cudnn.enabled


def test_what_cannot_be_trained(run):
    """Parts and cases that there are not; a folder without weights."""
    for flag, message in (
        ("--learns=[vocoder]", "one or both of"),
        ("--learns=[]", "one or both of"),
        ("--case=camel", "choose from"),
    ):
        with pytest.raises(ValueError, match=message):
            run(flag, script="train")
    with pytest.raises(FileNotFoundError, match="neither recogniser.ckpt"):
        run("--trained=.")


def test_loss_of_the_two_kinds(run, load_asr):
    """CTC, and teacher forcing: those of SpeechBrain, on the right tokens."""
    from words_loss import WordsLoss

    asr = load_asr()
    texts = ["a fig hid", "bad face"]
    wavs, lengths = 0.1 * torch.randn(2, 16000), torch.tensor([1.0, 0.8])
    loss = WordsLoss(asr)
    assert not loss.is_ctc and loss.encode("a fig") == asr.tokenizer.encode(
        "a fig"
    )
    state, searcher = asr.mods.encoder(wavs, lengths), asr.mods.decoder
    total, count = 0.0, 0
    for k, text in enumerate(texts):  # one by one, without padding of tokens
        tokens = asr.tokenizer.encode(text)
        before = torch.tensor([[searcher.bos_index, *tokens]])
        part, length = state[k : k + 1], lengths[k : k + 1]
        hidden, _ = searcher.dec(searcher.emb(before), part, length)
        scores = searcher.fc(hidden).log_softmax(-1)[0]
        after = torch.tensor([*tokens, searcher.eos_index])
        total -= scores.gather(1, after[:, None]).sum().item()
        count += len(after)
    ours = loss(wavs, lengths, texts).item()
    assert ours == pytest.approx(total / count, rel=1e-4)
    ctc = Ctc(asr)
    loss = WordsLoss(ctc)
    assert loss.is_ctc
    tokens = [torch.tensor(asr.tokenizer.encode(t)) for t in texts]
    counts = torch.tensor([len(t) for t in tokens])
    scores = ctc.mods["encoder"](wavs, lengths)
    frames = (lengths * scores.shape[1]).round().long()
    sums = torch.nn.functional.ctc_loss(
        scores.transpose(0, 1),
        torch.cat(tokens),
        frames,
        counts,
        reduction="none",
        zero_infinity=True,
    )
    ours = loss(wavs, lengths, texts)
    torch.testing.assert_close(ours, (sums / counts).mean())


class Ctc:
    """A recogniser whose encoder ends in log posteriors."""

    def __init__(self, asr):
        encoder, classes = asr.mods.encoder, torch.nn.Linear(16, 14)

        class Encoder(torch.nn.Module):
            def forward(self, wavs, lengths):
                return classes(encoder(wavs, lengths)).log_softmax(-1)

        self.mods = torch.nn.ModuleDict({"encoder": Encoder()})
        self.tokenizer = asr.tokenizer
