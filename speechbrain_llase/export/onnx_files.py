"""ONNX files of networks: written, rounded to int8 where asked, and laid ready.

What onnxruntime can fuse and compute beforehand on any machine is done here
once, and not whenever a file is opened.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from tqdm import tqdm

from speechbrain_llase.export.networks import examples, laid_out
from speechbrain_llase.inference.stages import Stages

OPSET = 18
IN_LAYERS = (".layers.", ".stem.blocks.")  # in names of what int8 rounds
LEAST_ROUNDED = 64  # rows and columns of a matrix
LARGE = 1 << 28  # bytes; weights of larger networks get a file of their own


@torch.no_grad()
def write_networks(
    stages: Stages, folder: Path, compute: str = "float32"
) -> list[str]:
    """Write `frontend.onnx` and so on into a folder; give their names.

    With `compute` "int8", all but the refiner have their layers rounded.
    """
    names = []
    with laid_out(stages), exporter_is_quiet():
        bar = tqdm(examples(stages), unit=" networks", disable=None)
        for name, stage, x in bar:
            bar.set_postfix_str(name)
            with tempfile.TemporaryDirectory(dir=folder) as beside:
                raw = Path(beside) / f"{name}.onnx"
                large = weight_bytes(stage) > LARGE
                write_graph(stage, x, raw, large)
                if compute == "int8" and name != "refiner":
                    round_matrices(raw, large)
                lay_ready(raw, folder / raw.name, large)
            names.append(name)
    return names


def weight_bytes(network: torch.nn.Module) -> int:
    """How much memory the weights of a network take."""
    return sum(x.numel() * x.element_size() for x in network.parameters())


def write_graph(
    stage: torch.nn.Module, x: torch.Tensor, path: Path, large: bool
) -> None:
    """Write what runs a network; the weights of a large one beside the file."""
    from onnxscript import optimizer

    stage(x)  # what is constant is kept
    program = torch.onnx.export(
        stage,
        (x,),
        input_names=["x"],
        output_names=["y"],
        dynamic_shapes={"x": {stage.axis: torch.export.Dim.DYNAMIC}},
        opset_version=OPSET,
        dynamo=True,
        optimize=False,  # which takes x + 1e-10 for x
        verbose=False,
    )
    optimizer.inline(program.model)
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    program.save(path, external_data=large)


def round_matrices(path: Path, large: bool) -> None:
    """Round the matrices of a network's layers to int8, their input as it comes.

    Each column has a scale of its own, and seven bits: with eight, processors
    without VNNI would let sums run over.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(path, load_external_data=False).graph
    sizes = {x.name: x.dims for x in graph.initializer}
    inside = [
        node.name + ("_MatMul" if node.op_type == "Gemm" else "")
        for node in graph.node
        if node.op_type in ("MatMul", "Gemm")
        and min(sizes.get(node.input[1], [0])) >= LEAST_ROUNDED
        and any(
            part in prop.value
            for prop in node.metadata_props
            for part in IN_LAYERS
        )
    ]  # the rounding makes a Gemm a MatMul first
    quantize_dynamic(
        path,
        path,
        nodes_to_quantize=inside,
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=large,
    )


def lay_ready(raw: Path, path: Path, large: bool) -> None:
    """Write a network as onnxruntime runs it on any machine."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3  # errors
    add = options.add_session_config_entry
    add("session.disable_prepacking", "1")
    if large:
        name = "session.optimized_model_external_initializers"
        add(f"{name}_file_name", f"{path.name}.data")
        add(f"{name}_min_size_in_bytes", "1024")
    onnxruntime.InferenceSession(raw, options, ["CPUExecutionProvider"])


@contextmanager
def exporter_is_quiet() -> Iterator[None]:
    """Keep to errors what the exporter says of itself, line by line."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            yield
    finally:
        logging.disable(before)
