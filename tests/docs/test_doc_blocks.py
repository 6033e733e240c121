"""Every code block of README and docs does what it says.

Python runs; of bash, `speechbrain-llase` runs and everything else is looked up
(programs, YAMLs, options, targets, extras); YAML and JSON are read. The blocks
of a page run in one folder that holds noisy.wav, a few recordings, users.txt
and, as models/llase, a tiny model in the official formats, in order. A page
that is served is ended when it stands. A word in capitals (DATA) stands for
something of the reader's. What a block needs beyond that stands above it, see
doc_blocks.py.
"""

import csv
import json
import os
import re
import shutil
import signal
import time
import tomllib
from importlib.util import find_spec
from pathlib import Path

import forked
import pytest
import soundfile
from doc_blocks import NEEDS, ROOT, Block, pages, read_blocks
from ruamel.yaml import YAML
from shell_lines import Shell, check, options_of, split, strip

BLOCKS = [block for path in pages() for block in read_blocks(path)]
RUN_IN = ("README.md", "docs/")  # elsewhere data sets are meant
LEFT_OUT = {
    "benchmark-dns": "needs the test set",
    "download": "needs the hub",
    "export": "takes two minutes; tests/export does it",
    "live": "needs a sound card",
}
STANDS_FOR = re.compile(r"(?<![\w.])[A-Z]{3,}(?!\w)")  # DATA, MODEL
COMMAND = re.compile(r"^(\$ |(speechbrain-llase|python|pip|make) [a-z-])", re.M)


def chosen(*languages):
    """The blocks of some languages, as parameters."""
    return [
        pytest.param(block, id=str(block))
        for block in BLOCKS
        if block.language in languages
    ]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_folder):
    """A folder a page, made when it is asked for."""
    made = {}

    def get(page):
        if page not in made:
            made[page] = tmp_path_factory.mktemp("page")
            fill(made[page])
            shutil.copytree(tiny_folder, made[page] / "models" / "llase")
        return made[page]

    return get


@pytest.fixture(scope="module")
def names():
    """What the Python of a page has defined so far."""
    return {}


def fill(folder):
    """Write noisy.wav, recordings/, noisy/ and users.txt."""
    wav, sample_rate = soundfile.read(ROOT / "examples" / "noisy.wav")
    soundfile.write(folder / "noisy.wav", wav, sample_rate)
    for name in ("recordings/day1/a.flac", "recordings/b.wav", "noisy/a.wav"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wav[12000:28000], sample_rate)
    (folder / "users.txt").write_text("ada:a password\n")
    (folder / "users.txt").chmod(0o600)


def test_every_kind_of_block_is_there():
    """A page that is not found would make the tests below empty."""
    assert len(BLOCKS) > 40
    languages = {block.language for block in BLOCKS}
    assert {"python", "bash", "json", "yaml"} <= languages
    seen = {block.page.partition("/")[0] for block in BLOCKS}
    assert {"README.md", "docs", "benchmarks", "recipes"} <= seen


@pytest.mark.parametrize("block", [pytest.param(b, id=str(b)) for b in BLOCKS])
def test_block_has_a_kind(block):
    assert block.needs in (None, *NEEDS), f"needs what? {block.needs}"
    if block.language in ("", "text"):
        hidden = COMMAND.search(block.code)
        assert not hidden, f"{block} is bash: {hidden and hidden[0]}"
        return
    known = "bash bibtex csv json jsonl nginx python toml yaml".split()
    assert block.language in known, f"{block}: {block.language!r}"


@pytest.mark.parametrize("block", chosen("python", "bash"))
def test_code_runs(block, folders, names, monkeypatch):
    """In the order of the page: a block uses what those before it made."""
    runs = not block.needs and block.page.startswith(RUN_IN)
    if block.language == "python":
        compiled = compile(block.code, str(block), "exec")
    else:
        commands = check_lines(block)
    if not runs:
        return
    monkeypatch.chdir(folders(block.page))
    if block.language == "bash":
        run_lines(commands, block)
    elif block.page == "README.md":  # each of its blocks stands alone
        exec(compiled, {})
    else:
        exec(compiled, names.setdefault(block.page, {}))


def check_lines(block: Block) -> list[list[str]]:
    """Check the commands of a block without running them."""
    shell = Shell(folder_before(block))
    commands = []
    for words in split(block.code):
        words = strip(words, shell)
        if words:
            check(words, shell)
            commands.append(words)
    assert commands, f"{block} has no command"
    return commands


def run_lines(commands: list[list[str]], block: Block) -> None:
    """Run our own commands, up to the first that cannot run here."""
    for words in commands:
        if words[0] == "speechbrain-llase" and not run(words, block):
            return


def folder_before(block: Block) -> Path:
    """Where the reader stands: in the last folder that the page names so."""
    lines = block.path.read_text("utf-8").splitlines()[: block.line]
    named = re.findall(r"(?:^cd |In `)(recipes/[\w/]+)", "\n".join(lines), re.M)
    return ROOT / named[-1] if named else block.path.parent


def run(words: list[str], block: Block) -> bool:
    """Run a command of ours; False where that cannot be done here."""
    from speechbrain_llase.cli.parser import main

    if words[1] in LEFT_OUT or any(map(STANDS_FOR.search, words)):
        return False
    if words[1] == "demo":
        serve(words[2:], block)
        return True
    if words[-1] not in ("--help", "--version"):  # these are parsed by now
        assert main(words[1:]) == 0, f"{block}: {' '.join(words)}"
    return True


def serve(arguments: list[str], block: Block) -> None:
    """Start a page at a free port, and end it as soon as it stands."""
    if find_spec("gradio") is None:
        return
    page = forked.Program(
        ["-m", "speechbrain_llase.cli", "demo", *arguments, "--port", "0"],
        env=os.environ | {"BROWSER": "true"},  # the program, which does nothing
    )
    while page.poll() is None and "\n" not in page.read()[0]:
        time.sleep(0.05)
    page.send_signal(signal.SIGTERM)
    ended = page.wait(60)
    said, errors = page.read()
    assert said.startswith("The page is at http"), f"{block}: {errors}"
    assert ended == 0, f"{block}: {errors}"


@pytest.mark.parametrize("block", chosen("yaml"))
def test_yaml_is_read(block):
    assert YAML(typ="rt").load(block.code) is not None


@pytest.mark.parametrize("block", chosen("json", "jsonl"))
def test_json_is_read(block):
    lines = [block.code]
    if block.language == "jsonl":
        lines = block.code.splitlines()
    for line in lines:
        json.loads(line)


@pytest.mark.parametrize("block", chosen("csv", "toml", "bibtex", "nginx"))
def test_other_formats_are_read(block):
    if block.language == "csv":
        rows = list(csv.reader(block.code.splitlines()))
        assert len({len(row) for row in rows}) == 1
    elif block.language == "toml":
        assert tomllib.loads(block.code)
    else:
        assert block.code.startswith("@") or block.language == "nginx"
        assert block.code.count("{") == block.code.count("}")


@pytest.mark.parametrize(
    "code, reason",
    [
        ("speechbrain-llase enhance a.wav --outptu x", "refuses"),
        ("speechbrain-llase polish a.wav", "refuses"),
        ("make coffee", "no target coffee"),
        ("make demo MILK=1", "no MILK"),
        ('pip install ".[coffee]"', "no extra"),
        ("brew coffee", "not a command"),
        ("python coffee.py", "there is no coffee.py"),
        ("python benchmarks/speed.py --coffee", "has no --coffee"),
        ("cd coffee", "there is no coffee"),
    ],
)
def test_wrong_commands_are_found(code, reason, capsys):
    (words,) = split(code)
    with pytest.raises(AssertionError, match=reason):
        check(words, Shell(ROOT))


def test_wrong_overrides_are_found():
    folder = ROOT / "recipes" / "Folders" / "enhance" / "llase"
    right = "python train.py hparams/finetune_mini.yaml --data_folder=D --lr=1"
    check(right.split(), Shell(folder))
    for wrong in ("--coffee=1", "--fine_tuned={coffee: 1}"):
        with pytest.raises(AssertionError, match="has no coffee"):
            check([*right.split(), wrong], Shell(folder))


def test_lines_are_split():
    shell = Shell(ROOT)
    code = """\
    A=noisy.wav  # a comment
    for i in 0 1; do X=1 python a.py "$A b" --part $i/2 \\
        > log.txt 2>&1 & done; wait
    unshare -n speechbrain-llase doctor && ls | cat
    """
    words = [strip(words, shell) for words in split(code.replace("| cat", ""))]
    assert [w for w in words if w] == [
        ["python", "a.py", "noisy.wav b", "--part", "0/2"],
        ["speechbrain-llase", "doctor"],
        ["ls"],
    ]
    assert "--audio" in options_of(ROOT / "benchmarks" / "windows.py")
