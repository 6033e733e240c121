"""Commands of bash blocks: split, and checked without being run."""

import ast
import importlib.util
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import speechbrain
from doc_blocks import ROOT
from hyperpyyaml import resolve_references
from packaging.requirements import Requirement
from ruamel.yaml import YAML

# Programs that are others' own; their options are not checked.
OTHERS = {
    ".",
    "chmod",
    "cp",
    "docker",
    "export",
    "ffmpeg",
    "git",
    "ls",
    "mkdir",
    "ray",
    "touch",
    "ulimit",
}
OURS = "speechbrain_llase"
KEYWORDS = {"do", "done", "then", "else", "fi", "for", "if", "while", "wait"}
COMMENT = re.compile(r"(^|[ \t])#.*$", re.MULTILINE)
REDIRECTION = re.compile(r"\s\d?[<>]{1,2} *(&\d|[^\s;&|]+)")
VARIABLE = re.compile(r"\$\{?(\w+)\}?")
ASSIGNMENT = re.compile(r"(\w+)=(.*)", re.DOTALL)


@dataclass
class Shell:
    """What earlier lines of a block did."""

    folder: Path  # where the reader stands, in the repository
    variables: dict[str, str] = field(default_factory=dict)


def split(code: str) -> list[list[str]]:
    """Split a block into commands, without comments and redirections."""
    subprocess.run(["bash", "-n"], input=code, text=True, check=True)
    code = code.replace("\\\n", " ")
    code = REDIRECTION.sub(" ", COMMENT.sub("", code))
    lexer = shlex.shlex(code, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.commenters = " \t", ""
    lexer.whitespace_split = True
    commands = [[]]
    for token in lexer:
        if re.fullmatch(r"[;&|\n]+", token):
            commands.append([])
        else:
            commands[-1].append(token)
    return [words for words in commands if words]


def strip(words: list[str], shell: Shell) -> list[str]:
    """Note assignments and loops; return the command that is left."""
    words = [
        VARIABLE.sub(lambda m: shell.variables.get(m[1], "1"), w) for w in words
    ]
    while words:
        first = words[0]
        assigned = ASSIGNMENT.fullmatch(first)
        if assigned:
            shell.variables[assigned[1]] = assigned[2]
        elif first == "for":
            shell.variables[words[1]] = words[3]
            return []
        elif first == "unshare":
            words = words[1:]  # and its option, below
        elif first not in KEYWORDS:
            return words
        words = words[1:]
    return words


def check(words: list[str], shell: Shell) -> None:
    """Check one command against the files of the repository."""
    program, *arguments = words
    if program == "speechbrain-llase":
        check_command(arguments)
    elif program in ("pip", "pip3"):
        check_pip(arguments, shell.folder)
    elif program == "make":
        check_make(arguments)
    elif program == "cd":
        shell.folder = find(arguments[0], [shell.folder, ROOT])
    elif program == "torchrun":
        while arguments[0].startswith("-"):
            arguments = arguments[1:]
        check_python(arguments, shell.folder)
    elif program in ("python", "python3"):
        check_python(arguments, shell.folder)
    else:
        assert program in OTHERS, f"{program} is not a command of the docs"


def check_command(arguments: list[str]) -> None:
    """Parse as the command line does; a wrong option exits."""
    from speechbrain_llase.cli.parser import build_parser

    try:
        build_parser().parse_args(arguments)
    except SystemExit as err:
        assert err.code == 0, f"speechbrain-llase refuses {arguments}"


def check_pip(arguments: list[str], folder: Path) -> None:
    """Look extras up in setup.py, and files of constraints."""
    assert arguments[0] in ("install", "uninstall"), arguments
    known = set(re.findall(r'^        "(\w+)": \[', setup_text(), re.MULTILINE))
    assert {"demo", "train"} <= known
    rest = iter(arguments[1:])
    for word in rest:
        if word in ("-c", "-r"):
            find(next(rest), [folder, ROOT])
        elif not word.startswith("-"):
            if word.startswith("."):
                word = "speechbrain_llase" + word.lstrip("./")
            name = Requirement(
                re.sub(r"^(\S+\.whl)$", "speechbrain_llase", word)
            )
            if name.name == OURS:
                assert name.extras <= known, f"no extra {name.extras - known}"


def setup_text() -> str:
    """Text of setup.py."""
    return (ROOT / "setup.py").read_text("utf-8")


def check_make(arguments: list[str]) -> None:
    """Look targets and variables up in the Makefile."""
    text = (ROOT / "Makefile").read_text("utf-8")
    for word in arguments:
        name = word.partition("=")[0]
        if "=" in word:
            used = name == "ARGS" or re.search(rf"^{name} *\?=", text, re.M)
            assert used, f"the Makefile has no {name}"
        elif not word.startswith("-"):
            assert re.search(rf"^{name}:", text, re.M), f"no target {name}"


def check_python(arguments: list[str], folder: Path) -> None:
    """Look a program, its YAML and its options up."""
    if arguments[0] == "-c":
        compile(arguments[1], "-c", "exec")
        return
    if arguments[0] == "-m":
        assert importlib.util.find_spec(arguments[1]), arguments
        return
    program = find(arguments[0], [folder, ROOT])
    arguments = [word for word in arguments[1:] if word != "..."]
    known = options_of(program)
    if not known and arguments and arguments[0].endswith(".yaml"):
        if re.match(r"[A-Z]{3,}/", arguments[0]):
            return  # in a folder of the reader's
        check_recipe(program.parent / arguments[0], arguments[1:])
        return
    for word in arguments:
        if word.startswith("--"):
            name = word.partition("=")[0]
            assert name in known, f"{program} has no {name}"


def check_recipe(path: Path, arguments: list[str]) -> None:
    """Apply a recipe's overrides to its YAML, without building anything."""
    assert path.is_file(), f"there is no {path}"
    _, _, overrides = speechbrain.parse_arguments([str(path), *arguments])
    known = YAML(typ="rt").load(path)
    given = YAML(typ="rt").load(overrides) or {}
    compare(known, given, path)
    with path.open(encoding="utf-8") as stream:
        resolve_references(stream, overrides, overrides_must_match=True)


def compare(known: dict, given: dict, path: Path) -> None:
    """Refuse keys that are not known, at any depth."""
    for key, value in given.items():
        assert key in known, f"{path} has no {key}"
        if isinstance(value, dict):
            compare(known[key], value, path)


def find(name: str, folders: list[Path]) -> Path:
    """Find a file or folder in the first folder that has it."""
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise AssertionError(f"there is no {name}")


def options_of(program: Path) -> set[str]:
    """Options that a program, or one beside it that it imports, defines."""
    options = set()
    for node in ast.walk(ast.parse(program.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                beside = program.with_name(f"{name}.py")
                if beside.is_file():
                    options |= options_of(beside)
        elif isinstance(node, ast.Call):
            given = [x for x in node.args[:1] if isinstance(x, ast.Constant)]
            options |= {x.value for x in given if str(x.value)[:2] == "--"}
    return options
