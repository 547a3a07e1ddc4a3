# `make demo` and `make test` are all a new machine needs: python3 and Java 17 are expected, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test lint lock bench clean

install: $(STAMP)

$(STAMP): conf/requirements.lock pyproject.toml
	@command -v java >/dev/null || { echo "graphseam: Spark needs Java 17, and no 'java' is on PATH"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r conf/requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	$(BIN)/python -m graphseam.jars
	touch $(STAMP)

demo: install
	$(BIN)/graphseam run conf/demo.toml

test: install lint
	$(BIN)/pytest tests -n 2 --dist loadfile --no-loadscope-reorder --durations 40

lint: install
	$(BIN)/ruff check lib jobs tests
	$(BIN)/mypy

# New versions: edit pyproject.toml, then this. The lock holds names, versions and hashes, never an address.
lock: $(BIN)/python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra dev --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url pyproject.toml -o conf/requirements.lock

bench: install
	$(BIN)/python tests/bench/quality.py

clean:
	rm -rf $(VENV) build dist spark-warehouse metastore_db derby.log
