"""Choose where a network runs, and go on with the processor when a GPU's memory runs out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator
from typing import TypeVar

import torch

from napari_mmtseg.system import memory

S = TypeVar("S")
R = TypeVar("R")


def choose(name: str) -> torch.device:
    """Return the device of that name; "auto" takes a GPU if there is one.

    Raises
    ------
    ValueError
        If the machine has no such device.
    """
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((gpu for gpu, there in has.items() if there), "cpu")
    elif not has.get(name, True):
        raise ValueError(f"This machine has no device {name!r} that PyTorch can use; choose 'auto'")
    return torch.device(name)


def drive(
    name: str, run: Callable[[torch.device], Generator[S, bool | None, R]]
) -> Generator[S, bool | None, R]:
    """Drive a training on the named device, and start it again on the processor if need be.

    Raises
    ------
    MemoryError
        If the processor's memory is too small as well.
    """
    with memory.kept():
        return (yield from _driven(choose(name), run))


def _driven(
    device: torch.device, run: Callable[[torch.device], Generator[S, bool | None, R]]
) -> Generator[S, bool | None, R]:
    try:
        return (yield from run(device))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if device.type == "cpu":
            raise MemoryError(_CURE.format("The computer")) from error
    warnings.warn(
        _CURE.format(f"The GPU ({device.type})") + ". Continuing on the processor", stacklevel=2
    )
    return (yield from run(torch.device("cpu")))


_CURE = (
    "{} has too little memory for these settings; a larger working reduction, a smaller crop or "
    "a smaller network width needs less"
)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether PyTorch failed for want of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in str(error) for sign in ("out of memory", "can't allocate memory")
    )
