# Two commands do everything: make demo, make test. CI runs make test-all too.
export GOTOOLCHAIN := go1.27.4

PYTHON ?= python3
VENV := .venv
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
# What the tests and the demo of jobs run.
LAMBDA := bin/versitygw bin/template.json bin/local/bootstrap
# ./... leaves testdata out.
PACKAGES := ./... ./testdata/demo ./testdata/bench/scan

.PHONY: asm asm-check build demo report-web report-check test test-all test-hard test-arm64 test-kill test-lambda demo-lambda examples examples-case fuzz lint plugin plugin-check template-check lambda vulncheck bench bench-peers bench-tiny train-env clean

build: ## bin/quarry
	go build -o bin/quarry ./host/cmd/quarry

demo: build ## mine the embedded example and show it
	bin/quarry demo -o bin/demo --force

TEST_PYTHON := QUARRY_PYTHON=$(CURDIR)/$(VENV)/bin/python

test: $(VENV)/ready $(LAMBDA) ## every behaviour, large tables and long schedules by a sample: about 90 seconds once built, on two cores
	$(TEST_PYTHON) go test -short -timeout 10m $(PACKAGES)
	$(VENV)/bin/python testdata/golden/test_reference.py

test-all: $(VENV)/ready $(LAMBDA) lambda ## everything: whole tables, all schedules, all real data, and each fuzz target for some seconds
	$(TEST_PYTHON) go test -timeout 30m $(PACKAGES)
	$(VENV)/bin/python testdata/golden/test_reference.py
	$(MAKE) fuzz FUZZTIME=3s

ROUNDS ?= 20

test-hard: ## the tests under load, ROUNDS times, and with the race detector, in a fresh clone, with and without real data
	.ci/hard $(ROUNDS)

test-lambda: $(LAMBDA) lambda ## jobs alone: stores, protocol with faults, and 40 shards through an S3 server and the built function; RACE=1 looks for races
	go test $(RACE_FLAG) -timeout 60m -v ./host/objstore/... ./host/job ./lambda/...

demo-lambda: $(LAMBDA) ## a sharded job on the screen, with all that it needs on this machine
	@go run ./lambda/internal/demo

# An S3 server, for tests. Its version goes into a stamp, so that another is built.
bin/versitygw: Makefile
	@mkdir -p bin
	@[ -x $@ ] && [ "$$(cat $@.version 2>/dev/null)" = "$(VERSITYGW)" ] || \
		{ echo "building $(VERSITYGW)" && GOBIN=$(CURDIR)/bin GOFLAGS= go install $(VERSITYGW) && echo "$(VERSITYGW)" >$@.version; }
	@touch $@

examples-case: build ## bin/examples/case: what the examples of hosts mine, and the answers that they are compared with
	go run ./plugin/examples/prepare

HOSTS ?=

# Each installs what it needs below bin/examples, from the registry of its language.
examples: examples-case ## every host of docs/HOSTS.md: its negatives compared with the command line's, and measured; HOSTS='python spark' runs those alone, WRITE=1 writes the table there
	go run ./plugin/examples/all $(if $(WRITE),-write) $(HOSTS)

FUZZTIME ?= 20s

# go fuzzes one target of one package at a time. Minimising an input that is new may take no longer than a second.
fuzz: ## every fuzz target, for FUZZTIME each
	@set -e; grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' host lambda plugin | sort | while IFS=: read -r file name; do \
		target=$${name#func }; echo "$$target in $${file%/*}"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "./$${file%/*}"; \
	done

KILLS ?= 5000

test-kill: ## runs killed thousands of times, before a change to the disk, and run again
	QUARRY_KILLS=$(KILLS) go test -timeout 0 -run '^TestKilled$$' -v ./host/cmd/quarry

# Those tests that compare bits, cross-compiled and run by an emulator; -short takes a sample of the table of engines, and -v says so.
test-arm64: ## the same bytes on arm64
	@command -v qemu-aarch64 >/dev/null || { echo "qemu-aarch64 is not here; on Debian: apt-get install qemu-user" >&2; exit 1; }
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go test -timeout 20m -exec qemu-aarch64 ./plugin/...
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go test -timeout 20m -exec qemu-aarch64 -v -short \
		-run '^(TestGolden|TestOneTableEveryEngine|TestEnginesAgree|TestKernelsAgree)$$' ./host ./host/engine

REQUIREMENTS := testdata/requirements.txt lambda/deploy/requirements.txt

# Python runs the tests of other hosts, of NumPy's reference, and of the deployment's template.
$(VENV)/ready: $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(REQUIREMENTS:%=-r %)
	touch $@

FUNCTION = go build $(RACE_FLAG) -tags lambda.norpc -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o

# What runs a program for arm64: an emulator, or nothing where this machine is arm64.
EMULATOR := $(if $(filter Linux-aarch64,$(shell uname -sm | tr ' ' -)),,qemu-aarch64)
NO_EMULATOR := $(if $(EMULATOR),$(if $(shell command -v $(EMULATOR)),,1))

# Tests of the zip do without the compiled plugin where there is no emulator.
test-all test-lambda: NOCACHE ?= $(NO_EMULATOR)

# The plugin is compiled for arm64 by the program itself.
lambda: RACE_FLAG :=
lambda: ## bin/lambda.zip, for lambda/deploy/template.yaml; it needs qemu-aarch64, or NOCACHE=1 to do without the compiled plugin
	@[ -n "$(NOCACHE)" ] || [ -z "$(NO_EMULATOR)" ] || { echo "$(EMULATOR) is not here to compile the plugin for arm64; on Debian: apt-get install qemu-user" >&2; \
		echo "  hint: make lambda NOCACHE=1 makes a zip without the compiled plugin, and each cold start of the function then takes a second longer" >&2; exit 1; }
	rm -rf bin/lambda bin/lambda.zip
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(FUNCTION) bin/lambda/bootstrap ./lambda/bootstrap
	@if [ -n "$(NOCACHE)" ]; then echo "NOCACHE: the zip holds no compiled plugin, and each cold start of the function takes a second longer"; \
	else $(EMULATOR) bin/lambda/bootstrap bake bin/lambda/cache; fi
	go run ./lambda/internal/pack bin/lambda bin/lambda.zip
	@ls -l bin/lambda.zip

# The race detector takes cgo, and so a C compiler.
RACE_FLAG := $(if $(RACE),-race)

# The function for this machine, which the tests run.
bin/local/bootstrap: FORCE
	CGO_ENABLED=$(if $(RACE),1,0) $(FUNCTION) bin/local/bootstrap ./lambda/bootstrap
	rm -rf bin/local/cache && bin/local/bootstrap bake bin/local/cache

FORCE:

lint: ## gofmt, vet, staticcheck, and that packages import in one direction
	go run .ci/rooms.go
	@test -z "$$(gofmt -l host lambda plugin testdata .ci)" || { gofmt -l host lambda plugin testdata .ci; echo "gofmt would change these" >&2; exit 1; }
	go vet $(PACKAGES)
	GOOS=wasip1 GOARCH=wasm go vet ./plugin/guest
	go run $(STATICCHECK) $(PACKAGES)

plugin: ## plugin.wasm and plugin-scalar.wasm from their sources
	plugin/build.sh

plugin-check: ## plugin.wasm and plugin-scalar.wasm are what their sources give, to the byte
	plugin/build.sh --check

asm: ## the kernels in assembly, by their generator
	cd plugin/kernel/asm && go run .

asm-check: ## the kernels in assembly are what their generator gives
	cd plugin/kernel/asm && go vet . && go run . -check

# The libraries' versions and hashes are in package-lock.json. npm ci installs those and no others, and runs none of their scripts.
WEB := cd host/report/web && npm ci --silent && go vet . && go run .

report-web: ## the report's script and style sheet, bundled from their sources and libraries; it needs npm
	$(WEB)

report-check: ## the report's script and style sheet are what their sources and libraries give, to the byte; it needs npm
	$(WEB) -check

# cfn-lint looks past a function that is SAM's, so it has what SAM makes of it too.
template-check: $(VENV)/ready bin/template.json ## the template of the deployment: lint, and what linters do not see
	$(VENV)/bin/cfn-lint --non-zero-exit-code informational --regions us-east-1 eu-central-1 -- lambda/deploy/template.yaml bin/translated.json
	$(VENV)/bin/python lambda/deploy/test_template.py

# What SAM makes of the template, and that as CloudFormation resolves it; tests in Go read the policies there.
bin/template.json: lambda/deploy/template.yaml lambda/deploy/stack.py $(VENV)/ready
	@mkdir -p bin
	$(VENV)/bin/python lambda/deploy/stack.py bin/translated.json $@

vulncheck:
	go run $(GOVULNCHECK) ./...

QUARRY_DATA ?= ../shared/data

bench: build $(VENV)/ready $(LAMBDA) ## quarry alone: kernels, products, scan, projection, feeding, fits, start-up, sharded jobs; where there is real data, many documents
	go test -run '^$$' -bench . ./plugin/kernel ./host/matrix ./host/engine ./host/mining ./host/fit
	go test -run '^$$' -bench Start ./host/cmd/quarry
	go test -run '^TestColdStart$$' -v -bench Job -benchtime 1x ./lambda
	@[ -d "$(QUARRY_DATA)/cloud-docs" ] || { echo "no data in QUARRY_DATA=$(QUARRY_DATA): many documents were not timed"; exit 0; }; \
		$(VENV)/bin/python testdata/bench/many.py "$(QUARRY_DATA)/cloud-docs"

# The rivals have an environment of their own, since they are large.
BENCH_VENV := .venv-bench
PEERS ?=

$(BENCH_VENV)/ready: testdata/bench/requirements.txt
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r testdata/bench/requirements.txt
	touch $@

bench-peers: build $(BENCH_VENV)/ready ## quarry beside scikit-learn, FAISS, NumPy and sentence-transformers, in turn; PEERS='--only fit --rounds 1' does less
	go build -o bin/bench-scan ./testdata/bench/scan
	go test -c -o bin/bench-kernels ./plugin/kernel
	QUARRY_DATA="$(QUARRY_DATA)" $(BENCH_VENV)/bin/python testdata/bench/peers.py $(PEERS)

bench-tiny: ## all of bench-peers on a few small vectors, to see that it works
	$(MAKE) bench-peers PEERS='--tiny --rounds 1'

# The trainer has an environment of its own, since torch is large.
TRAIN_VENV := .venv-train

train-env: $(TRAIN_VENV)/ready ## the Python that quarry compare --train finds

$(TRAIN_VENV)/ready: host/train/python/requirements.txt
	$(PYTHON) -m venv $(TRAIN_VENV)
	$(TRAIN_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r host/train/python/requirements.txt
	touch $@

clean:
	rm -rf bin $(VENV) $(BENCH_VENV) $(TRAIN_VENV)
