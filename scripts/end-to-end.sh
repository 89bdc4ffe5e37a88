#!/usr/bin/env bash
# Tests what only a cluster can show, on one from scripts/setup-cluster.sh:
#
#   scripts/end-to-end.sh [CONTEXT]
#
# The function scales to zero and wakes for a request and for an event; a canary with other
# predictions is rolled back, and one with the same is promoted, without a lost request. Needs
# kubectl, curl and npm ci; removes what it created.
set -euo pipefail
cd "$(dirname "$0")/.."

context=${1:-kind-onnx-function}
canary_namespace=iris-kserve
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
scratch=$(mktemp -d)
background=()

kube() { kubectl --context "$context" "$@"; }
step() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  [ ${#background[@]} = 0 ] || kill "${background[@]}" 2>/dev/null || true
  kube delete namespace "$canary_namespace" --ignore-not-found --wait=false >/dev/null || true
  rm -rf "$scratch"
}
trap clean_up EXIT

# eventually SECONDS WHAT COMMAND...: waits until the command succeeds.
eventually() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt "$until" ] || fail "$what, not within the time for it"
    sleep 2
  done
  echo "$what"
}

# forward NAMESPACE SERVICE: forwards a port of this machine, and sets $port to it.
forward() {
  local log=$scratch/forward-$2
  # exec in a subshell: killing a subshell around kubectl would leave kubectl running.
  (exec kubectl --context "$context" port-forward --namespace "$1" "service/$2" ":$3") >"$log" 2>&1 &
  background+=($!)
  eventually 30 "port-forward to $2" grep -q '^Forwarding' "$log"
  port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$log" | head -n 1)
}

url_host() { kube get "$1" iris-classifier --namespace "$2" --output 'jsonpath={.status.url}' | sed 's|^[a-z]*://||'; }
iris() { printf '{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[%s]}]}' "$1"; }
readonly SETOSA=5.1,3.5,1.4,0.2
# Version v1.0.0 answers versicolor, v2.0.0 virginica.
readonly DISPUTED=6.3,2.5,4.0,1.7

# ask HOST FLOWER [CURL'S OPTIONS]
ask() {
  curl --silent --max-time 90 "http://127.0.0.1:$ingress/v2/models/iris-classifier/infer" --header "Host: $1" \
    --header 'Content-Type: application/json' --data "$(iris "$2")" "${@:3}"
}

pods() { kube get pods --namespace default --selector serving.knative.dev/service=iris-classifier --output name | wc -l; }
asleep() { [ "$(pods)" = 0 ]; }

forward kourier-system kourier 80
ingress=$port
forward knative-eventing broker-ingress 80
broker=$port
forward monitoring prometheus 9090
prometheus=$port

step 'Scale to zero and back'
# The ping would wake the function each minute.
kube delete pingsource iris-sample --namespace default --ignore-not-found
eventually 300 'nobody asks, and there is no pod' asleep
host=$(url_host services.serving.knative.dev default)
answer=$(ask "$host" "$SETOSA") || fail "the route $host did not answer"
[[ $answer == *'"setosa"'* ]] || fail "the route $host answered: $answer"
woken=$(pods)
[ "$woken" -gt 0 ] || fail 'an answer, and no pod'
echo "a request got its answer; pods: 0, then $woken"
eventually 300 'asleep again' asleep

step 'An event through the Broker'
id=end-to-end-$(date +%s)
status=$(curl --silent --max-time 30 --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$broker/default/default" \
  --header 'Content-Type: application/json' --header 'ce-specversion: 1.0' --header "ce-id: $id" --header 'ce-source: /end-to-end' \
  --header 'ce-type: com.example.iris.classify.request' --data "$(iris "$SETOSA")")
[ "$status" = 202 ] || fail "the Broker answered $status; right would be 202"
replied() {
  kube logs --namespace default --selector serving.knative.dev/service=iris-replies --container user-container --tail=-1 2>/dev/null |
    grep -q "\"subject\":\"$id\""
}
eventually 180 "the event $id woke the function, and its reply came" replied

step 'A canary'
apply() {
  kubectl kustomize "kserve/knative/$1" | sed "s|ghcr.io/example/onnx-function:$version|dev.local/onnx-function:$version|" | kube apply --filename -
  kube wait inferenceservice/iris-classifier --namespace "$canary_namespace" --for=condition=Ready --timeout=300s
}
percent() { kube get inferenceservice iris-classifier --namespace "$canary_namespace" --output 'jsonpath={.spec.predictor.canaryTrafficPercent}'; }
judge() {
  npm start --silent --prefix kserve/canary -- iris-classifier --context "$context" --namespace "$canary_namespace" \
    --prometheus "http://127.0.0.1:$prometheus" --steps 10,50 --hold 30s --every 15s --requests 100 --watch --apply
}

# send FLOWER: at most twenty requests a second until stopped; records each answer.
senders=()
send() {
  local i
  for i in 1 2; do
    while :; do
      ask "$canary_host" "$1" --output /dev/null --write-out '%{http_code}\n' >>"$scratch/answers-$i" || true
      sleep 0.1
    done &
    senders+=($!)
  done
  background+=("${senders[@]}")
}
stop_sending() {
  kill "${senders[@]}"
  wait "${senders[@]}" 2>/dev/null || true
  senders=()
  local sent failed
  sent=$(cat "$scratch"/answers-* | wc -l)
  failed=$(cat "$scratch"/answers-* | grep -vc '^200$' || true)
  rm "$scratch"/answers-*
  [ "$failed" = 0 ] || fail "$failed of $sent requests failed while traffic was moved"
  echo "$sent requests, none failed"
}

# roll_out FLOWER: rolls out the new version while both get requests with that flower. Sets $code to
# the canary's exit code.
roll_out() {
  send "$1"
  apply canary
  code=0
  judge || code=$?
  stop_sending
}

apply base
canary_host=$(url_host inferenceservice "$canary_namespace")
ask "$canary_host" "$DISPUTED" --output /dev/null || fail "the route $canary_host did not answer"

roll_out "$DISPUTED"
[ "$code" = 6 ] || fail "a version that predicts otherwise: the canary ended with $code; right would be 6, rolled back"
[ "$(percent)" = 0 ] || fail "rolled back, and still $(percent) % of the traffic are the canary's"
[[ $(ask "$canary_host" "$SETOSA") == *'"v1.0.0"'* ]] || fail 'rolled back, and not v1.0.0 that answers'
echo 'a version that predicts otherwise was rolled back'

roll_out "$SETOSA"
[ "$code" = 0 ] || fail "a version that predicts the same: the canary ended with $code; right would be 0, promoted"
[ -z "$(percent)" ] || fail "promoted, and still only $(percent) % of the traffic"
promoted() { [[ $(ask "$canary_host" "$SETOSA") == *'"v2.0.0"'* ]]; }
eventually 60 'a version that predicts the same was promoted, and answers' promoted
