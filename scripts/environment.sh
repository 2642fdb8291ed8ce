# Sourced by the other scripts: makes .venv with this project in it, once for each pyproject.toml.
# Usage: environment [EXTRA...]

TORCH=${TORCH:-torch==2.13.0}

cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "Python 3.11 or newer is needed; set PYTHON to one." >&2
  exit 1
}

environment() {
  local extras wanted stamp=.venv/.installed
  extras=$(IFS=,; echo "$*")
  wanted="$(cksum < pyproject.toml) $extras"
  if ! .venv/bin/python -c 'import sys' 2>/dev/null; then
    rm -rf .venv
    "$(find_python)" -m venv .venv
  fi
  if ! grep -qsxF "$wanted" "$stamp"; then
    echo "Installing into .venv ..." >&2
    case ",$extras," in
      *,minilm,* | *,test,* | *,embedding,*)
        # First and alone: left to sentence-transformers, pip may take a newer build with gigabytes for GPUs.
        .venv/bin/python -m pip install --quiet --disable-pip-version-check "$TORCH" ||
          echo "$TORCH cannot be installed here; pip chooses another version." >&2 ;;
    esac
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".${extras:+[$extras]}"
    echo "$wanted" >> "$stamp"
  fi
}
