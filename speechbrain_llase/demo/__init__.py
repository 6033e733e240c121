"""The page of `speechbrain-llase demo`: listen before and after.

`layout.py`, `events.py` and `server.py` know Gradio; nothing else here does. A
click on Enhance goes events -> enhance_many -> enhance_one, and comes back as
`EnhancedFiles`, which `report.py` writes as HTML.

May import evaluation and inference, and what these may import in turn.
"""
