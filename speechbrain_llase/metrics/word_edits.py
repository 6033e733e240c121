"""Word edits between two readings of a recogniser, or reading and text."""

import dataclasses
import unicodedata

from speechbrain.utils.edit_distance import accumulatable_wer_stats

from speechbrain_llase.metrics.checks import Wave
from speechbrain_llase.metrics.recognisers import PocketsphinxReader, Reader
from speechbrain_llase.processing.framing import SAMPLE_RATE

APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}"
JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # inside words


@dataclasses.dataclass(frozen=True)
class WordEdits:
    """Differences between two readings; add them up over clips."""

    edits: int  # substitutions, deletions and insertions
    words: int  # in the reading of the clean wave

    def __add__(self, other: "WordEdits") -> "WordEdits":
        """Sum of both counts."""
        return WordEdits(self.edits + other.edits, self.words + other.words)

    @property
    def rate(self) -> float:
        """Edits over words; NaN where no word was read."""
        return self.edits / self.words if self.words else float("nan")


class WordDifference:
    """Words that a recogniser reads otherwise than in the clean wave.

    No transcript is needed: the reference is what the recogniser reads in
    the clean wave. Sum over clips, then divide.

    Arguments
    ---------
    reader : Reader, optional
        Recogniser, see `load_reader`; None takes `PocketsphinxReader`.

    Raises
    ------
    ImportError
        If reader is None and pocketsphinx is not installed.

    Example
    -------
    >>> words = WordDifference()  # doctest: +SKIP
    >>> words(enhanced, clean).rate  # doctest: +SKIP
    0.5
    """

    def __init__(self, reader: Reader | None = None):
        self._reader = reader or PocketsphinxReader()

    def __call__(
        self, wav: Wave, clean: Wave, sample_rate: int = SAMPLE_RATE
    ) -> WordEdits:
        """Compare one wave with its clean original.

        Arguments
        ---------
        wav, clean : torch.Tensor or np.ndarray
            (T,) floating within [-1, 1].
        sample_rate : int
            In Hz; only 16000 is supported.

        Returns
        -------
        edits : WordEdits
        """
        clean_words = self.read(clean, sample_rate)
        return self.compare(self.read(wav, sample_rate), clean_words)

    def read(self, wav: Wave, sample_rate: int = SAMPLE_RATE) -> list[str]:
        """Recognise one wave; words as `normalise_words` gives them, or none."""
        return normalise_words(self._reader(wav, sample_rate))

    @staticmethod
    def compare(words: list[str], clean_words: list[str]) -> WordEdits:
        """Count the edits between the wave's reading and the clean one's.

        Example
        -------
        >>> WordDifference.compare("a cat sat".split(), "the cat".split())
        WordEdits(edits=2, words=2)
        """
        edits = count_edits(words, clean_words)
        return WordEdits(min(edits, len(clean_words)), len(clean_words))


def count_edits(words: list[str], others: list[str]) -> int:
    """Fewest insertions, deletions and substitutions between two readings."""
    stats = accumulatable_wer_stats([others], [words])
    kinds = ("insertions", "deletions", "substitutions")
    return sum(stats[kind] for kind in kinds)


def normalise_words(text: str) -> list[str]:
    """Split text into words that compare: no case, no punctuation.

    Arguments
    ---------
    text : str
        A reading or a transcript.

    Returns
    -------
    words : list of str
        Letters, marks and digits of any script, composed (NFC), and the
        apostrophes inside words; numbers are not spelled out.

    Example
    -------
    >>> normalise_words("It's 'ten o'clock', SIR!")
    ["it's", 'ten', "o'clock", 'sir']
    """
    text = unicodedata.normalize("NFC", text.casefold())
    kept = "".join(
        "'" if char in APOSTROPHES else char if is_of_word(char) else " "
        for char in text
        if char not in JOINERS
    )
    return [word.strip("'") for word in kept.split() if word.strip("'")]


def is_of_word(char: str) -> bool:
    """Whether a character is a letter, a mark or a digit of some script."""
    return unicodedata.category(char)[0] in "LMN"


def word_share(words: list[str], others: list[str]) -> float:
    """Share of the words that differ between two readings.

    Edits over the words of the longer one: 0 same, 1 all differ.

    Example
    -------
    >>> word_share(["a", "cat"], ["the", "cat"]), word_share([], [])
    (0.5, 0.0)
    """
    edits = count_edits(words, others)
    return edits / max(len(words), len(others), 1)
