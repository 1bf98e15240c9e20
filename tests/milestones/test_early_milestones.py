"""The milestones of 1958 to 1998 as programs: they confirm their claims, and fail if one is false.

Each is broken on purpose, by a flag or by a wrong line in a copy of its source; then its exit code
must be 1, and the claim that does not hold is named.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require

from tinytorch import manual_seed
from tinytorch.data.digits import FILES, Digits, small_digits
from tinytorch.milestones.classifier import fit
from tinytorch.milestones.program import Output
from tinytorch.milestones.timeline import LESSONS, plot_timeline
from tinytorch.tensor import Tensor
from tinytorch.tito.milestones import MILESTONES

require("matplotlib")

ROOT = Path(__file__).parents[2]


@dataclass
class Case:
    """A milestone, and how it is run in little time.

    Attributes:
        path: the program.
        flags: flags with which its claims hold.
        pictures: the image files that it writes.
        claims: the number of claims.
        wrong_flags: flags with which a claim does not hold, and words of that claim.
        wrong_lines: a line of the source, what replaces it, and words of the claim that is false
            then.
        quick: flags of a run whose claims need not hold.
        brief: flags for the wrong lines, if not `flags`.
        slow: whether it takes many seconds until the claims hold.
    """

    path: Path
    flags: list[str]
    pictures: list[str]
    claims: int
    wrong_flags: dict[str, str]
    wrong_lines: list[tuple[str, str, str]]
    quick: list[str]
    slow: bool = False
    brief: list[str] | None = None


CASES = {
    "perceptron": Case(
        ROOT / "milestones/01_perceptron_1958/perceptron.py",
        ["--passes", "40"],
        ["boundary.png", "limits.png"],
        3,
        {"--passes 1": "learns to separate the two groups"},
        [
            ("self.weights + error * x", "self.weights - error * x", "learns to separate"),
            ("self.bias + error", "self.bias", "learns to separate"),
            ("self.predict(x)  #", "self.predict(x) * 0  #", "learns to separate"),
            ("np.arange(count) / count * 2", "np.arange(count) / count / 2", "no line separates"),
            ("/ np.linalg.norm(line)", "* 100", "than the convergence theorem allows"),
        ],
        ["--passes", "40"],
    ),
    "xor": Case(
        ROOT / "milestones/02_xor_1969/xor.py",
        ["--steps", "150"],
        ["one_layer.png", "ten_seeds.png"],
        3,
        {
            "--steps 5": "the loss of one layer is stuck at ln 2",
            "--hidden 1": "one hidden layer learns all four answers",
        },
        [
            ("TARGETS = [[0.0], [1.0], [1.0], [0.0]]", "TARGETS = [[0.0], [1.0], [1.0], [1.0]]",
             "one layer answers three of four at best"),
            ("Linear(2, hidden), Tanh(), ", "Linear(2, hidden), ", "one hidden layer learns all"),
            ("loss.backward()", "(0 * loss).backward()", "one hidden layer learns all"),
        ],
        ["--steps", "150"],
    ),
    "mlp": Case(
        ROOT / "milestones/03_mlp_1986/mlp.py",
        ["--epochs", "20"],
        ["learning.png", "confusion.png", "mistakes.png", "hidden_units.png"],
        1,
        {
            "--epochs 1": "of the held-out digits are read correctly",
            "--hidden 2": "of the held-out digits are read correctly",
        },
        [
            ("momentum=0.9, weight_decay=3e-3", "momentum=0.9, weight_decay=0.3",
             "of the held-out digits are read correctly"),
            ("(self.hidden(pixels))", "(self.hidden(pixels) * 0)",
             "of the held-out digits are read correctly"),
        ],
        ["--epochs", "1"],
    ),
    "lenet": Case(
        ROOT / "milestones/04_cnn_1998/lenet.py",
        [],
        ["learning.png", "confusion.png", "mistakes.png", "feature_maps.png"],
        2,
        {"--epochs 1": "of the held-out digits are read correctly"},
        [
            ("self.pool(self.feature_maps(images))", "self.pool(self.feature_maps(images)) * 0",
             "it reads more digits than the MLP"),
            ("(8, 32)", "(8, 64)", "with fewer parameters"),
        ],
        ["--epochs", "1"],
        slow=True,
        brief=["--epochs", "16"],
    ),
}  # fmt: skip


def run(path: Path, *flags: str, code: int = 0, **environment: str) -> str:
    """Output of a program, standard error after standard output."""
    done = subprocess.run(
        [sys.executable, str(path), *flags],
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture
def program(case: Case) -> ModuleType:
    return load_module(case.path)


def main(program: ModuleType, *flags: str) -> int:
    try:
        return int(program.main(list(flags)))
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.slow
def test_a_run_confirms_its_claims_and_writes_its_results(
    name: str, case: Case, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    output = run(case.path, *case.flags, "--out", str(out))
    assert output.count("confirmed: ") == case.claims
    assert "not confirmed" not in output
    assert {path.name for path in out.iterdir()} == {*case.pictures, "summary.json"}
    for picture in case.pictures:
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["milestone"] == name
    assert summary["backend"] == os.environ.get("TT_BACKEND", "numpy")
    assert summary["seconds"] > 0
    assert [claim["holds"] for claim in summary["claims"]] == [True] * case.claims


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "flags", "claim"),
    [(n, flags, claim) for n, case in CASES.items() for flags, claim in case.wrong_flags.items()],
)
def test_too_little_training_fails_the_claim(
    name: str, flags: str, claim: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, out = CASES[name], tmp_path / "out"
    assert main(load_module(case.path), *case.flags, *flags.split(), "--out", str(out)) == 1
    failed = [x for x in capsys.readouterr().err.splitlines() if claim in x]
    assert len(failed) == 1
    assert failed[0].startswith(f"{name}: not confirmed: ")
    summary = json.loads((out / "summary.json").read_text())
    assert [c["text"] for c in summary["claims"] if claim in c["text"] and not c["holds"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "before", "after", "claim"),
    [(n, *wrong) for n, case in CASES.items() for wrong in case.wrong_lines],
)
def test_a_wrong_line_fails_the_claim(
    name: str, before: str, after: str, claim: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    case = CASES[name]
    source = case.path.read_text("utf-8")
    assert source.count(before) == 1
    mlp = CASES["mlp"].path  # which LeNet is compared with
    broken = tmp_path / "milestones" / "broken" / case.path.name
    for folder in (broken.parent, tmp_path / "milestones" / mlp.parent.name):
        folder.mkdir(parents=True)
    shutil.copy(mlp, tmp_path / "milestones" / mlp.parent.name)
    broken.write_text(source.replace(before, after), "utf-8")
    flags = [*(case.brief or case.flags), "--out", str(tmp_path / "out")]
    assert main(load_module(broken), *flags) == 1
    assert re.search(f"{name}: not confirmed: .*{claim}", capsys.readouterr().err)


@pytest.mark.slow
def test_a_run_on_the_references_confirms_its_claims(case: Case, tmp_path: Path) -> None:
    """As with a student's package, in which only the references are. Slow cases are confirmed
    there every night, by test_whole_way.py; here a short run shows that they work."""
    flags = ["--out", str(tmp_path), "--quiet"]
    code = 1 if case.slow else 0
    given = case.quick if case.slow else case.flags
    run(case.path, *given, *flags, code=code, TT_BACKEND="reference")
    assert json.loads((tmp_path / "summary.json").read_text())["backend"] == "reference"


@pytest.mark.slow
def test_a_run_on_the_fake_gpu(case: Case, cupy: str, tmp_path: Path, program: ModuleType) -> None:
    """Of the same code, but short: its kernels run on the CPU."""
    shorter = {
        "--passes": ["--passes", "2"],
        "--steps": ["--steps", "5"],
        "--epochs": ["--data", str(digits_folder(tmp_path / "digits", 8, 8))],
    }
    flags = [*case.quick, *shorter[case.quick[0]], "--out", str(tmp_path / "out")]
    assert main(program, *flags, "--device", "cuda") in (0, 1)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["backend"] == cupy


def test_a_quick_run_writes_its_results(case: Case, program: ModuleType, tmp_path: Path) -> None:
    assert main(program, *case.quick, "--quiet", "--out", str(tmp_path)) in (0, 1)
    assert {path.name for path in tmp_path.iterdir()} == {*case.pictures, "summary.json"}


@pytest.mark.slow
def test_the_seed_determines_the_results(
    case: Case, program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for seed in ("3", "3", str(2**64 - 1)):
        flags = [*case.quick, "--seed", seed, "--out", str(tmp_path / "out"), "--quiet"]
        assert main(program, *flags) in (0, 1)
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        found.append({k: v for k, v in summary.items() if not k.endswith("seconds")})
    assert found[0] == found[1] != found[2]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(": not confirmed: " in line for line in captured.err.splitlines())
    earlier = sorted(p.name for p in (tmp_path / "out" / "earlier-2").iterdir())
    assert earlier == sorted([*case.pictures, "summary.json"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seed", "-1"], "--seed must be an integer of at least 0"),
        (["--out", ""], "--out must not be empty"),
        (["--device", "tpu"], "--device: invalid choice: 'tpu'"),
        (["--out", "{}/file"], "cannot write to folder"),
        (["--steps", "0", "--passes", "0", "--epochs", "0"], "must be at least 1"),
    ],
)
def test_invalid_flags_are_one_sentence(
    name: str, program: ModuleType, flags: list[str], message: str, tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "file").write_text("a file")
    given = [flag.replace("{}", str(tmp_path)) for flag in flags]
    assert main(program, "--out", str(tmp_path / "out"), *given) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"{name}: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert not (tmp_path / "out").exists()


def test_a_blank_exercise_is_one_sentence(
    name: str, case: Case, program: ModuleType, tmp_path: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As in a course folder, if the program is started by itself, without tito."""

    def blank(*arguments: Any, **settings: Any) -> None:
        raise NotImplementedError("exercise 1.2 of lesson 1, tensor: matmul is blank")

    monkeypatch.setattr(Tensor, "__matmul__", blank)
    monkeypatch.setattr("tinytorch.layers.Linear.forward", blank)
    assert main(program, *case.flags, "--out", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{name}: exercise 1.2 of lesson 1, tensor: matmul is blank; tito stat")
    assert error.count("\n") == 1


def digits_folder(path: Path, height: int, width: int) -> Path:
    """Twelve images of 3 and of 8 and as many held-out ones, in IDX files."""
    path.mkdir()
    images = np.zeros((24, height, width), np.uint8)
    images[::2], labels = 200, np.tile(np.array([3, 8], np.uint8), 12)
    for name, array in zip(FILES, (images, labels) * 2, strict=True):
        sizes = np.array(array.shape, ">u4").tobytes()
        head = bytes([0, 0, 8, array.ndim]) + sizes
        (path / name.removesuffix(".gz")).write_bytes(head + array.tobytes())
    return path


@pytest.mark.parametrize("name", ["mlp", "lenet"], indirect=True)
def test_digits_of_a_folder_of_which_some_are_missing(
    case: Case, program: ModuleType, tmp_path: Path
) -> None:
    folder, out = digits_folder(tmp_path / "digits", 5, 7), tmp_path / "out"
    main(program, "--data", str(folder), "--epochs", "2", "--quiet", "--out", str(out))
    assert sorted(p.name for p in out.iterdir()) == sorted([*case.pictures, "summary.json"])
    confusion = np.array(json.loads((out / "summary.json").read_text())["confusion"])
    assert confusion.sum(axis=1).tolist() == [0, 0, 0, 12, 0, 0, 0, 0, 12, 0]


def test_the_mlp_learns_from_images_as_large_as_those_of_mnist() -> None:
    """The 8 x 8 digits, enlarged to 28 x 28: with the rate for 8 x 8, it reads 85% of them."""
    require("sklearn")
    program, small = load_module(CASES["mlp"].path), small_digits()

    def enlarged(images: np.ndarray) -> np.ndarray:
        return np.pad(np.kron(images, np.ones((1, 3, 3), np.float32)), ((0, 0), (2, 2), (2, 2)))

    images, test_images = enlarged(small.images), enlarged(small.test_images)
    digits = Digits("large", images, small.labels, test_images, small.test_labels, "enlarged")
    manual_seed(1337)
    model, epochs = program.MLP(28 * 28, 64), 5
    trainer = program.build_trainer(model, epochs * -(-len(images) // program.BATCH_SIZE))
    history = fit(trainer, digits, epochs, program.BATCH_SIZE, Output(Path(), quiet=True))
    assert history.accuracies[-1] > 0.93


def test_lenet_refuses_images_of_which_pooling_leaves_nothing(tmp_path: Path, capsys: Any) -> None:
    program, folder = load_module(CASES["lenet"].path), digits_folder(tmp_path / "digits", 9, 3)
    assert main(program, "--data", str(folder), "--out", str(tmp_path / "out")) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        "lenet: images of 9 x 3 pixels are too small: two poolings need 4 x 4\n"
    )
    assert captured.out == ""


def test_a_matplotlib_that_cannot_be_imported_is_one_sentence_before_the_training(
    name: str, case: Case, tmp_path: Path
) -> None:
    output = run(case.path, "--out", str(tmp_path / "out"), code=2, MPLBACKEND="crayons")
    assert output.startswith(f"{name}: plots need matplotlib, which cannot be imported: ")
    assert "'crayons'" in output
    assert not (tmp_path / "out").exists()


def test_a_missing_matplotlib_is_one_sentence(
    name: str, program: ModuleType, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(program, "--out", str(tmp_path / "out")) == 2
    assert f"{name}: plots need matplotlib (" in capsys.readouterr().err


def test_the_milestones_are_in_the_order_of_their_years() -> None:
    dated = [m for m in MILESTONES if m.name.isdecimal()]
    years = [int(m.year) for m in dated]
    assert years == sorted(years)
    for milestone, year in zip(dated, years, strict=True):
        folder = Path(milestone.script).parent
        assert folder.name.startswith(f"{milestone.name}_")
        assert folder.name.endswith(f"_{year}")
        assert (ROOT / milestone.script).is_file()
        assert (ROOT / folder / "README.md").is_file()


def test_the_timeline_shows_every_milestone_and_its_lessons(tmp_path: Path) -> None:
    plot_timeline(tmp_path / "timeline.png")
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")
    assert {module for m in MILESTONES for module in m.modules} <= set(LESSONS)
    for number, name in enumerate(LESSONS, 1):
        folder = ROOT / "notebooks" / f"{number:02}_{name}"
        assert folder.is_dir() or not list((ROOT / "notebooks").glob(f"{number:02}_*"))
    table = (ROOT / "milestones" / "README.md").read_text("utf-8")
    for milestone in MILESTONES:
        assert Path(milestone.script).name in table or Path(milestone.script).parent.name in table
