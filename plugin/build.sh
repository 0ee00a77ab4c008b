#!/usr/bin/env bash
# Builds plugin.wasm, the same bytes on every machine: the Go module, with the kernels of kernel.wat linked in.
#   build.sh          writes plugin.wasm, plugin.wasm.sha256 and kernel/kernel.wasm
#   build.sh --check  builds aside and fails where one byte differs from what is committed
# Needs Go, and Node.js with npm. What npm gives is kept in .tools.
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

binaryen=$PWD/.tools/binaryen-$BINARYEN_VERSION
if [ ! -d "$binaryen" ]; then
    (cd "$out" && npm pack --silent "binaryen@$BINARYEN_VERSION" >/dev/null)
    got=$(sha512sum "$out/binaryen-$BINARYEN_VERSION.tgz" | cut -c1-128)
    [ "$got" = "$BINARYEN_SHA512" ] || fail "binaryen $BINARYEN_VERSION has SHA-512 $got; tools.sh has $BINARYEN_SHA512"
    tar -xzf "$out/binaryen-$BINARYEN_VERSION.tgz" -C "$out"
    mkdir -p .tools
    mv "$out/package" "$binaryen"
fi
features=(--enable-simd --enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int --enable-mutable-globals)

mkdir "$out/kernel"
node "$binaryen/bin/wasm-as" "${features[@]}" kernel/kernel.wat -o "$out/kernel/kernel.wasm"
env -u GOFLAGS -u GOEXPERIMENT GOTOOLCHAIN="$GO_VERSION" GOOS=wasip1 GOARCH=wasm GOWASM= CGO_ENABLED=0 GOWORK=off \
    go build -buildmode=c-shared -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o "$out/guest.wasm" ./guest
node "$binaryen/bin/wasm-merge" "${features[@]}" "$out/guest.wasm" guest "$out/kernel/kernel.wasm" kernel -o "$out/merged.wasm"
# The kernels trust the addresses they are given: only the guest may call them.
node "$binaryen/bin/wasm-opt" "${features[@]}" --remove-exports='kernel_*' "$out/merged.wasm" -o "$out/plugin.wasm"
(cd "$out" && sha256sum plugin.wasm >plugin.wasm.sha256)

files="plugin.wasm plugin.wasm.sha256 kernel/kernel.wasm"
if [ "${1:-}" = --check ]; then
    for file in $files; do
        cmp "$out/$file" "$file" || fail "$file differs from what its sources give: run plugin/build.sh and commit it"
    done
    echo "plugin.wasm is what its sources give: $(cut -c1-64 plugin.wasm.sha256)"
else
    for file in $files; do
        cp "$out/$file" "$file"
    done
fi
