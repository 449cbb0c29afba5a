# The project's tasks. `make demo` and `make test` are the two that a newcomer needs; each installs
# what it lacks where it may (root on Debian), and elsewhere prints exactly what to install.

CARGO ?= cargo

# Most tests wait for processes and deadlines: more of them than there are cores go on at once.
export RUST_TEST_THREADS ?= 6

.PHONY: demo test check bench faults soak screens release etcd36 conformance deny need-build need-test

demo: need-build ## build and open the console over an embedded etcd with four demo instances
	$(CARGO) run --quiet -p msctl -- demo

test: need-test check ## everything that must hold, over the embedded etcd and a real one
	$(CARGO) test --workspace

check: need-build ## format and lints, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

bench: need-test ## the benchmarks, each as a ratio to its peer
	$(CARGO) bench --workspace

faults: need-test ## the fault suite alone, with the times it took to converge
	$(CARGO) test -p platform --test faults -- --nocapture

# How long, and the seed by which faults are drawn; without one it is drawn, too.
TIME ?= 10m
SEED ?=

soak: need-test ## faults at random for TIME=10m by SEED=n, and a table at the end
	$(CARGO) run -p platform --example soak -- $(TIME) $(SEED)

screens: need-build ## draw the README's pictures from real frames
	$(CARGO) run -p msctl --example screens -- docs/screens

release: need-build ## the optimised binary, target/release/msctl
	$(CARGO) build --release -p msctl

etcd36: ## where Go is present: build etcd 3.6, compare etcdlite with that too, and run the fault suites against it
	@command -v go >/dev/null || { echo "etcd 3.6 is built with Go: install golang-go"; exit 1; }
	cd tests/etcd36 && go build -trimpath -o $(CURDIR)/target/etcd36 .
	ETCDLITE_PEER_ETCD=$(CURDIR)/target/etcd36 $(CARGO) test -p etcdlite
	mkdir -p target/etcd36.bin && ln -sf ../etcd36 target/etcd36.bin/etcd
	PATH=$(CURDIR)/target/etcd36.bin:$$PATH $(CARGO) test -p etcd -p platform --test etcd_faults --test faults

conformance: need-test ## the official Protobuf JSON conformance suite over reflect's codec
	tests/conformance/run.sh

deny: ## licences, bans, sources; needs cargo-deny
	$(CARGO) deny check licenses bans sources

need-build:
	@scripts/need.sh build

need-test:
	@scripts/need.sh test
