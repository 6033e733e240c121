"""Audio files, lists and where they lie."""
