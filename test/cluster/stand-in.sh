#!/usr/bin/env bash
# Replaces kubectl, helm, kind, docker, curl or sleep in tests, depending on the name under which it
# is called. Logs each call, and prints the documented output of the tool. The folder STATE contains
# the simulated cluster:
#
#   log           every call, one per line
#   objects/      one file KIND|NAME per object that exists
#   record/       one file per key of the record, with its value
#   refused       TIMES PATTERN: this many calls that match the pattern fail
#   killed        PATTERN: the first call that matches kills its caller before it changes anything
#   others        the output of `get KIND --all-namespaces`: the kind, then the objects of other users
set -euo pipefail
tool=${0##*/}
arguments=("$@")
log=$tool
for argument; do log+=" $argument"; done
echo "$log" >>"$STATE/log"

if [ -f "$STATE/killed" ] && [[ $log == $(cat "$STATE/killed") ]]; then
  rm "$STATE/killed"
  kill -KILL "$PPID"
  exit 1
fi
if [ -f "$STATE/refused" ]; then
  read -r times pattern <"$STATE/refused"
  # shellcheck disable=SC2053  # a pattern
  if [ "$times" != 0 ] && [[ $log == $pattern ]]; then
    echo "$((times - 1)) $pattern" >"$STATE/refused"
    echo "error: the test made $tool fail" >&2
    exit 1
  fi
fi

there() { [ -e "$STATE/objects/$1" ]; }
make() { touch "${@/#/$STATE/objects/}"; }
unmake() { rm -f "${@/#/$STATE/objects/}"; }
option() {
  local i
  for ((i = 0; i < ${#arguments[@]}; i++)); do [ "${arguments[i]}" != "$1" ] || { echo "${arguments[i + 1]}"; return; }; done
}

of_manifest() {
  case $1 in
    */cert-manager.yaml) echo 'crd|certificates.cert-manager.io' ;;
    */serving-crds.yaml) echo 'crd|services.serving.knative.dev' ;;
    */eventing-crds.yaml) echo 'crd|brokers.eventing.knative.dev' ;;
    */keda-*) echo 'crd|scaledobjects.keda.sh' ;;
    */components.yaml) echo 'apiservice|v1beta1.metrics.k8s.io' ;;
    monitoring) echo 'namespace|monitoring' ;;
    knative/overlays/local | */classifier.yaml) echo 'services.serving.knative.dev|iris-classifier' ;;
  esac
}

kubectl() {
  [ "$1" != --context ] || shift 2
  case "$*" in
    'version --client') echo 'Client Version: v1.34.3' ;;
    'get --raw /version'*) printf '{\n  "major": "1",\n  "minor": "%s",\n  "emulationMajor": "1",\n  "emulationMinor": "34"\n}' "${MINOR-34}" ;;
    'auth can-i '*) echo "${ALLOWED-yes}" ;;
    "get configmap onnx-function-setup"*'jsonpath={.data}')
      [ -z "$(ls "$STATE/record")" ] || (cd "$STATE/record" && grep -H . -- * | sed 's/^\(.*\):\(.*\)$/"\1":"\2"/' | paste -sd, | sed 's/.*/{&}/')
      ;;
    "get configmap onnx-function-setup"*'jsonpath={.data.'*)
      local key=${arguments[-1]##*.data.}
      cat "$STATE/record/${key%\}}" 2>/dev/null || true
      ;;
    'patch configmap onnx-function-setup'*)
      local key value
      [[ $* =~ \"data\":\{\"([a-z_]+)\":(.*)\}\}$ ]]
      key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
      if [ "$value" = null ]; then rm -f "$STATE/record/$key"; else echo "${value//\"/}" >"$STATE/record/$key"; fi
      ;;
    'get configmap config-network'*) echo -n 'kourier.ingress.networking.knative.dev' ;;
    'get nodes --output jsonpath'*) echo -n "${PROVIDER-kind://docker/kind/node}" ;;
    'get services.serving.knative.dev iris-classifier'*status.url*) echo -n http://iris-classifier.default.127.0.0.1.sslip.io ;;
    'get brokers.eventing.knative.dev default'*) echo -n http://broker-ingress.knative-eventing.svc.cluster.local/default/default ;;
    'get '*'--all-namespaces --no-headers'*) [ "$2" != "$(head -n 1 "$STATE/others" 2>/dev/null)" ] || tail -n +2 "$STATE/others" ;;
    'get '*'--ignore-not-found --output name') ! there "$2|$3" || echo "$2/$3" ;;
    'create secret generic '*) make "secret|$4" ;;
    'create '*) make "$2|$3" ;;
    'delete --ignore-not-found'*)
      local manifest
      manifest=$(option --filename)$(option --kustomize)
      if [ -n "$manifest" ]; then
        manifest=$(of_manifest "$manifest")
        [ -z "$manifest" ] || unmake "$manifest"
      else
        unmake "${*: -2:1}|${*: -1}"
      fi
      ;;
    'apply '*)
      local manifest
      manifest=$(of_manifest "$(option --filename)$(option --kustomize)")
      [ -z "$manifest" ] || make "$manifest"
      ;;
    'kustomize '*) printf 'image: dev.local/onnx-function:%s\nimagePullPolicy: Never\n' "$VERSION" ;;
    'port-forward '*)
      echo 'Forwarding from 127.0.0.1:34567 -> 8080'
      exec /bin/sleep 600
      ;;
    'logs '*iris-replies*) [ -n "${SILENT-}" ] || printf '{"event":{"subject":"%s"},"data":"…setosa…","msg":"received"}\n' "$(cat "$STATE/event")" ;;
  esac
}

helm() {
  case "$*" in
    'version --short') echo v3.19.0+g3d8990f ;;
    *' list '*) if [ -f "$STATE/pending" ]; then cat "$STATE/pending"; else echo '[]'; fi ;;
    *' upgrade --install kserve-crd '*) make 'crd|inferenceservices.serving.kserve.io' ;;
    *' uninstall kserve-crd '*) unmake 'crd|inferenceservices.serving.kserve.io' ;;
  esac
}

kind() {
  case "$*" in
    --version) echo "kind version ${KIND-0.30.0}" ;;
    'get clusters') (cd "$STATE/objects" && printf '%s\n' cluster\|* | sed -n 's/^cluster|\([a-z-]*\)$/\1/p') ;;
    'create cluster'*) make "cluster|$(option --name)" ;;
    'delete cluster'*) rm -rf "$STATE"/objects/* "$STATE"/record/* ;;
  esac
}

docker() { [ "$1" != version ] || echo 28.2.2; }

curl() {
  case "$*" in
    --version) echo 'curl 8.5.0 (x86_64-pc-linux-gnu)' ;;
    *'ce-id: '*)
      [[ $* =~ ce-id:\ ([a-z0-9-]+) ]]
      echo "${BASH_REMATCH[1]}" >"$STATE/event"
      echo -n "${BROKER_STATUS-202}"
      ;;
    *) echo "${ANSWER-{\"outputs\":[{\"name\":\"predicted_class\",\"data\":[\"setosa\"]\}]\}}" >"$(option --output)" ;;
  esac
}

sleep() { :; }

"$tool" "$@"
