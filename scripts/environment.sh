# How does every script get the same virtual environment? Sourced by the scripts beside it, from any folder.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BIN=$ROOT/.venv/bin
cd "$ROOT"

say() { printf '\n== %s\n' "$*"; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.11 python3.12 python3.13 python3.14 python; do
        new_enough "$candidate" && { command -v "$candidate"; return; }
    done
    echo "rackscan needs Python 3.11 or newer; install it, or name it: PYTHON=/path/to/python $0" >&2
    return 1
}

# environment EXTRAS: .venv with rackscan[EXTRAS] at the exact versions of constraints.txt; nothing when it is there
environment() {
    local extras=$1 stamp
    stamp=.venv/.rackscan-$(cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
    if "$BIN/python" -c '' 2>/dev/null && compgen -G "$stamp-${extras:-*}" >/dev/null; then
        return
    fi
    if ! "$BIN/python" -c '' 2>/dev/null; then
        say "making .venv"
        "$(find_python)" -m venv --clear .venv
    fi
    say "installing rackscan${extras:+ with $extras} (once)"
    "$BIN/python" -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".${extras:+[$extras]}"
    touch "$stamp-${extras:-base}"
}

# peers: .venv-peers with what the mosaic is compared to; PEERS is its Python, empty where it cannot be had
peers() {
    local stamp=.venv-peers/.installed-$(cksum <scripts/peers.txt | cut -d' ' -f1)
    PEERS=$ROOT/.venv-peers/bin/python
    [[ -e $stamp ]] && return
    say "installing ashlar and ngff-zarr, to compare with (once)"
    if "$(find_python)" -m venv --clear .venv-peers &&
        "$PEERS" -m pip install -qq --disable-pip-version-check -r scripts/peers.txt; then
        touch "$stamp"
    else
        echo "that failed; rows that compare with them will be null"
        PEERS=
    fi
}
