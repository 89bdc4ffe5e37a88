#!/usr/bin/env bash
# Runs the tests that need a real cluster, on a cluster that scripts/setup-cluster.sh created:
#
#   scripts/end-to-end.sh [CONTEXT]
#
# The function scales to zero, and wakes up for a request and for an event. A canary with different
# predictions is rolled back, and a canary with the same predictions is promoted; no request fails.
# Needs kubectl, curl and an earlier npm ci. Removes the objects that it created.
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
    [ $SECONDS -lt "$until" ] || fail "not reached in time: $what"
    sleep 2
  done
  echo "$what"
}

# forward NAMESPACE SERVICE PORT: forwards a free port to the Service's port, and sets $port to it.
forward() {
  local log=$scratch/forward-$2
  # exec: killing a subshell around kubectl would leave kubectl running.
  (exec kubectl --context "$context" port-forward --namespace "$1" "service/$2" ":$3") >"$log" 2>&1 &
  background+=($!)
  eventually 30 "port-forward to $2" grep -q '^Forwarding' "$log"
  port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$log" | head -n 1)
}

url_host() { kube get "$1" iris-classifier --namespace "$2" --output 'jsonpath={.status.url}' | sed 's|^[a-z]*://||'; }
iris() { printf '{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[%s]}]}' "$1"; }
readonly SETOSA=5.1,3.5,1.4,0.2
# For this flower, v1.0.0 predicts versicolor, and v2.0.0 predicts virginica.
readonly DISPUTED=6.3,2.5,4.0,1.7

# ask HOST FLOWER [CURL'S OPTIONS]: sends an inference request to the host's route.
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
# The PingSource would wake the function every minute.
kube delete pingsource iris-sample --namespace default --ignore-not-found
eventually 300 'the function has no pods while no requests arrive' asleep
host=$(url_host services.serving.knative.dev default)
answer=$(ask "$host" "$SETOSA") || fail "the route $host sent no response"
[[ $answer == *'"setosa"'* ]] || fail "the route $host did not predict setosa: $answer"
woken=$(pods)
[ "$woken" -gt 0 ] || fail 'the request succeeded, but the function has no pod'
echo "a request succeeded; pods before: 0, after: $woken"
eventually 300 'the function has no pods again' asleep

step 'An event through the Broker'
id=end-to-end-$(date +%s)
status=$(curl --silent --max-time 30 --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$broker/default/default" \
  --header 'Content-Type: application/json' --header 'ce-specversion: 1.0' --header "ce-id: $id" --header 'ce-source: /end-to-end' \
  --header 'ce-type: com.example.iris.classify.request' --data "$(iris "$SETOSA")")
[ "$status" = 202 ] || fail "the Broker returned status $status; expected 202"
replied() {
  kube logs --namespace default --selector serving.knative.dev/service=iris-replies --container user-container --tail=-1 2>/dev/null |
    grep -q "\"subject\":\"$id\""
}
eventually 180 "the event $id woke the function, and its reply arrived" replied

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

# send FLOWER: sends at most twenty requests per second until stopped, and records each status.
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
  [ "$failed" = 0 ] || fail "$failed of $sent requests failed during the rollout"
  echo "all $sent requests succeeded"
}

# roll_out FLOWER: rolls out the new version while both versions receive requests with that flower.
# Sets $code to the canary command's exit code.
roll_out() {
  send "$1"
  apply canary
  code=0
  judge || code=$?
  stop_sending
}

apply base
canary_host=$(url_host inferenceservice "$canary_namespace")
ask "$canary_host" "$DISPUTED" --output /dev/null || fail "the route $canary_host sent no response"

roll_out "$DISPUTED"
[ "$code" = 6 ] || fail "a version with different predictions: the canary command exited with $code; expected 6 (rolled back)"
[ "$(percent)" = 0 ] || fail "after the rollback, the canary still receives $(percent) % of the traffic"
[[ $(ask "$canary_host" "$SETOSA") == *'"v1.0.0"'* ]] || fail 'after the rollback, a response is not from v1.0.0'
echo 'a version with different predictions was rolled back'

roll_out "$SETOSA"
[ "$code" = 0 ] || fail "a version with the same predictions: the canary command exited with $code; expected 0 (promoted)"
[ -z "$(percent)" ] || fail "after the promotion, the new version receives only $(percent) % of the traffic"
promoted() { [[ $(ask "$canary_host" "$SETOSA") == *'"v2.0.0"'* ]]; }
eventually 60 'a version with the same predictions was promoted, and serves requests' promoted
