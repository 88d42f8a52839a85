#!/bin/sh
# Install those of the named Debian packages that are missing; without the right to, say which and how.
# usage: debian-packages.sh PACKAGE...     exits 0 when all are there, 1 otherwise
set -eu

installed() {
    dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'
}

absent() {
    for package in "$@"; do
        installed "$package" || printf '%s ' "$package"
    done
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is not Debian: install by its own means what Debian calls: $*" >&2
    exit 1
fi

missing=$(absent "$@")
if [ -z "$missing" ]; then
    exit 0
fi

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "Missing Debian packages, and no right to install them. Run as root:" >&2
    echo "    apt-get update && apt-get install -y $missing" >&2
    exit 1
fi

echo "Installing $missing"
# Words are meant to split here: a list of packages, and a command that may be empty.
# shellcheck disable=SC2086
{
    $as_root apt-get update -q || echo "apt-get update failed; trying with the lists at hand" >&2
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y $missing
}

still=$(absent "$@")
if [ -n "$still" ]; then
    echo "apt-get ended, but these are still missing: $still" >&2
    exit 1
fi
