"""The form shows settings as they are."""

import pytest
from napari.settings import get_settings

from napari_mmtseg._napari.fields.scroll_column import ScrollColumn
from napari_mmtseg._napari.run.settings_form import SettingsForm
from napari_mmtseg._napari.widgets.segment import SegmentWidget
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


def test_larger_fonts_cut_nothing_off(make_napari_viewer, qtbot):
    appearance = get_settings().appearance
    before = appearance.font_size
    try:
        appearance.font_size = before + 5
        viewer = make_napari_viewer(show=True)
        widget = SegmentWidget(viewer)
        scroll = viewer.window.add_dock_widget(widget).findChild(ScrollColumn)
        needed = scroll.widget().minimumSizeHint
        qtbot.waitUntil(lambda: scroll.viewport().width() >= needed().width())
        table = widget.results.labels.table
        assert table.font() == widget.results.labels.title.font()
        assert table.verticalHeader().defaultSectionSize() > table.fontMetrics().height()
        viewer.close()
    finally:
        appearance.font_size = before
