# Cloche is one static Go binary; nothing here needs more than Go and make.
# `make test` installs what its tests use from Debian's packages when it may.

GO      ?= go
PREFIX  ?= /usr/local
export CGO_ENABLED = 0

.PHONY: build test vmtest lint bench install packages fuzz clean

build:
	@rm -f bin/cloche # go build would leave one with a prelude as it is
	$(GO) build -trimpath -ldflags '-s -w' -o bin/cloche ./cmd/cloche
	$(GO) build -trimpath -ldflags '-s -w -T 0x20011000' -o bin/bwrap.part ./cmd/bwrap # elsewhere in memory: launcher.BaseBeside
	GOARCH= $(GO) run ./internal/prelude bin/cloche bin/bwrap.part
	@rm -f bin/bwrap.part

# Everything: linters, both architectures, all tests; as root, the tests that
# need an ordinary user make one for themselves.
test: packages lint build
	GOARCH=arm64 $(GO) build ./...
	GOARCH=arm64 $(GO) vet ./...
	$(GO) test -timeout 30m ./...
	$(GO) run ./internal/vmtest -quick

# Other kernels and machines, under emulation: make vmtest GUEST=arm64 RUN=TestHalves
vmtest:
	$(GO) run ./internal/vmtest $(if $(GUEST),-guest '$(GUEST)') $(if $(RUN),-run '$(RUN)')

lint:
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@bad=$$($(GO) tool gofumpt -l $$(git ls-files '*.go' | grep -v _generated.go)); test -z "$$bad" || { echo "not gofumpt-ed: $$bad"; exit 1; }

bench: build
	$(GO) run ./bench
	$(GO) run ./bench/seccomp
	$(GO) run ./bench/oci
	$(GO) run ./bench/bwrap

packages:
	@sh scripts/packages.sh

# A minute for each fuzz target.
fuzz:
	@for f in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
	  for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$f); do \
	    $(GO) test $$(dirname $$f) -run '^$$' -fuzz "^$$t\$$" -fuzztime 60s -fuzzminimizetime 200x || exit 1; \
	  done; done

install: build
	install -D -m 0755 bin/cloche $(DESTDIR)$(PREFIX)/bin/cloche

clean:
	rm -rf bin
