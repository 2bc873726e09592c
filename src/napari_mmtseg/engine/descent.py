"""Gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Descent:
    """Steps down the gradient, with momentum, equal to those of `torch.optim.SGD`.

    That loads torch's compiler when it is made, which takes longer than the training of an image.

    Parameters
    ----------
    parameters : iterable of nn.Parameter
        Changed in place by each step.
    learning_rate : float
    momentum : float
        How much of the last step is taken again. From 0 to 1.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, momentum: float
    ) -> None:
        self._parameters = list(parameters)
        self._learning_rate, self._momentum = learning_rate, momentum
        self._moves: list[Tensor | None] = [None] * len(self._parameters)

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss."""
        gradients = torch.autograd.grad(loss, self._parameters)
        with torch.no_grad():
            for number, (parameter, gradient) in enumerate(
                zip(self._parameters, gradients, strict=True)
            ):
                move = self._moves[number]
                if move is None:
                    self._moves[number] = move = gradient.clone()
                else:
                    move.mul_(self._momentum).add_(gradient)
                parameter.add_(move, alpha=-self._learning_rate)
