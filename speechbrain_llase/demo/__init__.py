"""The page of `speechbrain-llase demo`: listen before and after.

`layout.py`, `wiring.py` and `server.py` know Gradio; nothing else here does. A
press of the button goes wiring -> batch -> work, and comes back as `Result`s.

May import evaluation and inference, and what these may import in turn.
"""
