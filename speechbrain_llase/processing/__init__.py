"""Signal processing: plain functions of tensors, without weights or files.

May import none of the other packages.
"""
