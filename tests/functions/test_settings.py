"""Settings, constants, dtypes and devices by PyTorch's names."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers import require

import tinytorch
from tinytorch import Linear, Tensor, backends, device, tensor, zeros


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    yield
    tinytorch.set_default_dtype("float32")
    tinytorch.set_default_device(None)
    tinytorch.set_printoptions(profile="default")


def test_the_default_dtype_is_that_of_new_floats() -> None:
    tinytorch.set_default_dtype(tinytorch.float64)
    created = [
        tensor([0.5]), zeros(2), tinytorch.rand(2), tinytorch.full((2,), 0.5),
        tinytorch.arange(0, 1, 0.5), tinytorch.eye(2), Linear(2, 2).weight, tensor(2.0),
    ]  # fmt: skip
    assert {x.dtype for x in created} == {np.dtype("float64")}
    assert tensor([1]).dtype == tinytorch.int64
    assert tinytorch.get_default_dtype() == tinytorch.float64
    tinytorch.set_default_tensor_type("torch.FloatTensor")
    assert tensor(0.5).dtype == tinytorch.float32


def test_a_device_is_the_place_of_new_tensors(backend: str) -> None:
    place = zeros(1, backend=backend).device
    assert place.type == backends.get(backend).device_type
    with device(place):
        assert zeros(1).backend.name == tensor([1.0]).backend.name == backend
        assert tinytorch.from_numpy(np.ones(2)).backend.name == backend
    assert zeros(1).backend is backends.default()
    tinytorch.set_default_device(place)
    assert tinytorch.randn(2).device == tinytorch.get_default_device() == place


def test_devices_compare_by_type_and_index() -> None:
    assert device("cuda:0") == device("cuda", 0) == device(0) != device("cuda")
    assert str(device("cuda", 0)) == "cuda:0"
    assert repr(device("cuda:0")) == "device(type='cuda', index=0)"
    assert {device("cpu"): 1}[device(device("cpu"))] == 1
    assert device("cpu") != "cpu"
    for wrong in ("tpu", "cuda:x", "gpu", "cuda:0:1"):
        with pytest.raises(backends.BackendError, match="unknown device"):
            device(wrong)


@pytest.mark.parametrize("place", ["cpu", device("cpu"), "cpu:0"])
def test_cpu_keeps_the_backend_of_a_host_tensor(place: Any) -> None:
    for name in ("numpy", "reference", "strict"):
        x = zeros(2, backend=name)
        assert x.to(place) is x.cpu() is x
        assert x.to(place, dtype="float64").backend.name == name


def test_cuda_is_the_cupy_backend(cupy: str) -> None:
    x = zeros(2, device="cuda")
    assert x.backend.name == "cupy"
    assert x.is_cuda
    assert x.device == device("cuda", 0)
    assert x.cpu().backend.name == "numpy"
    assert zeros(2).cuda().to(x.device, tinytorch.float64).backend.name == "cupy"
    assert zeros(2, device=x.device).backend.name == "cupy"
    assert Linear(2, 2).to("cuda").weight.is_cuda
    assert tinytorch.cuda.is_available()
    assert tinytorch.cuda.device_count() == 1
    assert tinytorch.cuda.memory_allocated() >= 0
    tinytorch.cuda.synchronize()
    tinytorch.cuda.manual_seed_all(3)
    first = tinytorch.rand(2, device="cuda")
    tinytorch.manual_seed(3)
    assert tinytorch.rand(2).tolist() == first.tolist()
    assert first.type() == "torch.cuda.FloatTensor"


def test_size_is_a_number_and_a_method() -> None:
    x = zeros(2, 3)
    assert x.size == 6
    assert x.size() == (2, 3) == tinytorch.Size([2, 3])
    assert (x.size(0), x.size(-1), x.size(dim=1)) == (2, 3, 3)
    rows, columns = x.size()
    assert (rows, columns) == (2, 3)
    assert x.size / 2 == 3
    assert zeros().size == 1
    assert zeros().size() == ()


def test_switches_of_pytorch_are_accepted() -> None:
    tinytorch.backends.cudnn.benchmark = True
    tinytorch.backends.cudnn.deterministic = True
    tinytorch.backends.cuda.matmul.allow_tf32 = True
    tinytorch.set_float32_matmul_precision("high")
    assert tinytorch.get_float32_matmul_precision() == "high"
    tinytorch.use_deterministic_algorithms(True)
    assert not tinytorch.backends.mps.is_available()
    with pytest.raises(AttributeError, match="no attribute 'cudn'"):
        _ = tinytorch.backends.cudn
    with pytest.warns(UserWarning, match="no effect"):
        assert tinytorch.compile(abs) is abs
    with pytest.warns(UserWarning, match="no effect"):
        assert tinytorch.compile(mode="default")(abs) is abs
    with pytest.warns(UserWarning, match="no effect"), tinytorch.autocast("cpu"):
        pass


def test_print_options() -> None:
    tinytorch.set_printoptions(precision=2, threshold=5, edgeitems=1)
    assert repr(tensor([1 / 3])) == "Tensor([0.33])"
    assert repr(zeros(6)) == "Tensor([0., ..., 0.], shape=(6,))"


def test_missing_names_are_named() -> None:
    for owner, name in ((zeros(1), "resize_"), (tinytorch, "rnadn"), (tinytorch, "jit")):
        with pytest.raises(AttributeError, match=rf"{name} is not in tinytorch; .*docs/pytorch.md"):
            getattr(owner, name)
    assert not hasattr(zeros(1), "__cuda_array_interface__")
    assert getattr(zeros(1), "nothing", 3) == 3


def test_tensors_have_each_attribute_of_pytorch_or_name_it_as_missing() -> None:
    torch = require("torch")
    for name in dir(torch.Tensor):
        if name[:1] != "_" and not hasattr(Tensor, name):
            with pytest.raises(AttributeError, match=f"torch.Tensor.{name} is not in tinytorch"):
                getattr(zeros(1), name)


def test_constructors_of_pytorch() -> None:
    assert tinytorch.FloatTensor([1, 2]).dtype == tinytorch.float32
    assert tinytorch.LongTensor([[1], [2]]).shape == (2, 1)
    assert tinytorch.FloatTensor(2, 3).shape == (2, 3)
    assert zeros(2).type("torch.LongTensor").dtype == zeros(2).type(tinytorch.long).dtype == "int64"


DTYPES = {
    "float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64",
    "short": "int16", "bool": "bool", "byte": "uint8", "char": "int8",
}  # fmt: skip


@pytest.mark.parametrize(("method", "dtype"), DTYPES.items())
def test_casts(method: str, dtype: str, backend: str) -> None:
    if (backend, method) == ("strict", "half"):
        pytest.skip("the standard has no float16")
    x = tensor([0.0, 1.7], requires_grad=True, backend=backend)
    cast = getattr(x, method)()
    assert str(cast.dtype).rpartition(".")[2] == dtype
    assert cast.requires_grad == dtype.startswith("float")
    assert cast.type_as(x).dtype == x.dtype
    assert x.new_zeros(2).dtype == x.new_ones((2, 1)).dtype == x.new_tensor([1]).dtype == x.dtype


def test_factories_agree_with_pytorch() -> None:
    torch = require("torch")
    calls: list[Any] = [
        lambda t: t.arange(5), lambda t: t.arange(1, 2, 0.1), lambda t: t.arange(5, 0, -2),
        lambda t: t.arange(3.0), lambda t: t.arange(0, 10, 3, dtype=t.float32),
        lambda t: t.linspace(-1, 1, 7), lambda t: t.linspace(0, 1, 1),
        lambda t: t.linspace(0, 1, 0),
        lambda t: t.logspace(0, 3, 4), lambda t: t.full((2, 2), 7), lambda t: t.full((2,), True),
        lambda t: t.full((), 0.5), lambda t: t.eye(3), lambda t: t.eye(2, 3, dtype=t.long),
        lambda t: t.zeros_like(t.ones(2, dtype=t.int)), lambda t: t.full_like(t.ones(2), 3),
        lambda t: t.ones_like(t.arange(3), dtype=t.float), lambda t: t.tril_indices(3, 4, 1),
        lambda t: t.triu_indices(3, 3), lambda t: t.tensor([[1, 2], [3, 4]]),
        lambda t: t.tensor([1, 2.5]), lambda t: t.tensor([True]), lambda t: t.tensor(3),
        lambda t: t.tensor([]), lambda t: t.tensor([t.tensor(1.0), t.tensor(2.0)]),
        lambda t: t.as_tensor(np.arange(3)), lambda t: t.from_numpy(np.ones(2, np.float32)),
        lambda t: t.tensor(np.float64(2.5)), lambda t: t.zeros(size=(2, 3)),
        lambda t: t.ones((2, 0)), lambda t: t.zeros(()), lambda t: t.zeros(3).new_full((2,), 5),
        lambda t: t.tensor([1.5, 2.5], dtype=t.long), lambda t: t.scalar_tensor(3),
    ]  # fmt: skip
    for number, call in enumerate(calls):
        theirs, ours = call(torch), call(tinytorch)
        assert str(theirs.dtype) == f"torch.{ours.dtype}", number
        assert ours.shape == tuple(theirs.shape), number
        np.testing.assert_allclose(
            ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-7, err_msg=str(number)
        )


def test_from_numpy_shares_memory() -> None:
    array = np.zeros(2, np.float32)
    x, y = tinytorch.from_numpy(array), tinytorch.as_tensor(array)
    x += 1
    assert array.tolist() == y.tolist() == [1, 1]
    with pytest.raises(TypeError, match="unknown dtype"):
        tinytorch.from_numpy(np.array(["a"]))


def test_random_numbers_follow_the_seed(backend: str) -> None:
    def draw(**options: Any) -> list[Any]:
        options = {"backend": backend, **options}
        return [
            tinytorch.rand(2, 3, **options).tolist(), tinytorch.randn((2,), **options).tolist(),
            tinytorch.randint(5, (4,), **options).tolist(),
            tinytorch.randint(2, 5, size=(4,), **options).tolist(),
            tinytorch.randperm(5, **options).tolist(),
            tinytorch.normal(1.0, 2.0, (3,), **options).tolist(),
        ]  # fmt: skip

    tinytorch.manual_seed(5)
    first = draw()
    state = tinytorch.get_rng_state()
    second = draw()
    assert second != first
    tinytorch.set_rng_state(state)
    assert draw() == second
    tinytorch.manual_seed(5)
    assert draw() == first
    generator = tinytorch.Generator(device="cpu")
    assert generator.manual_seed(5) is generator
    assert draw(generator=generator) == first
    assert generator.initial_seed() == 5
    assert min(first[2]) >= 0
    assert max(first[2]) < 5


def test_dropout_is_repeated_from_a_saved_state() -> None:
    x = tinytorch.ones(100)
    tinytorch.nn.functional.dropout(x)
    state = tinytorch.get_rng_state()
    first = [tinytorch.nn.functional.dropout(x).tolist() for _ in range(2)]
    tinytorch.set_rng_state(state)
    assert [tinytorch.nn.functional.dropout(x).tolist() for _ in range(2)] == first
    # A generator's own state has no masks; they follow from it.
    for _ in range(2):
        tinytorch.set_rng_state(tinytorch.Generator().manual_seed(3).get_state())
        assert tinytorch.nn.functional.dropout(x).tolist() != first[0]


def test_random_numbers_have_the_moments_of_their_distribution() -> None:
    g = tinytorch.Generator().manual_seed(0)
    x = tinytorch.rand(100_000, generator=g).numpy()
    assert abs(x.mean() - 0.5) < 0.01
    assert 0 <= x.min() <= x.max() < 1
    half = tinytorch.rand(100_000, generator=g, dtype="float16").numpy()
    assert half.max() < 1
    y = tinytorch.normal(2.0, 3.0, (100_000,), generator=g).numpy()
    assert abs(y.mean() - 2) < 0.05
    assert abs(y.std() - 3) < 0.05
    mean = tensor([0.0, 100.0], requires_grad=True)
    z = tinytorch.normal(mean, tensor([1.0, 1.0]), generator=g)
    assert not z.requires_grad
    assert z[1] > 50


def test_gradients_flow_between_devices(cupy: str) -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    h = (x * 2).to("cuda")
    ((h * h).cpu() + x).sum().backward()
    assert x.grad.tolist() == [9.0, 17.0]
    assert x.grad.device == device("cpu")
    with tinytorch.no_grad():
        assert x.cuda().is_leaf
    x.data = x.data.to("cuda")
    assert x.is_cuda
    assert x.grad is None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_transposed_tensor_can_be_viewed_once_it_is_contiguous(backend: str) -> None:
    x = tinytorch.arange(6, backend=backend).reshape(2, 3).t()
    assert x.contiguous().view(6).tolist() == [0, 3, 1, 4, 2, 5]
    assert x.contiguous().view(2, 3).tolist() == [[0, 3, 1], [4, 2, 5]]
