"""Several GPUs: a process computes on one of them, in all its threads, with its own precision.

Each test is a process of its own with three fake GPUs; cuda:1 has no tensor cores for TF32.
The fake CuPy accepts no arrays of a device other than the thread's current one.
"""

import textwrap
from pathlib import Path
from typing import Any

from helpers import run_python

BEGIN = """
import threading
import cupy, numpy as np
from cupy_backends.cuda.libs.cublas import Library
cupy.cuda.runtime.capabilities[:] = ["90", "75", "80"]

import tinytorch
from tinytorch import (
    AdamW, CrossEntropyLoss, Dropout, Embedding, Linear, Sequential, Tensor, Trainer, backends
)
import tinytorch.backends.cupy.cublas as cublas
cublas._library = lambda library=Library(): library

def train(place, steps=4):
    tinytorch.manual_seed(1)
    model = Sequential(Embedding(5, 4), Dropout(0.5), Linear(4, 5)).to(place)
    trainer = Trainer(model, AdamW(model.parameters()), CrossEntropyLoss(), cuda_graph=True)
    batch = [Tensor(np.arange(4) + i).to(place) for i in (0, 1)]
    return [trainer.train_step([batch]).item() for _ in range(steps)], model

def refused(work):
    try:
        work()
    except backends.BackendError as error:
        return str(error)
"""


def run(code: str, fake_cupy: Any, **environment: str) -> list[str]:
    """The lines that the code prints after `BEGIN`."""
    path = str(Path(fake_cupy.__file__).parents[1])
    return run_python(BEGIN + textwrap.dedent(code), PYTHONPATH=path, **environment).splitlines()


def test_a_model_is_trained_on_the_second_gpu(fake_cupy: Any) -> None:
    lines = run(
        """
        losses, model = train("cuda:1")
        weight = model[0].weight
        print(weight._array.device.id, weight.device, weight.get_device())
        print(backends.get("cupy").matmul, tinytorch.cuda.current_device())
        x, y = tinytorch.zeros(2, device=1), tinytorch.zeros(2, device="cuda")
        print(x.device, y._array.device.id)
        print(tinytorch.cuda.device_count(), model[2].weight.cuda(1) is model[2].weight)
        print(np.isfinite(losses).all(), len(set(losses)))
        """,
        fake_cupy,
    )
    assert lines == ["1 cuda:1 1", "fp32 1", "cuda:1 1", "3 True", "True 4"]


def test_other_threads_compute_on_the_gpu_of_the_process(fake_cupy: Any) -> None:
    lines = run(
        """
        first, model = train("cuda:2")
        found = []
        def work():
            found.append(cupy.cuda.runtime.getDevice())
            found.append(model[0].weight.numpy().shape)
            found.append(train("cuda")[0] == first)
            x = Tensor(np.arange(2), backend="cupy")
            found.append(tuple(model[0](x).shape))
            found.append(cupy.cuda.runtime.getDevice())
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        print(*found)
        """,
        fake_cupy,
    )
    assert lines == ["0 (5, 4) True (2, 4) 2"]


def test_an_id_out_of_range_raises_in_a_thread_that_only_reads(fake_cupy: Any) -> None:
    lines = run(
        """
        model = Embedding(5, 4).to("cuda:2")
        result = model(Tensor(np.array([7]), backend="cupy"))
        found = []
        def read():
            try:
                result.numpy()
            except IndexError as error:
                found.append(str(error))
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        print(*found)
        """,
        fake_cupy,
    )
    assert lines == ["token id 7 is outside of the vocabulary [0, 5)"]


def test_an_optimizer_steps_in_a_thread_of_its_own(fake_cupy: Any) -> None:
    lines = run(
        """
        model = Linear(4, 3).to("cuda:1")
        model(tinytorch.ones(2, 4, device="cuda")).sum().backward()
        before = model.weight.numpy().copy()
        thread = threading.Thread(target=AdamW(model.parameters()).step)
        thread.start()
        thread.join()
        print((model.weight.numpy() != before).all())
        """,
        fake_cupy,
    )
    assert lines == ["True"]


def test_a_second_gpu_in_one_process_is_refused(fake_cupy: Any) -> None:
    lines = run(
        """
        tinytorch.cuda.set_device(1)
        print(refused(lambda: tinytorch.zeros(2, device="cuda:0")))
        tinytorch.zeros(2, device="cuda:1")
        print(refused(lambda: tinytorch.cuda.set_device(2)))
        print(refused(lambda: tinytorch.zeros(2).to("cuda:3")))
        """,
        fake_cupy,
    )
    assert lines[0].startswith("cuda:0: this process computes on cuda:1, and a process uses one")
    assert "tinytorch.cuda.set_device(2) before the first tensor" in lines[1]
    assert lines[2] == "cuda:3: the last GPU is cuda:2"


def test_the_device_that_cupy_uses_is_used(fake_cupy: Any) -> None:
    """Also where it changes later: nothing of the first device is used on the second."""
    lines = run(
        """
        modes, losses, shapes = [], [], []
        from tinytorch.backends.cupy import gemm, graph
        kept = graph.GraphedCallable(lambda x: gemm.gemm(x, x))
        for number in (0, 1, 2, 0):
            cupy.cuda.Device(number).use()
            loss, model = train("cuda")
            modes.append(backends.get("cupy").matmul)
            losses.append(loss)
            assert model[0].weight.device == tinytorch.device(number)
            x = cupy.ones((3, 3), cupy.float32)
            for _ in range(3):
                shapes.append((kept("key", x).get() == 3).all())
            try:
                model(Tensor(np.array([7]), backend="cupy")).numpy()
            except IndexError as error:
                modes.append(str(error)[:10])
        print(*modes)
        print(np.allclose(losses, losses[0], atol=0.01), losses[0] == losses[3], all(shapes))
        """,
        fake_cupy,
    )
    assert lines[0].split() == [
        word for mode in ("tf32", "fp32", "tf32", "tf32") for word in (mode, "token", "id", "7")
    ]
    assert lines[1] == "True True True"
