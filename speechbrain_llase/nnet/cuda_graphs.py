"""Launch all layers of a network at once, on a CUDA device.

A window's layers are some hundred small kernels, and a host takes longer to
launch them than a large GPU to run them. A CUDA graph holds them all: captured
from one run, it is launched as a whole for other rows of the same shape. What
is marked here reads nothing back from the device and draws nothing at random.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property, wraps
from threading import Lock

import torch
from speechbrain.utils.logger import get_logger

from speechbrain_llase.nnet.packing import Runs

logger = get_logger(__name__)
GRAPH_SHAPES = 16  # shapes that are known, of all networks


class Graphs:
    """The graphs of a model's networks, one for each shape that came again.

    A shape is captured when it comes for the second time. The `GRAPH_SHAPES` used last
    are known; their graphs share memory, for what one gives is copied before
    the next one runs. Where a capture fails, all runs as without graphs. A
    model has none until ``enhancer.stages.graphs = Graphs(enhancer.device)``.

    Arguments
    ---------
    device : torch.device or str
        Where the networks are.
    """

    def __init__(self, device: torch.device | str):
        self.device = torch.device(device)
        self.known = OrderedDict()  # rows, replay, result; None: came once
        self.lock = Lock()  # graphs have one place each for rows and result
        self.works = True

    def __reduce__(self) -> tuple:
        """Begin anew in a copy, or in another process."""
        return Graphs, (self.device,)

    def run(
        self,
        layers: Callable,
        network: torch.nn.Module,
        rows: torch.Tensor,
        runs: Runs,
    ) -> torch.Tensor:
        """Give what layers(network, rows, runs) gives."""
        place = next(network.parameters()).data_ptr()  # other weights, new key
        key = layers, id(network), place, rows.shape, rows.dtype, tuple(runs)
        with self.lock:
            graph = self._known(key, layers, network, rows, runs)
            if graph is not None:
                given, replay, result = graph
                given.copy_(rows)
                replay()
                return result.clone()
        return layers(network, rows, runs)

    def _known(self, key, layers, network, rows, runs) -> tuple | None:
        """Give the graph of a key, captured if it comes again, or None."""
        came, graph = key in self.known, self.known.pop(key, None)
        if came and graph is None and self.works:
            given = rows.clone()
            try:
                graph = (
                    given,
                    *self.capture(lambda: layers(network, given, runs)),
                )
            except RuntimeError as err:
                logger.warning(
                    "No CUDA graph (%s): layers run one by one.", err
                )
                self.works = False
        self.known[key] = graph
        if len(self.known) > GRAPH_SHAPES:
            self.known.popitem(last=False)
        return graph

    @cached_property
    def side(self) -> tuple:
        """The stream that captures, and the graphs' pool of memory."""
        return torch.cuda.Stream(self.device), torch.cuda.graph_pool_handle()

    def capture(
        self, call: Callable[[], torch.Tensor]
    ) -> tuple[Callable[[], None], torch.Tensor]:
        """Capture a call: what runs it again, and where its result lies."""
        stream, pool = self.side
        with torch.cuda.device(self.device):
            current = torch.cuda.current_stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                call()  # what libraries set up at first is no part of it
            current.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool, stream, "thread_local"):
                result = call()
        return graph.replay, result


_graphs: ContextVar[Graphs | None] = ContextVar("graphs", default=None)


@contextmanager
def replaying(graphs: Graphs | None) -> Iterator[None]:
    """Let what is `replayable` run by these graphs; None: as it is."""
    token = _graphs.set(graphs)
    try:
        yield
    finally:
        _graphs.reset(token)


def replayable(layers: Callable) -> Callable:
    """Let layers be captured under `replaying`, for items of one length.

    They take a network, rows (total, D) and their runs, and give rows.
    """

    @wraps(layers)
    def run(network: torch.nn.Module, rows: torch.Tensor, runs: Runs):
        graphs = _graphs.get()
        learns = torch.is_grad_enabled() or network.training
        casts = torch.is_autocast_enabled(rows.device.type)
        if graphs is None or learns or casts or len(runs) > 1:
            return layers(network, rows, runs)
        return graphs.run(layers, network, rows, runs)

    return run
