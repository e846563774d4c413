# Every target sets up .venv by itself, and only when pyproject.toml, constraints.txt or
# what the compiled core is built from have changed.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SB3 := .venv/.sb3

.PHONY: sweep test slow check bench cost reliability quality selection proof noise monitoring sb3 clean

sweep: $(STAMP)  ## run the quickstart sweep, replacing an earlier one
	$(BIN)/gaelp-ray sweep sweeps/quickstart.yaml --overwrite

test: $(STAMP)  ## all tests, two files at a time: those of sweeps mostly wait for Ray
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: $(STAMP)  ## sweeps in S3 and on several nodes, faults in real sweeps: three at a time, as they mostly wait
	$(BIN)/python -m pytest -n 3 --dist loadfile -m slow --ignore tests/sweep/faults
	$(BIN)/python -m pytest -n 3 --dist worksteal -m slow tests/sweep/faults

check: $(STAMP)  ## style, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## speed beside that of an earlier commit, in turn, and beside stable-baselines3
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/learners.py

cost: $(STAMP)  ## what W&B costs a training of 10,000 episodes, and the trials of a sweep
	$(BIN)/python benchmarks/tracking.py
	$(BIN)/python benchmarks/wandb_share.py

reliability: $(STAMP)  ## the same faults, with the table of docs/reliability.md
	$(BIN)/python benchmarks/reliability

quality: $(STAMP)  ## how good the bidders are, paired on common flights: most of an hour
	$(BIN)/python benchmarks/quality.py

selection: $(STAMP)  ## how often the final stage is right, beside simpler ways to choose: four minutes, no simulator
	$(BIN)/python benchmarks/selection.py

proof: $(STAMP)  ## what 20 real sweeps decide where the truth is known: some minutes
	$(BIN)/python benchmarks/real_sweeps.py

noise: $(STAMP)  ## how much of a score is luck, now and at an earlier commit: some minutes
	$(BIN)/python benchmarks/score_noise.py

monitoring: $(STAMP)  ## what `monitor` gains from the budgets in a log, on flights of real bidders: some minutes
	$(BIN)/python benchmarks/monitoring.py

sb3: $(SB3)  ## the extra sb3: torch and stable-baselines3, for agents sb3:PPO, sb3:A2C, sb3:SAC and for bench

$(STAMP): pyproject.toml constraints.txt setup.py build_backend.py $(wildcard gaelp_ray/core/c/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is older than Python 3.10: make PYTHON=python3.11 ..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "error: $(PYTHON) cannot make virtual environments: on Debian, apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'from gaelp_ray.core import implementation; print("the market is computed by", implementation())'
	@touch $@

$(SB3): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[sb3]'
	@touch $@

clean:  ## everything that was made here, but not your results
	rm -rf .venv build dist *.egg-info gaelp_ray/core/*.so .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
