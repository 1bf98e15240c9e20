"""The kernels of a step and their times, by PyTorch's profiler."""

from collections import defaultdict

from . import torch_side
from .modes import set_mode
from .our_side import free_memory, our_training
from .settings import Row, Rows, Settings, random_text
from .timing import Step, timed, wait

SHOWN = 30  # kernels that take the most time


def kernel_times(step: Step) -> list[tuple[str, float]]:
    """Name and microseconds of each kernel that `step` runs on the device, by PyTorch's profiler;
    empty without PyTorch."""
    if torch_side.module() is None:
        return []
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    activity = getattr(ProfilerActivity, torch_side.DEVICE.upper())
    wait()
    # Without acc_events PyTorch warns that the events of earlier cycles are discarded.
    with profile(activities=[activity], acc_events=True) as record:
        step()
        wait()
    kind = getattr(DeviceType, torch_side.DEVICE.upper())
    events = [event for event in record.events() if event.device_type == kind]
    return [(e.name, e.time_range.elapsed_us()) for e in events
            if not e.name.startswith(("Memcpy", "Memset"))]  # fmt: skip


def kernels_of_steps(settings: Settings) -> Rows:
    """The kernels of TinyTorch's baby GPT in each mode, those that take the most time first."""
    for mode in settings.modes if torch_side.module() else []:
        free_memory()
        set_mode(mode)
        step, _ = our_training(settings.baby, random_text(200_000))
        whole = 1e6 * timed(step, 3)
        calls: defaultdict[str, list[float]] = defaultdict(list)
        for name, microseconds in kernel_times(step):
            calls[name].append(microseconds)
        busy = sum(map(sum, calls.values()))
        yield _row(
            f"{mode.name}: the step, and its kernels", sum(map(len, calls.values())), busy, whole
        )
        longest = sorted(calls.items(), key=lambda item: -sum(item[1]))
        for name, times in longest[:SHOWN]:
            yield _row(f"{mode.name}: {name:.70}", len(times), sum(times), whole)


def _row(name: str, calls: int, microseconds: float, whole: float) -> Row:
    value = {"calls": calls, "us": microseconds, "of the step": microseconds / whole}
    return Row(
        name.replace("|", "/"),
        value,
        [str(calls), f"{microseconds:,.1f}", f"{microseconds / whole:.1%}"],
    )
