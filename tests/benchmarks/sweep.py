"""Compare training recipes: one run each, and its loss over the whole validation text.

    python tests/benchmarks/sweep.py [--preset default] [--steps 1500] [--json FILE] \
        "" "context=128 batch_size=6" "muon_lr=0.02 embed_dim=96"

Each argument is one recipe: changes field=value of the preset, see
`tinytorch.tinygpt.presets.Preset`. The text is Tiny Shakespeare (TT_DATA_HOME). Differences in loss
of up to 0.01 between runs of one seed are noise.
"""

import argparse
import ast
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import tinytorch
from tinytorch import CharTokenizer, TokenDataset, backends
from tinytorch.data.datasets import tiny_shakespeare
from tinytorch.tinygpt import PRESETS, Preset
from tinytorch.tinygpt.presets import build_model, build_trainer, fit_steps
from tinytorch.tinygpt.run import validation_batches


def changed(preset: Preset, changes: str) -> Preset:
    """The preset with the changes "field=value field=value"."""
    pairs = (pair.partition("=") for pair in changes.split())
    return fit_steps(preset, **{name: _value(text) for name, _, text in pairs})


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except ValueError:  # an unquoted string
        return text


def train(preset: Preset, seed: int, backend: str | None = None) -> dict[str, Any]:
    """Train a new model on the first 90% of Tiny Shakespeare; returns the columns of the table.

    Args:
        backend: name of the backend, by default the default one.
    """
    target = backends.get(backend)
    corpus = tiny_shakespeare()
    tokenizer = CharTokenizer(sorted(set(corpus.text)))
    train_ids, val_ids = map(tokenizer.encode_array, corpus.split())
    tinytorch.manual_seed(seed)
    trainer = build_trainer(preset, build_model(preset, tokenizer.vocab_size).to(target))
    blocks = TokenDataset(train_ids, preset.context, backend=target)
    start = time.perf_counter()
    for step in range(preset.steps):
        batch_size, context = preset.batch_shape(step / preset.steps)
        if blocks.block_size != context:
            blocks = TokenDataset(train_ids, context, backend=target)
        trainer.train_step([blocks.random_batch(batch_size)])
    target.synchronize()
    seconds = time.perf_counter() - start
    validation = validation_batches(val_ids, preset.context)
    model: Any = trainer.model
    return {
        "parameters": model.num_parameters(),
        "tokens a step": preset.tokens_per_step,
        "steps": preset.steps,
        "seconds": round(seconds, 1),
        "val_loss": trainer.evaluate((x.to(target), y.to(target)) for x, y in validation),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("changes", nargs="*", default=[""], help="field=value field=value ...")
    parser.add_argument("--preset", choices=list(PRESETS), default="default")
    parser.add_argument("--steps", type=int, help="steps of each run")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    if arguments.steps:
        preset = replace(preset, steps=arguments.steps)
    results = {}
    print("| change | parameters | tokens a step | steps | seconds | val_loss |")
    print("|---|---|---|---|---|---|", flush=True)
    for changes in arguments.changes:
        row = results[changes] = train(changed(preset, changes), arguments.seed)
        print(
            f"| {changes or '(none)'} | {row['parameters']:,} | {row['tokens a step']:,}"
            f" | {row['steps']:,} | {row['seconds']:.0f} | {row['val_loss']:.4f} |",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
