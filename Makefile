# Every target makes the virtual environment itself; `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
JUNIT := build/junit
# Whole files, because the tests of one share what they have made, and the cells of a notebook its kernel; in the order
# that tests/conftest.py gives them, so that no core waits for the last.
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help setup start reproduce test test-slow lab lint lock bundle site slides student fresh clean

help:
	@echo "make start       the first notebook alone, in a minute: one clip, one training, one picture of what it says"
	@echo "make reproduce   run every notebook headlessly, training from nothing, and compare with the committed runs"
	@echo "make lab         open the notebooks in JupyterLab"
	@echo "make test        ruff, the tests, and every notebook at the smoke profile"
	@echo "make test-slow   the tests that take more than a few seconds"
	@echo "make lint        ruff and pyright alone: rules, format, types"
	@echo "make fresh       check that the committed outputs were made by the committed code"
	@echo "make bundle      download every wheel into wheels/; KDLAB_WHEELS=DIR then installs without a network"
	@echo "                 (FOR=\"linux windows macos\": into wheels/SYSTEM, for laptops of these systems)"
	@echo "make site        README, docs and notebooks as pages, and a reference, in runs/site/ (needs a network)"
	@echo "make student     copies without the methods and the answers, in student/; with them, in solutions/"
	@echo "make slides      slides of all chapters, in slides/"
	@echo "make lock        write requirements.lock anew from pyproject.toml (UPGRADE=--upgrade moves the pins)"
	@echo "make clean       remove the virtual environment and tool caches; runs/, data/ and wheels/ stay"

# Returns at once when .venv was made from today's requirements.lock and pyproject.toml.
setup:
	@command -v $(PYTHON) >/dev/null || { echo "kdlab needs Python 3.11 or newer, and there is no '$(PYTHON)' here:" \
	  "install it, or name one, as in 'make test PYTHON=python3.12'" >&2; exit 1; }
	@$(PYTHON) tools/setup_env.py

# Its page is the notebook as executed here; JupyterLab opens on the committed one.
start: setup
	@$(BIN)/kdlab run 00
	@echo "Look at it, and go on from there: make lab"

reproduce: setup
	@$(BIN)/kdlab reproduce

lab: setup
	@$(BIN)/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks

# Tests and notebooks in one go. One thread each, because there are as many of them as cores: with two they need half as
# much again, and twice as long. Compiled modules are kept, also where a shell asks for none: dozens of processes would
# compile them anew.
test: lint
	@OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= KDLAB_PROFILE=smoke KDLAB_HEADLESS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) --durations=15 \
	  --junitxml=$(JUNIT)/test.xml --nbval-lax --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
	  tests notebooks
	@echo "make test: ruff, tests and notebooks passed; test by test in $(JUNIT)/test.xml"

test-slow: setup
	@$(BIN)/python -m pytest -m slow --durations=15 --junitxml=$(JUNIT)/slow.xml

slides: setup
	@$(BIN)/python -m pip install --quiet latex2mathml
	@$(BIN)/python tools/slides.py

student: setup
	@$(BIN)/python tools/student.py

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --quiet --check . || { echo "format these files: $(BIN)/ruff format" >&2; $(BIN)/ruff format --check .; }
	@mkdir -p build/typed && sed -n '/^```python/,/^```/{/^```/d;p;}' README.md > build/typed/readme.py
	@$(BIN)/basedpyright --level error

# `fewest`: one version of each package for every Python, so that a result does not depend on it.
# Not after `setup`, which a dependency that is not locked yet would stop.
lock:
	@[ -x $(BIN)/python ] || $(MAKE) setup
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --extra dev --python-version 3.11 --fork-strategy fewest \
	  --no-annotate --custom-compile-command "make lock" $(UPGRADE) pyproject.toml -o requirements.lock
	@echo "requirements.lock written; the next make command installs from it"

# FOR other systems the project's own Python downloads; for this one alone the set-up script does.
ifdef FOR
bundle: setup
	@$(BIN)/python tools/bundle.py $(FOR) $(if $(FOR_PYTHON),--python $(FOR_PYTHON))
else
bundle:
	@$(PYTHON) tools/setup_env.py --bundle
endif

# the names in kdlab itself are imported when they are first asked for, so pdoc is told all parts
PARTS = $(patsubst kdlab/%/__init__.py,kdlab.%,$(wildcard kdlab/*/__init__.py))
site: setup
	@$(BIN)/python -m pip install --quiet mkdocs mkdocs-jupyter pdoc
	@rm -rf runs/site runs/pages && mkdir -p runs/pages
	@cp -r docs notebooks figures studies CHANGELOG.md CITATION.cff runs/pages/
	@cp README.md runs/pages/index.md
	@$(BIN)/mkdocs build --quiet --config-file docs/mkdocs.yml
	@sed -i.bak -E 's/href="([^":]*)[.](md|ipynb)(["#])/href="\1.html\3/g' runs/site/notebooks/*.html
	@rm runs/site/notebooks/*.bak
	@$(BIN)/pdoc --output-directory runs/site/reference kdlab kdlab.protocols $(PARTS)
	@echo "runs/site/index.html"

fresh: setup
	@cd studies && ../$(BIN)/kdlab fresh --import both_ways

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache
