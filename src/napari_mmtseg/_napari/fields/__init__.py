"""Parts of forms: layer choice, tables, sliders, the wheel, the Tab key."""
