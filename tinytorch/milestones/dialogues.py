"""Fine-tuning a chat model on a small file of dialogues, by LoRA."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arguments import shown
from ..losses import CrossEntropyLoss
from ..nn.lora import add_lora, merge_lora
from ..nn.utils import clip_grad_norm_
from ..optimizers import AdamW
from ..pretrained.chat_templates import Conversation
from ..tensor import Tensor
from ..tinygpt.run import RunError

IGNORED = -100  # target of tokens that the model does not learn to write
Messages = list[dict[str, str]]


class Example(NamedTuple):
    """A dialogue as the model sees it: ids (T,), and the targets (T,) of its answers' tokens."""

    ids: list[int]
    targets: list[int]


def read_dialogues(path: Path) -> list[Messages]:
    """Read dialogues from JSON lines: {"messages": [{"role": ..., "content": ...}, ...]}.

    Raises:
        RunError: a line is something else, or there is none.
    """
    dialogues = []
    try:
        # Editors of Windows begin it with a mark. splitlines would also split at marks within JSON.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise RunError(f"{path} is not UTF-8") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            messages = json.loads(line)["messages"]
            assert isinstance(messages, list)
            dialogues.append([{"role": m["role"], "content": m["content"]} for m in messages])
            json.dumps(dialogues[-1], ensure_ascii=False).encode()  # fails for half a character
        except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
            raise RunError(
                f'{path}, line {number}: expected {{"messages": [{{"role": "user", "content":'
                f' "..."}}, ...]}}, not {shown(line)}'
            ) from None
    if not dialogues:
        raise RunError(f"{path} holds no dialogues")
    return dialogues


def to_examples(talk: Conversation, dialogues: Sequence[Messages], limit: int) -> list[Example]:
    """Encode dialogues; raises ValueError with the number of one that cannot be learned."""
    examples = []
    for number, messages in enumerate(dialogues, 1):
        try:
            examples.append(to_example(talk, messages, limit))
        except ValueError as error:
            raise ValueError(f"dialogue {number}: {error}") from None
    return examples


def to_example(talk: Conversation, messages: Messages, limit: int) -> Example:
    """Encode a dialogue; only what the assistant says, and that it ends there, is a target.

    Raises:
        ValueError: the messages are not in turn, or longer than the limit.
    """
    ids: list[int] = []
    learned: list[bool] = []
    for end in range(len(messages)):
        before = len(ids)
        ids = talk.ids(messages[: end + 1])
        is_answer = messages[end]["role"] == "assistant"
        learned += [is_answer] * (len(ids) - before)
    if len(ids) > limit:
        raise ValueError(f"a dialogue has {len(ids)} tokens, the model reads {limit}")
    if not any(learned):
        raise ValueError("a dialogue has no answer of the assistant")
    targets = [i if is_learned else IGNORED for i, is_learned in zip(ids, learned, strict=True)]
    return Example(ids[:-1], targets[1:])


def finetune(
    model: Any,
    examples: list[Example],
    steps: int,
    rng: np.random.Generator,
    report: Callable[[int, float], None],
    stop: Callable[[], object] = lambda: False,
    batch_size: int = 4,
    rate: float = 1e-3,
) -> list[float]:
    """Train a model's attention by LoRA, and merge the changes into its weights.

    Args:
        model: the model; its weights are changed.
        examples: the dialogues.
        steps: number of updates.
        rng: draws the batches.
        report: is called with the number of each step and its loss.
        stop: is asked after each step whether to end.
        batch_size: dialogues of a step.
        rate: learning rate at the start; it falls linearly to zero.

    Returns:
        The loss of each step, in nats per token of the answers.
    """
    parameters = add_lora(model)
    optimizer, loss_of = AdamW(parameters, lr=rate, weight_decay=0.0), CrossEntropyLoss(IGNORED)
    losses: list[float] = []
    try:
        model.train()
        for step, batch in zip(range(steps), _batches(examples, batch_size, rng), strict=False):
            ids = _padded([example.ids for example in batch], 0, model.backend)  # (B, T)
            targets = _padded([example.targets for example in batch], IGNORED, model.backend)
            loss = loss_of(model(ids), targets)
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(parameters, 1.0)
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            optimizer.step()
            losses.append(float(loss.numpy()))
            report(step + 1, losses[-1])
            if stop():
                break
    finally:
        model.eval()
        merge_lora(model)
    return losses


def _batches(examples: list[Example], size: int, rng: np.random.Generator) -> Iterable[Any]:
    """Yield batches without end, each example once in every pass."""
    order: list[int] = []
    while True:
        while len(order) < size:
            order += rng.permutation(len(examples)).tolist()
        yield [examples[i] for i in order[:size]]
        order = order[size:]


def _padded(rows: list[list[int]], fill: int, backend: Any) -> Tensor:
    """Rows of one length (B, T); no token sees what follows it, so neither what is filled in."""
    longest = max(map(len, rows))
    return Tensor([row + [fill] * (longest - len(row)) for row in rows], backend=backend)
