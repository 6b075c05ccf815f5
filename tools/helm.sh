#!/bin/sh
# Prints a folder with what checks the chart: helm, kubeconform, schemas/ of Kubernetes and Dapr,
# and the annotations that Dapr knows. Built from public Go modules once (some minutes) and kept in
# the user's cache. Exit status 3, with what to install, if there is no Go.
set -eu

helm=v3.22.0
kubeconform=v0.8.0
kubernetes=v1.34.0

here=$(cd "$(dirname "$0")" && pwd)
dapr=$(sed -n 's|^.*github.com/dapr/dapr \(v[0-9.]*\).*|\1|p' "$here/daprd/go.mod" | head -n 1)
version=$(cat "$here/helm.sh" "$here/kube_schemas.py" "$here/daprd/go.mod" | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/virtufin/helm-$version
if [ ! -d "$folder" ]; then
  if ! command -v go >/dev/null 2>&1; then
    echo "no Go to build helm and kubeconform with: install Go 1.26" >&2
    exit 3
  fi
  echo "building helm and kubeconform once into $folder" >&2
  # Into a folder of our own first: two that build at once do not read each other's half.
  mkdir -p "$folder.$$"
  GOBIN=$folder.$$ go install "helm.sh/helm/v3/cmd/helm@$helm" >&2
  GOBIN=$folder.$$ go install "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform" >&2
  # The schemas are in the modules that define them; kubeconform would ask the internet for them.
  module() { go mod download -json "$1" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }
  dapr=$(module "github.com/dapr/dapr@$dapr")
  python3 "$here/kube_schemas.py" "$(module "k8s.io/kubernetes@$kubernetes")/api/openapi-spec/swagger.json" \
    "$dapr/charts/dapr/crds" "$folder.$$/schemas" >&2
  grep -o '"dapr.io/[a-z0-9-]*"' "$dapr/pkg/injector/annotations/annotations.go" | tr -d '"' >"$folder.$$/dapr-annotations"
  echo "${kubernetes#v}" >"$folder.$$/kubernetes-version"
  mv "$folder.$$" "$folder"
fi
echo "$folder"
