"""Mixtures for the tasks of LLaSE-G1: other talkers, echoes, lost packets."""

import dataclasses

import numpy as np
import torch

from speechbrain_llase.augment.echo import make_echo
from speechbrain_llase.augment.lost_packets import lose_packets
from speechbrain_llase.augment.mixture import Mixture, in_room, overlay
from speechbrain_llase.augment.noise_mixer import (
    DRAWS,
    NoiseMixer,
    check_range,
    check_share,
)
from speechbrain_llase.dataio.manifests import first_few
from speechbrain_llase.dataio.preparation import find_speakers
from speechbrain_llase.processing.signal_processing import SILENT, power

MIXED_TASKS = ("se", "plc", "aec", "tse", "ss")
WITH_OTHERS = ("aec", "tse", "ss")  # in which somebody else speaks


class TaskMixer(NoiseMixer):
    """Draws mixtures of one task, or of several: noise, and what is the task's.

    - se: noise and room alone, see `NoiseMixer`;
    - plc: packets are lost;
    - aec: somebody else is heard out of a loudspeaker; the reference is what
      it plays;
    - tse: somebody else speaks; the reference is another utterance of who is
      wanted;
    - ss: somebody else speaks, too. In one half of the mixtures more softly,
      and nothing is heard beside: the louder one is wanted first. In the
      other half more loudly; the reference is then that voice, and the softer
      one is wanted.

    Arguments
    ---------
    noises, rirs : list
        See `NoiseMixer`.
    entries : dict
        Utterances that others say, ID -> entry with clean_wav; who speaks is
        found by `find_speakers`.
    task : str or list of str
        One of se, plc, aec, tse, ss, or those of which one is drawn each time.
    echo_db, other_db : tuple
        Lowest and highest ratio in dB of the speech to the echo, and to
        another speaker's (of a separation, the magnitude alone).
    drive : tuple
        How hard a loudspeaker is driven; see `make_echo`.
    delay_s : tuple
        Seconds by which an echo is late. Where the model is used, a constant
        delay is removed first.
    loss : tuple
        Share of packets that are lost.
    burst : tuple
        Packets for which a line is bad on average.
    bad_loss : float
        Share of packets lost while it is.
    **settings
        See `NoiseMixer`.

    Raises
    ------
    ValueError
        A task or a range is not known, nobody else speaks, or, for tse,
        somebody says but one utterance. See `NoiseMixer`, too.
    """

    def __init__(
        self,
        noises: list,
        rirs: list,
        entries: dict[str, dict],
        task: str | list[str],
        *,
        echo_db: tuple[float, float] = (-10.0, 10.0),
        other_db: tuple[float, float] = (-5.0, 5.0),
        drive: tuple[float, float] = (0.0, 4.0),
        delay_s: tuple[float, float] = (0.0, 0.1),
        loss: tuple[float, float] = (0.05, 0.4),
        burst: tuple[float, float] = (1.0, 6.0),
        bad_loss: float = 0.9,
        **settings,
    ):
        super().__init__(noises, rirs, **settings)
        self.tasks = [task] if isinstance(task, str) else list(task)
        self.files = {name: x["clean_wav"] for name, x in entries.items()}
        self.speakers = find_speakers(entries)
        self.speaker_of = {
            name: who for who, names in self.speakers.items() for name in names
        }
        self.echo_db = check_range("echo_db", echo_db)
        self.other_db = check_range("other_db", other_db)
        self.drive = check_range("drive", drive)
        self.delay_s = check_range("delay_s", delay_s)
        self.loss = check_range("loss", loss)
        self.burst = check_range("burst", burst)
        self.bad_loss = check_share("bad_loss", bad_loss)
        if (
            not 0 <= self.loss[0] <= self.loss[1] < bad_loss
            or self.burst[0] < 1
        ):
            raise ValueError(
                f"loss={self.loss} must lie in [0, bad_loss={bad_loss}), and "
                f"burst={self.burst} be at least 1 packet."
            )
        self._check_tasks()

    def _check_tasks(self):
        """Refuse tasks that are unknown, or lack somebody who speaks."""
        unknown = sorted(set(self.tasks) - set(MIXED_TASKS))
        if unknown or not self.tasks:
            raise ValueError(
                f"task={unknown or self.tasks} is not known; choose from "
                f"{', '.join(MIXED_TASKS)}."
            )
        if set(self.tasks) & set(WITH_OTHERS) and len(self.speakers) < 2:
            raise ValueError(
                f"In {', '.join(WITH_OTHERS)} somebody else speaks, and there "
                f"is one speaker: {first_few(list(self.speakers))}. Give each "
                "a folder, or their names in a list."
            )
        alone = [x[0] for x in self.speakers.values() if len(x) < 2]
        if "tse" in self.tasks and alone:
            raise ValueError(
                "tse hears another utterance of the same speaker, and these "
                f"are the only ones of theirs: {first_few(alone)}. Put those "
                "of one speaker into one folder, or leave these out."
            )

    def __call__(
        self, clean: torch.Tensor, rng: np.random.Generator, name: str
    ) -> Mixture:
        """Mix an utterance, float32 (T,), not silent, known by its ID.

        The mixture says the task; a reference is at most as long.
        """
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        mixture = super().__call__(clean, rng)
        mixture = dataclasses.replace(mixture, task=task)
        if task == "se":
            return mixture
        return getattr(self, f"_mix_{task}")(mixture, rng, name)

    def _mix_plc(self, mixture, rng, name):
        """Lose packets, but not all that is heard."""
        noisy, line = mixture.noisy.numpy(), (self.loss, self.burst)
        for _ in range(DRAWS):
            drawn = [rng.uniform(*limits) for limits in line]
            lossy = lose_packets(noisy, *drawn, rng, self.bad_loss)
            if power(lossy) >= SILENT:
                break
        return dataclasses.replace(mixture, noisy=torch.from_numpy(lossy))

    def _mix_aec(self, mixture, rng, name):
        """Add what a loudspeaker plays of somebody else."""
        size = len(mixture.noisy)
        loopback = self._draw_other(name, size, rng)
        late = min(rng.uniform(*self.delay_s) * self.sample_rate, size // 2)
        drive = rng.uniform(*self.drive)
        echo = make_echo(loopback, self.draw_room(rng), drive, int(late))
        mixture, _ = overlay(mixture, echo, rng.uniform(*self.echo_db))
        return dataclasses.replace(
            mixture, reference=torch.from_numpy(loopback)
        )

    def _mix_tse(self, mixture, rng, name):
        """Add somebody else; who is wanted says something else beside."""
        size = len(mixture.noisy)
        other = self._in_some_room(self._draw_other(name, size, rng), rng)
        mixture, _ = overlay(mixture, other, rng.uniform(*self.other_db))
        said = [x for x in self.speakers[self.speaker_of[name]] if x != name]
        length = int(rng.integers(size // 2, size + 1))
        enrolment = self._draw_piece(said, length, rng)
        return dataclasses.replace(
            mixture, reference=torch.from_numpy(enrolment)
        )

    def _mix_ss(self, mixture, rng, name):
        """Add somebody else, who is louder and known, or softer and not."""
        dry = self._draw_other(name, len(mixture.noisy), rng)
        ratio_db = abs(rng.uniform(*self.other_db))
        second = rng.random() < 0.5
        ratio_db = -ratio_db if second else ratio_db
        other = self._in_some_room(dry, rng)
        mixture, gain = overlay(mixture, other, ratio_db)
        voice = torch.from_numpy(np.float32(gain) * dry)
        return dataclasses.replace(mixture, reference=voice if second else None)

    def _in_some_room(self, wave, rng):
        """Put a wave into a drawn room, or into none."""
        rir = self.draw_room(rng)
        return wave if rir is None else in_room(wave, rir)

    def _draw_other(self, name, size, rng):
        """Some of what somebody else says, (size,)."""
        others = [x for x in self.speakers if x != self.speaker_of[name]]
        who = others[int(rng.integers(len(others)))]
        return self._draw_piece(self.speakers[who], size, rng)

    def _draw_piece(self, names, size, rng):
        """A piece of one of some utterances that is not silent, (size,)."""
        for _ in range(DRAWS):
            path = self.files[names[int(rng.integers(len(names)))]]
            piece = self._read(path, rng, size)
            if power(piece) >= SILENT:
                return piece
        raise ValueError(
            f"{DRAWS} pieces of {first_few(names)} were silent; leave out "
            "utterances that are silent nearly everywhere."
        )
