# `make demo` and `make test` are all a new machine needs: python3 and Java 17 are expected, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

AIRFLOW_VENV := .venv-airflow
AIRFLOW_STAMP := $(AIRFLOW_VENV)/.installed
AIRFLOW_CAN = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'

SPARK35_VENV := .venv-spark35
SPARK35_STAMP := $(SPARK35_VENV)/.installed

DOCS_VENV := .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.installed

# Python keeps the modules it has compiled, even where the environment says not to, as many containers do: without them
# importing torch takes 5.7 s, with them 2.6 s, in each of some dozens of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo check test test-all test-airflow test-spark35 spark35-install lint format lock airflow \
  airflow-install airflow-lock docs docs-lock test-recipes recipes-lock bench gpu-pack clean

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

# Lint, types and every test that needs no Spark session, in a minute or two. A thread for each process: two of torch's
# and of BLAS' in each would wait for each other (222 s to 62 s on two busy cores).
check: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest tests -m "not spark and not slow and not thorough" -n 2

# All that protects a user. Airflow's story and then Spark 3.5's lane, with what differs between the lines and whole runs
# through it, go beside the other tests: all of them wait as much as they compute (two processes of tests keep half of
# two cores busy). What they print follows. CHOSEN leaves out what another test holds on a cheaper case; `make test-all`
# runs that and all of Spark 3.5's lane.
CHOSEN := -m "not thorough"
SPARK35_PART := $(patsubst %,tests/test_%.py,graphframes spark_line blocks)
SPARK35_WORKERS := 2
test: install lint
	@mkdir -p build; ( failed=0; $(MAKE) --no-print-directory spark35-install; \
	  $(MAKE) --no-print-directory test-airflow || failed=1; \
	  $(MAKE) --no-print-directory test-spark35 SPARK35_TESTS="$(SPARK35_PART)" SPARK35_WORKERS=1 || failed=1; \
	  exit $$failed ) > build/beside.log 2>&1 & beside=$$!; \
	$(BIN)/pytest tests $(CHOSEN) -n 2 --dist loadfile --no-loadscope-reorder --durations 40; status=$$?; \
	wait $$beside || status=1; cat build/beside.log; exit $$status

test-all: build/recipes/.installed
	@$(MAKE) --no-print-directory test CHOSEN= SPARK35_PART=tests

test-airflow:
	@$(AIRFLOW_CAN) || { echo "graphseam: Airflow's tests did not run: its provider needs Python 3.11 or newer"; exit 0; }; \
	$(MAKE) --no-print-directory airflow-install && \
	$(AIRFLOW_VENV)/bin/pytest tests/airflow --confcutdir tests/airflow --durations 5

# Spark 3.5 LTS: its own environment, with GraphFrames' classes, which run in this lane. SPARK35_TESTS narrows it, and
# an empty CHOSEN adds the thorough tests.
test-spark35: spark35-install
	$(SPARK35_VENV)/bin/pytest $(or $(SPARK35_TESTS),tests) $(CHOSEN) -n $(SPARK35_WORKERS) --dist loadfile \
	  --no-loadscope-reorder --durations 10

spark35-install: $(SPARK35_STAMP)

$(SPARK35_STAMP): conf/spark35.lock conf/spark35-graphframes.lock $(STAMP)
	test -x $(SPARK35_VENV)/bin/python || $(PYTHON) -m venv $(SPARK35_VENV)
	$(BIN)/uv pip install --quiet --python $(SPARK35_VENV)/bin/python --require-hashes -r conf/spark35.lock
	$(BIN)/uv pip install --quiet --python $(SPARK35_VENV)/bin/python --no-deps -e .
	$(SPARK35_VENV)/bin/python -m graphseam.jars
	$(BIN)/uv pip install --quiet --python $(SPARK35_VENV)/bin/python --no-deps --require-hashes \
	  --target build/graphframes -r conf/spark35-graphframes.lock
	$(SPARK35_VENV)/bin/python tests/graphframes_jar.py build/graphframes
	touch $(SPARK35_STAMP)

# Airflow's Spark provider and pyspark write the same files, so the two never share an environment.
airflow-install: $(AIRFLOW_STAMP)

$(AIRFLOW_STAMP): conf/airflow.lock $(STAMP)
	@$(AIRFLOW_CAN) || { \
	  echo "graphseam: Airflow's Spark provider needs Python 3.11 or 3.12; give one by PYTHON=python3.12"; exit 1; }
	test -x $(AIRFLOW_VENV)/bin/python || $(PYTHON) -m venv $(AIRFLOW_VENV)
	$(BIN)/uv pip install --quiet --python $(AIRFLOW_VENV)/bin/python --require-hashes -r conf/airflow.lock
	touch $(AIRFLOW_STAMP)

airflow: airflow-install
	conf/airflow.sh airflow db migrate >/dev/null 2>&1
	conf/airflow.sh airflow pools set graphseam_pipeline 1 "one job at a time in a root" >/dev/null 2>&1
	@echo
	@echo "Airflow opens at http://127.0.0.1:$${AIRFLOW__API__PORT:-8080} in about half a minute,"
	@echo "for this machine only. User admin, password: $$(sed 's/.*: "\(.*\)".*/\1/' $${AIRFLOW_HOME:-.airflow}/passwords.json)"
	@echo "Choose graphseam_pipeline and press Trigger, or, in another terminal:"
	@echo "  conf/airflow.sh airflow dags unpause graphseam_pipeline"
	@echo "  conf/airflow.sh airflow dags trigger graphseam_pipeline"
	@echo "Ctrl-C stops it; docs/airflow.md goes on from here. Its log: .airflow/standalone.log"
	@echo
	@conf/airflow.sh airflow standalone > .airflow/standalone.log 2>&1

lint: install
	$(BIN)/ruff format --check --quiet lib jobs tests airflow_dags
	$(BIN)/ruff check --quiet lib jobs tests airflow_dags
	$(BIN)/mypy

format: install
	$(BIN)/ruff format lib jobs tests airflow_dags
	$(BIN)/ruff check --fix lib jobs tests airflow_dags

# New versions: edit pyproject.toml, then this. The lock holds names, versions and hashes, never an address.
lock: $(BIN)/python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --extra dev --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url pyproject.toml -o conf/requirements.lock
	printf 'pyspark==3.5.9\ndelta-spark==3.3.2\ngraphframes-py==0.10.1\n' | $(BIN)/uv pip compile --quiet --universal \
	  --python-version 3.10 --extra dev --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --constraint - pyproject.toml -o conf/spark35.lock

airflow-lock: $(BIN)/python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url conf/airflow.in -o conf/airflow.lock

# The documentation as a site, build/site/index.html; fails on a link that leads nowhere.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --quiet --strict --config-file conf/mkdocs.yml
	@echo "open build/site/index.html"

$(DOCS_STAMP): conf/docs.lock $(STAMP)
	test -x $(DOCS_VENV)/bin/python || $(PYTHON) -m venv $(DOCS_VENV)
	$(BIN)/uv pip install --quiet --python $(DOCS_VENV)/bin/python --require-hashes -r conf/docs.lock
	touch $(DOCS_STAMP)

docs-lock: $(BIN)/python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url conf/docs.in -o conf/docs.lock

# The recipes of docs/recipes.md, with packages that graphseam itself does without. They lie beside its own, which win.
test-recipes: build/recipes/.installed
	$(BIN)/pytest tests/test_recipes.py

build/recipes/.installed: conf/recipes.lock $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target build/recipes --require-hashes -r conf/recipes.lock
	touch $@

recipes-lock: $(BIN)/python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url -c conf/requirements.lock conf/recipes.in -o conf/recipes.lock

bench: install
	$(BIN)/python tests/bench/quality.py

# What the check on a borrowed GPU carries along; docs/gpu.md.
gpu-pack: install
	PYTHON=$(BIN)/python tests/gpu/pack.sh

clean:
	rm -rf $(VENV) $(SPARK35_VENV) $(AIRFLOW_VENV) $(DOCS_VENV) build dist spark-warehouse metastore_db derby.log
