"""The engines give the authors' own numbers, in float64 (see the README of the golden cases)."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_mmtseg import engine
from napari_mmtseg.images.frames import Sample
from napari_mmtseg.methods import MMT, Kanezaki, Kim

FOLDER = Path(os.environ.get("MMTSEG_GOLDEN", Path(__file__).parent / "golden"))
CASES = sorted(path for kind in ("mmt", "kim", "kanezaki") for path in FOLDER.glob(f"{kind}_*.npz"))


def weights_of(case, prefix):
    return {name.removeprefix(prefix): case[name] for name in case if name.startswith(prefix)}


def settings_of(case, name):
    """Read what a case was run with from its arrays, and the weight of Kim's from its name."""
    first = weights_of(case, "init1/" if "mmt_" in name else "init/")
    common = {
        "width": len(first["conv3.bias"]),
        "n_blocks": 1 + sum(key.startswith("conv2.") and "weight" in key for key in first),
        "reduction": 1,
        "precision": "float64",
        "padding": "zero",
    }
    if name.startswith("mmt_"):
        return MMT.preset(
            "paper",
            n_iterations=len(case["loss"]),
            continuity=float(case["beta"]),
            averaging=float(case["alpha"]),
            warm_up=bool(case["warm_up"]),
            **common,
        )
    if name.startswith("kanezaki_"):
        return Kanezaki(n_iterations=max(30, len(case["loss"])), min_labels=2, **common)
    weight = next((part[3:] for part in name.split("_") if part.startswith("con")), "1")
    return Kim(
        n_iterations=max(30, len(case["loss"])),
        continuity=float(weight),
        scribble_weight=0.5,
        min_labels=2,
        **common,
    )


def sample_of(case):
    pixels = (case["image_uint8"] / 255).transpose(2, 0, 1)
    valid = np.ones(pixels.shape[1:], bool)
    scribbles = superpixels = None
    if "scribble_255_is_unlabelled" in case:
        drawn = case["scribble_255_is_unlabelled"].astype(np.int64)
        scribbles = [np.where(drawn == 255, 0, drawn + 1)]
    if "superpixels" in case:
        superpixels = [case["superpixels"].astype(np.int64)]
    return Sample([pixels], [valid], scribbles, superpixels, is_rgb=True)


def initial_of(case):
    if "init1/conv1.weight" in case:
        return {
            f"student{i}.{k}": v for i in (1, 2) for k, v in weights_of(case, f"init{i}/").items()
        }
    return weights_of(case, "init/")


def test_there_are_golden_cases():
    assert CASES, f"no golden case in {FOLDER}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_engine_gives_the_authors_numbers(path):
    with np.load(path) as file:
        case = dict(file)
    method, sample = settings_of(case, path.stem), sample_of(case)
    training = engine.train(sample, method, initial_of(case))
    losses, counts = [], []
    while True:
        try:
            step = next(training)
        except StopIteration as end:
            learned = end.value
            break
        losses.append(step.losses)
        counts.append(step.counts)

    expected = case.get("n_labels", case.get("n_teacher_labels"))
    assert_array_equal(np.squeeze(counts), expected)
    assert_allclose(np.squeeze(losses), case["loss"], rtol=1e-8)
    pixels = sample.pixels[0]
    whole = engine.Tile(tuple(slice(0, n) for n in pixels.shape[1:]), pixels.shape[1:], (0, 0))
    clusters, _ = engine.predictor(learned.weights, method).find(pixels, whole, None)
    assert_array_equal(learned.weights["clusters"][clusters], case["final_label_map"])
