"""The messages on the page of symptoms are those that the code gives.

A message of another project has a comment above it, <!-- of torch -->.
"""

import ast
import re

import pytest
from doc_blocks import ROOT

PAGE = ROOT / "docs" / "guides" / "troubleshooting.md"
TEXT = PAGE.read_text("utf-8")
SHOWN = re.findall(
    r"^(?:<!-- of (?P<whose>[^>\n]+) -->\n)?```text\n(.*?)\n```$",
    TEXT,
    re.MULTILINE | re.DOTALL,
)
OURS = [message for whose, message in SHOWN if not whose]
LEAST = 15  # letters of a message that are not filled in


def patterns():
    """What every string in the package looks like when it is filled in."""
    for path in sorted((ROOT / "speechbrain_llase").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = node.values
            elif isinstance(node, ast.Constant):
                parts = [node]
            else:
                continue
            said = [p.value for p in parts if isinstance(p, ast.Constant)]
            if all(isinstance(x, str) for x in said):
                if len("".join(said)) >= LEAST:
                    filled = "".join(map(pattern, parts))
                    yield filled.removesuffix("\\ ")


def pattern(part):
    """A regular expression for a part of a string."""
    if isinstance(part, ast.Constant):
        parts = re.split(r"%s|%d|%\.2f", part.value)
        return ".+".join(map(re.escape, parts))
    return ".+"


PATTERNS = [re.compile(filled, re.DOTALL) for filled in patterns()]


def test_there_are_symptoms():
    assert len(OURS) >= 25
    assert len(re.findall(r"^### ", TEXT, re.MULTILINE)) >= 35


@pytest.mark.parametrize("message", OURS, ids=lambda message: message[:40])
def test_message_is_ours(message):
    """Some string of the package says it, from its beginning to its end."""
    found = [p for p in PATTERNS if p.search(message)]
    assert found, "nothing in the package says so"
    longest = max(len(match[0]) for p in found for match in [p.search(message)])
    assert longest >= 0.6 * len(message), "only a part of it is said"


def test_an_invented_message_is_found():
    with pytest.raises(AssertionError):
        test_message_is_ours("The kettle has 3 cups; fill it to 5 of them.")
