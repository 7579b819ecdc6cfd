# The one place that makes the environment `tools/bt` and `tools/test` run in. Sourced, not run.
#
# Everything lands in .venv beside this folder: pinned Python packages (tools/requirements.txt) and
# the project itself. A stamp remembers what was installed, so that a second run only compares it.
# Packages of the system come through apt when we are root; otherwise we say the one line to run.

set -eu
ROOT=$(cd "$(dirname "$0")/.." && pwd)
VENV=$ROOT/.venv
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

# need_commands COMMAND=PACKAGE…: install the Debian packages whose commands are missing.
need_commands() {
  missing=
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%=*}" >/dev/null 2>&1 || missing="$missing ${pair#*=}"
  done
  install_packages "$missing"
}

install_packages() {
  [ -n "${1# }" ] || return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    say "Missing:$1. Install them with this system's package program, then run this again."
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    say "Some system packages are missing. Run this once, then try again:"
    say "  sudo apt-get install -y$1"
    exit 1
  fi
  say "Installing$1 …"
  log=$(mktemp)
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $1; } >"$log" 2>&1 || {
    cat "$log" >&2
    say "apt could not install$1; the lines above say why."
    exit 1
  }
  rm -f "$log"
}

# The system's own Python before any other in the PATH: it is what a home runs, and what people build
# for themselves without profile-guided optimisation is slower by half (measured: see DECISIONS).
pick_python() {
  PYTHON=python3
  for found in /usr/bin/python3 /usr/local/bin/python3; do
    if "$found" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      PYTHON=$found
      return 0
    fi
  done
}

# need_python: a venv with the pinned packages, made anew whenever the pins or pyproject change.
need_python() {
  stamp=$(cat "$ROOT/pyproject.toml" "$ROOT/tools/requirements.txt" | cksum)
  if [ -x "$VENV/bin/python" ] && [ "$(cat "$VENV/stamp" 2>/dev/null)" = "$stamp" ]; then
    return 0
  fi
  need_commands python3=python3
  pick_python
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    say "Blocktree needs Python 3.11 or newer; this is $("$PYTHON" --version)."
    exit 1
  }
  "$PYTHON" -c 'import ensurepip' 2>/dev/null || install_packages " python3-venv"
  say "Setting up Python packages in .venv (once; about a minute) …"
  [ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
  log=$(mktemp)
  {
    "$VENV/bin/python" -m pip install -q -r "$ROOT/tools/requirements.txt" &&
      "$VENV/bin/python" -m pip install -q --no-deps --no-build-isolation -e "$ROOT"
  } >"$log" 2>&1 || {
    cat "$log" >&2
    say "pip could not install the Python packages; the lines above say why."
    exit 1
  }
  rm -f "$log"
  printf '%s\n' "$stamp" >"$VENV/stamp"
}

# need_micropython: the interpreters that device tests run in, in .venv beside the Python packages.
need_micropython() {
  [ -n "${BT_MICROPYTHON:-}" ] || BT_MICROPYTHON=$("$ROOT/tools/get_micropython")
  [ -n "${BT_MICROPYTHON_32:-}" ] || BT_MICROPYTHON_32=$("$ROOT/tools/get_micropython" 32)
  export BT_MICROPYTHON BT_MICROPYTHON_32
}
