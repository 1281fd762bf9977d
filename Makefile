# Every target works in a fresh clone with an empty environment. All need Go 1.26 and git;
# `make test` also needs a C compiler (for -race), redis-server, Prometheus, haproxy, nginx,
# Node.js and npm, `make generators` compilers of other languages. Other tools are built from
# the versions pinned in tools/*/go.mod, so the first `make lint` compiles for some minutes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# ARGS are arguments of `make run`, such as ARGS='--quota 20/10s'.
ARGS ?=
# FUZZTIME is how long each fuzzer runs. It is a count: before Go 1.27, a duration may end in
# "context deadline exceeded" (https://go.dev/issue/75804).
FUZZTIME ?= 30000x
# BENCH selects benchmarks by name, BENCHTIME is how long each runs.
BENCH ?= .
BENCHTIME ?= 1s
# SCENARIOS selects the scenarios of the bench- targets by name.
SCENARIOS ?= .
# DURATION is the duration of `make chaos`. SEED determines its faults and their order; the
# default is random.
DURATION ?= 60s
SEED ?=
# BASELINE is the contract that callers depend on, in the form of `buf build`. It is not in
# proto/, which contains only files for callers.
BASELINE := tools/buf/baseline.binpb

# IMAGE is the name of the image of `make image`, VERSION the version of a release.
IMAGE ?= clerkgate:dev
VERSION ?= 0.0.0

# Without cgo the binary is static and runs in an empty image.
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w'
BUILDAH := buildah --storage-driver vfs
HELM := go tool -modfile=tools/chart/go.mod helm
BUF := go tool -modfile=tools/buf/go.mod buf
LINT := go tool -modfile=tools/lint/go.mod golangci-lint

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%\/-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: build ## serve simulated users on 127.0.0.1:9090 (ARGS='--quota 20/10s' adds flags)
	@exec bin/clerkgate serve --sim $(ARGS)

.PHONY: test
test: ## run all tests under the race detector
	@tools/need gcc:build-essential node:nodejs npm:npm redis-server:redis-server prometheus:prometheus promtool:prometheus \
		haproxy:haproxy /usr/sbin/nginx:nginx-light
	go test -race -timeout 20m ./...

.PHONY: lint
lint: ## check code, contract, formatting and import direction
	$(LINT) run ./...
	GOOS=windows go vet ./...
	$(BUF) lint
	$(BUF) format --diff --exit-code
	go mod tidy -diff

.PHONY: breaking
breaking: ## check that the contract is compatible with its baseline
	$(BUF) breaking --against $(BASELINE)

# Before the first release (a tag v…) the contract may change, and its baseline can be
# rewritten. After that it is rewritten with each release, if nothing breaks, so that additions
# are covered too.
.PHONY: baseline
baseline: ## rewrite the contract's baseline (after a release: if nothing breaks)
	@if [[ -n $$(git tag --list 'v*') ]]; then $(MAKE) --no-print-directory breaking; fi
	$(BUF) build --exclude-source-info -o $(BASELINE)

# Needs protoc and its plugins, and the libraries and compilers of their output.
.PHONY: generators
generators: buf ## test other languages' code generators with the contract
	@tools/need protoc:protobuf-compiler grpc_python_plugin:protobuf-compiler-grpc \
		grpc_java_plugin:protobuf-compiler-grpc-java-plugin \
		/usr/include/google/protobuf/message.h:libprotobuf-dev g++:g++ \
		javac:default-jdk-headless /usr/share/java/protobuf.jar:libprotobuf-java /usr/share/java/grpc-netty.jar:libgrpc-java \
		/usr/share/java/netty-all.jar:libnetty-java /usr/share/java/perfmark-api.jar:libperfmark-java \
		/usr/share/java/guava.jar:libguava-java /usr/share/java/geronimo-annotation-1.3-spec.jar:libgeronimo-annotation-1.3-spec-java \
		/usr/lib/python3/dist-packages/google/protobuf/message.py:python3-protobuf \
		/usr/lib/python3/dist-packages/grpc/__init__.py:python3-grpcio \
		/usr/bin/ruby:ruby "/usr/lib/*/rubygems-integration/*/gems/grpc-*/src/ruby/lib/grpc.rb:ruby-grpc" \
		php:php-cli /usr/share/php/Google/Protobuf/Timestamp.php:php-google-protobuf \
		mcs:mono-mcs node:nodejs npm:npm
	go test -tags generators -count=1 -timeout 20m ./tools/generators

# SHOTS keeps the screenshots of `make page-check` in a folder; WARM is how many seconds of
# load come before them, so that plots have something to show.
SHOTS ?=
WARM ?= 0

.PHONY: page-check
page-check: build ## look at the page in Chromium, in each state (SHOTS=folder keeps screenshots)
	@tools/need chromium:chromium node:nodejs npm:npm redis-server:redis-server
	cd tools/page && npm ci --ignore-scripts && SHOTS='$(SHOTS)' WARM='$(WARM)' node --test --test-concurrency=1 page.test.mjs

.PHONY: generate
generate: ## generate gen/ from proto/
	$(BUF) generate

.PHONY: generate-clients
generate-clients: ## generate the code in clients/ from proto/
	@tools/need protoc:protobuf-compiler /usr/include/google/protobuf/timestamp.proto:libprotobuf-dev \
		grpc_python_plugin:protobuf-compiler-grpc node:nodejs npm:npm
	clients/python/generate
	clients/node/generate

.PHONY: clients
clients: client-node client-python client-java ## test all clients in clients/, as packages too

.PHONY: client-node
client-node: build ## test the Node.js client with a live server
	@tools/need node:nodejs npm:npm openssl:openssl
	cd clients/node && { [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --ignore-scripts; }
	cd clients/node && npm test

.PHONY: client-java
client-java: build ## compile and run the Java of docs/clients/java.md with a live server
	@tools/need protoc:protobuf-compiler /usr/include/google/protobuf/timestamp.proto:libprotobuf-dev \
		grpc_java_plugin:protobuf-compiler-grpc-java-plugin \
		javac:default-jdk-headless /usr/share/java/protobuf.jar:libprotobuf-java /usr/share/java/grpc-netty.jar:libgrpc-java \
		/usr/share/java/netty-all.jar:libnetty-java /usr/share/java/perfmark-api.jar:libperfmark-java \
		/usr/share/java/guava.jar:libguava-java /usr/share/java/geronimo-annotation-1.3-spec.jar:libgeronimo-annotation-1.3-spec-java
	clients/java/check

.PHONY: client-python
client-python: build ## test the Python client with a live server
	@tools/need mypy:mypy openssl:openssl "/usr/lib/python3.*/ensurepip/__init__.py:python3-venv" \
		/usr/lib/python3/dist-packages/pip/__init__.py:python3-pip \
		/usr/lib/python3/dist-packages/setuptools/__init__.py:python3-setuptools \
		/usr/lib/python3/dist-packages/wheel/__init__.py:python3-wheel \
		/usr/lib/python3/dist-packages/google/protobuf/message.py:python3-protobuf \
		/usr/lib/python3/dist-packages/grpc/__init__.py:python3-grpcio
	cd clients/python && /usr/bin/mypy --python-executable /usr/bin/python3 clerkgate
	cd clients/python && /usr/bin/python3 -W error::ResourceWarning -m unittest discover -t . -s tests

.PHONY: bench
bench: ## run the benchmarks (BENCH=name BENCHTIME=1s)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -timeout 30m ./...

.PHONY: bench-quota
bench-quota: ## measure the use of the quota, in 10 minutes (SCENARIOS=regexp)
	go build -o bin/ ./cmd/clerkgate ./cmd/benchquota
	bin/benchquota -clerkgate bin/clerkgate -run '$(SCENARIOS)'

.PHONY: bench-replicas
bench-replicas: ## the same for several replicas with Redis, in 10 minutes (SCENARIOS=regexp)
	@tools/need redis-server:redis-server
	go build -o bin/ ./cmd/clerkgate ./cmd/benchquota
	bin/benchquota -replicas -clerkgate bin/clerkgate -run '$(SCENARIOS)'

.PHONY: bench-floods
bench-floods: ## measure memory under floods of calls and webhooks, in 3 minutes (SCENARIOS=regexp)
	go build -o bin/ ./cmd/clerkgate ./cmd/benchquota
	bin/benchquota -floods -clerkgate bin/clerkgate -run '$(SCENARIOS)'

.PHONY: chaos
chaos: ## check invariants under load and faults (DURATION=60s SEED=number)
	@tools/need redis-server:redis-server
	go build -o bin/ ./cmd/clerkgate ./cmd/benchquota
	bin/benchquota -chaos -clerkgate bin/clerkgate -duration $(DURATION) $(if $(SEED),-seed $(SEED))

.PHONY: fuzz
fuzz: ## run each fuzzer FUZZTIME times (30000x)
	@git grep --untracked -oE '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | while IFS=: read -r file func; do \
		echo "== $${func#func } in $$(dirname "$$file")"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "./$$(dirname "$$file")"; \
	done

.PHONY: build
build: ## build bin/clerkgate
	@test -e bin/clerkgate || echo 'The first build takes some minutes. Each package is printed as it compiles.'
	$(subst go build,go build -v,$(BUILD)) -o bin/ ./cmd/clerkgate

.PHONY: image-context
image-context: ## put the content of the image into bin/image
	@tools/need /etc/ssl/certs/ca-certificates.crt:ca-certificates
	GOOS=linux $(BUILD) -o bin/image/ ./cmd/clerkgate
	cp /etc/ssl/certs/ca-certificates.crt bin/image/

.PHONY: image
image: image-context ## build the image IMAGE (clerkgate:dev), and bin/image.tar
	@tools/need buildah:buildah
	$(BUILDAH) bud --isolation chroot -t $(IMAGE) -f deploy/Dockerfile bin/image
	rm -f bin/image.tar
	$(BUILDAH) push $(IMAGE) oci-archive:bin/image.tar:$(IMAGE)

.PHONY: image-check
image-check: image ## start the image as the chart says, read-only and without privileges
	@tools/need redis-server:redis-server haproxy:haproxy /usr/sbin/nginx:nginx-light
	go test -tags image -count=1 -run Image ./deploy

.PHONY: chart-check
chart-check: ## render the chart and decode its manifests into Kubernetes' own types
	cd tools/chart && go test -count=1 ./...

.PHONY: manifests
manifests: ## generate deploy/kubernetes/clerkgate.yaml from the chart
	$(HELM) template clerkgate deploy/chart/clerkgate -f deploy/kubernetes/values.yaml >deploy/kubernetes/clerkgate.yaml

.PHONY: release
release: ## build the archives of release VERSION into bin/release
	@tools/need zip:zip
	tools/release/release $(VERSION)

.PHONY: release-check
release-check: ## build a release twice, in two places, and compare
	@tools/need zip:zip
	tools/release/release-check

.PHONY: grpcurl
grpcurl: ## build bin/grpcurl and bin/grpc-health-probe
	@test -e bin/grpcurl || echo 'The first build takes some minutes. Each package is printed as it compiles.'
	go build -v -modfile=tools/peers/go.mod -o bin/ tool

.PHONY: buf
buf: ## build bin/buf
	@test -e bin/buf || echo 'The first build takes some minutes. Each package is printed as it compiles.'
	go build -v -modfile=tools/buf/go.mod -o bin/ tool

.PHONY: readme
readme: build grpcurl buf ## update the output of the examples in README.md and the cookbook
	@tools/need jq:jq curl:curl openssl:openssl perl:perl
	tools/readme -w

.PHONY: readme-check
readme-check: build grpcurl buf ## check the output of the examples in README.md and the cookbook
	@tools/need jq:jq curl:curl openssl:openssl perl:perl
	tools/readme

.PHONY: clean
clean: ## remove build output
	rm -rf bin
