"""The IIC loss gives the numbers of its authors' published code."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mmtseg.engine.iic.loss import information_loss

FOLDER = Path(os.environ.get("MMTSEG_GOLDEN") or Path(__file__).parent / "golden")
FILES = sorted(FOLDER.glob("iic_segmentation_loss_*.npz"))
CASES = [
    (path, case, form)
    for path in FILES
    for case in sorted({name.split("/")[0] for name in np.load(path).files})
    for form in ("collapsed", "uncollapsed")
]


def test_there_is_a_file_to_compare_with():
    assert FILES, f"{FOLDER} holds no iic_segmentation_loss_*.npz"


@pytest.mark.parametrize(
    ("path", "case", "form"), CASES, ids=[f"{p.stem}-{c}-{f}" for p, c, f in CASES]
)
def test_values_and_gradients_match_the_authors_code(path, case, form):
    golden = np.load(path)
    first = torch.from_numpy(golden[f"{case}/x1"]).requires_grad_()
    second = torch.from_numpy(golden[f"{case}/x2_in_x1_frame"])
    mask = torch.from_numpy(golden[f"{case}/mask"])

    def loss(balance):
        return information_loss(
            first,
            second,
            mask,
            displacement=int(golden[f"{case}/half_side"]),
            balance=balance,
            collapsed=form == "collapsed",
        )

    value = loss(float(golden[f"{case}/lambda"]))
    value.backward()
    close = {"rtol": 1e-4, "atol": 1e-6}
    np.testing.assert_allclose(value.item(), golden[f"{case}/{form}/loss"], **close)
    np.testing.assert_allclose(loss(1.0).item(), golden[f"{case}/{form}/loss_lambda1"], **close)
    np.testing.assert_allclose(
        first.grad.numpy(), golden[f"{case}/{form}/grad_x1"], rtol=1e-3, atol=1e-7
    )
