#!/bin/sh
# Fetches the servers that nobody here wrote, for the tests of src/reflect: Python's grpcio with
# its reflection, and Node's grpc-js with its own. Into target/foreign, once; needs the network.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
out="${CARGO_TARGET_DIR:-$root/target}/foreign"

need() {
    command -v "$1" >/dev/null 2>&1 || {
        echo "tests/foreign/prepare.sh needs '$1'. On Debian: apt-get install $2" >&2
        exit 1
    }
}
need python3 python3
need pip3 python3-pip
need node nodejs
need npm npm

mkdir -p "$out/node"
if [ ! -e "$out/python/.done" ]; then
    pip3 install --quiet --disable-pip-version-check --root-user-action=ignore \
        --target "$out/python" --upgrade -r "$here/requirements.txt"
    touch "$out/python/.done"
fi
if [ ! -e "$out/node/.done" ]; then
    cp "$here/package.json" "$out/node/package.json"
    npm install --silent --no-audit --no-fund --prefix "$out/node"
    touch "$out/node/.done"
fi
echo "$out is ready"
