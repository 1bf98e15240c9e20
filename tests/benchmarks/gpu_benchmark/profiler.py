"""The kernels of a step and their times, by PyTorch's profiler."""

from collections import defaultdict

from . import torch_side
from .modes import set_mode
from .our_side import OurTraining, free_memory
from .settings import Row, Rows, Settings, random_text
from .timing import Step, timed, wait
from .torch_training import TorchTraining

SHOWN, SHOWN_OF_PYTORCH = 30, 10  # kernels


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
    """The kernels of a step of the baby GPT in each mode, TinyTorch's and PyTorch eager's, those
    that take the most time first."""
    for mode in settings.modes if torch_side.module() else []:
        free_memory()
        set_mode(mode)
        text = random_text(settings.text)
        ours = OurTraining(settings.baby, text)
        theirs = TorchTraining(settings.baby, text, ours.trainer.model, mode)
        yield from _rows(f"{mode.name}, TinyTorch", ours.step, SHOWN)
        yield from _rows(f"{mode.name}, PyTorch eager", theirs.step, SHOWN_OF_PYTORCH)


def _rows(side: str, step: Step, shown: int) -> Rows:
    whole = 1e6 * timed(step, 3)
    calls: defaultdict[str, list[float]] = defaultdict(list)
    for name, microseconds in kernel_times(step):
        calls[name].append(microseconds)
    yield _row(f"{side}: all", [time for times in calls.values() for time in times], whole)
    longest = sorted(calls.items(), key=lambda item: -sum(item[1]))
    for name, times in longest[:shown]:
        yield _row(f"{side}: {name:.70}", times, whole)


def _row(name: str, times: list[float], whole: float) -> Row:
    microseconds = sum(times)
    value = {"calls": len(times), "us": microseconds, "of the step": microseconds / whole}
    cells = [str(len(times)), f"{microseconds:,.1f}", f"{microseconds / whole:.1%}"]
    return Row(name, value, cells)
