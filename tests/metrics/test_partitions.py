"""Test the agreement scores on cases worked out by hand and against scikit-learn."""

import time

import numpy as np
import pytest
from scipy.io import loadmat
from scipy.optimize import linear_sum_assignment
from skimage.metrics import variation_of_information as skimage_vi
from sklearn.metrics import adjusted_rand_score, rand_score
from sklearn.metrics.cluster import contingency_matrix

from napari_mmtseg import metrics

# Label 0 overlaps true 5 by 2 and true 9 by 1; label 7 overlaps true 9 by 3.
LABELS = np.array([[0, 0, 0], [7, 7, 7]])
TRUTH = np.array([[5, 5, 9], [9, 9, 9]])

FLOATS = [
    metrics.hungarian_accuracy,
    metrics.many_to_one_accuracy,
    metrics.foreground_iou,
    metrics.covering,
    metrics.rand_index,
    metrics.adjusted_rand,
    metrics.variation_of_information,
    metrics.boundary_f,
]
METRICS = [*FLOATS, metrics.hungarian_mapping, metrics.kim_miou, metrics.scores]


def blocky_pair(seed, shape=(40, 50), n=6):
    """Return two label images that overlap partly, in blocks of 5 by 5."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, n, tuple(side // 5 for side in shape))
    truth = np.kron(small, np.ones((5, 5), int))
    labels = np.where(rng.random(shape) < 0.3, rng.integers(0, n + 3, shape), truth)
    return labels, truth


def test_the_hungarian_mapping_pairs_by_overlap_in_plain_integers():
    mapping = metrics.hungarian_mapping(LABELS, TRUTH)
    assert mapping == {0: 5, 7: 9}
    assert all(type(value) is int for pair in mapping.items() for value in pair)
    assert metrics.hungarian_accuracy(LABELS, TRUTH) == pytest.approx(5 / 6)


def test_the_best_mapping_may_give_up_the_largest_overlap():
    # Counts [[5, 4], [4, 0]]: taking the 5 leaves 0, so the best is 4 + 4.
    labels = np.repeat([0, 0, 1], [5, 4, 4])
    truth = np.repeat([0, 1, 0], [5, 4, 4])
    assert metrics.hungarian_mapping(labels, truth) == {0: 1, 1: 0}
    assert metrics.hungarian_accuracy(labels, truth) == pytest.approx(8 / 13)


def test_a_label_without_a_partner_is_left_out_and_counts_as_wrong():
    labels = np.array([1, 1, 2, 3])
    truth = np.array([4, 4, 4, 4])
    assert metrics.hungarian_mapping(labels, truth) == {1: 4}
    assert metrics.hungarian_mapping(truth, labels) == {4: 1}
    assert metrics.hungarian_accuracy(labels, truth) == 0.5
    assert metrics.many_to_one_accuracy(labels, truth) == 1


@pytest.mark.parametrize("seed", range(40))
def test_the_sparse_mapping_is_as_good_as_the_dense_one(seed):
    rng = np.random.default_rng(seed)
    n_pixels, n_labels, n_true = rng.integers(1, [400, 60, 60])
    labels, truth = rng.integers(0, n_labels, n_pixels), rng.integers(0, n_true, n_pixels)
    counts = contingency_matrix(labels, truth)
    best = counts[linear_sum_assignment(counts, maximize=True)].sum() / n_pixels
    assert metrics.hungarian_accuracy(labels, truth) == pytest.approx(best)
    mapping = metrics.hungarian_mapping(labels, truth)
    assert len(set(mapping.values())) == len(mapping)
    agree = sum(mapping.get(int(a)) == b for a, b in zip(labels, truth, strict=True))
    assert agree / n_pixels == pytest.approx(best)


def test_many_to_one_gives_each_label_its_commonest_true_label():
    assert metrics.many_to_one_accuracy(LABELS, TRUTH) == pytest.approx(5 / 6)
    assert metrics.many_to_one_accuracy(np.zeros(6, int), TRUTH.ravel()) == pytest.approx(4 / 6)
    assert metrics.many_to_one_accuracy(np.arange(6), TRUTH.ravel()) == 1


@pytest.mark.parametrize("seed", range(5))
def test_many_to_one_is_the_purity_of_the_contingency_matrix(seed):
    labels, truth = blocky_pair(seed)
    counts = contingency_matrix(labels.ravel(), truth.ravel())
    expected = counts.max(axis=1).sum() / labels.size
    assert metrics.many_to_one_accuracy(labels, truth) == pytest.approx(expected)


def test_a_blank_picture_scores_the_largest_segment():
    blank = np.zeros_like(TRUTH)
    assert metrics.hungarian_accuracy(blank, TRUTH) == pytest.approx(4 / 6)
    assert metrics.covering(blank, TRUTH) == pytest.approx((2 * 2 / 6 + 4 * 4 / 6) / 6)
    assert metrics.adjusted_rand(blank, TRUTH) == 0
    assert metrics.boundary_f(blank, TRUTH) == 0


def test_covering_covers_the_truth_and_not_the_labels():
    # IoUs: 5 with 0: 2/3; 9 with 7: 3/4 (with 0: 1/6). 0 with 5: 2/3; 7 with 9: 3/4.
    assert metrics.covering(LABELS, TRUTH) == pytest.approx((2 * 2 / 3 + 4 * 3 / 4) / 6)
    assert metrics.covering(TRUTH, LABELS) == pytest.approx((3 * 2 / 3 + 3 * 3 / 4) / 6)


def test_variation_of_information_is_in_bits():
    halves = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    assert metrics.variation_of_information(halves, np.zeros_like(halves)) == pytest.approx(1)
    assert metrics.variation_of_information(halves, halves[:, ::-1]) == 0
    assert metrics.variation_of_information(np.arange(8), np.zeros(8, int)) == pytest.approx(3)


@pytest.mark.parametrize("seed", range(5))
def test_scores_shared_with_scikit_learn_and_scikit_image_agree(seed):
    labels, truth = blocky_pair(seed)
    flat = (truth.ravel(), labels.ravel())
    assert metrics.rand_index(labels, truth) == pytest.approx(rand_score(*flat), abs=1e-12)
    expected = adjusted_rand_score(*flat)
    assert metrics.adjusted_rand(labels, truth) == pytest.approx(expected, abs=1e-12)
    expected = sum(skimage_vi(truth, labels))
    assert metrics.variation_of_information(labels, truth) == pytest.approx(expected)


def test_rand_indices_on_a_known_case():
    # Pixel pairs: TP = C(2,2) + C(3,2) = 4, FP = 2, FN = 3, TN = 6 of 15.
    assert metrics.rand_index(LABELS, TRUTH) == pytest.approx(10 / 15)
    assert metrics.adjusted_rand(LABELS, TRUTH) == pytest.approx(2 * 18 / (7 * 9 + 6 * 8))


def test_a_single_pixel_and_two_blank_pictures_agree_fully():
    for pair in ([[3]], [[4]]), ([[1, 1]], [[2, 2]]):
        labels, truth = (np.array(image) for image in pair)
        values = metrics.scores(labels, truth)
        assert values.pop("variation_of_information") == 0
        assert set(values.values()) == {1.0}


def test_foreground_iou_takes_the_best_single_label_zero_included():
    truth = np.array([[0, 0, 3, 4]])
    assert metrics.foreground_iou(np.array([[1, 1, 0, 0]]), truth) == 1
    assert metrics.foreground_iou(np.array([[1, 0, 0, 0]]), truth) == pytest.approx(2 / 3)
    assert metrics.foreground_iou(np.array([[0, 0, 1, 2]]), truth) == pytest.approx(1 / 2)
    assert metrics.foreground_iou(np.array([[0, 0, 1, 2]]) != 0, truth) == 1
    assert metrics.foreground_iou(np.array([[0, 0, 0, 0]]), truth) == pytest.approx(1 / 2)


def test_foreground_iou_is_nan_without_foreground():
    assert np.isnan(metrics.foreground_iou(np.array([0, 1]), np.array([0, 0])))


def test_kim_miou_takes_the_best_connected_piece_for_each_segment():
    labels = np.array([[1, 1, 2, 2, 1, 1]])
    truth = np.array([[0, 0, 0, 0, 8, 8]])
    # Pieces: two of label 1, one of label 2. Segment 0: 2/4 with either; segment 8: 2/2.
    result = metrics.kim_miou(labels, truth)
    assert result.all == result.fine == result.coarse == pytest.approx((1 / 2 + 1) / 2)
    assert (result.n_all, result.n_fine, result.n_coarse) == (2, 2, 2)


def test_pieces_that_touch_at_a_corner_are_apart():
    checks = np.array([[0, 1], [1, 0]])
    assert metrics.kim_miou(checks, np.zeros((2, 2), int)).all == pytest.approx(1 / 4)


def test_kim_miou_pools_segments_over_annotators():
    labels = np.array([[1, 1, 2, 2]])
    coarse, fine = np.array([[0, 0, 0, 0]]), np.array([[5, 5, 6, 7]])
    result = metrics.kim_miou(labels, [coarse, fine])
    assert result.coarse == pytest.approx(1 / 2)
    assert result.fine == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert result.all == pytest.approx((1 / 2 + 1 + 1 / 2 + 1 / 2) / 4)
    assert (result.n_all, result.n_fine, result.n_coarse) == (4, 3, 1)
    assert metrics.kim_miou(labels, np.stack([coarse, fine])) == result


def test_kim_miou_pools_over_images_by_the_numbers_of_segments():
    first = metrics.kim_miou(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 1]))
    second = metrics.kim_miou(np.array([0, 0, 0, 0]), np.array([0, 1, 2, 3]))
    pooled = np.average([first.all, second.all], weights=[first.n_all, second.n_all])
    assert pooled == pytest.approx((1 + 1 + 4 * 1 / 4) / 6)


def test_boundaries_match_within_the_tolerance_only():
    truth, labels = np.zeros((6, 12), int), np.zeros((6, 12), int)
    truth[:, 6:] = 1
    labels[:, 8:] = 1
    assert metrics.boundary_f(labels, truth) == 1
    assert metrics.boundary_f(labels, truth, tolerance_px=1.9) == 0
    assert metrics.boundary_f(truth, truth, tolerance_px=0) == 1


def test_boundary_f_balances_precision_and_recall():
    truth, labels = np.zeros((1, 20), int), np.zeros((1, 20), int)
    truth[:, 10:] = 1
    labels[:, 10:], labels[:, 17:] = 1, 2  # one line of two is true: P = 1/2, R = 1
    assert metrics.boundary_f(labels, truth) == pytest.approx(2 / 3)


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3, 3.9, 4, 6, np.inf])
def test_every_tolerance_equals_brute_force_distances(tolerance):
    labels, truth = blocky_pair(1, (30, 20))
    points = []
    for image in (labels, truth):
        edge = np.zeros(image.shape, bool)
        edge[:-1] |= image[1:] != image[:-1]
        edge[:, :-1] |= image[:, 1:] != image[:, :-1]
        points.append(np.argwhere(edge))
    distance = np.linalg.norm(points[0][:, None] - points[1][None], axis=2)
    precision = (distance.min(axis=1) <= tolerance).mean()
    recall = (distance.min(axis=0) <= tolerance).mean()
    expected = 2 * precision * recall / (precision + recall)
    assert metrics.boundary_f(labels, truth, tolerance_px=tolerance) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [*FLOATS, metrics.kim_miou], ids=lambda f: f.__name__)
def test_renaming_labels_changes_no_score(metric):
    labels, truth = blocky_pair(3)
    names = np.random.default_rng(0).permutation(np.arange(-5, 30))
    renamed = names[labels]
    assert metric(renamed, truth) == pytest.approx(metric(labels, truth))
    if metric is not metrics.foreground_iou:  # there a true 0 has a meaning
        assert metric(labels, truth + 1) == pytest.approx(metric(labels, truth))


def test_scores_are_those_of_the_functions():
    labels, truth = blocky_pair(4)
    values = metrics.scores(labels, truth)
    assert values.pop("kim_miou") == metrics.kim_miou(labels, truth).all
    assert values == {metric.__name__: metric(labels, truth) for metric in FLOATS}
    assert all(type(value) is float for value in values.values())


@pytest.mark.parametrize("shape", [(60,), (6, 10), (3, 4, 5), (2, 3, 2, 5), (2, 1, 3, 2, 5)])
def test_any_number_of_axes_will_do(shape):
    labels = np.random.default_rng(1).integers(0, 3, 60)
    truth = np.random.default_rng(2).integers(0, 3, 60)
    whole, flat = (
        metrics.scores(labels.reshape(s), truth.reshape(s)) for s in (shape, labels.shape)
    )
    for name in set(whole) - {"kim_miou", "boundary_f"}:  # these two look at neighbours
        assert whole[name] == flat[name]


def test_pieces_do_not_reach_from_one_time_point_to_the_next():
    movie = np.zeros((2, 3, 4, 4), int)
    truth = np.zeros_like(movie)
    assert metrics.kim_miou(movie, truth).all == pytest.approx(1 / 2)
    assert metrics.kim_miou(movie[0], truth[0]).all == 1


@pytest.mark.parametrize(
    "dtype", [bool, np.int8, np.uint8, ">i2", np.uint16, np.int32, ">u4", np.int64, np.uint64]
)
def test_every_integer_type_gives_the_same_scores(dtype):
    labels, truth = blocky_pair(5, n=2)
    labels = labels % 2
    assert metrics.scores(labels.astype(dtype), truth) == metrics.scores(labels, truth)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (np.int8, [-128, 127, 0]),
        (np.int64, [-(2**63), 2**63 - 1, 0]),
        (np.uint64, [2**64 - 1, 2**64 - 3, 2**64 - 2]),
        (np.uint64, [2**64 - 1, 0, 7]),
    ],
)
def test_the_ends_of_a_type_are_labels_like_any_other(dtype, values):
    labels = np.array(values * 3, dtype)
    truth = np.tile([1, 2, 3], 3)
    assert metrics.hungarian_mapping(labels, truth) == dict(
        sorted(zip(values, [1, 2, 3], strict=True))
    )
    assert metrics.hungarian_mapping(truth, labels) == dict(zip([1, 2, 3], values, strict=True))


def test_no_input_is_changed():
    labels, truth = blocky_pair(6)
    before = labels.copy(), truth.copy()
    metrics.scores(labels, truth)
    assert (labels == before[0]).all()
    assert (truth == before[1]).all()


@pytest.mark.parametrize("metric", METRICS, ids=lambda f: f.__name__)
def test_bad_input_is_refused_with_rule_value_and_cure(metric):
    image = np.zeros((2, 3), int)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\): crop or resample"):
        metric(image, image.T)
    with pytest.raises(
        ValueError,
        match=r"labels has dtype float32; label images hold integers: "
        r"convert with labels\.astype\(int\)",
    ):
        metric(image.astype(np.float32), image)
    with pytest.raises(ValueError, match=r"truth has dtype complex128; .* truth\.astype\(int\)"):
        metric(image, image.astype(complex))
    with pytest.raises(ValueError, match=r"one pixel or more, got shape \(0, 3\): pass"):
        metric(image[:0], image[:0])


def test_kim_miou_refuses_an_empty_list_of_annotators():
    with pytest.raises(ValueError, match="got an empty list: add one"):
        metrics.kim_miou(np.zeros((2, 2), int), [])


@pytest.mark.parametrize("tolerance", [-1, float("nan")])
def test_boundary_f_refuses_a_tolerance_that_is_no_distance(tolerance):
    with pytest.raises(ValueError, match=r"tolerance_px must be 0 or more, got (-1|nan): use"):
        metrics.boundary_f(LABELS, TRUTH, tolerance_px=tolerance)


@pytest.mark.parametrize("metric", METRICS, ids=lambda f: f.__name__)
def test_every_docstring_has_its_sections(metric):
    for part in ("Parameters\n---", "truth : array_like", "Returns\n---", "Raises\n---"):
        assert part in metric.__doc__


def test_thousands_of_labels_are_matched_in_seconds():
    rows, columns = np.mgrid[:1000, :1000]
    labels = rows // 10 * 100 + columns // 10
    truth = (rows + 4) // 10 * 101 + (columns + 3) // 10
    start = time.process_time()
    mapping = metrics.hungarian_mapping(labels, truth)
    assert time.process_time() - start < 10
    assert len(mapping) == 10_000
    assert metrics.hungarian_accuracy(labels, truth) == pytest.approx(0.6 * 0.7, abs=1e-3)


def test_blank_pictures_score_what_is_known_on_the_berkeley_val_images(real):
    accuracies = []
    for file in sorted(real("bsds500", "groundTruth", "val").glob("*.mat")):
        people = [each["Segmentation"][0, 0] for each in loadmat(file)["groundTruth"][0]]
        blank = np.zeros(people[0].shape, int)
        accuracies.append(np.mean([metrics.hungarian_accuracy(blank, truth) for truth in people]))
    assert len(accuracies) == 100
    assert np.mean(accuracies) == pytest.approx(0.435, abs=5e-4)
