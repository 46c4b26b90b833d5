#!/usr/bin/env bash
# Makes .venv: Python, pinned wheels, this package (editable), our interface packages, compiled kernels.
# usage: scripts/set_up.sh [EXTRA...]     an extra of setup.py, such as `bench` or `train`; `browser` brings Chromium too
#
# Each step leaves a stamp with a hash of what went into it, and is skipped while the hash is the same.
# PYTHON=/path/to/python3.12 chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly STAMPS=$VENV/.stamps
readonly BROWSER_PACKAGES=(chromium)
# A headset for tests (MIT), from the npm registry; never committed, and checked against the registry's own hash.
readonly IWER=2.5.0
readonly IWER_SHA512=grq7iMyWo4s2DYnATKLPPoAByhcNuwLjMHHOILrFU9q8EGHIEzHyUuq1mz+9Xqy6+xrYPn3Ho8Z9eymZCE+D6w==
readonly DEBIAN_PACKAGES=(gcc g++ libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0 libosmesa6)

say() { echo "set-up: $*"; }
fail() { echo "set-up: $*" >&2; exit 1; }

# The ROS wheels re-exec Python once to set LD_LIBRARY_PATH and guard against a second time; a guard inherited from
# another environment's Python would leave ours without its libraries.
if [[ -n ${_ROS_WHEELS_BOOTSTRAP_COMPLETE:-} ]]; then
    unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
fi

# fresh STEP INPUT...: succeeds when STEP was done with exactly these inputs (the text of all of them).
fresh() { [[ -f $STAMPS/$1 && $(<"$STAMPS/$1") == "$(printf '%s\n' "${@:2}" | sha256sum)" ]]; }
stamp() { mkdir -p "$STAMPS"; printf '%s\n' "${@:2}" | sha256sum >"$STAMPS/$1"; }
hash_of() { cat -- "$@" | sha256sum; }

# as_root COMMAND...: runs it as root, or fails when that would need a password.
as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"
    elif sudo -n true 2>/dev/null; then sudo -n "$@"
    else return 1; fi
}

install_debian_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    local remedy="sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    as_root true || fail "Debian packages are missing and installing them needs root; run: $remedy"
    { update_package_lists && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qy --no-install-recommends "${missing[@]}"; } >"$LOG" 2>&1 ||
        fail "apt-get failed (see $LOG); put right what it says, then run: $remedy"
}

update_package_lists() {
    if [[ -z ${PACKAGE_LISTS_UPDATED:-} ]]; then as_root apt-get update -q && PACKAGE_LISTS_UPDATED=yes; fi
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        is_supported "$PYTHON" || fail "PYTHON=$PYTHON is no Python 3.10, 3.11 or 3.12; run: make setup PYTHON=python3.11"
        command -v "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3 python3.10 "$HOME"/.pyenv/versions/3.1[120].*/bin/python3; do
        # A version manager's shim would cost time at each start: take what it leads to.
        if is_supported "$candidate"; then "$candidate" -c 'import sys; print(sys.executable)'; return; fi
    done
    fail "no Python 3.10, 3.11 or 3.12 found; run: sudo apt-get install python3 python3-venv python3-dev, or name one" \
        "with: make setup PYTHON=/path/to/python3.11"
}

make_environment() {
    if [[ -x $VENV/bin/python ]] && is_supported $VENV/bin/python; then
        [[ -z ${PYTHON:-} || $($VENV/bin/python -c "$BASE") == $("$PYTHON" -c "$BASE") ]] && return
    fi
    local python version
    python=$(find_python)
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then install_debian_packages "python$version-venv"; fi
    say "creating $VENV with Python $version ($python)"
    rm -rf $VENV
    "$python" -m venv $VENV >"$LOG" 2>&1 || fail "$python -m venv failed; see $LOG"
}
readonly BASE='import sys; print(sys.base_prefix, sys.version)'

# Our interface packages are C extensions of Python.
require_headers() {
    local header version
    header=$($VENV/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["include"] + "/Python.h")')
    [[ -f $header ]] && return
    version=$($VENV/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [[ $header == /usr/include/* ]] || fail "Python's header $header is missing; run: make setup PYTHON=python$version"
    install_debian_packages "python$version-dev"
}

# pip_install EXTRA...: this package with these extras, at the versions of constraints.txt.
pip_install() {
    local extras
    extras=$(IFS=,; echo "$*")
    say "installing wheels [$extras] (log: $LOG)"
    {
        $VENV/bin/pip install --disable-pip-version-check -c constraints.txt setuptools &&
            $VENV/bin/pip install --disable-pip-version-check --no-build-isolation -c constraints.txt -e ".[$extras]"
    } >"$LOG" 2>&1 || return 1
}

# What a wheel would install as data, linked to the checkout: ROS 2 finds the package by the ament index, its launch
# files, parameters and URDF in share/, its executables in lib/<package>.
link_data() {
    local name node share=$VENV/share lib=$VENV/lib/humanoid_control
    mkdir -p "$share/ament_index/resource_index/packages" "$share/humanoid_control" "$lib"
    ln -sfn "$PWD/resource/humanoid_control" "$share/ament_index/resource_index/packages/humanoid_control"
    for name in package.xml launch config urdf; do
        if [[ -e $name ]]; then ln -sfn "$PWD/$name" "$share/humanoid_control/$name"; fi
    done
    rm -f "$lib"/*
    for node in $(list_nodes); do
        name=$(basename "$node" .py)
        ln -sfn "../../bin/$name" "$lib/$name"
    done
}

list_nodes() { find humanoid_control/nodes perception policies -name '*_node.py' 2>/dev/null | sort; }

install_package() {
    local inputs
    inputs=$(
        cat constraints.txt setup.py setup.cfg package.xml
        $VENV/bin/python -I -c "$BASE"
        list_nodes
        ls -d perception policies 2>/dev/null || true
    )
    if ! fresh package "$inputs"; then
        pip_install ros test || fail "pip failed: $(grep -E '^ERROR' "$LOG" | tail -1) (see $LOG)"
        stamp package "$inputs"
    fi
    link_data
}

# install_extras EXTRA...: at once, for pip takes long to find out what is there already.
install_extras() {
    local inputs extra missing=()
    inputs=$(hash_of constraints.txt setup.py)
    for extra in "$@"; do fresh "extra-$extra" "$inputs" || missing+=("$extra"); done
    ((${#missing[@]})) || return 0
    pip_install ros test "${missing[@]}" || fail "extras ${missing[*]}: $(grep -E '^ERROR' "$LOG" | tail -1) (see $LOG)"
    for extra in "${missing[@]}"; do stamp "extra-$extra" "$inputs"; done
}

# What tests of the operator's page need beside the wheels: a browser, and a headset that is none.
install_browser() {
    if ! command -v chromium >/dev/null; then
        if command -v dpkg-query >/dev/null; then install_debian_packages "${BROWSER_PACKAGES[@]}"
        else fail "chromium is missing; install it with this system's package manager"; fi
    fi
    if fresh iwer "$IWER_SHA512" && [[ -f build/iwer/package/build/iwer.min.js ]]; then return; fi
    if ! command -v npm >/dev/null; then
        say "npm is missing: the test of the headset will be skipped"
        return
    fi
    say "fetching a headset for tests (iwer $IWER)"
    rm -rf build/iwer
    mkdir -p build/iwer
    npm pack --silent --pack-destination build/iwer "iwer@$IWER" >"$LOG" 2>&1 || fail "npm pack iwer@$IWER failed; see $LOG"
    $VENV/bin/python - "build/iwer/iwer-$IWER.tgz" "$IWER_SHA512" <<'PYTHON' || fail "iwer $IWER is another than expected"
import base64, hashlib, sys
sys.exit(base64.b64encode(hashlib.sha512(open(sys.argv[1], "rb").read()).digest()).decode() != sys.argv[2])
PYTHON
    tar -xzf "build/iwer/iwer-$IWER.tgz" -C build/iwer
    stamp iwer "$IWER_SHA512"
}

build_interfaces() {
    local inputs
    inputs=$(
        find humanoid_interfaces standard_interfaces humanoid_control/ros/interface_builder.py -type f | sort |
            xargs sha256sum
        cat constraints.txt
    )
    if ! fresh interfaces "$inputs"; then
        $VENV/bin/python -m humanoid_control.ros.interface_builder \
            standard_interfaces/tf2_msgs standard_interfaces/vision_msgs humanoid_interfaces
        stamp interfaces "$inputs"
    fi
}

compile_kernels() {
    local inputs
    [[ -f humanoid_control/compile_kernels.py ]] || return 0
    inputs=$(
        find humanoid_control perception -name '*.py' | sort | xargs grep -lE 'numba|njit' | xargs sha256sum
        cat constraints.txt
    )
    if ! fresh kernels "$inputs"; then
        say "compiling kernels"
        $VENV/bin/python -m humanoid_control.compile_kernels
        stamp kernels "$inputs"
    fi
}

main() {
    local kernels
    [[ $(uname -sm) == "Linux x86_64" ]] ||
        fail "the ROS 2 wheels exist for Linux on x86-64 only; here, install ROS 2 and run: colcon build" \
            "--base-paths . humanoid_interfaces"
    LOG=build/set_up.log
    if command -v dpkg-query >/dev/null; then
        install_debian_packages "${DEBIAN_PACKAGES[@]}"
    elif ! command -v gcc g++ >/dev/null; then
        fail "gcc and g++ are missing; install them with this system's package manager"
    fi
    make_environment
    require_headers
    install_package
    build_interfaces
    compile_kernels &  # takes a core for minutes, while extras are fetched
    kernels=$!
    install_extras "$@"
    if [[ " $* " == *" browser "* ]]; then install_browser; fi
    wait $kernels
}

# Two set-ups at once would trip over each other's half-made environment.
mkdir -p build
exec 9>build/.set_up.lock
flock 9
main "$@"
