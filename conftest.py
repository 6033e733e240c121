"""Doctests are collected from the package: leave out what cannot be imported."""

from importlib.util import find_spec

# These import Gradio at their head (extra `demo`).
collect_ignore = []
if find_spec("gradio") is None:
    collect_ignore += [
        f"speechbrain_llase/demo/{name}.py" for name in ("layout", "events")
    ]
