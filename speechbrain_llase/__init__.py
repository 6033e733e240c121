"""LLaSE, a generative speech enhancer, as a SpeechBrain plugin.

Importing this package is light: torch, speechbrain and transformers are
imported when `EnhanceLLaSE` is first asked for.
"""

__version__ = "0.1.0"
__all__ = ["EnhanceLLaSE"]


def __getattr__(name: str):
    """Import the public class when it is first used."""
    if name == "EnhanceLLaSE":
        from speechbrain_llase.inference import EnhanceLLaSE

        return EnhanceLLaSE
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
