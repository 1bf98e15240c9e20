"""PyTorch on the GPU: whether it is there, CUDA graphs, and memory."""

import importlib.util
from collections.abc import Callable
from typing import Any

DEVICE = "cuda"  # "cpu" in the tests, where a CUDA graph is a fake


def module() -> Any:
    """The module torch if it is installed and finds a GPU, else None."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch if DEVICE == "cpu" or torch.cuda.is_available() else None


def free_memory() -> None:
    """Drop compiled functions and cached memory of earlier measurements."""
    if torch := module():
        torch.compiler.reset()
        torch.cuda.empty_cache()


def captured(work: Callable[[], object]) -> Callable[[], object]:
    """`work()` as one CUDA graph, captured by hand.

    Its arrays are reused by each replay; it must not read results on the host.
    """
    cuda = module().cuda
    stream = cuda.Stream()
    stream.wait_stream(cuda.current_stream())
    with cuda.stream(stream):  # warm up where nothing else runs, as PyTorch's notes say
        for _ in range(3):
            work()
    cuda.current_stream().wait_stream(stream)
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        work()
    replay: Callable[[], object] = graph.replay
    return replay


def peak_memory(step: Callable[[], object]) -> float:
    """Peak MiB that PyTorch has allocated during a step, with what was allocated before."""
    cuda = module().cuda
    cuda.reset_peak_memory_stats()
    step()
    peak: float = cuda.max_memory_allocated() / 2**20
    return peak
