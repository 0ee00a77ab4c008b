#!/usr/bin/env bash
# Builds plugin.wasm, the same bytes on every machine.
#   build.sh          writes plugin.wasm and plugin.wasm.sha256
#   build.sh --check  builds aside and fails where one byte differs from what is committed
set -euo pipefail
cd "$(dirname "$0")"
. ./tools.sh
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

fail() {
    echo "$1" >&2
    exit 1
}

# The toolchain is the one that is meant: its module's hash is compared where tools.sh has it.
platform=$(go env GOHOSTOS)_$(go env GOHOSTARCH)
sum=GO_SUM_$platform
if [ -n "${!sum:-}" ]; then
    module=golang.org/toolchain@v0.0.1-$GO_VERSION.${platform/_/-}
    got=$(cd "$out" && GOTOOLCHAIN=local go mod download -json "$module" | sed -n 's/.*"Sum": "\(.*\)".*/\1/p')
    [ "$got" = "${!sum}" ] || fail "$module has hash $got; tools.sh has ${!sum}"
fi

env -u GOFLAGS -u GOEXPERIMENT GOTOOLCHAIN="$GO_VERSION" GOOS=wasip1 GOARCH=wasm GOWASM= CGO_ENABLED=0 GOWORK=off \
    go build -buildmode=c-shared -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o "$out/plugin.wasm" ./guest
(cd "$out" && sha256sum plugin.wasm >plugin.wasm.sha256)

if [ "${1:-}" = --check ]; then
    for file in plugin.wasm plugin.wasm.sha256; do
        cmp "$out/$file" "$file" || fail "$file differs from what its sources give: run plugin/build.sh and commit it"
    done
    echo "plugin.wasm is what its sources give: $(cut -c1-64 plugin.wasm.sha256)"
else
    cp "$out/plugin.wasm" "$out/plugin.wasm.sha256" .
fi
