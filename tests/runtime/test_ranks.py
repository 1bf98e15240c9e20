"""Ranks of MPI, under mpiexec: sums, faults, whole programs; and their parts in this process."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import require
from tiny_training import TINY, make_trainer, steps, weights

from tinytorch import Tensor, Trainer, backends
from tinytorch.backends import BackendError
from tinytorch.backends.groups import MPIGroup, buckets
from tinytorch.runtime import launch
from tinytorch.runtime.agreement import RankError
from tinytorch.runtime.heartbeat import (
    ALONE,
    COMPUTING,
    HANGING,
    SILENCE,
    WAITING,
    Heartbeat,
    Watch,
    patience,
)  # fmt: skip
from tinytorch.runtime.ranks import Ranks
from tinytorch.serialization import checkpoint
from tinytorch.tinygpt import RunConfig, together

HERE = Path(__file__).parent
PROGRAM, CHECKS = HERE / "ranks_program.py", HERE / "ranks_checks.py"


def mpiexec() -> str:
    """The launcher of this environment's MPI."""
    require("mpi4py")
    found = shutil.which("mpiexec", path=sysconfig.get_path("scripts")) or shutil.which("mpiexec")
    return found or str(require("an mpiexec"))


def run(count: int, *arguments: Any, **environment: str) -> tuple[int, str, str]:
    """Exit code and output of a Python program in several ranks."""
    done = subprocess.run(
        [mpiexec(), "-n", str(count), sys.executable, *map(str, arguments)],
        capture_output=True, text=True, timeout=300, env=variables(**environment),
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def variables(**environment: str) -> dict[str, str]:
    tests = HERE.parent
    ours = [str(folder) for folder in (tests.parent, tests, tests / "fake_cupy")]
    path = os.pathsep.join([*ours, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **environment}


# Training, in one start of two and of three ranks


@pytest.fixture(scope="module", params=[2, 3])
def checks(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Results of `ranks_checks.py`; two ranks run the fake CuPy too."""
    cupy = ["cupy"] if request.param == 2 and shutil.which("g++") else []
    code, out, errors = run(request.param, "-m", "mpi4py", CHECKS, *cupy, TT_MATMUL="fp32")
    assert code == 0, errors
    return {**json.loads(out), "size": request.param}


ranks_start = pytest.mark.xdist_group("ranks")


@pytest.mark.slow
@ranks_start
@pytest.mark.parametrize("case", ["divided", "early", "too many", "owned", "captured"])
def test_training_equals_that_of_one_process(checks: dict[str, Any], case: str) -> None:
    if case not in checks:
        pytest.skip("only in two ranks, and with g++")
    assert checks[case]["losses"] < 1e-5
    assert checks[case]["weights"] < 1e-4
    assert checks[case]["learned"] != 0


@pytest.mark.slow
@ranks_start
def test_ranks_with_batches_of_their_own(checks: dict[str, Any]) -> None:
    size = checks["size"]
    rows = ", ".join(str(2 - rank % 2) for rank in range(size))
    for found in (checks["owned"], checks.get("captured", checks)["owned"]):
        assert max(found["losses"], found["validation"], found["epoch"]) < 1e-5
        assert found["weights"] < 1e-4
        message = f"the batches of the ranks have {rows} rows: each rank must have as many"
        assert found["messages"] == [message] * size
        (hooked,) = set(found["hooked"])
        assert hooked.startswith(f"rank {size - 1}: own_batches=True: ")
        assert hooked.endswith(", so every rank needs the whole batch")


@pytest.mark.slow
@ranks_start
def test_each_rank_keeps_the_state_of_its_part(checks: dict[str, Any]) -> None:
    adam, muon = zip(*checks["divided"]["kept"], strict=True)
    assert set(adam) == {checks["divided"]["all"][0]}  # not divided by default
    assert sum(muon) == checks["divided"]["all"][1]
    assert max(muon) - min(muon) <= 3
    kept = zip(*checks["too many"]["kept"], strict=True)
    assert [sum(each) for each in kept] == checks["too many"]["all"]


@pytest.mark.slow
@ranks_start
def test_a_checkpoint_of_divided_optimizers_is_whole(checks: dict[str, Any]) -> None:
    assert checks["resumed"]["same"] == [True, True]
    assert checks["resumed"]["states"] < 1e-6
    assert checks["resumed"]["weights"] < 1e-5


@pytest.mark.slow
@ranks_start
def test_gradients_from_before_a_step_count_once(checks: dict[str, Any]) -> None:
    assert checks["earlier"]["moved"] < -8
    assert checks["earlier"]["difference"] < 1e-5


@pytest.mark.slow
@ranks_start
def test_other_frozen_parameters_in_each_rank(checks: dict[str, Any]) -> None:
    assert checks["frozen"]["differences"] == [0.0] * 8


@pytest.mark.slow
@ranks_start
def test_a_copy_of_a_trainer_with_divided_optimizers_trains_as_it_does(
    checks: dict[str, Any],
) -> None:
    found = checks["copied"]
    assert found["same"]
    assert found["losses"]
    assert found["weights"] == 0
    assert [sum(each) for each in zip(*found["kept"], strict=True)] == found["all"]


@pytest.mark.slow
@ranks_start
def test_parameters_that_only_one_rank_uses_move_in_all(checks: dict[str, Any]) -> None:
    assert checks["unused"]["moved"] == [[True] * 4 + [False] * 2] * checks["size"]


@pytest.mark.slow
@ranks_start
@pytest.mark.parametrize("case", ["failing", "failing early"])
def test_an_error_in_one_rank_is_raised_in_all_and_changes_nothing(
    checks: dict[str, Any], case: str
) -> None:
    size, found = checks["size"], checks[case]
    assert found["caught"] == [f"rows of rank {size - 1}"] * size
    assert all(found["same"])
    assert all("some ranks have hooks on the model" in message for message in found["hooked"])
    assert found["loss"] > 0


@pytest.mark.slow
@ranks_start
def test_weights_that_differ_by_rounding_are_repaired_and_others_found(
    checks: dict[str, Any],
) -> None:
    assert checks["checked"]["repaired"]
    *drifts, texts = checks["checked"]["messages"]
    assert len(drifts) == 2  # in random numbers, and in weights
    assert all("random numbers of rank 1 differ" in message for message in drifts)
    assert ("rank 0 and rank 2 have different texts: 0 and 1" in texts) == (checks["size"] == 3)


@pytest.mark.slow
@ranks_start
def test_an_evaluation_is_divided(checks: dict[str, Any]) -> None:
    assert checks["validated"]["difference"] < 1e-6


@pytest.mark.slow
@ranks_start
def test_sums_on_gpus_are_captured_in_the_same_order_in_all_ranks(checks: dict[str, Any]) -> None:
    if "captured" not in checks:
        pytest.skip("only in two ranks, and with g++")
    ours, theirs = checks["captured"]["calls"]
    assert ours == theirs
    assert {name for name, _ in ours} == {"all_reduce", "all_gather"}
    captured, streams = checks["captured"]["captured"], checks["captured"]["streams"]
    count = sum(captured)  # of one step; those before it run eagerly
    assert captured == [False] * (len(ours) - count) + [True] * count
    assert ours == ours[:count] * (len(ours) // count)
    side = streams[0]  # of the first bucket; the loss and the weights are on the current one
    buckets = streams[:count].count(side)
    assert 1 < buckets < count
    kinds = [stream == side for stream in streams]
    assert kinds == [i % count < buckets for i in range(len(ours))]
    assert {stream for stream in streams[:-count] if stream != side} == {0}
    assert len({stream for stream in streams[-count:] if stream != side} - {0}) == 1


# Whole programs


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_text("to be or not to be, that is the question\n" * 40, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def flags(text: Path) -> list[Any]:
    return [PROGRAM, "--data", text, "--steps", "40", "--batch-size", "3", "--quiet"]


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line.get("loss", line.get("val_loss")) for line in lines]


@pytest.mark.slow
@ranks_start
def test_a_run_that_three_ranks_begin_and_one_process_ends(
    flags: list[Any], tmp_path: Path
) -> None:
    whole, ours = tmp_path / "whole", tmp_path / "ours"
    single = [sys.executable, *map(str, [*flags, "--processes", 1, "--out", whole])]
    subprocess.run(single, check=True, env=variables(), timeout=300)
    code, _, errors = run(3, *flags, "--out", ours, FAULT="SIGTERM:2:20")
    assert code == 128 + signal.SIGTERM, errors
    assert checkpoint.load(ours / "checkpoint.safetensors")[1]["step"] == 21
    assert not errors.strip()
    resume = [sys.executable, str(PROGRAM), "--quiet", "--processes", "1", "--resume", str(ours)]
    subprocess.run(resume, check=True, env=variables(), timeout=300)
    np.testing.assert_allclose(losses(ours), losses(whole), atol=1e-5)
    a, b = (checkpoint.load(f / "checkpoint.safetensors") for f in (ours, whole))
    for name, array in a[0].items():
        np.testing.assert_allclose(array, b[0][name], atol=1e-4, err_msg=name)
    assert a[1]["random"] == b[1]["random"]
    assert sorted(p.name for p in ours.iterdir()) == sorted(p.name for p in whole.iterdir())


@pytest.mark.slow
@ranks_start
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("SIGKILL:1:20", "tinygpt: rank 1 (process "),
        ("SIGSTOP:0:21", "tinygpt: rank 0 (process "),
        ("hang:1:25", "is alive, but the others have waited for it"),
        ("full:0:12", "No space left on device"),
        ("exit:1:21", "ended with exit code 7"),
        ("stop:1:21", "was stopped by SIGINT, so all ranks end: the last save is intact"),
    ],
)
def test_a_broken_rank_ends_all_and_is_named(
    flags: list[Any], tmp_path: Path, fault: str, message: str
) -> None:
    code, _, errors = run(2, *flags, "--out", tmp_path / "run", FAULT=fault)
    assert code != 0
    assert sum(line.startswith("tinygpt: ") for line in errors.splitlines()) == 1
    assert message in errors
    assert "Traceback" not in errors
    step = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["step"]
    assert step in (10, 15, 20, 25)  # where an evaluation was


@pytest.mark.slow
@ranks_start
@pytest.mark.parametrize(
    ("fault", "code", "step", "message"),
    [
        ("memory:1:21", 2, 21, "tinygpt: out of memory (Unable to allocate 9.3 GiB)"),
        ("final:1:39", 128 + signal.SIGTERM, 40, "tinygpt: rank 1 (process "),
    ],
)
def test_what_one_rank_meets_ends_all_after_a_save(
    flags: list[Any], tmp_path: Path, fault: str, code: int, step: int, message: str
) -> None:
    found, _, errors = run(2, *flags, "--out", tmp_path / "run", FAULT=fault)
    assert found == code
    (line,) = (line for line in errors.splitlines() if "tinygpt" in line)
    assert line.startswith(message)
    assert fault.startswith("memory") or "was stopped by SIGTERM, so all ranks end" in line
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == step


@pytest.mark.slow
@ranks_start
def test_the_others_wait_for_the_results_of_rank_0(flags: list[Any], tmp_path: Path) -> None:
    code, _, errors = run(2, *flags, "--out", tmp_path / "run", FAULT="results:0:20")
    assert (code, errors.strip()) == (0, "")
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.slow
@ranks_start
def test_ctrl_c_at_mpiexec_saves_once(flags: list[Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [mpiexec(), "-n", "2", sys.executable, *map(str, flags[:-1])]
    command[command.index("--steps") + 1] = "100000"
    process = subprocess.Popen(
        [*command, "--out", str(out)], env=variables(), stdout=subprocess.PIPE, text=True
    )
    while not (out / "metrics.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert output.count("Stopped after step") == 1
    assert checkpoint.load(out / "checkpoint.safetensors")[1]["step"] > 0


@pytest.mark.slow
@ranks_start
def test_ranks_with_different_texts_are_found_at_the_start(
    flags: list[Any], text: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_text(text.read_text(encoding="utf-8").swapcase(), encoding="utf-8")
    theirs = [other if flag == text else flag for flag in flags]
    parts = [
        [sys.executable, *map(str, f), "--out", str(tmp_path / "run")] for f in (flags, theirs)
    ]
    command = [mpiexec(), "-n", "1", *parts[0], ":", "-n", "1", *parts[1]]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=variables(), check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("tinygpt: rank 0 and rank 1 have different texts: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


# In this process


class Mirror:
    """A communicator whose other ranks do as this one does; or answer with `others`."""

    def __init__(self, size: int = 2, rank: int = 0) -> None:
        self.size, self.rank = size, rank
        self.others: Callable[[Any], Any] = lambda value: value

    def Get_rank(self) -> int:  # noqa: N802
        return self.rank

    def Get_size(self) -> int:  # noqa: N802
        return self.size

    def Ibarrier(self) -> Any:  # noqa: N802
        answers = iter([False] * 250 + [True])

        class Request:
            def Test(self) -> bool:  # noqa: N802
                return next(answers)

        return Request()

    def Bcast(self, array: Any) -> None:  # noqa: N802
        pass

    def allgather(self, value: Any) -> list[Any]:
        return [value if i == self.rank else self.others(value) for i in range(self.size)]

    def bcast(self, value: Any) -> Any:
        return value if self.rank == 0 else self.others(value)


class MirrorGroup(MPIGroup):
    def _sum(self, array: Any) -> None:
        array[...] = sum(self.comm.allgather(array.copy()))

    def _share(self, rows: Any) -> None:
        pass

    def send_to_first(self, value: Any, rank: int) -> Any:
        return value


@pytest.fixture
def group() -> MirrorGroup:
    return MirrorGroup(Mirror())


def test_sums_of_arrays_of_any_layout_and_dtype(group: MirrorGroup) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.random((3, 4)), np.asfortranarray(rng.random((5, 2))), rng.random((4, 6))[:, ::2],
              np.float32(rng.random(7)), np.zeros((0, 3)), np.float32([[1]])]  # fmt: skip
    before = [array.copy() for array in arrays]
    group.sum(arrays)
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, 2 * old)


def test_buckets_hold_each_array_once_in_order() -> None:
    arrays = [np.zeros(n, d) for n, d in ((5, "f4"), (3, "f4"), (2, "f8"), (9, "f8"), (1, "f4"))]
    found = list(buckets(arrays, 40))
    assert [id(a) for bucket in found for a in bucket] == [id(a) for a in arrays]
    assert [len(bucket) for bucket in found] == [2, 1, 1, 1]


def test_rows_are_divided_and_gradients_summed(group: MirrorGroup) -> None:
    ours = make_trainer("numpy", False)
    ours.ranks = Ranks(group)
    assert all(np.isfinite(steps(ours, 3, blocks=4)))
    ours.ranks.check(ours)
    assert ours.evaluate([(Tensor(np.zeros((1, 8), np.int64)),) * 2]) > 0


def test_a_divided_optimizer_needs_its_ranks(group: MirrorGroup) -> None:
    ours = make_trainer("numpy", False)
    ours.ranks = Ranks(group)
    steps(ours, 1)
    before = weights(ours)
    alone = Trainer(ours.model, ours.optimizers, ours.loss_fn)
    with pytest.raises(ValueError, match="another trainer has divided an optimizer among the rank"):
        steps(alone, 1)
    assert all(np.array_equal(before[name], array) for name, array in weights(ours).items())
    with pytest.raises(TypeError, match="cannot be pickled, because"):
        pickle.dumps(ours)


def test_errors_and_disagreements_are_raised_in_all_ranks(group: MirrorGroup) -> None:
    ranks = Ranks(group)
    assert ranks.together(lambda: 3) == 3
    assert ranks.synchronise(2.0, 0) == (4.0, 0)  # the mirror's rank 1 also claims to be rank 0
    with pytest.raises(KeyError, match="mine"):
        ranks.together(lambda: {}["mine"])
    assert isinstance(group.shared_error, KeyError)
    ranks.agree({"texts": "a"})
    group.comm.others = lambda value: {"texts": "b" * 200}
    with pytest.raises(
        RankError, match=r"rank 0 and rank 1 have different texts: a and b{100}\.\."
    ):
        ranks.agree({"texts": "a"})
    group.comm.others = lambda value: {"settings": {"lr": 2, "seed": 1}}
    with pytest.raises(RankError, match=r"settings: \{'lr': 1\} and \{'lr': 2\}$"):
        ranks.agree({"settings": {"lr": 1, "seed": 1}})


def test_different_batches_or_hooks_are_found_in_the_first_step(group: MirrorGroup) -> None:
    ours = make_trainer("numpy", False)
    ours.ranks = Ranks(group)
    group.comm.others = lambda value: dict.fromkeys(value, 0) if type(value) is dict else value
    with pytest.raises(
        RankError, match=r"different first batches \(call manual_seed with the same"
    ):
        steps(ours, 1)

    def hooked(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype == np.int64:
            value = value.copy()
            value[1] = 1
        return value

    group.comm.others = hooked
    with pytest.raises(RankError, match="some ranks have hooks on the model and others do not"):
        steps(ours, 1)


def test_an_error_has_the_traceback_of_its_rank(group: MirrorGroup) -> None:
    with pytest.raises(KeyError) as raised:
        Ranks(group).together(lambda: {}["mine"])
    assert "In rank 0:\nTraceback" in raised.value.__notes__[0]


def test_evaluation_of_nothing(group: MirrorGroup) -> None:
    ours = make_trainer("numpy", False)
    ours.ranks = Ranks(group)
    with pytest.raises(ValueError, match="the loader has no batch"):
        ours.evaluate([])
    ignored = Tensor(np.full((1, 8), -100))
    assert np.isnan(ours.evaluate([(Tensor(np.zeros((1, 8), np.int64)), ignored)]))


@pytest.mark.parametrize("layout", ["C", "F", "strided"])
def test_nccl_gets_arrays_in_c_order(cupy: str, layout: str) -> None:
    from tinytorch.backends.cupy.nccl import NCCLGroup

    backend = backends.get(cupy)
    array = backend.asarray(np.arange(24, dtype=np.float32).reshape(4, 6))
    array = {"C": array, "F": array.T, "strided": array[:, ::2]}[layout]
    before, given = backend.to_numpy(array).copy(), []

    class NCCL:
        def all_reduce(self, x: Any, out: Any) -> None:
            given.append(x)
            out[...] = x * 2

        def broadcast(self, x: Any, root: int) -> None:
            given.append(x)

    group = NCCLGroup.__new__(NCCLGroup)
    group._comm = NCCL()
    group.sum([array])
    np.testing.assert_array_equal(backend.to_numpy(array), 2 * before)
    group.broadcast(array)
    np.testing.assert_array_equal(backend.to_numpy(array), 2 * before)
    assert all(x.flags.c_contiguous for x in given)
    assert given[1].dtype == np.uint8


def test_groups_that_cannot_be_used(group: MirrorGroup, strict: str) -> None:
    trainer = make_trainer("numpy", False)
    with pytest.raises(ValueError, match="processes=2 cannot be combined with group="):
        Trainer(trainer.model, trainer.optimizers, trainer.loss_fn, processes=2, group=group)
    other = make_trainer(strict, False)
    other.ranks = Ranks(group)
    with pytest.raises(BackendError, match="'strict' cannot be used by several ranks"):
        steps(other, 1)


def test_a_launcher_is_recognised_by_its_variables() -> None:
    assert not launch.is_launched({})
    assert not launch.is_launched({"PMI_SIZE": "1", "PMI_RANK": "0"})
    assert launch.is_launched({"PMI_SIZE": "3", "PMI_RANK": "2"})
    assert launch.is_launched({"OMPI_COMM_WORLD_SIZE": "2"})
    assert launch.is_launched({"PMIX_RANK": "0"})
    assert launch.is_launched({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "2"})
    assert not launch.is_launched({"PMIX_RANK": "0", "SLURM_STEP_NUM_TASKS": "1"})
    assert not launch.is_launched({"PMI_SIZE": "1", "SLURM_STEP_NUM_TASKS": "4"})
    assert not launch.is_launched({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"})
    assert not launch.is_launched({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})  # sbatch's script
    assert launch.rank({"PMI_RANK": "2"}) == 2
    assert launch.rank({}) == 0


def test_tasks_of_srun_without_a_process_manager_are_told() -> None:
    tasks = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}
    assert launch.is_launched(tasks)
    assert launch.rank(tasks) == 3
    for found in (tasks, tasks | {"PMIX_RANK": "3"}):  # an MPI without PMIx
        assert "srun has started 4 tasks without a process" in launch.why_alone("MPICH 5", found)
    assert "mpiexec belongs to another MPI" in launch.why_alone("MPICH 5", {"PMI_SIZE": "2"})


@pytest.mark.parametrize(
    ("code", "message"),
    [(0, ""), (2, ""), (130, ""), (-15, "was ended by SIGTERM, so all ranks end: the last save"),
     (-9, "if memory ran out"), (7, "ended with exit code 7, so all ranks end")],
)  # fmt: skip
def test_the_supervisor_names_a_rank_that_ended_without_a_word(
    code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end(code: int) -> None:
        raise SystemExit(code)

    status = -code if code < 0 else code << 8
    monkeypatch.setattr(launch.os, "fork", lambda: 123, raising=False)
    monkeypatch.setattr(launch.os, "waitpid", lambda child, flags: (child, status))
    monkeypatch.setattr(launch.os, "_exit", end)
    monkeypatch.setattr(launch.signal, "signal", lambda number, handler: None)
    monkeypatch.setenv("PMI_RANK", "1")
    with pytest.raises(SystemExit) as ended:
        launch.supervise("tinygpt")
    assert ended.value.code == (128 - code if code < 0 else code)
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.startswith("tinygpt: rank 1 (process 123 on ") == bool(message)


class Devices:
    """A backend of some GPUs."""

    device_type = "cuda"

    def __init__(self, count: int) -> None:
        self.count, self.used = count, -1

    def device_count(self) -> int:
        return self.count

    def on_device(self, index: int) -> None:
        self.used = index


def test_each_rank_of_a_machine_takes_a_gpu_and_more_ranks_than_gpus_are_an_error() -> None:
    world = launch.World.__new__(launch.World)
    world._local, world.group = MPIGroup(Mirror(3, 2)), MPIGroup(Mirror(6, 5))
    four: Any = Devices(4)
    world.use_device(four)
    assert four.used == 2
    one: Any = Devices(1)  # chosen by the launcher
    world.use_device(one)
    assert one.used == -1
    two: Any = Devices(2)
    with pytest.raises(
        BackendError, match=r"rank 5 is number 3 of 3 on .* has 2 GPUs: start at most"
    ):
        world.use_device(two)


def test_two_ranks_on_one_gpu_are_an_error(cupy: str) -> None:
    from tinytorch.backends.cupy.nccl import NCCLGroup

    with pytest.raises(BackendError, match="rank 0 and rank 1 are on the same GPU"):
        NCCLGroup(MPIGroup(Mirror()))


@pytest.mark.parametrize("text", ["x", "0", "-1", "nan"])
def test_the_patience_with_a_rank_is_a_setting(text: str) -> None:
    assert patience({}) == HANGING
    assert patience({"TT_RANK_TIMEOUT": "90"}) == 90
    with pytest.raises(ValueError, match="TT_RANK_TIMEOUT must be a positive number of seconds"):
        patience({"TT_RANK_TIMEOUT": text})


@pytest.mark.parametrize("rank", [0, 1])
def test_a_wrong_setting_of_one_rank_ends_all(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line(rank, [[], []])
    gathered: list[Any] = []

    def allgather(value: Any) -> list[Any]:
        gathered.append(value)
        return [("rank 0", ""), ("rank 1", "rank 1: it is wrong")]

    monkeypatch.setattr(line, "allgather", allgather)
    if rank:
        monkeypatch.setenv("TT_RANK_TIMEOUT", "abc")
    with pytest.raises(ValueError, match="rank 1: it is wrong"):
        Heartbeat(line, print)
    ((name, error),) = gathered
    assert name.startswith(f"rank {rank} (process ")
    message = ": TT_RANK_TIMEOUT must be a positive number of seconds, not 'abc'"
    assert error == (name + message if rank else "")


def test_ranks_wait_as_long_as_they_are_told() -> None:
    states = {0: (50, WAITING), 1: (49, COMPUTING)}
    found = beats(Watch(["rank 0", "rank 1"], 0.0, hanging=90), 120, states)
    assert found[88] == ""
    assert found[-1].endswith("the others have waited for it for 90 seconds")


class Line:
    """A communicator of two heartbeats of this process."""

    def __init__(self, rank: int, boxes: list[list[Any]]) -> None:
        self.rank, self.boxes, self.aborted = rank, boxes, list[int]()

    def Get_rank(self) -> int:  # noqa: N802
        return self.rank

    def allgather(self, value: Any) -> list[Any]:
        return [("rank 0 (process 1 on pc)", ""), ("rank 1 (process 2 on pc)", "")]

    def Isend(self, array: Any, peer: int) -> Any:  # noqa: N802
        self.boxes[peer].append(array.copy())
        return self

    def Test(self) -> bool:  # noqa: N802
        return True

    def Iprobe(self, peer: int) -> bool:  # noqa: N802
        return bool(self.boxes[self.rank])

    def Recv(self, array: Any, peer: int) -> None:  # noqa: N802
        array[...] = self.boxes[self.rank].pop(0)


def test_heartbeats_tell_rank_0_what_the_others_do() -> None:
    boxes: list[list[Any]] = [[], []]
    ours, theirs = (Heartbeat(Line(rank, boxes), print) for rank in (0, 1))
    for each in (ours, theirs):
        each.stop()  # the thread: its parts are called here
    for box in boxes:
        box.clear()
    phases = []
    with theirs.alone():
        phases.append(theirs._phase)
        with theirs.waiting():
            phases.append(theirs._phase)
        phases.append(theirs._phase)
        theirs._send()
    phases.append(theirs._phase)
    ours._receive()
    assert phases == [ALONE, WAITING, ALONE, COMPUTING]
    assert ours._watch._states[1] == (1, ALONE)
    ours._send()
    theirs._receive()
    assert theirs._watch._states[0] == (0, COMPUTING)


@pytest.fixture
def watch() -> Watch:
    return Watch(["rank 0", "rank 1", "rank 2"], 0.0)


def beats(watch: Watch, until: int, states: dict[int, tuple[int, int]], own: int = 0) -> list[str]:
    """What is found in each second, if these ranks say each second what they do."""
    found = []
    for now in range(1, until):
        for rank, state in states.items():
            watch.hear(rank, state, now)
        found.append(watch.problem(own, now))
    return found


def test_a_silent_rank_is_noticed_by_rank_0_and_rank_0_by_all(watch: Watch) -> None:
    found = beats(watch, 20, {0: (5, WAITING), 1: (5, WAITING)})
    assert found[int(SILENCE) - 1] == ""
    assert found[int(SILENCE)] == f"rank 2 has not answered for {SILENCE:.0f} seconds"
    other = Watch(["rank 0", "rank 1"], 0.0)
    assert "rank 0 has not" in beats(other, 20, {}, own=1)[-1]


def test_a_rank_that_is_alive_but_does_not_come_is_noticed(watch: Watch) -> None:
    states = {0: (50, WAITING), 1: (49, COMPUTING), 2: (50, WAITING)}
    found = beats(watch, 60, states)
    assert found[int(HANGING) - 1] == ""
    assert found[-1].startswith("rank 1 is alive, but the others have waited")


def test_ranks_that_all_wait_have_taken_different_branches(watch: Watch) -> None:
    found = beats(watch, 60, dict.fromkeys(range(3), (50, WAITING)))
    assert found[int(HANGING) - 1] == ""
    assert found[-1].startswith("all ranks wait for each other")


def test_ranks_may_wait_long_for_rank_0_alone_and_for_the_first_steps() -> None:
    names = ["rank 0", "rank 1"]
    assert not any(beats(Watch(names, 0.0), 200, {0: (49, ALONE), 1: (50, WAITING)}))
    assert not any(beats(Watch(names, 0.0), 200, {0: (3, COMPUTING), 1: (4, WAITING)}))


def test_time_in_which_this_process_was_stopped_does_not_count(watch: Watch) -> None:
    assert watch.problem(0, 1.0) == ""
    assert watch.problem(0, 500.0) == ""
    assert watch.problem(0, 501.0) == ""


def test_a_run_of_ranks_starts_saves_and_resumes(text: Path, tmp_path: Path) -> None:
    """As rank 0 of two that do the same; the rest of it runs under mpiexec."""
    out = tmp_path / "run"
    world: Any = SimpleNamespace(group=MirrorGroup(Mirror()), use_device=lambda backend: None)
    config = RunConfig(replace(TINY, steps=20), data=str(text))
    with ExitStack() as stack:
        run = together.start(world, config, out, stack)
        assert run.leads
        assert run.lock is not None
        assert not run.is_complete()
        for _ in range(3):
            run.step()
        assert run.trainer.shards
        run.save()
    with ExitStack() as stack:
        again = together.resume(world, out, stack)
        assert again.trainer.step == 3
        assert together.facts(again)["steps"] == 3
    world.group.comm.others = lambda value: (
        {**value, "texts": "another"} if isinstance(value, dict) and "texts" in value else value
    )
    with (
        ExitStack() as stack,
        pytest.raises(RankError, match="rank 0 and rank 1 have different texts"),
    ):
        together.resume(world, out, stack)


def test_only_an_error_of_all_ranks_is_followed_by_a_save_that_needs_all(
    text: Path, tmp_path: Path
) -> None:
    world: Any = SimpleNamespace(group=MirrorGroup(Mirror()), use_device=lambda backend: None)
    with ExitStack() as stack:
        config = RunConfig(replace(TINY, steps=20), data=str(text))
        run = together.start(world, config, tmp_path / "run", stack)
    own, shared = ValueError("own"), ValueError("shared")
    assert run.can_save(own)  # nothing is divided yet
    run.step()
    world.group.shared_error = shared
    assert run.can_save(shared)
    assert not run.can_save(own)
    run.trainer.updating = True
    assert not run.can_save(shared)
