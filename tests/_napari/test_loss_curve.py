"""The loss curve draws any losses."""

import pytest

from napari_mmtseg._napari.loss_curve import LossCurve


@pytest.mark.parametrize("losses", [[], [1.0], [3.0, 1.0, 0.5], [0.2, -0.4, -0.9], [1.0, 1.0]])
def test_losses_of_any_sign_are_drawn(qtbot, losses):
    curve = LossCurve()
    qtbot.addWidget(curve)
    curve.resize(200, 64)
    for loss in [*losses, float("nan")]:
        curve.add(loss)
    image = curve.grab().toImage()
    colours = {image.pixel(x, y) for x in range(image.width()) for y in range(image.height())}
    assert len(colours) > 1
