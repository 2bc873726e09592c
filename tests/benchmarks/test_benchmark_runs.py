"""Running, going on after an interruption, choosing settings and reporting."""

import csv
import json

import numpy as np
import pytest
from skimage.io import imsave

from benchmarks.__main__ import main
from benchmarks.quality import contenders, datasets, method_runs, scoring, store, summary
from benchmarks.quality.contenders import Contender, canonical
from benchmarks.quality.store import Job, Result, Store
from benchmarks.speed import engine

COLUMN = scoring.COLUMNS["folder"][0]


def result(image, variant, accuracy, seed=0):
    scores = {column.key: accuracy for column in scoring.COLUMNS["folder"]}
    scores |= {"n_all": 1.0, "n_fine": 1.0, "n_coarse": 1.0}
    return Result(Job("toy", image, variant, seed), 0.1, 2, scores, "code", "effort")


def by_job(*results):
    return {one.job: one for one in results}


def test_a_run_goes_on_where_it_ended_and_counts_no_image_twice(folder, tmp_path, monkeypatch):
    dataset = datasets.find(folder, "folder")
    entrants = [contenders.parse("blank"), contenders.parse("otsu")]
    wanted = method_runs.jobs(dataset, entrants, [0])
    kept = Store(tmp_path / "out")
    first = dict(list(wanted.items())[:4])
    assert len(method_runs.run(first, kept, workers=0)[0]) == 4
    with (kept.folder / "results.jsonl").open("a") as file:
        file.write('{"job": {"dataset": "da')  # the power went off here

    ran = []
    run_one = method_runs.run_one
    monkeypatch.setattr(method_runs, "run_one", lambda *a: ran.append(a[0]) or run_one(*a))
    results, failed = method_runs.run(wanted, kept, workers=0)
    assert (len(results), len(ran), failed) == (6, 2, {})
    kept.append(results[ran[0]])  # two runs at once may write a result twice
    assert len(kept.read()) == 6
    rows = summary.rows(kept.read(), entrants, [0], scoring.COLUMNS["folder"])
    assert [len(row.values) for row in rows] == [3, 3]
    assert len(method_runs.run(wanted, kept, workers=0)[0]) == 6
    assert len(ran) == 2


def test_a_failure_is_told_and_tried_again(folder, tmp_path):
    wanted = method_runs.jobs(datasets.find(folder, "folder"), [contenders.parse("blank")], [0])
    path = folder / "labels" / "dark_c.png"
    good = path.read_bytes()
    imsave(path, np.zeros((5, 5), np.uint8), check_contrast=False)
    results, failed = method_runs.run(wanted, Store(tmp_path / "out"), workers=0)
    assert (len(results), [job.image for job in failed]) == (2, ["dark_c"])
    path.write_bytes(good)
    results, failed = method_runs.run(wanted, Store(tmp_path / "out"), workers=0)
    assert (len(results), failed) == (3, {})


def test_a_method_can_be_run_anew(tmp_path):
    kept = Store(tmp_path)
    kept.append(result("a", canonical({"method": "MMT"}), 0.5))
    kept.append(result("a", canonical({"method": "Kim"}), 0.5))
    assert kept.drop({"MMT"}) == 1
    assert [json.loads(job.variant)["method"] for job in kept.read()] == ["Kim"]


def test_the_best_settings_are_chosen_for_all_images_and_for_each():
    low, high = canonical({"method": "Kim", "k": 1}), canonical({"method": "Kim", "k": 2})
    results = by_job(
        result("a", low, 0.9), result("b", low, 0.1), result("a", high, 0.6), result("b", high, 0.6)
    )
    rows = summary.rows(results, [Contender("G", (low, high))], [0], scoring.COLUMNS["folder"])
    whole, oracle = rows
    assert whole.name == "G, best for all (k=2)"
    assert whole.scores["accuracy"] == pytest.approx(0.6)
    assert oracle.oracle
    assert "oracle" in oracle.name
    assert oracle.scores["accuracy"] == pytest.approx(0.75)


def test_only_images_with_every_variant_and_seed_count():
    one, two = canonical({"method": "Kim", "k": 1}), canonical({"method": "Kim", "k": 2})
    results = by_job(result("a", one, 0.9), result("b", one, 0.2), result("b", two, 0.3))
    rows = summary.rows(results, [Contender("G", (one, two))], [0], scoring.COLUMNS["folder"])
    assert list(rows[0].values) == ["b"]
    assert summary.rows(results, [Contender("K", (one,))], [0, 1], (COLUMN,)) == []


def test_the_first_is_compared_with_the_runner_up_and_the_others_with_it():
    rng = np.random.default_rng(0)
    names = [f"{n:02d}" for n in range(12)]
    variants = {name: canonical({"method": name}) for name in ("A", "B", "C")}
    base = rng.random(12) * 0.2
    results = by_job(
        *(result(n, variants["A"], 0.7 + b) for n, b in zip(names, base, strict=True)),
        *(result(n, variants["B"], 0.6 + b) for n, b in zip(names, base, strict=True)),
        *(result(n, variants["C"], 0.1 + b) for n, b in zip(names, base, strict=True)),
    )
    entrants = [Contender(name, (variant,)) for name, variant in variants.items()]
    rows = summary.rows(results, entrants, [0], (COLUMN,))
    found = summary.compare(rows, COLUMN)
    assert [(one.name, one.against) for one in found] == [("A", "B"), ("B", "A"), ("C", "A")]
    assert found[0].difference == pytest.approx(0.1)
    assert found[0].n_better == 12
    assert found[0].p_value < 0.01
    low, high = rows[0].intervals["accuracy"]
    assert low < rows[0].scores["accuracy"] < high


def test_kims_score_is_pooled_over_segments():
    column = next(c for c in scoring.COLUMNS["folder"] if c.key == "kim_all")
    values = {"a": {"kim_all": 1.0, "n_all": 1.0}, "b": {"kim_all": 0.0, "n_all": 3.0}}
    assert summary.mean_score(values, column) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("text", "message"),
    [("Nobody", "one of blank"), ("MMT:none", "presets"), ("Kim,depth=3", "no setting 'depth'")],
)
def test_a_method_that_does_not_exist_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        contenders.parse(text)


def test_a_method_is_read_with_preset_and_settings():
    settings = json.loads(contenders.parse("MMT:paper,n_iterations=7,warm_up=true").variants[0])
    assert (settings["width"], settings["n_iterations"], settings["warm_up"]) == (100, 7, True)
    assert "seed" not in settings


def test_chance_free_methods_run_with_one_seed():
    assert contenders.parse("Felzenszwalb:grid").seeds([3, 4]) == [3]
    assert contenders.parse("KMeans").seeds([3, 4]) == [3, 4]


def test_the_report_has_a_row_for_every_method(folder, tmp_path, capsys):
    (folder / "labels" / "bright_a.png").unlink()
    out = tmp_path / "out"
    methods = ["blank", "otsu", "KMeans:plain,n_labels=2", "Felzenszwalb:grid"]
    given = ["table", "--data", str(folder), "--kind", "dsb2018", "--output", str(out)]
    assert main([*given, "--methods", *methods, "--workers", "0"]) == 0
    page = (out / "report.html").read_text("utf-8")
    for name in ("blank", "otsu", "KMeans:plain,n_labels=2", "best for all", "oracle"):
        assert name in page
    assert "1 images without ground truth were skipped: bright_a" in page
    assert str(folder) not in page
    assert "<img src='data:image/" in page
    assert "src='http" not in page
    with (out / "table.csv").open() as file:
        table = {row["method"]: row for row in csv.DictReader(file)}
    assert len(table) == 5
    assert float(table["otsu"]["foreground"]) > 2 * float(table["blank"]["foreground"])
    with (out / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 * (3 + 18)
    assert "Report:" in capsys.readouterr().out


def test_an_empty_folder_ends_with_a_sentence(tmp_path, capsys):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    assert main(["table", "--data", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "there is no image" in capsys.readouterr().err


def test_stability_compares_seeds(folder, tmp_path, capsys):
    out = tmp_path / "out"
    given = ["stability", "--data", str(folder), "--output", str(out), "--workers", "0"]
    assert main([*given, "--methods", "KMeans", "--seeds", "0", "1"]) == 0
    text = (out / "stability.md").read_text("utf-8")
    assert "| KMeans | 3 |" in text
    assert (out / "stability.png").stat().st_size > 1000
    assert main([*given, "--methods", "KMeans", "--seeds", "0"]) == 2
    assert main([*given, "--methods", "blank", "--seeds", "0", "1"]) == 2
    assert "has no seed to vary" in capsys.readouterr().err


def test_the_figure_shows_the_methods(folder, tmp_path):
    out = tmp_path / "figure.png"
    given = ["figure", "--data", str(folder), "--images", "dark_c", "--output", str(out)]
    assert main([*given, "--methods", "otsu", "KMeans"]) == 0
    assert out.stat().st_size > 1000


def test_processes_give_what_this_one_gives(folder, tmp_path):
    wanted = method_runs.jobs(datasets.find(folder, "folder"), [contenders.parse("otsu")], [0])
    here, _ = method_runs.run(wanted, Store(tmp_path / "a"), workers=0)
    there, _ = method_runs.run(wanted, Store(tmp_path / "b"), workers=1, threads=1)
    assert {j: r.scores for j, r in here.items()} == {j: r.scores for j, r in there.items()}
    assert store.Store(tmp_path / "b").labels(next(iter(there))).shape == (24, 24)


def test_the_default_engine_is_scored_on_all_images_and_on_each_kind(folder, tmp_path):
    rows = list(engine.nuclei(folder, "all", tmp_path / "out"))
    kinds = ("3 of all kinds", "1 brightfield", "1 fluorescence", "1 stained")
    assert all(f"dsb2018, {kind}, " in row[0] for kind, row in zip(kinds, rows, strict=True))
    for _, aim, measured in rows:
        ours, otsu = map(float, measured.split(" against "))
        assert "above Otsu" in aim
        assert 0.7 < otsu <= 1
        assert 0.7 < ours <= 1
