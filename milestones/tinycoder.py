"""Train TinyGPT on Python's standard library, and let it complete code.

    python milestones/tinycoder.py                          # train and measure
    python milestones/tinycoder.py --sample runs/tinycoder  # complete what you type

The package `tinytorch` holds the parts that this program shares with `milestones/tinygpt.py`.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# This checkout's package takes precedence over an installed one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from tinytorch.data.python_modules import ModuleCorpus, standard_library
    from tinytorch.milestones.program import Claim
    from tinytorch.text.ngram import NGramModel
    from tinytorch.tinygpt.cli import standard_input, valid
    from tinytorch.tinygpt.completions import Benchmark, Share, by_model, by_ngrams, cut
    from tinytorch.tinygpt.program import Program
    from tinytorch.tinygpt.run import RunError
    from tinytorch.tinygpt.session import Session
    from tinytorch.tokenization import Tokenizer
except KeyboardInterrupt:  # Ctrl-C during the imports, which take a second
    sys.exit(130)

FUNCTIONS = 400  # largest number of held-out functions that are completed
NEW_TOKENS = 64  # of each completion
NGRAM = 4  # tokens of the n-grams of the baseline
CLAIMED_STEPS = 400  # a shorter run makes no claim
LICENCE = "Python's standard library is licensed under the PSF License, version 2"


@dataclass
class CoderSession(Session):
    """Training on Python modules; at the end, held-out functions are completed."""

    def __post_init__(self) -> None:
        if not isinstance(self.run.corpus, ModuleCorpus):
            raise RunError(f"{self.run.out} is a run on {self.run.corpus.name}, not on modules")
        self.corpus = self.run.corpus

    def introduce(self) -> None:
        super().introduce()
        corpus = self.corpus
        names = ", ".join(dict.fromkeys(module.group for module in corpus.held_out))
        self.report.print(
            f"Held out, {len(corpus.held_out)} modules with {len(self.run.val_text):,} characters:"
            f" {names}"
        )
        if corpus.name.startswith("standard library"):
            self.report.print(f"{LICENCE}.")

    def prompt(self) -> str:
        return "\n\nclass Stack:\n    def __init__(self"

    def measure(self, val_loss: float) -> dict[str, Any]:
        """Compare losses and completions with those of n-grams and of the modules themselves."""
        run, size = self.run, self.run.tokenizer.vocab_size
        self.report.print("Completing held-out functions ...")
        ngrams, pairs = (NGramModel(run.train_ids, size, n) for n in (NGRAM, 2))
        losses = (val_loss, ngrams.loss(run.val_ids), pairs.loss(run.val_ids))
        ours, theirs, limit = map(run.val_loss_per_char, losses)
        new = min(NEW_TOKENS, run.config.preset.context // 2)
        prompt = run.config.preset.context - new
        benchmark = Benchmark(self.corpus.held_out, run.tokenizer, prompt, new, FUNCTIONS)
        shares: dict[str, Share] = {}
        if benchmark.tasks:
            shares["TinyCoder"] = benchmark.measure(by_model(run.model))
            shares["n-grams"] = benchmark.measure(by_ngrams(ngrams))
            shares["real code"] = benchmark.measure_real()
        self.report.print(
            f"Loss of {NGRAM}-grams, of pairs: {theirs:.4f}, {limit:.4f} per character"
        )
        self._show(shares, new)
        # A model whose attention does not work sees one token at a time: it knows pairs only.
        claim = Claim(
            "it predicts better than the frequencies of pairs of tokens",
            f"{ours:.3f} nats per character, pairs {limit:.3f}",
            ours < limit,
        )
        return {
            "python": sys.version.split()[0],
            "characters_per_token": len(run.val_text) / len(run.val_ids),
            "ngram_loss_per_char": theirs,
            "pairs_loss_per_char": limit,
            "completed_tokens": new,
            "completions": {name: share.to_dict() for name, share in shares.items()},
            "claims": [asdict(claim)] if run.trainer.step >= CLAIMED_STEPS else [],
        }

    def _show(self, shares: dict[str, Share], new: int) -> None:
        if not shares:
            self.report.print("No held-out function has enough text before it to be completed.")
            return
        self.report.print(f"\nFunctions that parse after {new} more tokens, 95% interval:")
        for name, share in shares.items():
            low, high = share.interval
            self.report.print(
                f"  {name:10} {share.parsed / share.total:4.0%} ({low:.0%} to {high:.0%}) of"
                f" {share.total}, {share.lines:.1f} lines each,"
                f" {share.ended / share.total:.0%} come to their end"
            )
        self.report.print("")

    def judge(self, summary: dict[str, Any]) -> int:
        """Show the claims; those that do not hold on stderr. Return the exit code."""
        failed = 0
        for claim in summary["claims"]:
            if claim["holds"]:
                self.report.print(f"confirmed: {claim['text']} ({claim['found']})")
            else:
                failed = 1
                text = f"tinycoder: not confirmed: {claim['text']} ({claim['found']})"
                print(text, file=sys.stderr)
        return failed


class TinyCoder(Program):
    """The command line: the flags of TinyGPT, and completion of code that is typed or piped."""

    def data_path(self, arguments: argparse.Namespace) -> Path:
        if arguments.data is None:
            return standard_library()
        if not arguments.data.is_dir():
            raise RunError(
                f"--data must be a folder of Python modules, and {arguments.data} is none"
            )
        return Path(arguments.data)

    def prompts(self, arguments: argparse.Namespace, tokenizer: Tokenizer) -> Iterator[str]:
        # The model writes the end of a line and the next one's indentation as one token.
        texts = _typed() if arguments.prompt is None else [arguments.prompt]
        return (text.rstrip() for text in texts)

    def continuation(self, prompt: str, pieces: Iterator[str]) -> Iterator[str]:
        """Yield whole lines, up to the end of the function or class that the prompt begins."""
        head = _open_definition(prompt)
        text, shown = "", 0
        for piece in pieces:
            text += piece
            code, ended = (text, False) if head is None else cut(head, text)
            if ended:
                yield code[shown:].rstrip()
                return
            whole = len(text[: max(0, text.rfind("\n"))].rstrip())  # blank lines may be the end
            if whole > shown:
                yield text[shown:whole]
                shown = whole
        yield text[shown:]


def _open_definition(prompt: str) -> str | None:
    """The line of the last function or class that the prompt begins and does not end, or None."""
    lines = prompt.split("\n")
    for number, line in reversed(list(enumerate(lines))):
        if line.lstrip().startswith(("def ", "class ", "async def ")):
            return None if cut(line, "\n".join(["", *lines[number + 1 :]]))[1] else line
    return None


def _typed() -> Iterator[str]:
    """What is piped into the program, or else what is typed, up to an empty line each time."""
    stdin = standard_input()
    if not stdin.isatty():
        yield valid(stdin.read())
        return
    print("Type the start of some code, and an empty line to complete it; Ctrl-D ends.")
    lines: list[str] = []
    with suppress(EOFError):
        while True:
            lines.append(valid(input("... " if lines else ">>> ")))
            if not lines[-1].strip() and any(line.strip() for line in lines):
                yield "\n".join(lines)
                lines = []
    if any(line.strip() for line in lines):  # Ctrl-D after some code
        print()
        yield "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code, as `Program.main` does."""
    return TinyCoder(
        "tinycoder",
        "Train TinyGPT on Python's standard library, measure it, and complete code.",
        preset="coder",
        data="folder of Python modules [the standard library]",
        tokenizer="code",
        vocab_size=2048,
        session=CoderSession,
    ).main(argv)


if __name__ == "__main__":
    sys.exit(main())
