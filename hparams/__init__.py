"""The packaged models: one folder each, with hyperparams.yaml on top."""
