"""What a caller has switched on changes nothing, or is refused in a sentence."""

import pytest
import torch
from speechbrain.utils.run_opts import RunOptions

from speechbrain_llase import EnhanceLLaSE


def load(**run_opts):
    """The packaged model on the CPU, with further run options."""
    return EnhanceLLaSE.from_hparams(run_opts={"device": "cpu", **run_opts})


@pytest.fixture(scope="module")
def model():
    """The packaged model, with every network there is; not to be changed."""
    return load()


@pytest.fixture(scope="module")
def noisy():
    """(2, 16000), seeded."""
    return torch.rand(2, 16000, generator=torch.Generator().manual_seed(0)) - 1


def outputs(model, noisy):
    """All that a model gives of a batch: waves, tokens, details, a stream."""
    wavs, reports = model.enhance_batch(noisy, return_details=True)
    stream = model.stream(window_s=0.4, context_s=0.1)
    pushed = [stream.push(noisy[0]), stream.push(noisy[1]), stream.close()]
    entropy = [report.details.entropy for report in reports]
    return [wavs, model.predict_tokens(noisy), *entropy, *pushed]


def same(ones, others):
    """Whether all tensors are alike to the last bit, in dtype too."""
    pairs = zip(ones, others, strict=True)
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_the_default_dtype_changes_nothing(model, noisy, dtype):
    expected = outputs(model, noisy)
    torch.set_default_dtype(dtype)
    try:
        assert same(outputs(model, noisy), expected)
        assert same(outputs(load(), noisy), expected)
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


def test_an_autocast_around_it_changes_nothing(model, noisy):
    expected = outputs(model, noisy)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(outputs(model, noisy), expected)


def test_a_stream_may_begin_in_inference_mode_and_go_on_outside(model, noisy):
    with torch.inference_mode():
        stream = model.stream(window_s=0.4, context_s=0.1)
        first = stream.push(noisy[0] * 1)
    wavs = [first, stream.push(noisy[1]), stream.close()]
    assert same(wavs, outputs(model, noisy)[-3:])


def test_input_with_a_gradient_is_taken_as_it_is(model, noisy, recwarn):
    wav = noisy.clone().requires_grad_()
    assert same([model.enhance_batch(wav)], [model.enhance_batch(noisy)])
    assert not [x for x in recwarn if "requires_grad" in str(x.message)]


def test_no_items_give_no_items(model):
    none = torch.zeros(0, 16000)
    assert model.enhance_batch(none).shape == (0, 16000)
    wavs, reports = model.enhance_batch(none, return_details=True)
    assert wavs.shape == (0, 16000) and reports == []
    assert model.predict_tokens(none).shape == (0, 50)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"device": "abacus"}, "device 'abacus' is unknown. Use cpu"),
        ({"device": "cuda:9"}, "cuda:9 is not here .* Use another"),
        ({"device": "meta"}, "device meta is not here. Use cpu"),
        ({"precision": "fp16"}, "is for GPUs.*choose fp32 or bf16"),
        ({"data_parallel_backend": True}, "load one model for each"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(options, message):
    with pytest.raises(ValueError, match=message):
        load(**options)
    if "device" in options:
        with pytest.raises(ValueError, match=message):
            EnhanceLLaSE.from_hparams(
                run_opts=RunOptions.from_dictionary(options)
            )


@pytest.mark.parametrize("device", [torch.device("cpu"), "auto", None])
def test_devices_have_several_names(monkeypatch, device):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert load(device=device).device == "cpu"


def test_a_launch_of_several_processes_needs_no_process_group(noisy):
    """Each enhances what it is given."""
    assert load(distributed_launch=True).enhance_batch(noisy).any()


@pytest.mark.parametrize("wav", [[0.1], torch.zeros(1, 400).numpy()])
def test_what_is_no_tensor_is_refused(model, wav):
    with pytest.raises(TypeError, match="pass a torch.Tensor of .batch, time"):
        model.enhance_batch(wav)
    with pytest.raises(TypeError, match="pass a torch.Tensor of .time"):
        model.stream().push(wav)


# -- moving ------------------------------------------------------------------


def test_the_stages_move_with_the_weights(load_tiny):
    model = load_tiny()
    assert model.to("meta") is model
    assert model.device == model.stages.device == "meta"
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_dtype_of_the_weights_stays(model, noisy, dtype):
    expected = model.enhance_batch(noisy)
    with pytest.raises(ValueError, match='overrides={"compute": "bfloat16"}'):
        model.to(dtype)
    assert same([model.enhance_batch(noisy)], [expected])


def test_int8_weights_stay_on_the_cpu():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("int8 needs oneDNN")
    model = EnhanceLLaSE.from_hparams(
        run_opts={"device": "cpu"}, overrides={"compute": "int8"}
    )
    with pytest.raises(ValueError, match="int8 is for the CPU"):
        model.to("meta")
    assert model.device == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_here_takes_no_model(model):
    with pytest.raises(ValueError, match="cannot be moved there"):
        model.to("cuda")
