"""What a visitor may ask for, and what is refused before work begins."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from speechbrain_llase.dataio.audio_reader import check_sound
from speechbrain_llase.dataio.sound_file import open_sound
from speechbrain_llase.inference.multitask import LIKE_ENHANCEMENT, TASKS

if TYPE_CHECKING:
    from speechbrain_llase import EnhanceLLaSE
    from speechbrain_llase.inference.stages import Stages

WINDOW_S = (1.0, 20.0)  # seconds; memory grows with the square of a window
CONTEXT_S = (0.0, 5.0)  # seconds
MAX_CHANNELS = 16
MB = 1 << 20  # bytes, as Gradio counts in its own words


@dataclass(frozen=True)
class Limits:
    """How much a visitor may ask for at a time."""

    max_s: float = 3600.0  # seconds a file
    max_bytes: int = 500 * MB  # a file; Gradio refuses more
    max_files: int = 20
    keep_s: int = 3600  # seconds until an upload or a result is deleted
    guard_s: float = 300.0  # seconds of a file that the guard judges
    scored_s: float = 30.0  # first seconds of a file that DNSMOS scores


@dataclass(frozen=True)
class VisitorSettings:
    """What a visitor chose."""

    window_s: float = 10.0  # seconds kept of each window
    context_s: float = 1.0  # seconds of context on both sides
    restore_level: bool = True  # speech at its level in the input
    wet: float = 1.0  # share of the enhanced wave, 0 to 1
    guard: bool = False  # pass the input through where there is no gain
    score: bool = True  # with DNSMOS
    refine: bool = True  # by a network that hears the input, too
    generative: float = 0.5  # of that network: 0 faithful, 1 generative
    keep_highs: bool = False  # in one more file, at the input's rate
    task: str = "se"
    reference: str | None = None  # a file that is heard beside all others

    def check(self) -> None:
        """Refuse what is out of its range: a page can be sent anything."""
        ranges = {
            "The window": (self.window_s, *WINDOW_S, " s"),
            "The context": (self.context_s, *CONTEXT_S, " s"),
            "The mix": (100 * self.wet, 0, 100, " %"),
            "Generative": (100 * self.generative, 0, 100, " %"),
        }
        for name, (value, least, most, unit) in ranges.items():
            if not least <= value <= most:
                raise ValueError(
                    f"{name} is {value:g}{unit}; choose {least:g} to "
                    f"{most:g}{unit}."
                )
        if self.guard and not self.restore_level:
            raise ValueError(
                "The guard puts parts of the input in the place of the "
                "output, so the two must be of one level. Choose the level "
                "of the input, or switch the guard off."
            )
        if self.guard and self.task not in LIKE_ENHANCEMENT:
            raise ValueError(
                "The guard wants the output to be like the input, which it is "
                "not in this task. Switch it off."
            )
        if (self.beside is None) != (self.reference is None):
            raise ValueError(
                f"Choose the {self.beside}, a second file."
                if self.beside
                else "Nothing is heard beside the input in this task."
            )

    @property
    def beside(self) -> str | None:
        """What a task hears beside its input."""
        return TASKS[self.task].reference

    def stages(self, enhancer: "EnhanceLLaSE") -> "Stages":
        """The stages of a model, which others use too, with these settings."""
        self.check()
        stages = enhancer.stages.having(
            window_s=self.window_s,
            context_s=self.context_s,
            restore_level=self.restore_level,
            refine=self.refine and self.task in LIKE_ENHANCEMENT,
            task=self.task,
            references=[self.reference] if self.reference else [],
        )
        if stages.generative is None:  # no knob to turn
            return stages
        return stages.having(generative=self.generative)


def check_count(count: int, limits: Limits) -> None:
    """Refuse no files (a recording is one, too), and too many."""
    if not count:
        raise ValueError("Choose a file or record something first.")
    if count > limits.max_files:
        raise ValueError(
            f"These are {count} files; at most {limits.max_files} are taken "
            "at a time. For a folder use 'speechbrain-llase enhance'."
        )


def check_upload(path: str | Path, name: str, limits: Limits) -> None:
    """Refuse a file that is too long, or no audio, in words without a path.

    Only the header is read, so a file that lies about its length is caught
    later, when it is read to the end.
    """
    if not os.path.isfile(path):
        raise ValueError(
            f"{name} is no longer here: uploads are deleted after a while. "
            "Upload it again."
        )
    try:
        with open_sound(path) as sound:
            channels, stated = sound.channels, sound.stated
            check_sound(name, sound)
    except ValueError as err:
        raise ValueError(str(err).replace(str(path), name)) from err
    if channels > MAX_CHANNELS:
        raise ValueError(
            f"{name} has {channels} channels; at most {MAX_CHANNELS} are "
            "taken. Mix it down first."
        )
    if stated == 0:
        raise ValueError(f"{name} holds no samples. Choose another file.")
    check_length(name, stated or 0, limits)


def check_length(
    name: str, seconds: float, limits: Limits, guard: bool = False
) -> None:
    """Refuse what lasts too long, for the guard if it is on."""
    if seconds > limits.max_s:
        raise ValueError(
            f"{name} lasts {duration(seconds)}; at most "
            f"{duration(limits.max_s)} are taken. Cut it, or use "
            "'speechbrain-llase enhance', which takes any length."
        )
    if guard and seconds > limits.guard_s:
        raise ValueError(
            f"{name} lasts {duration(seconds)}; the guard takes at most "
            f"{duration(limits.guard_s)} here. Switch it off, or use "
            "'speechbrain-llase enhance --guard'."
        )


def duration(seconds: float) -> str:
    """Write a duration.

    Example
    -------
    >>> duration(8.67), duration(90), duration(1800)
    ('8.7 s', '1 min 30 s', '30 min')
    """
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min" + (f" {rest} s" if rest else "")
