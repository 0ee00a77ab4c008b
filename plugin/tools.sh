# Tools that plugin.wasm is built with, by version. build.sh reads this file, and nothing else names them.
# Go checks the toolchain it downloads against its checksum database.
GO_VERSION=go1.27.4
