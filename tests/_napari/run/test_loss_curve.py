"""The loss curve draws any losses, and is there only where there is one."""

import pytest

from napari_mmtseg._napari.run.loss_curve import LossCurve


@pytest.mark.parametrize("losses", [[3.0, 1.0, 0.5], [0.2, -0.4, -0.9], [1.0, 1.0]])
def test_losses_of_any_sign_are_drawn_and_said(qtbot, losses):
    curve = LossCurve()
    qtbot.addWidget(curve)
    curve.resize(200, 64)
    curve.add(losses[:1])
    curve.add([*losses[1:], float("nan")])
    image = curve.grab().toImage()
    colours = {image.pixel(x, y) for x in range(image.width()) for y in range(image.height())}
    assert len(colours) > 1
    assert curve.caption.startswith("Training loss by iteration")
    assert ("logarithmic" in curve.caption) == (min(losses) > 0)
    assert f"{losses[-1]:.3g}" in curve.caption


def test_without_a_loss_there_is_no_curve(qtbot):
    curve = LossCurve()
    qtbot.addWidget(curve)
    for losses in ([float("nan")], [], [1.0]):
        curve.add(losses)
    assert curve.isHidden()
    curve.add([0.5])
    assert not curve.isHidden()
    curve.clear()
    assert curve.isHidden()
