"""Extraction in processes of its own: killed, shared, with changed files."""

import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import recipe_data

from speechbrain_llase.dataio.audio_checks import check_entries
from speechbrain_llase.dataio.manifests import list_folder
from speechbrain_llase.training.items import FileReader
from speechbrain_llase.training.token_cache import SHARD_FILES, TokenCache
from speechbrain_llase.training.token_extraction import (
    SpeechTokenizer,
    extract_tokens,
)

CLIPS = 40
RECIPE = Path(__file__).parents[2] / "recipes/Folders/enhance/llase"


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Speech, a tiny model, and `whole`: tokens of an undisturbed run."""
    folder = tmp_path_factory.mktemp("extraction")
    recipe_data.write_model(folder / "model")
    recipe_data.write_folders(folder / "folders", CLIPS)
    assert run(folder, "whole").made == CLIPS
    return folder


def run(work: Path, output: str, shard: tuple[int, int] = (0, 1)):
    """Tokenise the clean speech of the training."""
    torch.set_num_threads(1)
    speech = list_folder(work / "folders/clean/train")
    return extract_tokens(
        check_entries(speech, recipe_data.RATE, 0.0),
        FileReader(recipe_data.RATE, False),
        SpeechTokenizer(str(work / "model"), "cpu"),
        work / output,
        shard=shard,
        flush_every=2,
        progressbar=False,
    )


def tokens_of(work: Path, output: str) -> dict[str, list[int]]:
    """All tokens of a cache, by the name of their file."""
    cache = TokenCache(work / output)
    assert len(cache) == CLIPS
    return {
        file.name: cache.find(
            file.read_bytes(), len(recipe_data.read(file))
        ).tolist()
        for file in (work / "folders/clean/train").iterdir()
    }


def test_killed_at_random_points(work):
    """Kills cost what was not flushed; the tokens are those of `whole`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["speechbrain_llase.training.token_extraction"]
    )
    chance, kills, flushed = random.Random(0), 0, 0
    folder = work / "killed"
    while True:
        process = context.Process(target=run, args=(work, "killed"))
        process.start()
        wanted = flushed + chance.randint(1, 4)
        while process.is_alive() and flushed < wanted:
            flushed = len(list(folder.glob(SHARD_FILES)))
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        flushed = len(list(folder.glob(SHARD_FILES)))
        assert len(TokenCache(folder)) == 2 * flushed  # all can be read
    assert kills >= 2  # how many fit in depends on the disk
    assert tokens_of(work, "killed") == tokens_of(work, "whole")
    again = run(work, "killed")
    assert (again.made, again.known) == (0, CLIPS)


@pytest.mark.slow
def test_two_processes_of_torchrun(work):
    """Every recording is made once, by one of them."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launch, "--nproc_per_node=2", str(RECIPE / "extract_tokens.py")]
    command += [str(RECIPE / "hparams/tokens.yaml"), "--base=model"]
    command += ["--data_folder=folders", "--tokens_folder=shared_out"]
    command += ["--device=cpu", "--noprogressbar"]
    done = subprocess.run(
        command,
        cwd=work,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    # Both write to one pipe: their lines may stand behind one another.
    made = map(int, re.findall(r"Tokens of [^:]*: (\d+)", done.stdout))
    assert sorted(made) == [CLIPS // 2 + 1] * 2  # two more validate
    cache, whole = TokenCache(work / "shared_out"), tokens_of(work, "whole")
    for file in (work / "folders/clean/train").iterdir():
        found = cache.find(file.read_bytes(), len(recipe_data.read(file)))
        assert found.tolist() == whole[file.name]


def test_changed_speech_is_tokenised_anew(work):
    """A file that is edited gets tokens of its own; a moved one keeps them."""
    rng = np.random.default_rng(3)
    clean = work / "folders/clean/train"
    kept, edited = (clean / f"{k}.wav" for k in (0, 1))
    contents = [file.read_bytes() for file in (kept, edited)]
    run(work, "changed")
    try:
        recipe_data.write(edited, recipe_data.speech(rng, 0.8))
        kept.rename(clean / "moved.wav")
        again = run(work, "changed")
        assert (again.made, again.known) == (1, CLIPS - 1)
        cache = TokenCache(work / "changed")
        ours = cache.find(edited.read_bytes(), len(recipe_data.read(edited)))
        tokenizer = SpeechTokenizer(str(work / "model"), "cpu")
        assert torch.equal(ours, tokenizer(recipe_data.read(edited)))
    finally:
        (clean / "moved.wav").unlink(missing_ok=True)
        for file, content in zip((kept, edited), contents, strict=True):
            file.write_bytes(content)
