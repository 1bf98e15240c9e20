"""A preset's training in idiomatic PyTorch, with the optimizers of `presets.build_trainer`."""

from typing import Any

import numpy as np

from tinytorch import TokenDataset
from tinytorch.tinygpt import Preset

from . import torch_side
from .modes import Mode
from .settings import sibling
from .timing import Step


class TorchTraining:
    """Training of the same model from the same weights, with the same batches.

    Attention is scaled_dot_product_attention, AdamW is the fused one, Muon is PyTorch's.

    Args:
        model: TinyTorch's model, whose weights are copied.
        compiled: the mode of torch.compile; None for eager execution.
    """

    def __init__(
        self, preset: Preset, text: np.ndarray[Any, Any], model: Any, mode: Mode,
        compiled: str | None = None,
    ) -> None:  # fmt: skip
        self._torch, self._preset, self._mode = torch_side.module(), preset, mode
        self.model = sibling("torch_reference").gpt(model).to(torch_side.DEVICE).train()
        loss = self.model.loss
        self._loss = self._torch.compile(loss, mode=compiled) if compiled else loss
        self.optimizers = optimizers(preset, self.model)
        half = mode.autocast == "float16"  # whose gradients would be 0 without a factor
        self._scaler = self._torch.amp.GradScaler(torch_side.DEVICE, enabled=half)
        self._blocks = TokenDataset(text, preset.context, backend="numpy")
        self._rng = np.random.default_rng(1)

    def step(self) -> Any:
        """A step on the next batch; returns the loss."""
        return self._update(*self._batch())

    def graphed(self) -> Step:
        """The step as one CUDA graph, captured by hand, on a copy of each batch."""
        inputs = [self._on_device(tokens) for tokens in self._host_batch()]
        replay = torch_side.captured(lambda: self._update(*inputs))

        def step() -> None:
            for place, tokens in zip(inputs, self._host_batch(), strict=True):
                place.copy_(tokens, non_blocking=True)
            replay()

        return step

    def _host_batch(self) -> list[Any]:
        batch = self._blocks.random_batch(self._preset.batch_size, self._rng)
        return [self._torch.from_numpy(t.numpy().copy()).pin_memory() for t in batch]

    def _on_device(self, tokens: Any) -> Any:
        return tokens.to(torch_side.DEVICE, non_blocking=True)

    def _batch(self) -> list[Any]:
        return [self._on_device(tokens) for tokens in self._host_batch()]

    def _update(self, x: Any, y: Any) -> Any:
        self._torch.compiler.cudagraph_mark_step_begin()  # for mode="reduce-overhead"
        with self._mode.torch_context():
            loss = self._loss(x, y)
        self._scaler.scale(loss).backward()
        for optimizer in self.optimizers:
            self._scaler.unscale_(optimizer)
        self._torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._preset.grad_clip)
        for optimizer in self.optimizers:
            self._scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self._scaler.update()
        return loss.detach()


def optimizers(preset: Preset, model: Any) -> list[Any]:
    """The optimizers of `build_trainer` in PyTorch: Muon for the blocks' matrices if the preset and
    PyTorch have it, and AdamW for the rest, with weight decay for matrices only."""
    optim, parameters = torch_side.module().optim, dict(model.named_parameters())
    decay, found = preset.weight_decay, []
    matrices = {n: p for n, p in parameters.items() if n.startswith("blocks.") and p.ndim == 2}
    if preset.muon_lr is None or not hasattr(optim, "Muon"):
        matrices = {}
    else:
        found = [optim.Muon(matrices.values(), lr=preset.muon_lr, weight_decay=decay)]
    rest = [p for n, p in parameters.items() if n not in matrices]
    groups = [
        {"params": [p for p in rest if p.ndim == 2], "weight_decay": decay},
        {"params": [p for p in rest if p.ndim != 2], "weight_decay": 0.0},
    ]
    # capturable: the number of the step is on the device, as a CUDA graph needs it.
    adam = optim.AdamW(groups, lr=preset.lr, betas=preset.betas, fused=True, capturable=True)
    return [adam, *found]
