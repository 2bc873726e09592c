"""Kim's losses and reference images."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from napari_mmtseg import Kim, train
from napari_mmtseg.engine.losses import IGNORED, cross_entropy, scribble_loss, total_variation

QUICK = Kim(n_iterations=4, width=6, n_blocks=2)


def test_more_smoothness_gives_fewer_borders(gray):
    def borders(weight):
        method = Kim(n_iterations=30, width=8, n_blocks=2, continuity=weight, reduction=1)
        labels = train(gray, method).predict(gray)
        return (np.diff(labels) != 0).sum() + (np.diff(labels, axis=0) != 0).sum()

    assert borders(20.0) < borders(0.0)


def test_training_stops_at_the_minimum_of_labels(gray):
    steps = []
    train(gray, Kim(n_iterations=50, width=6, min_labels=6), on_step=steps.append)
    assert len(steps) == 1


def test_reference_images_train_a_model_for_others(gray):
    model = train([gray, gray[::-1], gray[:, ::-1]], QUICK)
    assert_array_equal(model.predict(gray), model.predict(gray.copy()))
    assert model.sizes.sum() == 3 * gray.size


def test_initial_weights_are_where_training_starts(gray):
    model = train(gray, QUICK)
    initial = {
        name.removeprefix("network1."): value
        for name, value in model.weights.items()
        if name.startswith("network1.")
    }
    again = train(gray, dataclasses.replace(QUICK, learning_rate=1e-6), initial=initial)
    assert_allclose(again.weights["network1.conv1.weight"], initial["conv1.weight"], atol=1e-4)
    with pytest.raises(ValueError, match=r"weights do not fit the network: conv1\.weight"):
        train(gray, dataclasses.replace(QUICK, width=7), initial=initial)


def test_losses_are_those_of_the_equations():
    rng = np.random.default_rng(0)
    responses = torch.from_numpy(rng.normal(size=(1, 3, 4, 5)))
    target = torch.from_numpy(rng.integers(0, 3, (1, 4, 5)))
    target[0, 0, :2] = IGNORED
    shares = responses.softmax(1)
    picked = [
        -shares[0, target[0, y, x], y, x].log() for y in range(4) for x in range(5) if y or x > 1
    ]
    assert_allclose(cross_entropy(responses, target), np.mean(picked))
    assert_allclose(scribble_loss(responses, target), np.mean(picked))
    r = responses.numpy()
    expected = np.abs(np.diff(r, axis=2)).mean() + np.abs(np.diff(r, axis=3)).mean()
    assert_allclose(total_variation(responses), expected)


def test_losses_without_a_pixel_are_zero():
    responses = torch.randn(1, 3, 4, 5, requires_grad=True)
    nowhere = torch.full((1, 4, 5), IGNORED)
    loss = cross_entropy(responses, nowhere) + scribble_loss(responses, nowhere)
    loss.backward()
    assert loss.item() == 0
    assert (responses.grad == 0).all()
    assert scribble_loss(responses, None) == 0
