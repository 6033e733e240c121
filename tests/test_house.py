"""The house: who may import whom, and one meaning for every name.

The rule is read from the source, so imports inside functions count, too.
"""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "speechbrain_llase"
MAY_IMPORT = {  # and what these may import in turn
    "cli": "demo export bulk training pretrained evaluation".split(),
    "demo": ["evaluation", "inference"],
    "export": ["inference"],
    "bulk": ["inference", "dataio"],
    "training": ["augment", "pretrained", "inference", "metrics"],
    "pretrained": ["inference", "lobes"],
    "evaluation": ["metrics", "dataio"],
    "inference": ["lobes", "metrics", "dataio"],
    "augment": ["dataio"],
    "lobes": ["nnet", "processing"],
    "dataio": ["processing"],
    "metrics": ["processing"],
    "nnet": [],
    "processing": [],
}
EXCEPTIONS = set()  # three at most: (file, package)
PUBLIC = {"EnhanceLLaSE": "inference", "LLaSEG1": "inference"}
PUBLIC |= {"__version__": None, "moved": None, "late_imports": None}
INTERFACES = {  # names that several modules define on purpose
    "__all__",
    "__getattr__",
    "logger",
    # of a sub-command
    "EPILOG",
    "HELP",
    "add_parser",
    "run",
    # of the layers of a transformer and their forward pass
    "after_attention",
    "before_attention",
    "build_layer",
    "run_layer",
}


def sources():
    """Every file of the package with its syntax tree."""
    for file in sorted(ROOT.rglob("*.py")):
        yield file.relative_to(ROOT), ast.parse(file.read_text("utf-8"))


def imported(tree):
    """The packages of ours that a file imports."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, _, rest = name.partition(".")
            if root == ROOT.name and rest:
                first = rest.partition(".")[0]
                yield PUBLIC.get(first, first)


def arrows():
    """(file, its package, a package that it imports), itself left out."""
    for path, tree in sources():
        own = path.parts[0]
        for other in set(imported(tree)) - {own, None}:
            if len(path.parts) > 1:
                yield path.as_posix(), own, other


def reachable(package):
    """What a package may import, directly or in turn."""
    found, waiting = set(), [package]
    while waiting:
        more = set(MAY_IMPORT[waiting.pop()]) - found
        found |= more
        waiting += more
    return found


def defined(tree):
    """The names that a module defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = getattr(node, "targets", [getattr(node, "target", None)])
            yield from (t.id for t in targets if isinstance(t, ast.Name))


def known(tree):
    """The names that a module defines or imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)


def missing_names(tree):
    """What a file imports from modules of ours that do not have it."""
    for node in ast.walk(tree):
        module = (getattr(node, "module", None) or "").split(".")
        if not isinstance(node, ast.ImportFrom) or module[0] != ROOT.name:
            continue
        folder = ROOT.joinpath(*module[1:])
        file = folder / "__init__.py" if folder.is_dir() else f"{folder}.py"
        found = {"EnhanceLLaSE", "LLaSEG1"} | {x.stem for x in folder.glob("*")}
        if Path(file).is_file():
            found |= set(known(ast.parse(Path(file).read_text("utf-8"))))
        yield from {alias.name for alias in node.names} - found


def shared_names():
    """Names that several modules define, and where; no interfaces."""
    homes = {}
    for path, tree in sources():
        for name in set(defined(tree)) - INTERFACES:
            homes.setdefault(name, []).append(path.as_posix())
    return {name: at for name, at in sorted(homes.items()) if len(at) > 1}


def test_packages_are_those_of_the_table():
    """A new package needs a row, a removed one none."""
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == MAY_IMPORT.keys()


def test_imports_follow_the_table():
    """Nobody imports what the table does not allow."""
    wrong = {
        (file, other)
        for file, own, other in arrows()
        if other not in reachable(own)
    }
    assert not wrong - EXCEPTIONS


def test_no_circles():
    """No package imports one that imports it, over any way."""
    excepted = {(file.partition("/")[0], to) for file, to in EXCEPTIONS}
    found = {(own, other) for _, own, other in arrows()} - excepted
    assert found
    left = set(MAY_IMPORT)
    while left:
        free = {p for p in left if not any((p, q) in found for q in left)}
        assert free, f"a circle among {sorted(left)}"
        left -= free


@pytest.mark.parametrize("folder", ["recipes", "benchmarks", "examples"])
def test_scripts_import_what_is_there(folder):
    """A renamed function is missed here, not by the next long training."""
    files = list((ROOT.parent / folder).rglob("*.py"))
    trees = {file: ast.parse(file.read_text("utf-8")) for file in files}
    missing = {file: set(missing_names(tree)) for file, tree in trees.items()}
    assert files and not {file: x for file, x in missing.items() if x}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_docstrings_tell_the_rule(package):
    """The first lines say what is inside and what it may import."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text("utf-8"))
    text = ast.get_docstring(tree)
    assert text and text[0].isupper()
    said = re.search(r"^May import ([^.]*)\.", text, re.MULTILINE)[1]
    named = set(re.findall(r"\w+", said)) & MAY_IMPORT.keys()
    if package == "cli":
        assert said == "all other packages"
    else:
        assert named == set(MAY_IMPORT[package])
        assert ("none of the other packages" in said) == (not named)


@pytest.fixture(scope="module")
def architecture():
    """The program behind docs/architecture.svg."""
    file = ROOT.with_name("docs") / "architecture.py"
    spec = importlib.util.spec_from_file_location("architecture", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_is_of_these_imports(architecture):
    """`python docs/architecture.py --draw` draws it again."""
    found = {(own, other) for _, own, other in arrows()}
    assert architecture.arrows() == found
    picture = (ROOT.with_name("docs") / "architecture.svg").read_text("utf-8")
    assert picture == architecture.draw(found)
    assert "arrows between packages" in architecture.counts()


def test_page_names_what_is_there():
    """Every package has its row, and every file that is named exists."""
    page = (ROOT.with_name("docs") / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert set(rows) == MAY_IMPORT.keys()
    files = re.findall(r"`((?:speechbrain_llase/)?\w+/\w+\.py)`", page)
    assert len(files) > 20
    for file in files:
        where = [ROOT / file, ROOT.parent / file]
        assert any(path.is_file() for path in where), file


def test_names_have_one_meaning():
    """No two modules define the same name."""
    assert not shared_names()


if __name__ == "__main__":
    for name, homes in shared_names().items():
        print(name, *homes)
