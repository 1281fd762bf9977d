# Every target works from a fresh clone with an empty environment. It takes Go
# 1.26 and git; `make test` also takes a C compiler (for -race), redis-server,
# promtool, Node.js and npm, `make generators` compilers of other languages. Other
# tools are built from the versions pinned in tools/*/go.mod: the first `make lint`
# compiles for some minutes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# ARGS goes to `make run`, such as ARGS='--quota 20/10s'.
ARGS ?=
# FUZZTIME is how much each fuzzer tries: a count, for Go before 1.27 may fail one
# with "context deadline exceeded" as a duration ends (https://go.dev/issue/75804).
FUZZTIME ?= 30000x
# BENCH picks benchmarks by name, BENCHTIME says how long each runs.
BENCH ?= .
BENCHTIME ?= 1s
# SCENARIOS picks what `make bench-quota` and `make bench-replicas` measure, by name.
SCENARIOS ?= .
# DURATION is how long faults come and go in `make chaos`, and SEED which and in
# what order, by chance unless it is given.
DURATION ?= 60s
SEED ?=
# BASELINE is the contract that callers depend on, as `buf build` writes it. It is
# not in proto/, which holds only what callers take.
BASELINE := tools/buf/baseline.binpb

# IMAGE is the name of what `make image` builds; VERSION that of a release.
IMAGE ?= clerkgate:dev
VERSION ?= 0.0.0

# Without cgo the binary is static, and starts in an empty image.
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
	@tools/need gcc:build-essential node:nodejs npm:npm redis-server:redis-server promtool:prometheus \
		haproxy:haproxy /usr/sbin/nginx:nginx-light
	go test -race -timeout 20m ./...

.PHONY: lint
lint: ## check code, contract, formatting and import direction
	$(LINT) run ./...
	$(BUF) lint
	$(BUF) format --diff --exit-code
	go mod tidy -diff

.PHONY: breaking
breaking: ## check that the contract still serves callers of its baseline
	$(BUF) breaking --against $(BASELINE)

# Before the first release (a tag v…) the contract may still change, and its
# baseline be written over it. From then on the baseline is written with each
# release, so that what was added is guarded too, and only if nothing breaks.
.PHONY: baseline
baseline: ## write the contract's baseline anew (once released: if nothing breaks)
	@if [[ -n $$(git tag --list 'v*') ]]; then $(MAKE) --no-print-directory breaking; fi
	$(BUF) build --exclude-source-info -o $(BASELINE)

# protoc and its plugins, the libraries of what they write, and their compilers.
.PHONY: generators
generators: ## check what generators of other languages make of the contract
	@tools/need protoc:protobuf-compiler grpc_python_plugin:protobuf-compiler-grpc \
		grpc_java_plugin:protobuf-compiler-grpc-java-plugin \
		/usr/include/google/protobuf/message.h:libprotobuf-dev g++:g++ \
		javac:default-jdk-headless /usr/share/java/protobuf.jar:libprotobuf-java /usr/share/java/grpc-netty.jar:libgrpc-java \
		/usr/share/java/netty-all.jar:libnetty-java /usr/share/java/perfmark-api.jar:libperfmark-java \
		/usr/lib/python3/dist-packages/google/protobuf/message.py:python3-protobuf \
		/usr/lib/python3/dist-packages/grpc/__init__.py:python3-grpcio \
		/usr/bin/ruby:ruby "/usr/lib/*/rubygems-integration/*/gems/grpc-*/src/ruby/lib/grpc.rb:ruby-grpc" \
		php:php-cli /usr/share/php/Google/Protobuf/Timestamp.php:php-google-protobuf \
		mcs:mono-mcs node:nodejs npm:npm
	go test -tags generators -count=1 -timeout 20m ./tools/generators

.PHONY: generate
generate: ## write gen/ anew from proto/
	$(BUF) generate

.PHONY: generate-clients
generate-clients: ## write the generated code in clients/ anew from proto/
	@tools/need protoc:protobuf-compiler grpc_python_plugin:protobuf-compiler-grpc node:nodejs npm:npm
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
	@tools/need protoc:protobuf-compiler grpc_java_plugin:protobuf-compiler-grpc-java-plugin \
		javac:default-jdk-headless /usr/share/java/protobuf.jar:libprotobuf-java /usr/share/java/grpc-netty.jar:libgrpc-java \
		/usr/share/java/netty-all.jar:libnetty-java /usr/share/java/perfmark-api.jar:libperfmark-java
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
bench-quota: ## measure the use of the quota, in 10 minutes (SCENARIOS=regexp picks some)
	go build -o bin/ ./cmd/clerkgate ./cmd/benchquota
	bin/benchquota -clerkgate bin/clerkgate -run '$(SCENARIOS)'

.PHONY: bench-replicas
bench-replicas: ## the same of several replicas with one Redis, in 10 minutes (SCENARIOS=regexp)
	@tools/need redis-server:redis-server
	go build -o bin/ ./cmd/clerkgate ./cmd/benchquota
	bin/benchquota -replicas -clerkgate bin/clerkgate -run '$(SCENARIOS)'

.PHONY: bench-floods
bench-floods: ## measure memory under floods of calls and webhooks, in 3 minutes (SCENARIOS=regexp)
	go build -o bin/ ./cmd/clerkgate ./cmd/benchquota
	bin/benchquota -floods -clerkgate bin/clerkgate -run '$(SCENARIOS)'

.PHONY: chaos
chaos: ## judge servers under load while faults come and go (DURATION=60s SEED=number)
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
	@test -e bin/clerkgate || echo 'The first build takes some minutes; each package is named as it is compiled.'
	$(subst go build,go build -v,$(BUILD)) -o bin/ ./cmd/clerkgate

.PHONY: image-context
image-context: ## put what the image consists of into bin/image
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
image-check: image ## start the image, read-only and without privileges
	tools/release/image-check $(IMAGE)

.PHONY: chart-check
chart-check: ## render the chart and decode what it makes into Kubernetes' own types
	cd tools/chart && go test -count=1 ./...

.PHONY: manifests
manifests: ## write deploy/kubernetes/clerkgate.yaml from the chart
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
	@test -e bin/grpcurl || echo 'The first build takes some minutes; each package is named as it is compiled.'
	go build -v -modfile=tools/peers/go.mod -o bin/ tool

.PHONY: readme
readme: build grpcurl ## write the output of its examples into README.md
	@tools/need jq:jq
	tools/readme -w

.PHONY: readme-check
readme-check: build grpcurl ## check that README.md shows what its examples print
	@tools/need jq:jq
	tools/readme

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
