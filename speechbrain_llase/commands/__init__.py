"""The sub-commands of `speechbrain-llase`, one a file."""
