"""The form shows settings as they are."""

import pytest

from napari_mmtseg._napari.form import SettingsForm
from napari_mmtseg.methods import METHODS, ObjectIIC

CLASSES = [*METHODS.values(), ObjectIIC]


@pytest.mark.parametrize("cls", CLASSES, ids=[cls.__name__ for cls in CLASSES])
def test_every_preset_comes_back_from_the_form(cls, qtbot):
    form = SettingsForm(cls)
    qtbot.addWidget(form)
    assert form.method() == cls()
    for name in cls.presets:
        form.show_method(cls.preset(name))
        assert form.method() == cls.preset(name)
