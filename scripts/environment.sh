# Sourced by demo, test and check: a Python 3.11+ environment with Gatework and the extras in $1 installed.
#
# An active virtual environment is used as it is; otherwise .venv is made beside this folder. What pip installed is
# remembered by a stamp, so that a second run starts at once; a changed pyproject.toml or C++ source installs again.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

note() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

find_python() {
    local name
    for name in python3 python python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    note "Gatework needs Python 3.11 or newer, and none was found. Install it, then run this again."
    return 2
}

enter_environment() {
    local python
    if [[ -n "${VIRTUAL_ENV:-}" ]]; then
        note "Using the active environment $VIRTUAL_ENV"
    else
        if [[ ! -x .venv/bin/python ]]; then
            python="$(find_python)" || exit 2
            note "Making .venv with $("$python" --version)"
            "$python" -m venv .venv || {
                note "The venv module is missing. On Debian and Ubuntu: apt install python3-venv"
                exit 2
            }
        fi
        # shellcheck disable=SC1091
        source .venv/bin/activate
    fi
    python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        note "This environment has $(python --version); Gatework needs 3.11 or newer."
        exit 2
    }
}

install_gatework() {
    local extras="$1" stamp state
    stamp="$(python -c 'import sys; print(sys.prefix)')/.gatework-$(tr ',' '-' <<<"$extras")"
    state="$(find pyproject.toml CMakeLists.txt native -type f -exec cksum {} + | sort; pwd)"
    if [[ -f "$stamp" && "$(cat "$stamp")" == "$state" ]] && python -c 'import gatework' 2>/dev/null; then
        return
    fi
    note "Installing gatework[$extras] with pip (the first time this downloads PyTorch: a few minutes)"
    python -m pip install --disable-pip-version-check --editable ".[$extras]"
    printf '%s\n' "$state" >"$stamp"
}
