"""Runs over many files: plans, the pool of windows, manifests, progress."""
