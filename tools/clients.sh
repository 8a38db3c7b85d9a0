#!/usr/bin/env bash
# Real clients against `nextword serve`: makes a virtual environment with them and this checkout, and runs tests/clients.
# Versions stand where behaviour was verified with them. Usage: tools/clients.sh [arguments of pytest]; PYTHON=python3.11
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

clients=("openai==3.57.0" "lm-eval[api]==0.4.13" "torch==2.13.0" "transformers>=5" "accelerate>=1"
         "langchain-openai==1.7.4" "llm>=0.36" "schemathesis==4.32.5" "pytest>=8" "hypothesis>=6.100")

"${PYTHON:-python3}" -m venv "$work/venv"
pip() {
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile "$@" >"$work/pip.log" 2>&1
}
pip "${clients[@]}" || { tail -3 "$work/pip.log"; echo "   SKIPPED: the clients cannot be installed here"; exit 0; }
pip ".[chat,grammar,serve]" || { cat "$work/pip.log"; exit 1; }
echo "   installed in $SECONDS s"
"$work/venv/bin/python" -m pytest --quiet tests/clients "$@"
