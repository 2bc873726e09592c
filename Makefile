# Each target sets up all that it needs: a virtual environment in .venv, and on Debian as root the
# system packages of Qt and Xvfb.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PACKAGES := python3-venv xvfb xauth libegl1 libgl1 libdbus-1-3 libfontconfig1 libxkbcommon-x11-0 \
	libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 \
	libxcb-shape0 libxcb-xinerama0 fonts-dejavu-core
# A window needs a display: the one that is there, or a virtual one.
SHOWN := $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(filter Darwin,$(shell uname -s)),$(filter Windows_NT,$(OS)))
WINDOW := $(if $(SHOWN),,xvfb-run -a -s "-screen 0 1400x900x24")

.PHONY: demo test attack lint docs screenshots bench-smoke bench-engine bench-scale bench-objects bench-folders clean system

demo: $(READY)
	$(WINDOW) $(BIN)/python -m napari_mmtseg._napari.demo $(if $(SHOWN),,--output demo-output)

# A test process on each processor, of one thread each: in half the time.
test: $(READY) lint
	OMP_NUM_THREADS=1 $(WINDOW) $(BIN)/python -m pytest -n auto --dist loadfile

# The long form of tests/attack, in hours: 20,000 generated inputs, 10,000 model files, and how much
# memory 16 million pixels take. SHARE=0.1 makes a tenth of it; CI runs the short form.
SHARE := 1
attack: $(READY)
	MMTSEG_ATTACK=$(SHARE) $(WINDOW) $(BIN)/python -m pytest tests/attack

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

screenshots: $(READY)
	$(WINDOW) $(BIN)/python docs/screenshots.py

# The state of things in a few minutes: the development data where it is, else a generated stack.
DATA := ../shared/data
BOTH := $(and $(wildcard $(DATA)/bsds500),$(wildcard $(DATA)/dsb2018))
FEW := ,n_iterations=20
TWO := ,n_labels=2
smoke = $(BIN)/python -m benchmarks table --output bench-output/smoke-$(1) \
	--methods blank KMeans:grid Felzenszwalb:grid $(foreach net,Kanezaki$(FEW) Kim$(FEW) MMT,$(net)$(2))

bench-smoke: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	rm -rf bench-output/smoke-*
ifneq ($(BOTH),)
	$(call smoke,bsds500) --data $(DATA)/bsds500 --kind bsds500 --subset 2
	$(call smoke,dsb2018,$(TWO)) --data $(DATA)/dsb2018 --kind dsb2018 --subset "colour_4d*,dark_2c*"
else
	$(call smoke,sample,$(TWO)) --kind sample --subset 3
endif

# The default engine against its aims: speed, memory, steadiness, and scores where the data is.
bench-engine: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	rm -rf bench-output/engine
	$(BIN)/python -m benchmarks.speed.engine $(if $(BOTH),--data $(DATA))
	$(WINDOW) $(BIN)/python -m benchmarks.speed.window

# One answer, exact blocks, any size: speed, memory and resuming up to a gigapixel (8 GB of disk).
bench-scale: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python -m benchmarks.speed.scale $(if $(BOTH),--data $(DATA))
	$(WINDOW) $(BIN)/python -m benchmarks.speed.window --lazy

# Objects in 2D and 3D, contenders in rows, set by set; it goes on where it was interrupted.
bench-objects: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python -m benchmarks.quality.objects $(if $(wildcard $(DATA)),--data $(DATA),--only speed)

# Folders, the command line and a cluster against their aims; figures under load are upper bounds.
bench-folders: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(WINDOW) $(BIN)/python -m benchmarks.speed.folders $(if $(wildcard $(DATA)/dsb2018),--data $(DATA))
	$(BIN)/python -m benchmarks.plan

$(READY): pyproject.toml constraints.txt | system
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[napari]" --group test
	touch $@

system:
ifeq ($(shell uname -s),Linux)
	@missing=; for package in $(PACKAGES); do \
		dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ] && command -v apt-get >/dev/null; then \
		if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq $$missing; \
		else echo "Once, for Qt and Xvfb: sudo apt-get install$$missing"; fi; \
	fi
endif

clean:
	rm -rf $(VENV) docs/_build docs/generated demo-output dist
