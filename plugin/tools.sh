# Tools that plugin.wasm is built with, by version and hash. build.sh reads this file, and nothing else names them.
GO_VERSION=go1.27.4

# go.sum hashes of the toolchain module, by platform. On a platform that is not listed, Go itself checks what it downloads against
# its checksum database, and the module that comes out has to be the committed one either way.
GO_SUM_linux_amd64='h1:8Tl0rBb7KdISSdPkZBjlpZxsUBb+004GI/SM2XbmSqI='
