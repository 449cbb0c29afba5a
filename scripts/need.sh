#!/usr/bin/env bash
# Installs what a task needs, as root on Debian; elsewhere says what to install and fails.
# Usage: need.sh build | test
set -euo pipefail

task=${1:?usage: need.sh build|test}
here=$(cd "$(dirname "$0")/.." && pwd)

packages=()
needs() { # command package
  command -v "$1" >/dev/null 2>&1 || packages+=("$2")
}

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/Cargo.toml")
if ! command -v cargo >/dev/null 2>&1; then
  echo "Rust is missing: install a toolchain of $wanted or later (https://rustup.rs)." >&2
  exit 1
fi
version=$(rustc --version | cut -d ' ' -f 2)
if [ "$(printf '%s\n' "$wanted" "${version%%-*}" | sort -V | head -n 1)" != "$wanted" ]; then
  echo "Rust $version is too old: install $wanted or later, with rustup: rustup update stable" >&2
  exit 1
fi
if [ "$task" = test ]; then
  for component in rustfmt clippy; do
    if ! cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1; then
      echo "$component is missing: rustup component add $component" >&2
      exit 1
    fi
  done
fi
# The crypto library compiles C.
command -v cc >/dev/null 2>&1 || packages+=(gcc libc6-dev)
needs protoc protobuf-compiler
# The well-known types that protos import come in a package of their own.
[ -e /usr/include/google/protobuf/timestamp.proto ] ||
  [ -e "$(dirname "$(command -v protoc || echo /usr/bin/protoc)")/../include/google/protobuf/timestamp.proto" ] ||
  packages+=(libprotobuf-dev)
if [ "$task" = test ]; then
  needs etcd etcd-server
  needs etcdctl etcd-client
  # The shells whose completion is tested.
  needs bash bash
  needs zsh zsh
  needs fish fish
  # The servers that nobody here wrote, against which the calls are tested.
  needs pip3 python3-pip
  needs node nodejs
  needs npm npm
fi

if [ "${#packages[@]}" -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing ${packages[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
      { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; }
  else
    echo "missing: ${packages[*]}" >&2
    echo "install them, on Debian or Ubuntu: sudo apt-get install ${packages[*]}" >&2
    exit 1
  fi
fi

if [ "$task" = test ]; then
  for prepare in "$here"/tests/*/prepare.sh; do
    [ ! -x "$prepare" ] || "$prepare"
  done
fi
