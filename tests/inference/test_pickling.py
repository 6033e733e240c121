"""An enhancer travels: to another process, into a copy, with what it is."""

import copy
import multiprocessing
import pickle

import pytest
import torch

from speechbrain_llase import EnhanceLLaSE
from speechbrain_llase.inference.measures import Measures

KINDS = ["float32", "bfloat16", "int8"]


@pytest.fixture(scope="module", params=KINDS)
def enhancer(request):
    """The packaged model, its weights held in each way."""
    if request.param == "int8" and not torch.backends.mkldnn.is_available():
        pytest.skip("int8 needs oneDNN")
    return EnhanceLLaSE.from_hparams(
        run_opts={"device": "cpu"}, overrides={"compute": request.param}
    )


@pytest.fixture(scope="module")
def noisy():
    """(2, 8000), the second shorter by half."""
    return torch.rand(2, 8000, generator=torch.Generator().manual_seed(0)) - 0.5


def test_a_copy_gives_the_same_to_the_last_bit(enhancer, noisy):
    expected = enhancer.enhance_batch(noisy)
    for twin in (
        pickle.loads(pickle.dumps(enhancer)),
        copy.deepcopy(enhancer),
    ):
        assert torch.equal(twin.enhance_batch(noisy), expected)
        assert twin.stages.mods is twin.mods
        own = {p.data_ptr() for p in twin.parameters()}
        assert own.isdisjoint(p.data_ptr() for p in enhancer.parameters())


def test_a_spawned_process_takes_it_and_answers(load_tiny, speech_like):
    """As joblib and Ray do, which pickle it too."""
    enhancer = load_tiny(window_s=0.4, context_s=0.1, context_from="own")
    given = speech_like[None, :16000], torch.ones(1)
    expected = enhancer.enhance_batch(*given)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (answer,) = pool.starmap(enhancer.enhance_batch, [given])
    assert answer.any()
    assert (answer - expected).abs().max() < 1e-5


def test_measures_that_were_built_stay_behind():
    """ONNX sessions and recognisers cannot be pickled; a copy builds its own."""
    measures = Measures("pocketsphinx", "resemblyzer")
    measures.__dict__["_dnsmos"] = lambda wav: {"OVRL": 3.0}
    assert measures.overall(None) == 3.0
    twin = pickle.loads(pickle.dumps(measures))
    assert vars(twin) == {"asr": "pocketsphinx", "speaker": "resemblyzer"}
    assert vars(copy.deepcopy(measures)) == vars(twin)
