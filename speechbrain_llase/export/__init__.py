"""Models without PyTorch: networks as ONNX files, and what runs them.

`networks.py` says what they hold, over `real_spectra.py` and `fourier.py`,
`onnx_files.py` writes them, `folder.py` adds what else is needed. `enhance.py` runs them with numpy and onnxruntime alone: it is
copied beside the files, and imports nothing of the package. `web_page.py` adds a
page that runs them in a browser (`web/`).

May import inference, and what it may import in turn.
"""
