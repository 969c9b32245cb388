# `make report` and `make test` are all one needs; `make` alone lists the rest.
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
DEMO = data/demo
PEERS = cache/peers
BENCH = data_path training_loop end_to_end resampling frozen_features five_folds plain_path scale big_plate gpu

.PHONY: help setup report test test-browser check lab bench bench-audit bench-compare bench-coverage lock

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1 - /p' Makefile | awk -F' - ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

setup: $(STAMP) ## the environment, with the versions of requirements.lock (the others do it when needed)

$(STAMP): requirements.lock pyproject.toml .ci/setup
	@.ci/setup "$(VENV)"
	@touch $@

report: $(STAMP) ## a simulated plate, a trained model, the report notebooks and the audit, under reports/
	@test -e $(DEMO) || $(BIN)/hpiclock synth $(DEMO)
	@$(BIN)/hpiclock run configs/demo.yaml --notebooks 01-04
	@$(BIN)/hpiclock run configs/demo.yaml --notebooks 05

# three processes: some tests wait for processes of their own
test: check ## everything: check, unit tests, the notebooks
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder
	@for p in fp32 bf16; do echo "Training tests, auto precision = $$p:"; \
	  HPICLOCK_PRECISION=$$p $(BIN)/python -m pytest -q -n 3 --dist loadfile -m precision || exit 1; done

test-browser: $(STAMP) ## JupyterLab and the report in a real browser; says so where there is none
	@$(BIN)/python -m pytest -q -m browser tests/browser

check: $(STAMP) ## style, types and the import map
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_import_map.py

lab: $(STAMP) ## JupyterLab, opened at README.md, which lists the notebooks
	@$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/README.md --LabApp.app_settings_dir="$(CURDIR)/.jupyter"

bench: $(STAMP) ## how fast: the pages of reports/benchmarks, one after the other (over an hour)
	@test -e $(DEMO) || $(BIN)/hpiclock synth $(DEMO)
	@test -d $(PEERS) || $(BIN)/uv pip install --quiet --no-deps --target $(PEERS) -r benchmarks/peers.txt
	@for name in $(BENCH); do echo "$$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-coverage: $(STAMP) ## how often the study's intervals hold the truth (minutes; writes docs/coverage.md)
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/interval_coverage.py
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/dose_and_calibration.py

bench-audit: $(STAMP) ## how often the confound audit finds what was planted (three hours on two cores; remembers what it did)
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/audit_power.py --seeds 200

bench-compare: $(STAMP) ## how often a comparison of runs finds what is not there (most of an hour; docs/comparison.md)
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/compare_null.py

lock: $(STAMP) ## requirements.lock anew from pyproject.toml, for all platforms
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	  --no-header --no-annotate --all-extras pyproject.toml -o requirements.lock
