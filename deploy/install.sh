#!/usr/bin/env bash
# Installs gaelp_ray on a node of a cluster, into ~/.gaelp/venv: install.sh PYTHON [PACKAGE...]
#
# Beside it lie constraints.txt and wheels/, which `gaelp-ray cluster prepare` fills and file_mounts sends. The versions
# are those of constraints.txt. A second run with the same files installs nothing.
set -euo pipefail

wanted=${1:?usage: install.sh PYTHON [PACKAGE...]}
shift
cd "$(dirname "${BASH_SOURCE[0]}")"

python=$(command -v "$wanted") || { echo "error: $(hostname): no $wanted: install it, or name another Python" >&2; exit 2; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    { echo "error: $(hostname): $wanted is older than Python 3.10: name another Python" >&2; exit 2; }
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    { echo "error: $(hostname): $wanted cannot make virtual environments: on Debian, apt-get install python3-venv" >&2; exit 2; }

wheel=wheels/$(grep -o 'gaelp_ray-[^[]*\.whl' wheels/requirements.txt)
version=$("$python" -VV)
stamp=$(cat "$wheel" wheels/requirements.txt constraints.txt install.sh <(echo "$version" "$@") | sha256sum)

if [[ ! -f venv/installed || $(<venv/installed) != "$stamp" ]]; then
    if [[ ! -f venv/python || $(<venv/python) != "$version" ]]; then
        rm -rf venv
        "$python" -m venv venv
        echo "$version" >venv/python
    fi
    rm -f venv/installed
    # Python compiles what is imported, once; pip would compile all that there is, most of which never is.
    pip=("$PWD/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile)
    # From within wheels/: that is where the requirements' paths begin.
    (cd wheels && "${pip[@]}" --requirement requirements.txt "$@")
    # Another build of the same version is no news to pip.
    "${pip[@]}" --no-deps --force-reinstall "$wheel"
    echo "$stamp" >venv/installed
    echo "installed $wheel"
else
    echo "$wheel is installed already"
fi

# `ray down` and `ray exec` run `ray` in a login shell.
line='export PATH="$HOME/.gaelp/venv/bin:$PATH"  # gaelp_ray'
grep -qxF "$line" ~/.bashrc 2>/dev/null || echo "$line" >>~/.bashrc
