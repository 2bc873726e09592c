"""Labels are joined, parted, named and hidden in a table that Python and the window share."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_mmtseg import KMeans, load, train
from napari_mmtseg.images.frames import Frames
from napari_mmtseg.labels import cluster_sums
from napari_mmtseg.labels.cluster_sums import summed
from napari_mmtseg.labels.history import History
from napari_mmtseg.labels.legend import LONGEST_NAME, Legend, Tree
from napari_mmtseg.prediction.label_table import tree_of

LEGEND = Legend.of([1, 2, 2, 3, 4], {2: "nuclei", 9: "no label"})
TREE = Tree([(0, 1), (2, 3), (0, 2), (0, 4)], [1, 2, 3, 4, 5], [50, 5, 30, 20, 10])


def test_joined_labels_keep_the_smallest_number_and_the_first_name():
    joined = LEGEND.named(3, "stroma").hiding([2]).joined([4, 2, 3])
    assert joined.label_of == (1, 2, 2, 2, 2)
    assert joined.names == {2: "nuclei"}
    assert not joined.hidden, "one of them was seen"
    assert joined.joined_by_hand
    assert LEGEND.hiding([2, 3]).joined([2, 3]).hidden == {2}
    with pytest.raises(ValueError, match="two labels or more"):
        LEGEND.joined([2, 17])


def test_what_was_joined_by_hand_is_parted_again():
    joined = LEGEND.joined([2, 3]).joined([1, 2])
    assert joined.label_of == (1, 1, 1, 1, 4)
    assert joined.parted(1).label_of == LEGEND.label_of
    assert not joined.can_part(4)
    with pytest.raises(ValueError, match="single cluster"):
        joined.parted(4)


def test_a_label_is_parted_where_the_tree_joins_last_and_its_larger_side_keeps_the_number():
    whole = Legend.of([1, 1, 1, 1, 2])
    parted = whole.parted(1, TREE)
    assert parted.label_of == (1, 1, 3, 3, 2)
    again = parted.parted(1, TREE)
    assert again.label_of == (1, 4, 3, 3, 2)
    assert not again.can_part(4, TREE)
    assert again.joined([1, 3, 4]).parted(1, TREE).label_of == again.label_of
    assert Legend.of([1, 2, 1, 2, 2]).parted(2, TREE).label_of == (1, 2, 1, 2, 3)


def test_clusters_of_one_leaf_stay_together():
    tree = Tree([(0, 1)], [1, 2, 2], [9, 5, 0])
    assert Legend.of([1, 1, 1]).parted(1, tree).label_of == (1, 2, 2)


def test_names_and_colours_go_where_most_of_a_label_goes():
    legend = LEGEND.coloured(4, (1, 0, 0, 1)).hiding([4])
    other = legend.recut([1, 1, 2, 2, 3], [10, 5, 50, 60, 3])
    assert other.names == {}, "Label 3 is more of what is now 2"
    other = legend.recut([2, 1, 1, 2, 3], [10, 5, 50, 6, 3])
    assert other.names == {1: "nuclei"}
    assert other.colours == {3: (1, 0, 0, 1)}
    assert other.hidden == {3}
    assert not other.joined_by_hand


def test_names_are_one_line():
    assert LEGEND.named(1, " a\n b ").name(1) == "a b"
    assert LEGEND.named(2, "  ").name(2) == "Label 2"
    assert LEGEND.named(2, "Label 2").names == {}
    assert len(LEGEND.named(1, "x" * 500).name(1)) == LONGEST_NAME


def test_one_label_is_shown_alone_and_all_again():
    alone = LEGEND.only([3])
    assert alone.shown == (3,)
    assert alone.only([3]).shown == (1, 2, 3, 4)
    assert alone.hiding([3]).hiding([1], hide=False).shown == (1,)


def test_a_legend_is_plain_data():
    legend = LEGEND.joined([3, 4]).coloured(1, (0, 0.5, 1, 1)).hiding([2])
    assert Legend.from_dict(json.loads(json.dumps(legend.to_dict()))) == legend
    for key, value in [
        ("label_of", [1, 2]),
        ("label_of", None),
        ("cut", [0, 1, 1, 1, 1]),
        ("names", {"2": "a\nb"}),
        ("colours", {"1": [0, 0, 2, 1]}),
        ("hidden", [[]]),
    ]:
        with pytest.raises(ValueError, match="no legend"):
            Legend.from_dict(legend.to_dict() | {key: value})


def test_steps_are_undone_and_those_of_a_slider_at_once():
    history = History(0)
    assert not history.can_undo
    history.step(1)
    for value in (2, 3, 4):
        history.step(value, "slider")
    history.step(4)
    assert history.undo() == 1
    assert history.can_redo
    assert history.redo() == 4
    assert history.redo() == 4
    assert history.undo() == 1
    history.step(9)
    assert not history.can_redo
    assert [history.undo(), history.undo(), history.undo()] == [1, 0, 0]


@pytest.fixture
def model(gray):
    return train(gray, KMeans(n_labels=5, smoothing_px=0.0))


def test_a_model_with_other_labels_predicts_and_keeps_them(model, gray, tmp_path):
    legend = Legend.of(model.label_of(5)).joined([2, 3]).named(2, "cells")
    told = model.with_labels(legend.table(), legend.names)
    labels = told.predict(gray)
    before = model.predict(gray, n_labels=5)
    assert_array_equal(labels, np.where(before == 3, 2, before))
    told.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.names == {2: "cells"}
    assert_array_equal(again.predict(gray), labels)
    assert_array_equal(model.label_of(), model.labels)
    for wrong in ([1, 2], [0] * 5, [1.5] * 5):
        with pytest.raises(ValueError, match="5 clusters"):
            model.with_labels(wrong)
    with pytest.raises(ValueError, match="one line"):
        model.with_labels(model.labels, {1: "a\nb"})


def test_the_tree_of_a_model_parts_as_its_cuts_do(model):
    legend, tree = Legend.of(model.label_of(1)), tree_of(model)
    for count in range(2, 6):
        finer = model.label_of(count)
        gone = [one for one in legend.labels if len({*finer[legend.table() == one]}) > 1]
        legend = legend.parted(gone[0], tree)
        pairs = set(zip(legend.label_of, finer.tolist(), strict=True))
        assert len(pairs) == count, "the same parts, under other numbers"


@pytest.mark.parametrize("slab", [7, 10**6])
def test_labels_are_told_of_as_if_counted_anew(monkeypatch, slab):
    monkeypatch.setattr(cluster_sums, "_SLAB", slab)
    rng = np.random.default_rng(0)
    clusters = rng.integers(-1, 5, (3, 8, 9)).astype(np.int16)
    image = rng.random((3, 2, 8, 9)).astype(np.float32) * 100
    voters = rng.integers(-1, 6, (2, *clusters.shape)).astype(np.int16)
    legend = Legend.of([2, 1, 1, 3, 2, 5])
    told = summed(clusters, 6, Frames(image, "ZCYX"), voters).by_label(legend)
    by_voter = np.append(legend.table(), [-1])[voters]
    agree = (by_voter[0] == by_voter[1]) & (voters >= 0).all(0)
    assert_array_equal(told.labels, [1, 2, 3, 5])
    for i, own in enumerate([(1, 2), (0, 4), (3,)]):
        there = np.isin(clusters, own)
        assert told.pixels[i] == there.sum()
        assert told.share[i] == pytest.approx(there.mean())
        assert_allclose(told.means[i], np.moveaxis(image, 1, -1)[there].mean(0), rtol=1e-5)
        assert told.confidence[i] == pytest.approx(agree[there].mean())
    assert np.isnan(told.means[3]).all()
    bare = summed(clusters, 6)
    assert_array_equal(bare.pixels, [(clusters == k).sum() for k in range(6)])
    assert bare.by_label(LEGEND_OF_SIX).means is None


LEGEND_OF_SIX = Legend.of(range(1, 7))
