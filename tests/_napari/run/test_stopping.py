"""Stop is obeyed in every phase, and what it says stays to be read."""

import time

import numpy as np

from napari_mmtseg import MMT


def deep_stack(planes, side):
    rows, columns = np.ogrid[:side, :side]
    disc = (rows % 40 - 20) ** 2 + (columns % 40 - 20) ** 2 < 120
    noise = np.random.default_rng(0).normal(0, 6, (planes, side, side))
    return np.clip(40 + 150 * disc + noise, 0, 255).astype(np.uint8)


def test_stop_ends_labelling_at_once_and_keeps_the_planes_that_are_done(
    viewer, widget, qtbot, finish
):
    viewer.add_image(deep_stack(24, 320), name="stack", axis_labels=("z", "y", "x"))
    widget.form.show_method(MMT.preset("nuclei", n_iterations=3, width=8, n_crops=8))
    said = []
    widget.panel.run_button.click()
    bar = widget.panel.progress
    qtbot.waitUntil(lambda: bar.maximum() == 24 and bar.value() > 2, timeout=120_000)
    start = time.monotonic()
    widget.panel.stop_button.click()
    assert time.monotonic() - start < 0.2
    assert not widget.panel.stop_button.isEnabled()
    while widget.running:
        said.append(widget.panel.status.text())
        qtbot.wait(20)
    assert time.monotonic() - start < 15  # 2 where nothing else runs
    assert set(said) == {"Stopping; keeping what is done so far…"}
    labels = viewer.layers[-1].data
    assert labels[12].any(), "the plane in view comes first"
    assert not labels[:4].any()
    assert not labels[20:].any()
    assert "Stopped" in widget.panel.status.text()


def test_stop_in_training_gives_what_can_be_labelled_at_once_and_all_of_it_later(
    viewer, widget, qtbot, finish
):
    viewer.add_image(deep_stack(40, 256), name="stack", axis_labels=("z", "y", "x"))
    viewer.dims.set_current_step(0, 33)
    widget.form.show_method(MMT(n_iterations=100_000, width=8, n_crops=8, min_labels=1))
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "Iteration" in widget.panel.status.text(), timeout=60_000)
    viewer.dims.set_current_step(0, 7)
    start = time.monotonic()
    widget.panel.stop_button.click()
    assert time.monotonic() - start < 0.2
    finish(widget)
    assert time.monotonic() - start < 10  # 2 where nothing else runs
    stopped = viewer.layers[-1]
    assert stopped.data[7].any()
    assert not stopped.data.any(axis=(1, 2)).all()
    assert "Run on all" in widget.panel.status.text()
    widget.panel.all_button.click()
    finish(widget)
    whole = viewer.layers[-1].data
    assert whole.all()
    reached = stopped.data > 0
    assert (whole[reached] == stopped.data[reached]).all()


def test_the_time_left_counts_labelling_and_not_the_start(viewer, widget, qtbot, finish):
    viewer.add_image(deep_stack(2, 64), name="stack", axis_labels=("z", "y", "x"))
    widget.form.show_method(MMT(n_iterations=400, width=8, n_crops=4, min_labels=1))
    widget.panel.run_button.click()
    qtbot.waitUntil(lambda: "left" in widget.panel.status.text(), timeout=60_000)
    widget.panel._started -= 3600  # however long it took to come to the first iteration
    bar = widget.panel.progress
    qtbot.waitUntil(lambda: bar.maximum() == 400 and bar.value() > 3, timeout=60_000)
    assert " h left" not in widget.panel.status.text()
    widget.panel.stop_button.click()
    assert "Stopping" in widget.panel.status.text()
    finish(widget)
    assert viewer.layers[-1].data.all()
    record = viewer.layers[-1].metadata["napari-mmtseg"]
    assert 0 < record["stopped"] < 400
