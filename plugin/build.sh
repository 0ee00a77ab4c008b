#!/usr/bin/env bash
# Builds plugin.wasm and plugin-scalar.wasm, the same bytes on every machine: the Go module, with system.wat, extism.wat and the kernels
# linked in, which are those of kernel.wat, or of scalar.wat, without SIMD.
#   build.sh          writes both, their SHA-256, and the kernels alone
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
tool() { node "$binaryen/bin/$1" "${features[@]}" "${@:2}"; }
# without FROM TO NAME... takes exports away, and makes imports of the same function one: the PDK has some that extism.wat has.
without() {
    local names=("${@:3}")
    tool wasm-opt --duplicate-import-elimination "${names[@]/#/--remove-exports=}" "$out/$1.wasm" -o "$out/$2.wasm"
}

mkdir "$out/kernel"
for module in guest/system guest/extism kernel/kernel kernel/scalar; do
    tool wasm-as "$module.wat" -o "$out/${module#guest/}.wasm"
done
env -u GOFLAGS -u GOEXPERIMENT GOTOOLCHAIN="$GO_VERSION" GOOS=wasip1 GOARCH=wasm GOWASM= CGO_ENABLED=0 GOWORK=off \
    go build -buildmode=c-shared -trimpath -buildvcs=false -ldflags='-s -w -buildid=' -o "$out/guest.wasm" ./guest
# What the modules export to one another is no host's to call: the kernels trust the addresses they are given. The guest's
# _initialize goes before extism.wat brings its own.
tool wasm-merge "$out/guest.wasm" guest "$out/system.wasm" wasi_snapshot_preview1 -o "$out/merged.wasm"
without merged guest _initialize 'args_*' 'clock_*' 'environ_*' 'fd_*' 'poll_*' 'proc_*' 'random_*' 'sched_*'

# faces MODULE compares the names of what a module imports and exports with imports.txt and exports.txt, which have their types too.
faces() {
    node - "$1" <<'END' >"$out/faces"
const module = new WebAssembly.Module(require("fs").readFileSync(process.argv[2]));
for (const i of WebAssembly.Module.imports(module)) console.log(`${i.module} ${i.name}`);
for (const e of WebAssembly.Module.exports(module)) if (e.kind === "function") console.log(e.name);
END
    diff <(sort "$out/faces") <(cut -d'(' -f1 imports.txt exports.txt | sort) || fail "the module's imports and exports (<) are not those of imports.txt and exports.txt (>)"
}

# link KERNEL MODULE links the guest with the kernels of one file.
link() {
    tool wasm-merge "$out/guest.wasm" guest "$out/extism.wasm" extism "$out/kernel/$1.wasm" kernel -o "$out/merged.wasm"
    without merged "$2" 'kernel_*' 'extism_*'
    faces "$out/$2.wasm"
    (cd "$out" && sha256sum "$2.wasm" >"$2.wasm.sha256")
}
link kernel plugin
features=("${features[@]/--enable-simd/--disable-simd}") # an instruction of SIMD is an error now
link scalar plugin-scalar

files="plugin.wasm plugin.wasm.sha256 plugin-scalar.wasm plugin-scalar.wasm.sha256 kernel/kernel.wasm kernel/scalar.wasm"
if [ "${1:-}" = --check ]; then
    for file in $files; do
        cmp "$out/$file" "$file" || fail "$file differs from what its sources give: run plugin/build.sh and commit it"
    done
    echo "the modules are what their sources give: $(cat plugin.wasm.sha256 plugin-scalar.wasm.sha256 | tr '\n' ' ')"
else
    for file in $files; do
        cp "$out/$file" "$file"
    done
fi
