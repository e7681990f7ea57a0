#!/bin/sh
# Generates the Python stubs of protos/ into the folder $1 (as sharemesh/v1 and buf/validate) with the tools beside $PYTHON.
set -eu
cd "$(dirname "$0")/.."
out=$1
python=${PYTHON:-.venv/bin/python}
tools=$(dirname "$python")
mkdir -p "$out"
messages=$(cd protos && echo buf/validate/validate.proto sharemesh/v1/*.proto)
services=$(cd protos && grep -l '^service ' sharemesh/v1/*.proto)
# The .pyi files are mypy-protobuf's: unlike protoc's own they type enums, extensions and async stubs.
# shellcheck disable=SC2086
"$python" -m grpc_tools.protoc -I protos --plugin="$tools/protoc-gen-mypy" \
  --python_out="$out" --mypy_out="quiet:$out" $messages
# shellcheck disable=SC2086
"$python" -m grpc_tools.protoc -I protos --plugin="$tools/protoc-gen-mypy_grpc" \
  --grpc_python_out="$out" --mypy_grpc_out="quiet:$out" $services
