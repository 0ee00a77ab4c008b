# Tools that plugin.wasm is built with, by version. build.sh reads this file, and nothing else names them.
# The Go module proxy's checksum database vouches for the toolchain: its hash there is the line below, which
# build.sh compares with what it downloaded.
GO_VERSION=go1.27.4
