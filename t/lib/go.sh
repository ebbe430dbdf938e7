# For scripts that build a Go program for tests from modules alone: sets up Go
# with all of its files below DIR/go, to be removed afterwards.  The programs
# want Go 1.24: an older go (Debian 12 has 1.19, which cannot switch toolchains
# by itself) fetches that toolchain as the module it is.

go_setup() {
    command -v go > /dev/null \
        || { echo "no go (package golang-go)" >&2; exit 1; }

    export GOPATH="$1/go" GOMODCACHE="$1/go/pkg/mod" GOCACHE="$1/go/cache"
    export GOFLAGS=-modcacherw GO111MODULE=on CGO_ENABLED=0

    minor=$(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -lt 24 ] || return 0

    module=golang.org/toolchain@v0.0.1-go1.24.0
    module=$module.$(go env GOOS)-$(go env GOARCH)
    go mod download "$module"

    # a module's files are never executable
    chmod -R u+x "$GOMODCACHE/$module/bin" "$GOMODCACHE/$module/pkg/tool"
    PATH="$GOMODCACHE/$module/bin:$PATH"
    unset GOROOT
}
