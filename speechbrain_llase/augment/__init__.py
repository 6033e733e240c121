"""Noisy mixtures for training."""
