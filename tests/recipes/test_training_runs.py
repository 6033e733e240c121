"""Whole runs: killed and resumed, on two processes, with bad input."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import forked
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
    recipe_data.write_model(folder / "model", mini=True)
    recipe_data.write_folders(folder / "folders")
    command = [RECIPE / "extract_tokens.py", RECIPE / "hparams/tokens.yaml"]
    forked.run([*command, *FLAGS[:4]], cwd=folder, check=True)
    return folder


def start(
    work: Path, output: str, *flags: str, launch=(), env=None, **token_lm
) -> forked.Program:
    """Start a training with one thread a process."""
    command = [*launch, RECIPE / "train.py"]
    command += [str(RECIPE / "hparams/finetune_mini.yaml"), *FLAGS]
    command += [
        *recipe_data.tiny_flags(True, **token_lm),
        f"--output_folder={output}",
        *flags,
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    return forked.Program(command, work, env)


def finish(process: forked.Program) -> None:
    """Wait for the end, which must be a good one."""
    assert process.wait() == 0, process.read()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """What the last checkpoint has learned."""
    return torch.load(recipe_data.last_checkpoint(folder) / "token_lm.ckpt")


def start_ranks(count: int, *given: str, **token_lm) -> list:
    """Start a training's processes, which can be killed one by one."""
    if count == 1:
        return [start(*given, **token_lm)]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    places = [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": port,
        }
        for rank in range(count)
    ]
    gloo = "--distributed_backend=gloo"
    return [start(*given, gloo, env=place, **token_lm) for place in places]


@pytest.mark.parametrize(
    "ranks, seconds", [(1, 2.5), pytest.param(2, 1.3, marks=pytest.mark.slow)]
)
def test_killed_and_resumed(work, ranks, seconds):
    """Same log and the same weights, bit by bit, as without the kill."""
    whole, broken = f"whole{ranks}", f"killed{ranks}"
    flags = [
        "--number_of_epochs=4",
        f"--batching={{max_batch_length: {seconds}}}",
        "--grad_accumulation_factor=2",
        "--ckpt_interval_minutes=0",
        "--ckpt_interval_steps=2",
    ]
    undisturbed = start_ranks(ranks, work, whole, *flags, dropout=0.1)
    killed = start_ranks(ranks, work, broken, *flags, dropout=0.1)
    log, until = work / broken / "train_log.txt", time.monotonic() + 250
    while time.monotonic() < until and killed[0].poll() is None:
        epochs = log.read_text().count("epoch") if log.is_file() else 0
        if epochs >= 2 and in_an_epoch(work / broken):
            send(signal.SIGSTOP, killed)  # or it is elsewhere when it dies
            time.sleep(0.1)
            if in_an_epoch(work / broken):
                break
            send(signal.SIGCONT, killed)
        time.sleep(0.01)
    send(signal.SIGKILL, killed)
    for process in killed:
        assert process.wait() == -signal.SIGKILL, process.read()
    assert log.read_text().count("epoch") < 4
    assert in_an_epoch(work / broken)
    for process in undisturbed:
        finish(process)
    for process in start_ranks(ranks, work, broken, *flags, dropout=0.1):
        finish(process)
    lines = log.read_text().splitlines()  # a line may be there again
    expected = (work / whole / "train_log.txt").read_text().splitlines()
    assert list(dict.fromkeys(lines)) == expected and len(expected) == 4
    ours, theirs = weights(work / broken), weights(work / whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def send(which: signal.Signals, processes: list) -> None:
    """Send a signal to each."""
    for process in processes:
        process.send_signal(which)


def in_an_epoch(folder: Path) -> bool:
    """Whether the last checkpoint was made in the middle of an epoch."""
    try:
        last = recipe_data.last_checkpoint(folder)
        return last is not None and "intra" in (last / "CKPT.yaml").read_text()
    except FileNotFoundError:  # deleted while it was read
        return False


@pytest.mark.slow
def test_two_processes_are_one_with_the_doubled_batch(work):
    """DDP on two gloo processes: the losses and weights of one process."""
    equal = "num_buckets: null, bucket_boundaries: [0.81]"
    equal += ", batch_ordering: ascending"
    flags = ["--segment_s=0.8", "--number_of_epochs=2"]
    one = start(
        work, "one", *flags, f"--batching={{max_batch_length: 3.3, {equal}}}"
    )
    finish(one)
    launch = ["-m", "torch.distributed.run", "--standalone"]
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
    assert wrong.wait()
    assert "wanted are those of xcodec2" in "".join(wrong.read())
