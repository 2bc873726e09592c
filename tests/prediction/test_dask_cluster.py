"""A dask cluster: the same labels bit for bit, lost workers, other versions, clusters gone."""

import os
import signal
import sys
import threading
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch

from napari_mmtseg import MMT, KMeans, train
from napari_mmtseg.cli import main
from napari_mmtseg.images import image_files
from napari_mmtseg.images.image_files import open_image
from napari_mmtseg.images.stores import open_image as open_store
from napari_mmtseg.prediction import dask_cluster

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of dask's sockets, at their end


@pytest.fixture(scope="module")
def client():
    """Two workers of one thread each, in this process."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False}
    with (
        distributed.LocalCluster(**options, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def model():
    return train(_cells((1100, 1100)), MMT(n_iterations=2, width=4, n_labels=2, explained=1.0))


def _cells(shape):
    rows, columns = np.indices(shape)
    discs = (rows % 100 - 40) ** 2 + (columns % 110 - 50) ** 2 < 400
    noise = np.random.default_rng(0).normal(0, 6, shape)
    return np.clip(40 + 150 * discs + noise, 0, 255).astype(np.uint8)


def test_an_image_in_memory_gets_the_labels_of_one_process(client, model):
    image = _cells((1100, 1100))
    mask = np.ones(image.shape, bool)
    mask[:200] = False
    for method in (model.method, replace(model.method, output="areas")):
        one = replace(model, method=method)
        alone = one.predict(image, mask=mask, return_uncertainty=True)
        there = one.predict(image, mask=mask, return_uncertainty=True, client=client)
        np.testing.assert_array_equal(there[0], alone[0])
        np.testing.assert_array_equal(there[1], alone[1])


def test_objects_come_out_the_same(client):
    image = _cells((1100, 1100))
    objects = train(image, KMeans.preset("nuclei"))
    alone = objects.predict(image)
    assert alone.max() > 80
    np.testing.assert_array_equal(objects.predict(image, client=client), alone)


def test_a_lazy_image_gives_lazy_labels_that_the_workers_find(client, model):
    image = _cells((1100, 1100))
    lazy = da.from_array(image, chunks=(300, 700))
    labels, doubt = model.predict(lazy, return_uncertainty=True, client=client)
    alone, its_doubt = model.predict(image, return_uncertainty=True)
    assert isinstance(labels, da.Array)
    np.testing.assert_array_equal(labels.compute(), alone)
    np.testing.assert_array_equal(doubt.compute(), its_doubt)


def test_areas_and_objects_of_lazy_images_span_blocks_as_in_one_process(client, model):
    image = _cells((1100, 1100))
    image[1000:1050, :] = 250  # one area over both tiles
    lazy = da.from_array(image, chunks=(300, 700))
    areas = replace(model, method=replace(model.method, output="areas"))
    objects = train(image, KMeans.preset("nuclei"))
    for one in (areas, objects):
        alone = one.predict(da.from_array(image, chunks=500)).compute(scheduler="synchronous")
        there = one.predict(lazy, client=client).compute()
        np.testing.assert_array_equal(there, alone)
        assert alone.max() > 50


def test_blocks_to_be_written_are_computed_ahead(client, model):
    image = _cells((1100, 1100))
    labels = model.predict(da.from_array(image, chunks=500), client=client)
    ahead, written = dask_cluster.BlocksAhead(client, labels), np.zeros(image.shape, np.int32)
    from dask.array.core import slices_from_chunks

    for region in slices_from_chunks(labels.chunks)[1:]:  # the first is there already
        written[region] = ahead(region)
    np.testing.assert_array_equal(written[:, 1024:], model.predict(image)[:, 1024:])


def test_an_image_that_lies_in_the_cluster_is_refused_with_the_cure(client, model):
    with pytest.raises(ValueError, match="lies in the memory of the cluster"):
        model.predict(client.persist(da.zeros((64, 64), chunks=32)), client=client)


def test_workers_of_another_version_are_refused_by_name(client, model, monkeypatch):
    monkeypatch.setattr(dask_cluster, "__version__", "9.9")
    worker = next(iter(client.scheduler_info()["workers"]))
    with pytest.raises(
        dask_cluster.WorkerVersionError, match=r"where this process has 9\.9"
    ) as caught:
        model.predict(np.zeros((64, 64)), client=client)
    assert worker in str(caught.value) or "inproc" in str(caught.value)


def test_a_worker_without_the_package_is_refused_when_work_arrives(client):
    content = dask_cluster.Broadcast(1).__reduce__()[1]
    with pytest.raises(dask_cluster.WorkerVersionError, match=r"Install the same version"):
        dask_cluster._arrived(content[0], "0.0.1", content[2])


def test_there_is_a_sentence_for_a_cluster_that_is_not_there(tmp_path, model, capsys, monkeypatch):
    monkeypatch.setattr(dask_cluster, "_PATIENCE_SECONDS", 0.5)
    monkeypatch.chdir(tmp_path)
    model.save("m.safetensors")
    tifffile.imwrite("a.tif", _cells((64, 64)))
    told = ["predict", "a.tif", "--model", "m.safetensors", "-o", "b.tif"]
    assert main([*told, "--scheduler", "tcp://127.0.0.1:9"]) == 1
    assert "There is no dask scheduler at tcp://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="kills differ")
def test_on_worker_processes_a_killed_one_costs_its_tiles_alone(
    tmp_path, model, capsys, monkeypatch
):
    """One cluster of processes for all that needs them; it takes some seconds to start."""
    image = _cells((2200, 3300))
    alone = model.predict(image)
    images = tmp_path / "in"
    images.mkdir()
    for number in range(3):
        tifffile.imwrite(images / f"{number}.tif", np.roll(image[:300, :300], 20 * number, axis=0))
    (images / "bad.tif").write_text("no")
    model.save(tmp_path / "m.safetensors")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as local,
        distributed.Client(local) as client,
    ):
        told = ["batch", str(images), "--model", str(tmp_path / "m.safetensors"), "-q"]
        assert main([*told, "-o", str(tmp_path / "there"), "--scheduler", client.scheduler.address])
        assert "bad.tif is damaged" in capsys.readouterr().err
        tifffile.imwrite(tmp_path / "large.tif", image)
        monkeypatch.setattr(image_files, "LAZY_BYTES", 1000)
        out = tmp_path / "large.zarr"
        told_one = ["predict", str(tmp_path / "large.tif"), "-o", str(out), "-q", "--model"]
        told_one += [str(tmp_path / "m.safetensors"), "--scheduler", client.scheduler.address]
        assert main(told_one) == 0
        np.testing.assert_array_equal(open_store(out).levels[0][:], alone)
        monkeypatch.undo()
        threads = set(client.run(_torch_threads).values())
        assert threads == {1}, "one-thread workers stay one-threaded"
        workers = client.run(os.getpid)
        killing = threading.Timer(0.3, os.kill, (next(iter(workers.values())), signal.SIGKILL))
        killing.start()
        there = model.predict(image, client=client)
        assert not killing.is_alive(), "it was killed after the work"
        assert set(client.run(os.getpid).values()) != set(workers.values()), "none was killed"
    np.testing.assert_array_equal(there, alone)
    assert main([*told, "-o", str(tmp_path / "here"), "--workers", "1"]) == 1
    for number in range(3):
        name = f"{number}_labels.tif"
        here, there = (tmp_path / place / name for place in ("here", "there"))
        assert open_image(here).read().max() == 2
        assert here.read_bytes() == there.read_bytes()


def _torch_threads():
    return torch.get_num_threads()
