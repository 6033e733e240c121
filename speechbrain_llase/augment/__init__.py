"""Noisy mixtures for training: speech, noise, rooms and faults.

May import dataio, and what it may import in turn.
"""
