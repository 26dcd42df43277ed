# `make` alone lists the targets. Everything is built from this checkout with
# Go; tools are pinned in go.mod and .tools, a modfile each, and come from the
# Go module proxy.

GO ?= go
ADDR ?= 127.0.0.1:4100
FUZZTIME ?= 30
TIMEOUT ?= 10m
SOAK_TIME ?= 1h

BUF := $(GO) tool -modfile=.tools/buf.mod buf
BENCH_ARGS := $(addprefix -pairs=,$(BENCH_PAIRS)) $(addprefix -only=,$(BENCH_ONLY))
TESTFLAGS := -shuffle=on -timeout=$(TIMEOUT)

# The race detector needs a C compiler.
RACE = $(if $(shell command -v $$($(GO) env CC)),-race)

.DEFAULT_GOAL := help
.PHONY: help run run-cluster generate build test test-real lint format fuzz bench bench-check soak screenshots clean check-race

help: ## list the targets
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name what; do \
		printf '  make %-11s  %s\n' "$$name" "$$what"; done

run: generate build ## generate, build and serve the example on 127.0.0.1:4100 until Ctrl-C
	@echo
	@echo "The example serves on $(ADDR) until Ctrl-C. From another shell:"
	@echo "  http://$(ADDR)/internal/help    is its help page"
	@echo "  go run ./example/echoclient             calls each of its methods"
	@echo "  (cd test && go tool grpcurl -plaintext -d '{\"message\":\"hi\"}' $(ADDR) echo.v1.EchoService/Echo)"
	@echo
	@.tools/foreground .bin/echo -easyops.addr=$(ADDR)

run-cluster: build ## run the example's services on an etcd of their own, and an edge, until Ctrl-C
	@echo "Building an etcd. Where it is not there yet, that comes first and takes a minute."
	cd test && $(GO) build -o ../.bin/run-cluster ./runcluster
	@.tools/foreground .bin/run-cluster

generate: ## generate Go from the .proto files with buf
	@echo "Generating with buf. Where it is not built yet, that comes first and takes minutes."
	$(BUF) generate

build: ## build the commands and the example into .bin
	$(GO) build -o .bin/ ./cmd/... ./example/echo ./example/echoclient ./example/greeter ./example/lines ./example/page

test: check-race ## run the tests that need nothing but Go, with the race detector
	@result=0; for tested in .:./... test:./... bench:./... bench/peers:./internal/...; do \
		module=$${tested%%:*}; packages=$${tested#*:}; \
		echo "cd $$module && $(GO) test $(RACE) $(TESTFLAGS) $$packages"; \
		(cd $$module && $(GO) test $(RACE) $(TESTFLAGS) $$packages) || result=1; \
	done; exit $$result

test-real: check-race ## run the tests with real foreign parts: grpc-js, python, curl, Chromium, a long load
	.ci/parts
	cd test && $(GO) test -tags=real -v -p=1 $(RACE) $(TESTFLAGS) ./...
	cd bench/peers && $(GO) test -tags=real -v $(RACE) $(TESTFLAGS) ./...

lint: ## check style, comments, .proto files and the house rules
	$(GO) tool -modfile=.tools/golangci-lint.mod golangci-lint run ./...
	cd test && $(GO) tool -modfile=../.tools/golangci-lint.mod golangci-lint run --build-tags=real ./...
	cd bench && $(GO) tool -modfile=../.tools/golangci-lint.mod golangci-lint run ./...
	cd bench/peers && $(GO) tool -modfile=../../.tools/golangci-lint.mod golangci-lint run --build-tags=real ./...
	$(BUF) lint
	$(BUF) format -d --exit-code
	$(GO) mod tidy -diff
	cd test && $(GO) mod tidy -diff
	cd bench && $(GO) mod tidy -diff
	cd bench/peers && $(GO) mod tidy -diff
	$(GO) test -count=1 .

format: ## format the Go and .proto files
	$(GO) tool -modfile=.tools/golangci-lint.mod golangci-lint fmt
	cd test && $(GO) tool -modfile=../.tools/golangci-lint.mod golangci-lint fmt
	cd bench && $(GO) tool -modfile=../.tools/golangci-lint.mod golangci-lint fmt
	cd bench/peers && $(GO) tool -modfile=../../.tools/golangci-lint.mod golangci-lint fmt
	$(BUF) format -w

fuzz: ## run each fuzz target for FUZZTIME seconds (30)
	@$(GO) list ./... | while read -r package; do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME)s $$package || exit 1; \
		done || exit 1; \
	done

bench: ## compare the cost with that of bare grpc-go and others: three hours; BENCH_PAIRS=3 half an hour, BENCH_ONLY=calls,start some parts
	cd bench && $(GO) build -o ../.bin/bench . && ../.bin/bench -out=../.bin/bench-result $(BENCH_ARGS)

bench-check: ## measure again most of what bench/ratios.json keeps, and tell what has moved: a quarter of an hour
	cd bench && $(GO) build -o ../.bin/bench . && ../.bin/bench check -- -out=../.bin/bench-check $(BENCH_ARGS)

soak: ## call, restart and operate servers for SOAK_TIME (1h), and tell what grows or fails
	cd bench && $(GO) build -o ../.bin/soak-run ./soak && ../.bin/soak-run -time=$(SOAK_TIME) -out=../.bin/soak $(SOAK_ARGS)

screenshots: build ## take the pictures in docs/images anew, from the example's cluster with Debian's Chromium: six minutes
	cd test && $(GO) build -o ../.bin/screenshots ./browser/screenshots
	@.tools/foreground .bin/screenshots

clean: ## remove what was built
	rm -rf .bin

check-race:
	@test -n "$(RACE)" || test -z "$$CI" || { echo "The race detector needs a C compiler: install gcc."; exit 1; }
	@test -n "$(RACE)" || echo "There is no C compiler: the tests run without the race detector."
