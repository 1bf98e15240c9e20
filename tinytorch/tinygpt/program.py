"""Frame of the programs that train a GPT on a text: flags, start, resume, sampling, exit code."""

import argparse
import io
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, redirect_stderr, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ..backends import default
from ..generation.generate import stream
from ..runtime import launch
from ..tokenization import Tokenizer
from ..transformers import GPT
from . import cli
from .presets import PRESETS, Preset, fit_steps
from .report import ProgressReport, Report, encodable_prompt
from .run import TOKENIZERS, Run, RunConfig, RunError, load_model, open_folder, prepare_folder
from .session import Session

_SAMPLING = {"prompt", "tokens", "temperature", "top_k"}  # flags of --sample only


@dataclass
class Program:
    """A program that trains a GPT and samples from it; subclasses override single methods.

    Attributes:
        name: the program's name, for messages; its results are in runs/NAME by default.
        about: one sentence, for --help.
        preset: name of the default preset.
        data: what `--data` names, and in brackets its default.
        tokenizer: the default tokenizer.
        vocab_size: default vocabulary size of a byte-pair tokenizer.
        session: trains and shows a run.
        world: the ranks that mpiexec or another launcher has started, if it has.
    """

    name: str
    about: str
    preset: str = "default"
    data: str = "UTF-8 text, or a folder of Python modules [Shakespeare]"
    tokenizer: str = "char"
    vocab_size: int = 1024
    session: type[Session] = Session
    world: launch.World | None = field(default=None, init=False)

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the program; return the exit code.

        It is 0, 1 if a claim does not hold, 2 for user errors, or 128 plus the number of a signal
        that stopped the run (130 for Ctrl-C).
        """
        if launch.is_launched():
            return self._main_of_rank(argv)
        arguments = self.parse(argv)
        action = self.sample if arguments.sample else self.train
        return self._exit_code(partial(action, arguments), arguments)

    def _exit_code(self, action: Callable[[], int], arguments: argparse.Namespace) -> int:
        name = f"{self.name}, rank {launch.rank()}" if launch.rank() else self.name
        return cli.exit_code(name, action, self._memory_advice(arguments))

    def _main_of_rank(self, argv: Sequence[str] | None) -> int:
        """As `main`, for one of several ranks: rank 0 alone samples and prints."""
        rank = launch.rank()
        with redirect_stderr(io.StringIO()) if rank else nullcontext():
            arguments = self.parse(argv)
        if arguments.sample:
            return 0 if rank else self._exit_code(partial(self.sample, arguments), arguments)
        if arguments.processes and arguments.processes > 1:
            if not rank:
                print(f"{self.name}: --processes: start more ranks instead", file=sys.stderr)
            return 2
        supervisor = launch.supervise(self.name)

        is_shared = True

        def train() -> int:
            nonlocal is_shared
            try:
                self.world = launch.World(partial(_report_rank, self.name), supervisor)
            except launch.StartError:
                if rank:
                    return 2  # rank 0 prints it
                raise
            try:
                return self.train(arguments)
            except BaseException as error:
                is_shared = self.world.group.is_shared(error)
                if isinstance(error, Exception) and self.world.group.rank and is_shared:
                    return 2  # rank 0 prints it
                raise

        try:
            code = self._exit_code(train, arguments)
        except Exception:  # of the user's own code: the other ranks end with this one
            traceback.print_exc()
            code = 1
        if self.world is not None:
            self.world.leave(code, is_shared)
        return code

    # Flags

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Return the flags, or exit with code 2 and one sentence."""
        parser = cli.Parser(prog=self.name, description=self.about, epilog=cli.ON_A_GPU)
        self.add_flags(parser)
        arguments = parser.parse_args(argv)
        self._check_together(parser, arguments)
        return arguments

    def add_flags(self, parser: cli.Parser) -> None:
        """Declare the flags."""
        add = parser.add_argument
        length = parser.add_mutually_exclusive_group()
        length.add_argument("--steps", type=cli.positive_int, help="number of training steps")
        length.add_argument("--minutes", type=cli.minutes, help="training time; schedule adapts")
        length.add_argument("--epochs", type=cli.positive, help="number of epochs")
        add("--preset", choices=list(PRESETS), help=f"hyperparameters [{self.preset}]")
        add("--data", type=cli.path, metavar="PATH", help=self.data)
        add("--tokenizer", choices=TOKENIZERS, help=f"tokenizer [{self.tokenizer}]")
        vocabulary = f"vocabulary size of bpe and code [{self.vocab_size}]"
        add("--vocab-size", type=cli.positive_int, help=vocabulary)
        add("--batch-size", type=cli.positive_int, help="blocks of context length per batch")
        add("--processes", type=cli.positive_int, help="processes per batch [cores, at most 8]")
        add("--seed", type=cli.seed, help="random seed [1337]")
        add("--out", metavar="DIR", type=cli.path, help=f"results folder [runs/{self.name}]")
        add("--resume", metavar="DIR", type=cli.path, help="resume an interrupted run")
        add("--sample", metavar="DIR", type=cli.path, help="generate text from a run")
        add("--prompt", type=cli.valid, help="start of the generated text [a newline]")
        add("--tokens", type=cli.positive_int, help="number of generated tokens [500]")
        add("--temperature", type=cli.temperature, help="0 is greedy sampling [0.8]")
        add("--top-k", type=cli.positive_int, help="sample from the k likeliest tokens")
        add("--quiet", action="store_true", help="print errors only")

    def _check_together(self, parser: cli.Parser, arguments: argparse.Namespace) -> None:
        """Reject flags that would be ignored, such as new settings for a resumed run."""
        values = vars(arguments).items()
        given = {name for name, value in values if value is not None and value is not False}
        if "sample" in given:
            stray = given - _SAMPLING - {"sample", "quiet", "seed"}
        elif "resume" in given:
            stray = given - {"resume", "quiet", "processes"}
        else:
            stray = given & _SAMPLING
        if stray:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(stray))
            mode = next((f"--{name}" for name in ("sample", "resume") if name in given), "training")
            parser.error(f"{flags} cannot be used with {mode}")
        if arguments.vocab_size and (arguments.tokenizer or self.tokenizer) == "char":
            parser.error(f"--vocab-size needs --tokenizer {' or '.join(TOKENIZERS[1:])}")

    def _memory_advice(self, arguments: argparse.Namespace) -> str:
        """Say what to do when memory runs out; a resumed run cannot change its batch size."""
        if arguments.sample:
            return "try another backend, such as TT_BACKEND=numpy"
        if arguments.resume:
            return (
                "resume on a machine with more memory, or start a new run with a smaller"
                " --batch-size"
            )
        size = arguments.batch_size or self._preset(arguments).batch_size
        return f"try a --batch-size below {size}" if size > 1 else "try a shorter text"

    # Training

    def train(self, arguments: argparse.Namespace) -> int:
        """Start or resume a run, and train until it is finished or interrupted."""
        with ExitStack() as stack:
            if self.world is None:
                run = self._open(arguments, stack)
            else:
                run = self._open_in_ranks(self.world, arguments, stack)
            return self._execute(run, arguments)

    def _open(self, arguments: argparse.Namespace, stack: ExitStack) -> Run:
        _check_extras()
        if arguments.resume:
            lock = stack.enter_context(open_folder(arguments.resume))
            run = Run.resume(arguments.resume, arguments.processes)
            run.lock = lock
            return run
        config = self._config(arguments)
        default()  # raises for an unusable backend, before anything is written
        run = Run.start(config, self._out(arguments), arguments.processes)
        run.lock = stack.enter_context(prepare_folder(run.out))
        return run

    def _open_in_ranks(
        self, world: launch.World, arguments: argparse.Namespace, stack: ExitStack
    ) -> Run:
        from ..runtime.ranks import Ranks
        from . import together

        Ranks(world.group).together(_check_extras)
        if arguments.resume:
            return together.resume(world, arguments.resume, stack)
        return together.start(world, self._config(arguments), self._out(arguments), stack)

    def _out(self, arguments: argparse.Namespace) -> Path:
        out: Path = arguments.out or Path("runs", self.name)
        return out

    def _execute(self, run: Run, arguments: argparse.Namespace) -> int:
        quiet = arguments.quiet or not run.leads
        report = Report() if quiet else ProgressReport(run.progress)
        session = self.session(run, report, self._memory_advice(arguments))
        if self.world is not None:
            session.alone = self.world.alone
        return session.execute()

    def _preset(self, arguments: argparse.Namespace) -> Preset:
        return PRESETS[arguments.preset or self.preset]

    def _config(self, arguments: argparse.Namespace) -> RunConfig:
        preset = self._preset(arguments)
        data = self.data_path(arguments)
        try:
            if arguments.batch_size:
                preset = fit_steps(preset, batch_size=arguments.batch_size)
            if arguments.steps:
                preset = fit_steps(preset, steps=arguments.steps)
            return RunConfig(
                preset=preset,
                data=None if data is None else cli.absolute(data),
                tokenizer=arguments.tokenizer or self.tokenizer,
                vocab_size=arguments.vocab_size or self.vocab_size,
                seed=1337 if arguments.seed is None else arguments.seed,
                minutes=arguments.minutes,
                epochs=arguments.epochs,
            )
        except ValueError as error:
            raise RunError(str(error)) from None

    def data_path(self, arguments: argparse.Namespace) -> Path | None:
        """Return the path of the text; None for Tiny Shakespeare."""
        return None if arguments.data is None else Path(arguments.data)

    # Sampling

    def sample(self, arguments: argparse.Namespace) -> int:
        """Generate text from a checkpoint, and print it as it is generated."""
        model, tokenizer = load_model(arguments.sample)
        for prompt in self.prompts(arguments, tokenizer):
            _print_sample(model, tokenizer, prompt, self.continuation, arguments)
        return 0

    def prompts(self, arguments: argparse.Namespace, tokenizer: Tokenizer) -> Iterator[str]:
        """Yield the texts to continue."""
        yield encodable_prompt(tokenizer) if arguments.prompt is None else arguments.prompt

    def continuation(self, prompt: str, pieces: Iterator[str]) -> Iterator[str]:
        """Yield what is shown of the continuation of a prompt, given the text of its tokens."""
        return pieces


def _print_sample(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    continuation: Callable[[str, Iterator[str]], Iterator[str]],
    arguments: argparse.Namespace,
) -> None:
    if not prompt:
        raise RunError("the prompt is empty: it needs at least one character")
    try:
        ids = tokenizer.encode(prompt)
    except ValueError as error:
        raise RunError(f"the prompt cannot be encoded: {error}") from None
    tokens = stream(
        model,
        ids,
        arguments.tokens or 500,
        temperature=0.8 if arguments.temperature is None else arguments.temperature,
        top_k=arguments.top_k,
        seed=arguments.seed,
    )
    print(prompt, end="", flush=True)
    try:
        pieces = tokenizer.decode_stream(int(token[0]) for token in tokens)
        for text in continuation(prompt, pieces):
            print(text, end="", flush=True)
    except RuntimeError as error:  # the logits are not finite
        raise RunError(str(error)) from error
    print()


def _report_rank(name: str, problem: str) -> None:
    """Say why this rank ends all."""
    with suppress(OSError, ValueError):
        what = f"{problem}, so all ranks end: the last save is intact, go on with --resume"
        print(f"{name}: {what}", file=sys.stderr, flush=True)


def _check_extras() -> None:
    missing = [name for name in ("rich", "matplotlib") if find_spec(name) is None]
    if missing:
        raise RunError(
            f"training requires {' and '.join(missing)}; install with"
            ' pip install -e ".[milestones]"'
        )
