"""Layers, quantisation and precision."""
