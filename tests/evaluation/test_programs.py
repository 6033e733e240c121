"""Other programs as enhancers: commands, delays and what goes wrong."""

import sys

import numpy as np
import pytest

from speechbrain_llase.evaluation.programs import (
    Program,
    find_common_delay,
    remove_delay,
)

LATE = """
import sys, soundfile, numpy
wave, rate = soundfile.read(sys.argv[1], dtype="float32")
wave = numpy.concatenate([numpy.zeros(960), numpy.repeat(wave, 3)])
soundfile.write(sys.argv[2], wave, 3 * rate, subtype="FLOAT")
"""


@pytest.fixture
def noisy() -> np.ndarray:
    """Noise that holds nothing above 4 kHz, (T,)."""
    wave = np.random.default_rng(1).standard_normal(16000)
    bins = np.fft.rfft(wave)
    bins[4000:] = 0
    return (0.05 * np.fft.irfft(bins)).astype(np.float32)


def test_program_at_another_rate(noisy, tmp_path):
    """A program at 48 kHz that is 20 ms late gives the input back."""
    (tmp_path / "late.py").write_text(LATE)
    program = Program(
        f"late={sys.executable} {tmp_path / 'late.py'} {{input}} {{output}}"
    )
    assert program.name == "late"
    wave = program(noisy)
    delay = find_common_delay([wave], [noisy])
    assert abs(delay - 320) <= 1
    wave = remove_delay(wave, delay, len(noisy))
    assert wave.shape == noisy.shape
    assert np.corrcoef(wave, noisy)[0, 1] > 0.9


def test_delay_of_what_is_not_alike(noisy):
    """Waves with phases of their own have no delay."""
    other = np.random.default_rng(2).standard_normal(16000)
    assert find_common_delay([other], [noisy]) == 0
    assert find_common_delay([noisy, noisy], [noisy, noisy]) == 0
    assert remove_delay(noisy, 10, 16000)[-10:].tolist() == [0] * 10


@pytest.mark.parametrize("given", ["cp {input} {output}", "a=cp {input}"])
def test_refuses_what_is_no_system(given):
    """A name and both places are needed."""
    with pytest.raises(ValueError, match="write name=command"):
        Program(given)


def test_says_why_a_program_failed(noisy):
    """Not there, an error, no output: a sentence with the program's name."""
    with pytest.raises(ValueError, match="x cannot be run"):
        Program("x=/no/such/program {input} {output}")(noisy)
    python = f"{sys.executable} -c"
    with pytest.raises(ValueError, match="x ended with 1: .*no wind"):
        Program(f"x={python} 'exit(\"no wind\")' {{input}} {{output}}")(noisy)
    with pytest.raises(ValueError, match="x wrote no"):
        Program(f"x={python} pass {{input}} {{output}}")(noisy)
