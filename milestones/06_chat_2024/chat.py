"""Chat: a language model of 2024 answers in the terminal, on the attention that you wrote.

    python milestones/06_chat_2024/chat.py [--prompt TEXT] [--pictures] [--finetune FILE]

The model is SmolLM2-135M-Instruct, which is fetched the first time, or that of --model.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

try:
    import numpy as np

    from tinytorch.backends import default
    from tinytorch.generation.int8 import to_int8
    from tinytorch.milestones import program
    from tinytorch.milestones.chat import (
        Chat,
        load_chat_model,
        questions,
        think,
    )
    from tinytorch.milestones.chat_pictures import plot_likeliest, plot_looks, plot_loss
    from tinytorch.milestones.dialogues import Example, finetune, read_dialogues, to_examples
    from tinytorch.milestones.program import SUMMARY, Claim
    from tinytorch.ops.random import manual_seed
    from tinytorch.pretrained import PretrainedError, save_pretrained
    from tinytorch.serialization.atomic import write_atomically
    from tinytorch.tinygpt import cli
    from tinytorch.tinygpt.interrupt import Interrupt
    from tinytorch.tinygpt.run import RunError, prepare_folder
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)

QUESTION = "What is the capital of France?"
STEPS = 40  # of a fine-tuning
LONGEST_PICTURE = 12  # tokens of an answer that are drawn


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = program.parser("chat", __doc__, "chat")
    parser.add_argument(
        "--prompt", type=question, help="answer this question only, instead of a conversation"
    )
    parser.add_argument(
        "--tokens", type=cli.positive_int, default=400, help="most tokens of an answer [400]"
    )
    parser.add_argument(
        "--temperature", type=cli.temperature, default=0.2,
        help="0 gives the likeliest answer, larger values more varied ones [0.2]",
    )  # fmt: skip
    parser.add_argument(
        "--model", type=model_path, help="folder, file or name on the hub [SmolLM2, fetched once]"
    )
    parser.add_argument(
        "--pictures", action="store_true", help="draw the likeliest tokens, and the attention"
    )
    parser.add_argument(
        "--finetune", type=cli.path, metavar="FILE", help="train on the dialogues of a file first"
    )
    parser.add_argument("--steps", type=cli.positive_int, help=f"steps of this training [{STEPS}]")
    parser.add_argument(
        "--int8", action="store_true", help="round the weights to 8 bits: faster, in less memory"
    )
    parser.add_argument("--save", type=cli.path, metavar="FOLDER", help="write the model there")
    arguments = parser.parse_args(argv)
    if arguments.steps and not arguments.finetune:
        parser.error("--steps needs --finetune")
    return arguments


def model_path(text: str) -> str:
    """Parse a path or name of a model; a path would lose the "./" that no name begins with."""
    cli.path(text)
    return text


def question(text: str) -> str:
    """Parse a question: a text that is not blank."""
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return cli.valid(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code.

    It is 0, 1 if a claim does not hold, 2 for user errors, or 130 after Ctrl-C.
    """
    arguments = parse(argv)
    return cli.exit_code("chat", partial(run, arguments), "use a smaller model")


def run(arguments: argparse.Namespace) -> int:
    """Load the model, train it if that is wanted, and talk."""
    with program.on_device(arguments.device):
        backend = default().name  # raises for an unusable backend, before anything is read
        if arguments.pictures or arguments.finetune:
            program.check_matplotlib()
        manual_seed(arguments.seed)
        begin, cpu = time.perf_counter(), time.process_time()
        output = program.Output(arguments.out, arguments.quiet)
        dialogues = read_dialogues(arguments.finetune) if arguments.finetune else []
        model, talk = load_chat_model(arguments.model, None if output.quiet else output.print)
        rng = np.random.default_rng(arguments.seed)
        chat = Chat(model, talk, arguments.tokens, arguments.temperature, rng)
        examples = encode(chat, dialogues, arguments.finetune)
        check_folders(arguments)
        claims, interrupt = [], Interrupt()
        if dialogues:
            asked = arguments.prompt or first_question(dialogues)
            with interrupt:
                claims += train(chat, examples, asked, arguments, output, interrupt)
        if arguments.save:
            save(chat, arguments.save)
        if interrupt.requested:
            return 128 + interrupt.requested
        if arguments.int8:
            chat = replace(chat, model=to_int8(model))  # which reads with the new weights
        if arguments.pictures:
            draw(chat, arguments.prompt or QUESTION, output)
        if arguments.prompt and (arguments.quiet or not dialogues):  # else it was answered
            ask(chat, arguments.prompt, output)
        elif not (arguments.prompt or dialogues or arguments.pictures):
            converse(chat, output)
        if arguments.quiet:
            return 0
        if not arguments.model and not dialogues:
            claims.append(knows_paris(chat))
        summary = {
            "milestone": "chat",
            "backend": backend,
            "seed": arguments.seed,
            "answers": chat.answers,
            "tokens": chat.written,
            "seconds": round(time.perf_counter() - begin, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
            "claims": [asdict(claim) for claim in claims],
        }
        write_atomically(output.path(SUMMARY), json.dumps(summary, indent=2).encode())
        if chat.written:
            speed = chat.written / chat.seconds
            output.print(f"\n{chat.written} tokens, {speed:.1f} a second.")
    return program.judge("chat", claims, [], output)


def write(text: str) -> None:
    """Write a piece of an answer as soon as it is there."""
    print(text, end="", flush=True)


def converse(chat: Chat, output: program.Output) -> None:
    """Answer what the user types, until the input ends."""
    output.print(
        f"{chat.model.num_parameters():,} weights, {chat.model.config.num_layers} blocks. Ask"
        " something; Ctrl-C stops an answer, Ctrl-D ends."
    )
    for question in questions(quiet=output.quiet):
        ask(chat, question, output)


def ask(chat: Chat, question: str, output: program.Output) -> None:
    """Answer a question; say so if the model could not read everything."""
    drops = chat.text.drops
    chat.answer(question, write)
    write("\n")
    if chat.text.drops > drops:
        output.print("(The context is full: the model forgets how the conversation began.)")


def draw(chat: Chat, question: str, output: program.Output) -> None:
    """Draw what the model computes for a question."""
    thoughts = think(chat.model, chat.talk, question, min(chat.tokens, LONGEST_PICTURE))
    plot_likeliest(thoughts, output.path("next_tokens.png"))
    plot_looks(thoughts, output.path("attention.png"))
    output.print(f"next_tokens.png and attention.png are in {output.folder}.")


def encode(chat: Chat, dialogues: list[Any], file: Path) -> list[Example]:
    """Encode the dialogues of a file for the model."""
    try:
        return to_examples(chat.talk, dialogues, min(chat.model.config.max_seq_len, 1024))
    except ValueError as error:
        raise RunError(f"{file}, {error}") from None


def check_folders(arguments: argparse.Namespace) -> None:
    """Create the folders for results, before a training or talk that could not be saved."""
    writes = not arguments.quiet or arguments.pictures or arguments.finetune
    for folder in (arguments.save, arguments.out if writes else None):
        if folder:
            prepare_folder(folder, ()).release()


def first_question(dialogues: list[Any]) -> str:
    """The first question of the user."""
    return next(m["content"] for m in dialogues[0] if m["role"] == "user")


def train(
    chat: Chat, examples: list[Example], question: str, arguments: argparse.Namespace,
    output: program.Output, interrupt: Interrupt,
) -> list[Claim]:  # fmt: skip
    """Train the model on dialogues; show the loss, and an answer before and after."""
    steps = arguments.steps or STEPS
    output.print(f"Dialogues: {len(examples)}. Before training:\n\nYou: {question}")
    output.print(greedy(chat, question))

    def report(step: int, loss: float) -> None:
        if step % max(1, steps // 10) == 0 or step == 1:
            output.print(f"step {step}, loss {loss:.3f}")

    losses = finetune(chat.model, examples, steps, chat.rng, report, lambda: interrupt.requested)
    plot_loss(losses, output.path("loss.png"))
    output.print(f"\nAfter training:\n\nYou: {question}")
    output.print(greedy(chat, question))
    if interrupt.requested:
        output.print(f"\nStopped after step {len(losses)}, with what was learned until then.")
        return []
    if len(losses) < 2:
        return []  # the loss before and after is that of one step
    few = max(1, len(losses) // 10)
    first, last = np.mean(losses[:few]), np.mean(losses[-few:])
    found = f"{first:.3f} nats per token, then {last:.3f}"
    return [Claim("training lowers the loss of the answers", found, bool(last < first))]


def save(chat: Chat, folder: Path) -> None:
    """Write the model and its tokenizer to a folder."""
    try:
        save_pretrained(chat.model, chat.talk.tokenizer, folder)
    except PretrainedError as error:
        raise RunError(str(error)) from None


def greedy(chat: Chat, question: str, tokens: int = 60) -> str:
    """The likeliest answer to a question, outside of the conversation."""
    fresh = Chat(chat.model, chat.talk, min(tokens, chat.tokens), 0.0, chat.rng)
    return fresh.answer(question, lambda piece: None)


def knows_paris(chat: Chat) -> Claim:
    """The claim of the milestone, for the model that comes with it."""
    answer = greedy(chat, QUESTION, 12)
    return Claim("asked for the capital of France, it says Paris", answer, "Paris" in answer)


if __name__ == "__main__":
    sys.exit(main())
