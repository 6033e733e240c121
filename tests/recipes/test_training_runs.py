"""Whole runs: killed and resumed, on two processes, with bad input."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

RECIPE = Path(__file__).parents[2] / "recipes/Folders/enhance/llase"
FLAGS = [
    "--base=model",
    "--data_folder=folders",
    "--device=cpu",
    "--noprogressbar",
    "--lr=0.01",
    "--warmup_steps=2",
    "--fine_tuned={last_layers: [backbone.layers.1]}",
]


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Data, a tiny model and its tokens."""
    folder = tmp_path_factory.mktemp("runs")
    recipe_data.write_model(folder / "model")
    recipe_data.write_folders(folder / "folders")
    command = [sys.executable, str(RECIPE / "extract_tokens.py")]
    command += [str(RECIPE / "hparams/tokens.yaml"), *FLAGS[:4]]
    subprocess.run(command, cwd=folder, check=True)
    return folder


def start(
    work: Path, output: str, *flags: str, launch=(), **token_lm
) -> subprocess.Popen:
    """Start a training with one thread a process."""
    command = [*(launch or [sys.executable]), str(RECIPE / "train.py")]
    command += [str(RECIPE / "hparams/finetune_mini.yaml"), *FLAGS]
    command += [
        *recipe_data.tiny_flags(**token_lm),
        f"--output_folder={output}",
        *flags,
    ]
    return subprocess.Popen(
        command,
        cwd=work,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    """Wait for the end, which must be a good one."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What the last checkpoint has learned."""
    return torch.load(max(folder.glob("save/CKPT+*")) / "token_lm.ckpt")


def test_killed_and_resumed(work):
    """Same log and the same weights, bit by bit, as without the kill."""
    flags = [
        "--number_of_epochs=4",
        "--batching={max_batch_length: 2.5}",
        "--grad_accumulation_factor=2",
        "--ckpt_interval_minutes=0",
        "--ckpt_interval_steps=2",
    ]
    undisturbed = start(work, "whole", *flags, dropout=0.1)
    killed = start(work, "killed", *flags, dropout=0.1)
    log, until = work / "killed/train_log.txt", time.monotonic() + 200
    while time.monotonic() < until and killed.poll() is None:
        epochs = log.read_text().count("epoch") if log.is_file() else 0
        metas = (work / "killed/save").glob("CKPT+*/CKPT.yaml")
        if epochs >= 2 and any("intra" in m.read_text().lower() for m in metas):
            killed.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    killed.wait()
    assert killed.returncode == -signal.SIGKILL, killed.stdout.read()
    assert log.read_text().count("epoch") < 4
    finish(undisturbed)
    finish(start(work, "killed", *flags, dropout=0.1))
    lines = log.read_text().splitlines()  # a line may be there again
    whole = (work / "whole/train_log.txt").read_text().splitlines()
    assert list(dict.fromkeys(lines)) == whole and len(whole) == 4
    ours, theirs = weights(work / "killed"), weights(work / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_processes_are_one_with_the_doubled_batch(work):
    """DDP on two gloo processes: the losses and weights of one process."""
    equal = "num_buckets: null, bucket_boundaries: [0.81]"
    equal += ", batch_ordering: ascending"
    flags = ["--segment_s=0.8", "--number_of_epochs=2"]
    one = start(
        work, "one", *flags, f"--batching={{max_batch_length: 3.3, {equal}}}"
    )
    finish(one)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    two = start(
        work,
        "two",
        *flags,
        f"--batching={{max_batch_length: 1.65, {equal}}}",
        "--distributed_backend=gloo",
        launch=[*launch, "--nproc_per_node=2"],
    )
    finish(two)
    logs = [(work / n / "train_log.txt").read_text() for n in ("one", "two")]
    values = [
        [float(word.strip(",")) for word in log.split() if "." in word]
        for log in logs
    ]
    assert len(values[0]) == 2 * 7
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    ours, theirs = weights(work / "one"), weights(work / "two")
    for name, weight in ours.items():
        torch.testing.assert_close(theirs[name], weight, rtol=1e-3, atol=1e-4)


def test_other_tokens_and_other_sizes_are_refused(work):
    """Of another tokenizer, and a resumed run of other dimensions."""
    wrong = start(work, "wrong", "--tokenizer_id=xcodec2-0123456789ab")
    output, _ = wrong.communicate(timeout=300)
    assert wrong.returncode and "wanted are those of xcodec2" in output
