# Tools that plugin.wasm is built with, by version and hash. build.sh reads this file, and nothing else names them.
GO_VERSION=go1.27.4
# go.sum hashes of the toolchain module, by platform. On a platform that is not listed, Go itself checks what it downloads against
# its checksum database, and the module that comes out has to be the committed one either way.
GO_SUM_linux_amd64='h1:8Tl0rBb7KdISSdPkZBjlpZxsUBb+004GI/SM2XbmSqI='

# binaryen's package in the npm registry, and the SHA-512 of its tarball; its programs run on Node.js. kernel.wat is assembled and
# linked with it.
BINARYEN_VERSION=132.0.0
BINARYEN_SHA512=e14b20ef212fc0edc532ca373a8bfaaa438e1d2a1dd4812ff9ba0a921efb91396333e78d068baa0936ea5acc06cdb1bebc334efdbfefd82e207c48755a007d2e
