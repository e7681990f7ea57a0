#!/bin/sh
# Writes the OpenAPI document of protos/ to the file $1 with protoc beside $PYTHON and gnostic's protoc-gen-openapi in the folder $2.
set -eu
cd "$(dirname "$0")/.."
out=$1
plugin=$2/protoc-gen-openapi
python=${PYTHON:-.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The generator is written in Go and wants a Go package for each file, which the contracts do not have.
options=$(cd protos && for file in sharemesh/v1/*.proto buf/validate/*.proto google/*/*.proto; do
  printf 'M%s=example.com/%s;x,' "$file" "${file%.proto}"; done)
options="${options}title=Sharemesh,version=v1,enum_type=string,fq_schema_naming=false,default_response=true"
options="$options,description=The REST addresses of the gateway. Errors are google.rpc.Status with an ErrorInfo."
# shellcheck disable=SC2046
"$python" -m grpc_tools.protoc -I protos --plugin="$plugin" --openapi_out="$work" --openapi_opt="$options" \
  $(cd protos && grep -l '^service ' sharemesh/v1/*.proto)
# What no annotation says: a bearer token goes with every call that is not open to anybody. And YAML 1.1, which many
# readers still speak, takes a plain `off` for false.
awk '
  /^ +(y|n|yes|no|on|off):/ { sub(/[a-z]+/, "\"&\"") }
  /^components:/ { print "security:\n    - bearer: []\n    - {}" }
  { print }
  /^components:/ {
    print "    securitySchemes:\n        bearer:\n            type: http\n            scheme: bearer"
    print "            bearerFormat: JWT"
  }' "$work/openapi.yaml" > "$out"
