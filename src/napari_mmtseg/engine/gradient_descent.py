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
        self._moves: list[Tensor] = []

    def step(self, loss: Tensor) -> None:
        """Take a step down the gradient of a loss."""
        gradients = torch.autograd.grad(loss, self._parameters)
        if self._moves:
            for move, gradient in zip(self._moves, gradients, strict=True):
                move.mul_(self._momentum).add_(gradient)
        else:
            self._moves = [gradient.clone() for gradient in gradients]
        with torch.no_grad():
            for parameter, move in zip(self._parameters, self._moves, strict=True):
                parameter.add_(move, alpha=-self._learning_rate)
