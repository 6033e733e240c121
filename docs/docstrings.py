"""SpeechBrain's docstring headings, in the words that griffe knows.

SpeechBrain writes `Arguments` and `Example` where NumPy writes `Parameters`
and `Examples`; the rest is NumPy's form.
"""

import re

import griffe

HEADINGS = {"Arguments": "Parameters", "Example": "Examples"}
HEADING = re.compile(
    rf"^(?P<indent> *)(?P<name>{'|'.join(HEADINGS)})\n(?P=indent)-{{3,}}$",
    re.MULTILINE,
)


class SpeechBrainHeadings(griffe.Extension):
    """Rewrite every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = rewrite(obj.docstring.value)


def rewrite(docstring: str) -> str:
    """Rename headings.

    Arguments
    ---------
    docstring : str
        In SpeechBrain's form.

    Returns
    -------
    docstring : str
        In NumPy's form.

    Example
    -------
    >>> print(rewrite("Add.\\n\\nArguments\\n---------\\nx : int"))
    Add.
    <BLANKLINE>
    Parameters
    ----------
    x : int
    """

    def rename(match: re.Match) -> str:
        name, indent = HEADINGS[match["name"]], match["indent"]
        return f"{indent}{name}\n{indent}{'-' * len(name)}"

    return HEADING.sub(rename, docstring)
