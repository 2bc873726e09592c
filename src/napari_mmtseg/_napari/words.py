"""Say in one sentence what went wrong."""

from napari_mmtseg.words import words_for as words_for
