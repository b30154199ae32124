# The commands of a developer; CI runs the same ones (.ci/run). `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
BUILT := $(VENV)/.built

.PHONY: help env demo demo-100 test faults coverage lint bench bench-long guard guard-update image image-check image-lock clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-13s%s\n", $$1, $$2}'

env: $(BUILT) ## Make .venv with everything, from wheels only (PYTHON=... names the interpreter)

# Made anew when what it is made from has changed; a failed build leaves no stamp.
$(BUILT): pyproject.toml constraints.txt
	python=$$(bash tools/find_python.sh) && rm -rf $(VENV) && "$$python" -m venv $(VENV)
	$(PY) -m pip install --progress-bar off --only-binary :all: -c constraints.txt -e '.[all]'
	touch $@

demo: env ## Reduce a simulated HSC exposure, with files and with a Butler repository, and check it
	bash tools/demo.sh

demo-100: env ## Run 100 jobs on two worker processes: a visit of 33 detectors, three tasks
	bash tools/demo_100.sh

test: env ## Run all tests
	$(PY) -m pytest -n 2 --dist loadgroup

faults: env ## Let processes and servers fail while pipelines run, 200 times (FAULTS=N: N times)
	FAULTS=$${FAULTS:-200} $(PY) -m pytest tests/faults -n 2 --dist loadgroup

coverage: env ## Measure what the tests of isr/ reach, with numba's kernels as plain Python
	NUMBA_DISABLE_JIT=1 $(PY) -m pytest tests/isr -n 2 --cov=isr --cov-report=term-missing:skip-covered --cov-fail-under=95

lint: env ## Check style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: env ## Measure speed and memory; tables, build/bench/result.json and a picture (ONLY=bench_io.py: one module)
	mkdir -p build/bench
	$(PY) -m pytest benchmarks/$(ONLY) $(LONG) --benchmark-enable --benchmark-only -W ignore -q \
	    --benchmark-columns=min,median,rounds --benchmark-json=build/bench/result.json
	$(PY) -m benchmarks.report build/bench/result.json --picture build/bench/result.png

bench-long: LONG := --long
bench-long: bench ## The same with 100,000 quanta and a visit of 33 detectors (hours)

guard: env ## Check counts, instructions and CPU time against what is noted and the merge base
	$(PY) -m benchmarks.guard --json build/bench/guard.json

guard-update: env ## Note the counts as they are now (benchmarks/guard/counts.json)
	$(PY) -m benchmarks.guard --update

image: ## Build the container image hsc-isr, with Docker or buildah (IMAGE=name:tag)
	bash tools/image/build.sh $${IMAGE:-hsc-isr}

image-check: env ## Build the image with buildah and use it with podman: needs root on Debian; 10 minutes
	bash tools/image_check.sh

image-lock: ## Write docker/*.lock, the packages of the image with their hashes, anew
	bash tools/image/lock.sh

clean: ## Remove what these commands made
	rm -rf $(VENV) demo demo-100 build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .coverage .coverage.* htmlcov
	find . -name __pycache__ -prune -exec rm -rf {} +
