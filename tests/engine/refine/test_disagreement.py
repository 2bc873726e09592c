"""Where two networks disagree is where each alone would give another cluster."""

import numpy as np
import torch

from napari_mmtseg import MMT, train
from napari_mmtseg.engine.refine.decision import favourite, pooled
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.prediction.labeller import Labeller
from napari_mmtseg.segmentation import drain, segment_steps

QUICK = {
    "width": 8,
    "n_iterations": 6,
    "n_crops": 4,
    "min_labels": 1,
    "smallest_px": 1,
    "n_labels": 8,
    "sharpening_px": 0,
}


def alone(model, number):
    """Return the weights with one of the two networks."""
    own = f"network{number}."
    shared = {k: v for k, v in model.weights.items() if not k.startswith("network")}
    named = {k: v for k, v in model.weights.items() if k.startswith(own)}
    return shared | {k.replace(own, "network1."): v for k, v in named.items()}


def test_each_network_gives_what_it_would_give_alone(gray):
    model = train(gray, MMT(**QUICK, vote_border=0.0))
    frames = Frames(gray)
    labeller = Labeller(model, label_of=model.label_of())
    ((index, tile),) = labeller.tiles(frames)
    found = labeller.find(frames, index, tile)
    assert (found.voters[0] != found.voters[1]).any()
    for number, own in enumerate(found.voters, start=1):
        one = Labeller(model, weights=alone(model, number)).find(frames, index, tile)
        np.testing.assert_array_equal(own, one.clusters)


def test_voters_come_with_the_uncertainty_and_lie_where_it_is(gray):
    stack = np.stack([gray] * 2)
    run = segment_steps(stack, MMT(**QUICK, vote_border=0.0), axes="ZYX", uncertain=True)
    found = drain(run)
    table = np.append(found.model.label_of(), 0)
    first, second = (table[one] for one in found.voters)
    assert first.shape == found.uncertainty.shape == found.labels().shape
    assert 0 < (first != second).mean() < 0.5
    unsure = found.uncertainty
    assert unsure[first != second].mean() > unsure[first == second].mean()
    bare = segment_steps(stack, MMT(**QUICK, vote_border=0.0), axes="ZYX", uncertain=False)
    assert drain(bare).voters is None


def test_in_regions_a_voter_gives_what_has_most_of_its_votes():
    votes = torch.rand(5, 12, 16, generator=torch.Generator().manual_seed(0))
    regions = np.random.default_rng(0).integers(0, 9, (12, 16))
    expected = pooled(votes, regions).numpy().argmax(0)
    np.testing.assert_array_equal(favourite(votes, regions), expected)
