"""Enhancement: `EnhanceLLaSE`, its stages, windows, streams and guard.

May import lobes, metrics and dataio, and what these may import in turn.
"""


def __getattr__(name: str):
    """`EnhanceLLaSE` has always been importable from here."""
    if name == "EnhanceLLaSE":
        from speechbrain_llase.inference.enhancement import EnhanceLLaSE

        return EnhanceLLaSE
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
