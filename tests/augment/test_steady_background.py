"""Targets without their own background: what goes and what stays."""

import torch

from speechbrain_llase.augment.steady_background import remove_background

RATE = 16000


def test_takes_noise_and_leaves_speech():
    """Pauses become some 6 dB softer, tones stay as they are."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.002 * torch.randn(3 * RATE, generator=generator)
    time = torch.arange(3 * RATE) / RATE
    bursts = (torch.sin(6.3 * time) > 0).float()
    speech = 0.1 * torch.sin(2 * torch.pi * 440 * time) * bursts
    wave = remove_background(speech + noise)
    assert wave.shape == speech.shape
    pause, spoken = slice(9000, 15000), slice(1000, 7000)
    assert wave[pause].norm() < 0.6 * noise[pause].norm()
    change = (wave - speech)[spoken].norm() / speech[spoken].norm()
    assert change < 0.03
    assert not remove_background(torch.zeros(RATE)).any()
