"""The manifest and the samples."""

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

from napari_mmtseg._napari import samples
from napari_mmtseg.methods import METHODS
from napari_mmtseg.samples import nuclei_stack

ROOT = Path(__file__).parent.parent


def test_the_manifest_names_things_that_exist():
    manifest = PluginManifest.from_distribution("napari-mmtseg")
    manifest.validate_imports()
    offered = {widget.display_name for widget in manifest.contributions.widgets}
    assert {cls.title for cls in METHODS.values()} <= offered


def test_every_method_has_a_command_a_widget_and_a_menu_entry():
    contributions = PluginManifest.from_distribution("napari-mmtseg").contributions
    commands = {command.python_name: command for command in contributions.commands}
    widgets = {widget.command: widget.display_name for widget in contributions.widgets}
    commands_by_id = {
        one.id: one.python_name.partition(":")[2].removesuffix("Widget")
        for one in contributions.commands
    }
    entries = contributions.menus["napari-mmtseg.methods"]
    listed = []
    for name, cls in METHODS.items():
        command = commands[f"napari_mmtseg._napari.widgets.segment:{name}Widget"]
        assert command.title == widgets[command.id] == cls.title
        listed.append(command.id)
    room = [entry.command for entry in entries if entry.group == "1_methods"]
    assert room == listed, "in the catalogue's order"
    beside = [entry.command for entry in entries if entry.group != "1_methods"]
    assert [commands_by_id[one] for one in beside] == ["Group", "Measure", "Compare"]
    of_methods = [
        one for one in commands if one.startswith("napari_mmtseg._napari.widgets.segment:")
    ]
    assert len(of_methods) == len(METHODS) + 1, "and one for the method that the user prefers"


def test_the_preferences_offer_what_the_methods_do():
    contributions = PluginManifest.from_distribution("napari-mmtseg").contributions
    running = contributions.configurations["running"].properties
    assert running["method"].enum == list(METHODS)
    device = next(one for one in METHODS["MMT"].settings() if one.name == "device")
    assert running["device"].enum == list(device.choices)
    assert running["device"].default == device.default


def test_the_manifest_at_the_top_is_the_packaged_one():
    packaged = ROOT / "src" / "napari_mmtseg" / "napari.yaml"
    assert (ROOT / "napari.yaml").read_text("utf-8") in (
        packaged.read_text("utf-8"),
        "src/napari_mmtseg/napari.yaml",  # a checkout without links holds the link's target
    )


@pytest.mark.parametrize("make", [samples.tissue, samples.nuclei])
def test_the_samples_need_no_download(make):
    data, _, kind = make()[0]
    assert kind == "image"
    assert data.max() > data.min()


def test_the_nuclei_are_the_same_each_time_and_brighter_than_the_rest():
    image, truth = nuclei_stack((6, 96, 96), n_nuclei=6)
    again, _ = nuclei_stack((6, 96, 96), n_nuclei=6)
    np.testing.assert_array_equal(image, again)
    assert image.dtype == np.uint16
    assert truth.max() == 6
    assert image[truth > 0].mean() > 1.5 * image[truth == 0].mean()
