"""Idioms of PyTorch scripts that no other test uses."""

import copy

import pytest

import tinytorch
from tinytorch import autograd, nn
from tinytorch.nn import functional as F  # noqa: N812


def test_tensors_take_further_attributes() -> None:
    x = tinytorch.ones(2)
    x.g = x * 2
    assert x.g.tolist() == [2, 2]
    weight = nn.Linear(2, 1).weight
    assert not hasattr(weight, "average")
    weight.average = 3
    assert weight.average == 3
    assert (copy.deepcopy(x) + x).tolist() == [2, 2]


def test_scatter_to_a_vector_takes_a_single_index() -> None:
    x = tinytorch.zeros(4).scatter_(0, tinytorch.tensor(2), value=1)
    assert x.tolist() == [0, 0, 1, 0]
    x = tinytorch.zeros(4).scatter(0, tinytorch.tensor(1), tinytorch.tensor(5.0))
    assert x.tolist() == [0, 5, 0, 0]


class LinearFunction(autograd.Function):
    @staticmethod
    def forward(ctx, input, weight, bias=None):
        ctx.save_for_backward(input, weight, bias)
        y = input.mm(weight.t())
        return y if bias is None else y + bias

    @staticmethod
    def backward(ctx, g):
        input, weight, bias = ctx.saved_tensors
        return g.mm(weight), g.t().mm(input), None if bias is None else g.sum(0)


def test_function_returns_none_for_arguments_that_were_left_out() -> None:
    x = tinytorch.ones(3, 2, requires_grad=True)
    weight = tinytorch.ones(4, 2, requires_grad=True)
    LinearFunction.apply(x, weight).sum().backward()
    assert x.grad.tolist() == [[4.0, 4.0]] * 3
    assert weight.grad.tolist() == [[3.0, 3.0]] * 4
    bias = tinytorch.ones(4, requires_grad=True)
    LinearFunction.apply(x, weight, bias).sum().backward()
    assert bias.grad.tolist() == [3.0] * 4


def test_accelerator_is_the_gpu() -> None:
    assert tinytorch.accelerator.is_available() == tinytorch.cuda.is_available()
    if not tinytorch.accelerator.is_available():
        assert tinytorch.accelerator.current_accelerator() is None
    with pytest.raises(AttributeError, match=r"torch\.accelerator\.memory_stats"):
        _ = tinytorch.accelerator.memory_stats


def test_histogram_has_100_bins_by_default() -> None:
    counts, edges = tinytorch.histogram(F.relu(tinytorch.randn(50)))
    assert counts.shape == (100,)
    assert edges.shape == (101,)


def test_names_of_recurrent_weights() -> None:
    names = nn.GRU(2, 3, 2)._flat_weights_names
    assert names[:4] == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert len(names) == 8


def test_out_takes_the_result() -> None:
    x, out = tinytorch.tensor([[1.0, 2.0], [3.0, 4.0]]), tinytorch.zeros(2, 2)
    for result in (
        lambda **o: tinytorch.matmul(x, x, **o),
        lambda **o: tinytorch.mm(x, x.T, **o),
        lambda **o: tinytorch.mul(x, 3, **o),
        lambda **o: tinytorch.add(x, x, alpha=2, **o),
        lambda **o: tinytorch.sub(x, 1, **o),
        lambda **o: tinytorch.div(x, 2, rounding_mode="floor", **o),
        lambda **o: tinytorch.exp(x, **o),
    ):
        assert result(out=out) is out
        assert tinytorch.equal(out, result())
    with pytest.raises(RuntimeError, match=r"out= has shape \(2,\), and the result \(2, 2\)"):
        tinytorch.mul(x, x, out=tinytorch.zeros(2))
    with pytest.raises(RuntimeError, match="int64, which cannot store float32"):
        tinytorch.mul(x, x, out=tinytorch.zeros(2, 2, dtype="int64"))
    with pytest.raises(RuntimeError, match="no gradient"):
        tinytorch.mul(x.clone().requires_grad_(), x, out=out)


def test_variable_is_a_tensor_of_the_same_memory() -> None:
    x = tinytorch.ones(2)
    v = autograd.Variable(x, requires_grad=True)
    assert type(v) is tinytorch.Tensor
    (v * 3).sum().backward()
    assert v.grad.tolist() == [3, 3]
    x[0] = 5
    assert v.tolist() == [5, 1]
    assert not autograd.Variable(x).requires_grad
    with pytest.raises(TypeError, match="takes a tensor"):
        autograd.Variable([1.0])


def test_step_size_of_steplr_may_be_a_whole_float() -> None:
    optimizer = tinytorch.optim.SGD([tinytorch.ones(1, requires_grad=True)], lr=1.0)
    scheduler = tinytorch.optim.lr_scheduler.StepLR(optimizer, 1.0, gamma=0.5)
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [0.5]
    with pytest.raises(TypeError, match=r"1\.5"):
        tinytorch.optim.lr_scheduler.StepLR(optimizer, 1.5)
