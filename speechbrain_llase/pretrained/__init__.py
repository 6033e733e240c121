"""Official files in, model folders out: download, convert, load, publish.

May import inference and lobes, and what these may import in turn.
"""
