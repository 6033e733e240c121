"""What the package is made of, read from its imports: counts and a picture.

> python docs/architecture.py                # lines, functions, arrows
> python docs/architecture.py --draw         # docs/architecture.svg, too
"""

import argparse
import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.with_name("speechbrain_llase")
ELSEWHERE = {"EnhanceLLaSE": "inference"}  # where a public name really lives
WIDTH, ROW, BOX = 780, 92, (112, 38)  # of the picture, in pixels


def sources() -> Iterator[tuple[Path, ast.Module]]:
    """Every file of the package, by its path inside it, with its syntax."""
    for file in sorted(PACKAGE.rglob("*.py")):
        yield file.relative_to(PACKAGE), ast.parse(file.read_text("utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """What a file imports of the package, lazily or not, once a name."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            root, _, rest = name.partition(".")
            if root == PACKAGE.name and rest:
                first = rest.split(".")[0]
                yield ELSEWHERE.get(first, first)


def arrows() -> set[tuple[str, str]]:
    """(importer, imported) for every two different parts of the package."""
    parts = {path.parts[0].removesuffix(".py") for path, _ in sources()}
    parts -= {"moved", "late_imports"}  # what Python is told at first
    return {
        (own, other)
        for path, tree in sources()
        for own in [path.parts[0].removesuffix(".py")]
        for other in imported(tree)
        if own not in ("__init__", other) and other in parts
    }


def rows_of(found: set[tuple[str, str]]) -> dict[str, int]:
    """The row of each package: 0 imports none, others stand on theirs."""
    rows = {}
    names = {name for arrow in found for name in arrow}
    while len(rows) < len(names):
        for name in sorted(names - rows.keys()):
            below = {other for own, other in found if own == name}
            if below <= rows.keys():
                rows[name] = 1 + max((rows[b] for b in below), default=-1)
                break
        else:
            raise ValueError(f"A circle among {sorted(names - rows.keys())}.")
    return rows


def direct(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that no chain of others says already."""
    reach = {own: {b for a, b in found if a == own} for own, _ in found}
    for own in sorted(reach, key=rows_of(found).get):
        reach[own] |= {c for b in reach[own] for c in reach.get(b, ())}
    return {
        (own, other)
        for own, other in found
        if not any(other in reach.get(b, ()) for a, b in found if a == own != b)
    }


def draw(found: set[tuple[str, str]]) -> str:
    """An SVG: packages in rows, each on what it imports."""
    rows = rows_of(found)
    height = ROW * (max(rows.values()) + 1)
    places = {}
    for row in sorted(set(rows.values())):
        below = {
            name: [places[b][0] for a, b in direct(found) if a == name]
            for name in rows
            if rows[name] == row
        }
        names = sorted(below, key=lambda n: (np.mean(below[n] or 0), n))
        for k, name in enumerate(names):
            x = WIDTH * (k + 0.5) / len(names)
            places[name] = x, height - ROW * (row + 0.5)
    lines = [
        f'<line x1="{places[a][0]:.0f}" y1="{places[a][1] + BOX[1] / 2:.0f}" '
        f'x2="{places[b][0]:.0f}" y2="{places[b][1] - BOX[1] / 2 - 4:.0f}" '
        'stroke="#8a8fb5" marker-end="url(#head)"/>'
        for a, b in sorted(direct(found))
    ]
    boxes = [
        f'<rect x="{x - BOX[0] / 2:.0f}" y="{y - BOX[1] / 2:.0f}" rx="6" '
        f'width="{BOX[0]}" height="{BOX[1]}" fill="#eef0fb" '
        f'stroke="#3f51b5"/><text x="{x:.0f}" y="{y + 5:.0f}" '
        f'text-anchor="middle">{name}</text>'
        for name, (x, y) in sorted(places.items())
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} '
            f'{height}" font-family="sans-serif" font-size="15">',
            "<title>Packages of speechbrain_llase, each above those that it "
            "imports</title>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" '
            'markerWidth="7" markerHeight="7" orient="auto"><path '
            'd="M0 0L8 4L0 8z" fill="#8a8fb5"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *lines,
            *boxes,
            "</svg>\n",
        ]
    )


def counts() -> str:
    """How large the package is, in one paragraph."""
    lines, functions = {}, {}
    for path, tree in sources():
        lines[path] = len((PACKAGE / path).read_text("utf-8").splitlines())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                long = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    text = node.body[0]
                    long -= text.end_lineno - text.lineno + 1
                functions[f"{path}:{node.lineno} {node.name}"] = long
    file = max(lines, key=lines.get)
    function = max(functions, key=functions.get)
    return (
        f"{sum(lines.values())} lines in {len(lines)} files, the longest "
        f"{file} ({lines[file]}); {len(functions)} functions, the longest "
        f"{function} ({functions[function]} without its docstring); "
        f"{len(arrows())} arrows between packages"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="write the picture")
    if parser.parse_args().draw:
        DOCS.joinpath("architecture.svg").write_text(draw(arrows()), "utf-8")
    print(counts())
