"""Measures of enhanced speech: opinions, words, voices and signals.

Each class wraps a public package that is imported when the class is built.
All take waves at 16 kHz, check them and never rescale or clip them. With
`SpeechStats` every one of them is a SpeechBrain `MetricStats`.

May import processing alone.
"""

from speechbrain_llase.metrics.checks import check_rate, check_sha256
from speechbrain_llase.metrics.dnsmos import DNSMOS, DNSMOS_SHA256
from speechbrain_llase.metrics.intrusive import ESTOI, PESQ, SISDR
from speechbrain_llase.metrics.level import check_level
from speechbrain_llase.metrics.recognisers import (
    OFFLINE_ASR,
    CachedReader,
    PocketsphinxReader,
    SpeechBrainReader,
    load_reader,
)
from speechbrain_llase.metrics.speaker_similarity import (
    OFFLINE_SPEAKER,
    HubSpeakerSimilarity,
    SpeakerSimilarity,
    load_speaker,
)
from speechbrain_llase.metrics.tasks import AECMOS, PLCMOS, erle
from speechbrain_llase.metrics.whisper import WHISPER_ASR, WhisperReader
from speechbrain_llase.metrics.word_edits import (
    WordDifference,
    WordEdits,
    normalise_words,
)
from speechbrain_llase.processing.framing import SAMPLE_RATE

__all__ = [
    "AECMOS",
    "DNSMOS",
    "DNSMOS_SHA256",
    "ESTOI",
    "OFFLINE_ASR",
    "OFFLINE_SPEAKER",
    "PESQ",
    "PLCMOS",
    "SAMPLE_RATE",
    "SISDR",
    "CachedReader",
    "HubSpeakerSimilarity",
    "PocketsphinxReader",
    "SpeakerSimilarity",
    "SpeechBrainReader",
    "SpeechStats",
    "WHISPER_ASR",
    "WhisperReader",
    "WordDifference",
    "WordEdits",
    "check_level",
    "check_rate",
    "check_sha256",
    "erle",
    "load_reader",
    "load_speaker",
    "normalise_words",
]


def __getattr__(name: str):
    """Import `SpeechStats` when it is first used: it takes joblib along."""
    if name == "SpeechStats":
        from speechbrain_llase.metrics.metric_stats import SpeechStats

        return SpeechStats
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
