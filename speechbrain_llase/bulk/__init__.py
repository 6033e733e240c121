"""Many files: runs that survive a kill, shards, tables, URLs and Ray.

May import inference and dataio, and what these may import in turn.
"""
