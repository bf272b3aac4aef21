# make help: what there is to make.

SHELL := /bin/sh
export PATH := $(PATH):$(HOME)/.cargo/bin
PREFIX ?= $(if $(filter 0,$(shell id -u)),/usr/local,$(HOME)/.local)
GATEWAYS ?= 2026.3.28 2026.6.11 2026.9.6
# What docs/compatibility.md is made from; 2026.7.35 stands for a release nobody has looked at.
MATRIX ?= 2026.3.13 2026.3.24 2026.3.28 2026.3.31 2026.4.24 2026.6.11 2026.7.35 2026.9.6
# What `make test` runs end to end: the release of most reports, one of summer, and the newest.
TEST_GATEWAYS ?= 2026.3.28 2026.6.11 2026.9.6
# Columns that `make test` leaves out and `make e2e` does not: token and trusted-proxy are seen on all three releases, none and
# password, which differ from token in one header and one member of `connect`, on one release each.
TEST_WITHOUT ?= 2026.3.28-password 2026.6.11-none 2026.6.11-password 2026.9.6-none
# The release of most reports and the newest: what `make e2e-clients` puts behind the clients.
CLIENT_GATEWAYS ?= 2026.3.28 2026.9.6

# Releases times modes are columns of the end-to-end tests. Most of a column's time is waiting, so three run at a time.
COLUMNS ?= --numprocesses 3 --dist loadgroup

.PHONY: release release-key repository-test bodies test-one ruff cache paths resilience life kubernetes container observe e2e-tailnet packages packages-test reproduce bench budgets help deps install demo build test check e2e matrix fuzz generate clean setup-build setup-test setup-fuzz setup-bench setup-budgets compose e2e-clients arm64-test macos-check helm-test

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r t w; do printf '%-12s %s\n' "$$t" "$$w"; done

deps: ## what builds and tests need: says what is missing, then installs it (DRY_RUN=1: only says it)
	@tests/setup.sh test --dry-run
	@$(if $(DRY_RUN),,tests/setup.sh test)

demo: setup-build ## show it all on this machine; stays up until Ctrl-C
	@test -x target/debug/scopeshim || echo "Compiling scopeshim and its crates: about 4 minutes on two cores, once. cargo names each:"
	cargo build --locked
	@echo "Starting the demonstration:"
	@cargo run --locked --quiet -- demo $(DEMO)

build: setup-build ## the optimised binary: target/release/scopeshim
	cargo build --locked --release

install: ## the binary that `make build` made, into PREFIX/bin: ~/.local for a user, /usr/local for root
	install -D -m 755 target/release/scopeshim "$(PREFIX)/bin/scopeshim"
	@case ":$$PATH:" in *":$(PREFIX)/bin:"*) ;; *) echo "$(PREFIX)/bin is not in PATH: export PATH=\"$(PREFIX)/bin:\$$PATH\"";; esac

test: setup-test ## every test: fast ones, then real gateways (TEST_GATEWAYS) with real clients
	$(MAKE) ruff
	cargo test --locked
	$(MAKE) paths GATEWAYS="$(TEST_GATEWAYS)"
	$(MAKE) bodies GATEWAYS="$(TEST_GATEWAYS)"
	$(MAKE) observe
	$(MAKE) resilience SECONDS=$(or $(SECONDS),30)
	$(MAKE) kubernetes
	$(MAKE) compose
	$(MAKE) e2e-tailnet
	$(MAKE) e2e GATEWAYS="$(TEST_GATEWAYS)" E2E='--without "$(TEST_WITHOUT)" $(E2E)'

# A file of Python, or part of the name of a Rust test.
test-one: ## one test: T=limits::a_name, or T=tests/e2e/test_scopes.py ARGS="-k empty --modes token"
	@case "$(T)" in \
	"") echo 'which one? T=part::of_a_rust_name or T=tests/SUITE/test_FILE.py::test_NAME' >&2; exit 2 ;; \
	*.py*) cargo build --locked && exec python3 -m tests "$(T)" $(ARGS) ;; \
	*) exec cargo test --locked "$(T)" $(ARGS) ;; \
	esac

ruff: setup-test ## the lints of the Python tests and scripts, and the tests of what they share
	python3 -m tests ruff check tests packaging
	python3 -m tests support -q

check: setup-build ## what must pass before a commit
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	tests/deny.sh

e2e: setup-test ## real OpenClaw gateways, real clients: GATEWAYS="2026.3.28 2026.9.6"
	cargo build --locked
	python3 -m tests.support.install $(GATEWAYS)
	python3 -m tests e2e --gateways "$(GATEWAYS)" $(COLUMNS) $(E2E)

cache: setup-test ## only fetch what `make test` needs from package registries: gateways, node, clients
	python3 -m tests.support.install $(TEST_GATEWAYS)

paths: setup-test ## how paths are read here, against the code of real gateway releases: GATEWAYS="2026.3.28 2026.9.6"
	python3 -m tests paths -v --gateways "$(GATEWAYS)" $(PATHS)

bodies: setup-test ## how JSON bodies are read here, against JSON.parse of each gateway's Node
	python3 -m tests bodies -v --gateways "$(GATEWAYS)" $(BODIES)

observe: setup-test ## metrics, dashboard, alerts and status page with the real Prometheus and a real browser
	cargo build --locked
	python3 -m tests observe -v $(OBSERVE)

resilience: setup-test ## upgrades under load, stops, kill -9, a full disk, clock jumps, a soak: SECONDS=120
	cargo build --locked
	python3 -m tests resilience -v --seconds $(or $(SECONDS),120) $(LIFE) $(RESILIENCE)

life: resilience ## another name of resilience

kubernetes: setup-build ## the manifests in packaging/kubernetes against the APIs' own types
	cargo build --locked
	tests/kubernetes/run.sh kustomize target/debug/scopeshim

helm-test: setup-build ## the chart in packaging/helm, rendered by helm (built from its Go module) and checked in the same way
	cargo build --locked
	tests/kubernetes/run.sh helm target/debug/scopeshim

fuzz: setup-fuzz ## hostile input for every parser, no gateway needed: SECONDS=60 in all
	@fuzz/run.sh $(or $(SECONDS),60)

generate: setup-build ## what is made from the code: schema
	cargo run --locked --quiet -- generate schema > packaging/config.schema.json

matrix: setup-test ## every release in every mode, and docs/compatibility.md from what was seen (an hour)
	cargo build --locked
	python3 -m tests.support.install $(MATRIX)
	python3 -m tests e2e --gateways "$(MATRIX)" $(COLUMNS) --json target/matrix.json $(E2E); \
	status=$$?; python3 -m tests.e2e.matrix target/matrix.json; exit $$status

# Too much for `make test`: 2 GB of clients, and a browser. With CI set a test that is skipped counts as failed.
e2e-clients: setup-test ## every client, Open WebUI, CLI and TUI too, and their tables in docs (CLIENT_GATEWAYS="…", 40 minutes)
	cargo build --locked
	python3 -m tests.support.install $(CLIENT_GATEWAYS)
	CI=true python3 -m tests e2e --clients --modes token --gateways "$(CLIENT_GATEWAYS)" --numprocesses 2 --dist loadgroup --json target/clients.json $(E2E); \
	status=$$?; $(if $(E2E),,python3 -m tests.e2e.client_matrix target/clients.json && )exit $$status

compose: setup-build ## packaging/compose against the Compose specification's own types
	cargo build --locked
	tests/compose/run.sh target/debug/scopeshim

e2e-tailnet: setup-test ## a real tailnet (built from Go modules) around a real gateway
	cargo build --locked
	python3 -m tests tailnet -v $(TAILNET)

# ARCHS: the machine's own processor, unless told; `ARCHS="amd64 arm64"` makes packages and images for both.
packages: setup-build ## deb, rpm and tarball into dist/, with their bill of materials and checksums: ARCHS="amd64 arm64"
	@tests/setup.sh packages "$(ARCHS)"
	packaging/build.sh $(ARCHS)

packages-test: ## install what is in dist/ into small systems with systemd; use, upgrade and remove it there (root)
	@tests/setup.sh packages-test
	python3 -m tests packages -v $(PACKAGES)

container: packages ## an OCI image layout, target/image, of what `make packages` builds; no daemon is needed: ARCHS="amd64 arm64"
	packaging/image.sh $(ARCHS)

release-key:
	@test -n "$(KEY)" || { echo 'whose signature? make release KEY=fingerprint-or-address, of a key in the keyring of gpg' >&2; exit 2; }
	@tests/setup.sh release

release: ARCHS ?= amd64 arm64
release: release-key packages container ## everything to publish, signed: release/, with an apt and a dnf repository. KEY=… of gpg's
	packaging/release.sh "$(KEY)" release dist target/image-archive

repository-test: ## apt and dnf install and upgrade from such repositories, and take nothing tampered with (root)
	@tests/setup.sh repository-test
	python3 -m tests repository -v $(REPOSITORY)

arm64-test: setup-build ## the arm64 package of dist/, run by qemu: the demonstration, tests of tests/it, and a Debian for arm64 (root)
	@tests/setup.sh arm64-test
	python3 -m tests arm64 -v $(ARM64)

macos-check: setup-build ## the types of everything for macOS, without Apple's SDK; the launchd job and Homebrew's formula as files
	@tests/setup.sh macos-check
	packaging/macos/check.sh
	python3 -m tests macos -v $(MACOS)

reproduce: ## build the packages of the last commit again, elsewhere, and compare them with dist/: ARCHS as they were built with
	packaging/reproduce.sh $(ARCHS)

bench: setup-bench build ## the figures, side by side with other proxies, into docs/benchmarks.md (SHORT=1: 15 minutes, into target/bench.md)
	python3 -m tests.bench.run --binary target/release/scopeshim $(if $(SHORT),--short --out target/bench.md,--out docs/benchmarks.md) $(BENCH)

budgets: setup-budgets ## instructions of a request, an event and a reload, against tests/bench/budgets/budgets.json (BLESS=1: takes what it counts)
	cargo build --locked --profile profiling
	python3 -m tests.bench.budgets --binary target/profiling/scopeshim $(if $(BLESS),--bless) $(BUDGETS)

clean: ## everything that was built
	cargo clean

setup-build:
	@tests/setup.sh build

setup-test:
	@tests/setup.sh test

setup-fuzz:
	@tests/setup.sh fuzz

setup-bench:
	@tests/setup.sh bench

setup-budgets:
	@tests/setup.sh budgets
