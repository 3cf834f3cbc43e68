# make demo        bring up a real Koji on this machine and build an image with it
# make demo-cluster  the same with a real Kubernetes, which builds the image
# make demo-down   end it (make demo-reset: and forget everything it knows)
# make test        all tests, the ones on the real Koji and the real Kubernetes too
# make lint        style and types
# make bench       figures, as ratios against buildah alone
#
# Each sets up what it needs first: Debian packages (as root), and a virtual environment in .venv.

# Where it is set, each start of a program would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON := .venv/bin/python
READY := .venv/ready
TEST_STATE := $(CURDIR)/.state-test
TEST_CLUSTER := $(TEST_STATE)-cluster

.PHONY: demo demo-cluster demo-down demo-reset test test-fast lint bench setup clean

demo: $(READY)
	@$(PYTHON) -m koji_containerbuild.devstack demo

demo-cluster: $(READY)
	@$(PYTHON) -m koji_containerbuild.devstack cluster demo

demo-down: $(READY)
	@$(PYTHON) -m koji_containerbuild.devstack down
	@$(PYTHON) -m koji_containerbuild.devstack cluster down

demo-reset: $(READY)
	@$(PYTHON) -m koji_containerbuild.devstack reset
	@$(PYTHON) -m koji_containerbuild.devstack cluster reset

# Those of the cluster run beside the others: they wait more than they work. What they print comes last.
# Ctrl-C is to end both, and all that they have started: what a shell starts with & would not get it, were it not
# for env, and the shell itself is to wait for them.
test: lint
	@trap wait INT; \
	KCB_CLUSTER_STATE=$(TEST_CLUSTER) env --default-signal=INT $(PYTHON) -m pytest -m cluster \
		> $(TEST_CLUSTER).log 2>&1 & cluster=$$!; \
	KCB_STATE=$(TEST_STATE) $(PYTHON) -m pytest -m "(stack or not stack) and not cluster"; others=$$?; \
	wait $$cluster; cluster=$$?; \
	cat $(TEST_CLUSTER).log; \
	test $$others -eq 0 -a $$cluster -eq 0

test-fast: $(READY)
	$(PYTHON) -m pytest

lint: $(READY)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

bench: $(READY)
	@KCB_STATE=$(TEST_STATE) KCB_CLUSTER_STATE=$(TEST_CLUSTER) $(PYTHON) -m tests.bench

setup: $(READY)

$(READY): pyproject.toml constraints.txt debian-packages.txt setup-host
	@./setup-host
	@touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
