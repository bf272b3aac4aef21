#!/bin/sh
# Checks packaging/kubernetes, or the chart in packaging/helm: built by Kustomize or helm, decoded strictly by the Go types
# of each API, judged by what must hold; then the policies in it by `scopeshim check`.
# usage: tests/kubernetes/run.sh kustomize|helm BINARY
set -eu
what=$1
binary=$(realpath "$2")
cd "$(dirname "$0")"
tools=$(realpath ../..)/target
helm_version=v3.19.5
# A helm built by `go install` takes the cluster for one of 2020, unless told.
cluster=1.34.0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# scopeshim refuses a secret that everyone can read.
umask 077

skip() {
    echo "skip  $1"
    [ -z "${CI:-}" ]
    exit
}
command -v go >/dev/null 2>&1 || skip "go is not installed, which the Kubernetes API's types come with"
mkdir -p "$tools"
if ! go build -o "$tools/kubernetes-check" . 2>"$out/go.log"; then
    cat "$out/go.log" >&2
    skip "the Kubernetes API's types could not be built; see above"
fi
if [ "$what" = helm ]; then
    helm=$tools/tools/bin/helm-$helm_version
    if [ ! -x "$helm" ]; then
        echo "building helm $helm_version, once"
        if ! GOBIN=$out go install -ldflags '-s -w' "helm.sh/helm/v3/cmd/helm@$helm_version" 2>"$out/go.log"; then
            cat "$out/go.log" >&2
            skip "helm could not be built; see above"
        fi
        mkdir -p "$(dirname "$helm")"
        mv "$out/helm" "$helm"
    fi
    chart=../../packaging/helm/scopeshim
    mkdir "$out/rendered"
    for values in values/*.yaml; do
        name=$(basename "$values" .yaml)
        "$helm" lint --strict --quiet --kube-version "$cluster" "$chart" --values "$values" || { echo "FAIL  lint with $name"; exit 1; }
        "$helm" template release "$chart" --namespace openclaw --values "$values" \
            --kube-version "$cluster" >"$out/rendered/$name.yaml"
    done
    # A changed policy replaces no pod; what needs a restart does.
    annotated() { "$helm" template release "$chart" --kube-version "$cluster" "$@" | grep checksum/static; }
    if [ "$(annotated)" != "$(annotated --set-string policy='# another')" ] || [ "$(annotated)" = "$(annotated --set drainSeconds=60)" ]; then
        echo "FAIL  the pods are replaced for a policy, or not for what needs a restart"
        exit 1
    fi
    echo "ok    a changed policy replaces no pod"
    refused=0
    for values in values/refused/*.yaml; do
        # The first line is what helm is to say.
        why=$(sed -n '1s/^# //p' "$values")
        if "$helm" template release "$chart" --kube-version "$cluster" --values "$values" >"$out/said" 2>&1 || ! grep -qF "$why" "$out/said"; then
            echo "FAIL  $(basename "$values" .yaml) was not refused for \"$why\": $(head -c 400 "$out/said")"
            exit 1
        fi
        refused=$((refused + 1))
    done
    echo "ok    $refused wrong values are refused"
    mkdir "$out/policies"
    "$tools/kubernetes-check" rendered "$out/policies" "$out"/rendered/*.yaml
else
    mkdir "$out/policies"
    "$tools/kubernetes-check" kustomize ../../packaging/kubernetes "$out/policies"
fi
mkdir "$out/secrets"
for name in token password; do
    echo a-secret-for-the-check-0123456789 >"$out/secrets/$name"
done
for policy in "$out"/policies/*.toml; do
    sed -i "s|/etc/scopeshim/secrets|$out/secrets|" "$policy"
    "$binary" check --config "$policy" || { echo "FAIL  the policy of $(basename "$policy" .toml)"; exit 1; }
    echo "ok    $(basename "$policy" .toml): its policy passes check"
done
