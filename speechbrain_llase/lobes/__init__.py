"""The networks: frontends, token LM, codecs and refiner.

May import nnet and processing alone.
"""
