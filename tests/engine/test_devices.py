"""Where a network runs, and what happens when memory runs out."""

import pytest
import torch

from napari_mmtseg import MMT, segment
from napari_mmtseg.engine import devices


def fails_on(kind, error):
    """A run that ends with an error on one kind of device and works on others."""

    def run(device):
        yield device.type
        if device.type == kind:
            raise error
        return f"done on {device.type}"

    return run


def drained(run):
    steps = []
    while True:
        try:
            steps.append(next(run))
        except StopIteration as end:
            return steps, end.value


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(devices, "choose", lambda _: torch.device("cuda"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    ],
)
def test_a_full_gpu_hands_over_to_the_processor_with_a_note(gpu, error):
    with pytest.warns(UserWarning, match="too little memory .* Continuing on the processor"):
        steps, result = drained(devices.drive("auto", fails_on("cuda", error)))
    assert steps == ["cuda", "cpu"]
    assert result == "done on cpu"


def test_other_errors_of_a_gpu_are_not_hidden(gpu):
    with pytest.raises(RuntimeError, match="illegal"):
        drained(devices.drive("auto", fails_on("cuda", RuntimeError("an illegal access"))))


def test_too_little_memory_for_the_processor_says_what_needs_less():
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
    with pytest.raises(MemoryError, match="a smaller crop"):
        drained(devices.drive("cpu", fails_on("cpu", error)))


def test_a_gpu_that_is_not_there_is_refused_before_work_starts(gray, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no device 'cuda'"):
        segment(gray, MMT(device="cuda"))
