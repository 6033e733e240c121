"""Audio files in and out, lists of them, and where they lie.

May import processing alone.
"""
