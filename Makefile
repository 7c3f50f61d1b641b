# The two commands: `make demo` and `make test`. Everything happens in .venv; nothing outside it is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
READY := $(VENV)/.ready

.PHONY: demo test check slow golden bench clean

demo: $(READY)
	$(BIN)/medtrinity25m demo --workers $(WORKERS)

test: $(READY)
	$(BIN)/pytest -n $(WORKERS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

slow: $(READY)
	$(BIN)/pytest -m slow

# writes the golden rows anew; review the difference like code
golden: $(READY)
	$(BIN)/pytest tests/test_golden.py --update-golden

bench: $(READY)
	$(BIN)/python benchmarks/run.py

# stardist's data files are wanted, its dependencies (TensorFlow helpers, numba) are not
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt stardist
	touch $(READY)

clean:
	rm -rf $(VENV) medtrinity-25m medtrinity-25m.work
