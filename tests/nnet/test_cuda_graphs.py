"""CUDA graphs: the same results, a graph for each shape that comes again."""

import logging
import pickle

import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.nnet.cuda_graphs import (
    GRAPH_SHAPES,
    Graphs,
    replayable,
    replaying,
)

ON_CUDA = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)


class GraphsInWords(Graphs):
    """Captures that run their call again, on a CPU, and count."""

    captured = replayed = 0

    def capture(self, call):
        """Keep the place of the first result, as a graph does."""
        result = call()
        self.captured += 1

        def replay():
            self.replayed += 1
            result.copy_(call())

        return replay, result


class GraphsThatFail(Graphs):
    """No capture works."""

    def capture(self, call):
        """Fail as PyTorch does."""
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture
def network():
    """A network in the state of inference."""
    return torch.nn.Linear(4, 4).eval()


@replayable
def layers(network, rows, runs):
    """Layers that look along time."""
    count, length = runs[0]
    return network(rows).unflatten(0, (count, length)).cumsum(1).flatten(0, 1)


def run(network, graphs, rows, runs):
    """Run the layers as `Stages` does."""
    with torch.no_grad(), replaying(graphs):
        return layers(network, rows, runs)


def test_second_time_is_captured(network):
    """Other rows of a known shape give their own results, kept by nobody."""
    graphs = GraphsInWords("cpu")
    results, expected = [], []
    for count in range(4):
        rows = torch.randn(6, 4)
        expected.append(run(network, None, rows, [(2, 3)]))
        results.append(run(network, graphs, rows, [(2, 3)]))
        assert graphs.captured == min(count, 1)
    assert graphs.replayed == 3
    assert all(map(torch.equal, results, expected))


@pytest.mark.parametrize("runs", [[(3, 2)], [(1, 6)], [(2, 3)]])
def test_runs_are_part_of_the_shape(network, runs):
    """As many rows in other items are another graph."""
    graphs, rows = GraphsInWords("cpu"), torch.randn(6, 4)
    for _ in range(2):
        run(network, graphs, rows, [(2, 3)])
    expected = run(network, None, rows, runs)
    assert torch.equal(run(network, graphs, rows, runs), expected)


def test_new_weights_are_seen(network):
    """A graph reads its weights where they were: others need another."""
    graphs, rows = GraphsInWords("cpu"), torch.randn(6, 4)
    for _ in range(2):
        run(network, graphs, rows, [(2, 3)])
    network.weight.data = torch.randn(4, 4)
    run(network, graphs, rows, [(2, 3)])
    assert graphs.replayed == 1


def test_known_shapes_are_bounded(network):
    """Those used last are kept."""
    graphs, steady = GraphsInWords("cpu"), torch.randn(2, 4)
    for length in range(1, 2 * GRAPH_SHAPES):
        run(network, graphs, steady, [(1, 2)])
        run(network, graphs, torch.randn(3 * length, 4), [(3, length)])
    assert len(graphs.known) == GRAPH_SHAPES
    assert graphs.captured == 1 and graphs.replayed == 2 * GRAPH_SHAPES - 2


def test_what_is_left_alone(network):
    """Ragged batches, gradients, training and autocast run as they are."""
    graphs, rows = GraphsInWords("cpu"), torch.randn(6, 4)
    for _ in range(2):
        with replaying(graphs):
            assert layers(network, rows, [(2, 3)]).requires_grad
        run(network.train(), graphs, rows, [(2, 3)])
        run(network.eval(), graphs, rows, [(2, 3), (0, 0)])
        with torch.autocast("cpu", torch.bfloat16):
            run(network, graphs, rows, [(2, 3)])
    assert not graphs.known


def test_failing_captures_cost_nothing(network, caplog):
    """One warning, and everything runs as without graphs."""
    graphs, rows = GraphsThatFail("cpu"), torch.randn(6, 4)
    expected = run(network, None, rows, [(2, 3)])
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            found = run(network, graphs, rows, [(2, 3)])
            assert torch.equal(found, expected)
    assert caplog.text.count("No CUDA graph") == 1


def test_are_not_copied():
    """A model is copied and sent to processes: graphs begin anew there."""
    graphs = Graphs("cuda:1")
    graphs.known["shape"] = None
    copy = pickle.loads(pickle.dumps(graphs))
    assert copy.device == graphs.device and not copy.known


def test_all_networks_replay():
    """Every network of a model runs by a graph, with the same result."""
    model = EnhanceLLaSE.from_hparams(run_opts={"device": "cpu"})
    assert model.stages.graphs is None
    noisy = torch.rand(3, 16000, generator=torch.Generator().manual_seed(0))
    expected = [model.enhance_batch(wav[None] - 0.5) for wav in noisy]
    graphs = model.stages.graphs = GraphsInWords("cpu")
    assert model.having(window_s=9.0).stages.graphs is graphs
    found = [model.enhance_batch(wav[None] - 0.5) for wav in noisy]
    assert graphs.captured == 3 and graphs.replayed == 6
    assert all(map(torch.equal, found, expected))


@ON_CUDA
@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_gpu_gives_the_same(compute):
    """Batches of full windows, by graphs and one by one."""
    model = EnhanceLLaSE.from_hparams(
        run_opts={"device": "cuda"},
        overrides={"compute": compute, "window_batch": 4},
    )
    rng = torch.Generator().manual_seed(0)
    batches = [torch.rand(4, 200000, generator=rng) - 0.5 for _ in range(4)]
    expected = [model.predict_tokens(x) for x in batches]
    waves = [model.enhance_batch(x) for x in batches]
    graphs = model.stages.graphs = Graphs(model.device)
    assert all(map(torch.equal, map(model.predict_tokens, batches), expected))
    for batch, wave in zip(batches, waves, strict=True):
        assert (model.enhance_batch(batch) - wave).abs().max() < 1e-4
    assert graphs.works and any(graphs.known.values())
