#!/usr/bin/env bash
# Installs the iris classifier on Knative, with events and monitoring, in a new or an existing
# cluster. docs/deploy.md describes how to use this script.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/cluster/versions.sh
source scripts/cluster/common.sh
source scripts/cluster/components.sh

help() {
  cat <<HELP
usage: scripts/setup-cluster.sh [--name NAME | --context CONTEXT [--image IMAGE]] [--dry-run]

Without --context, the script creates a kind cluster and builds the image.

  --name NAME        the name of the kind cluster (onnx-function)
  --context CONTEXT  uses an existing cluster: its context in the kubeconfig
  --image IMAGE      an image in a registry that the cluster can reach. Without it, the nodes must already have
                     $LOCAL_IMAGE (minikube image build, or kind load docker-image)
  --dry-run          prints every command, but does not run it
  --help             prints this text

The script does not change components that it did not install. Run it again after a failure or an interruption.
scripts/delete-cluster.sh removes the components that this script installed.

exit codes:
$CODES_HELP
HELP
}

name=onnx-function
image=
wrong() { fail USAGE "$1" 'scripts/setup-cluster.sh --help lists the options'; }
while [ $# -gt 0 ]; do
  case $1 in
    --name | --context | --image)
      [ -n "${2-}" ] || wrong "$1 needs a value"
      case $1 in
        --name) name=$2 named=yes ;;
        --context) context=$2 ;;
        --image) image=$2 ;;
      esac
      shift 2
      ;;
    --dry-run) dry_run=yes && shift ;;
    --help) help && exit ;;
    *) wrong "unknown option: $1" ;;
  esac
done
[ -z "$context" ] || [ -z "${named-}" ] || wrong '--name and --context exclude each other: --name is for a kind cluster'
[ -z "$image" ] || [ -n "$context" ] || wrong '--image needs --context: a kind cluster runs the image that this script builds'

check_tools() {
  title='the tools'
  step 'The tools'
  tool kubectl "$KUBECTL_LEAST" https://kubernetes.io/docs/tasks/tools/ kubectl version --client
  tool helm "$HELM_LEAST" https://helm.sh/docs/intro/install/ helm version --short
  tool curl 7.76 "your system's packages" curl --version
  [ -z "$context" ] || return 0
  tool kind "$KIND_LEAST" https://kind.sigs.k8s.io/docs/user/quick-start/#installation kind --version
  tool docker 20.10 https://docs.docker.com/engine/install/ docker version --format '{{.Server.Version}}'
}

# kind cannot resume an interrupted creation.
make_cluster() {
  title="the cluster $name in kind"
  step "The cluster $name in kind"
  if grep -qx "$name" <<<"$(ask kind get clusters)"; then
    say 'already exists'
  else
    trap 'kind delete cluster --name "$name"; say "interrupted: the incomplete cluster was deleted" >&2; exit 130' INT TERM
    run kind create cluster --name "$name" --image "$KIND_NODE" --wait 300s ||
      fail STEP_FAILED "kind could not create the cluster $name; its error is above" 'expected: docker info works, and Docker has 4 CPUs and 8 GB of memory'
    trap 'say "interrupted: run the script again to continue" >&2; exit 130' INT TERM
  fi
  context=kind-$name
}

load_image() {
  title='the image'
  step "The image $LOCAL_IMAGE"
  run docker build --tag "$LOCAL_IMAGE" . ||
    fail STEP_FAILED 'docker could not build the image; its error is above' 'to investigate: docs/deploy.md'
  run kind load docker-image "$LOCAL_IMAGE" --name "$name" || fail STEP_FAILED 'kind could not load the image into the nodes; its error is above'
}

begin_record() {
  if exists configmap "$RECORD" --namespace "$RECORD"; then return; fi
  exists namespace "$RECORD" || again kubectl --context "$context" create namespace "$RECORD"
  again kubectl --context "$context" create configmap "$RECORD" --namespace "$RECORD"
}

install() {
  local component=$1 version title_name="title_$1" version_name="version_$1" before
  title=${!title_name} version=${!version_name}
  step "$title ${version//,/, }"
  before=$(recorded "$component")
  if [ -z "$before" ] && "there_$component"; then
    say 'already installed, but not by this script: not changed'
    return
  fi
  if [ "$before" != "$version" ]; then
    record "$component" "\"$version begun\""
    "install_$component"
  fi
  "ready_$component"
  [ "$before" = "$version" ] || record "$component" "\"$version\""
}

# forward NAMESPACE SERVICE PORT: forwards a free port to the Service's port, and sets $port to it.
forward() {
  local said=
  port=PORT
  if [ "$dry_run" = yes ]; then
    say "$(quoted kubectl --context "$context" port-forward --namespace "$1" "service/$2" ":$3") &"
    return
  fi
  exec {forwarded}< <(exec kubectl --context "$context" port-forward --namespace "$1" "service/$2" ":$3" 2>&1)
  background+=($!)
  read -r -t 30 -u "$forwarded" said || true
  port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' <<<"$said")
  [ -n "$port" ] || fail TIMED_OUT "$title: kubectl could not forward a port to the Service $2 in the namespace $1" "$said" \
    "expected: $(quoted kubectl --context "$context" get endpointslices --namespace "$1") shows the Service's pods"
}

readonly IRIS='{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'

# Sets the namespace and the name of the ingress's Service
# (knative.dev/docs/install/yaml-install/serving).
find_ingress() {
  local class
  class=$(ask_kube get configmap config-network --namespace knative-serving --output 'jsonpath={.data.ingress-class}')
  case $class in
    '' | kourier.*) ingress_namespace=kourier-system ingress=kourier ;;
    contour.*) ingress_namespace=contour-external ingress=envoy ;;
    istio.*) ingress_namespace=istio-system ingress=istio-ingressgateway ;;
    *) fail WRONG_ANSWER "the script cannot send a request, because it does not support the ingress class $class" \
      "send the request yourself, to the URL of: $(quoted kubectl --context "$context" get services.serving.knative.dev iris-classifier --namespace default)" ;;
  esac
}

ask_route() {
  title='the request'
  step 'A request to the classifier'
  find_ingress
  host=$(ask_kube get services.serving.knative.dev iris-classifier --namespace default --output 'jsonpath={.status.url}')
  host=${host#*://}
  [ "$dry_run" = no ] || host=HOST
  forward "$ingress_namespace" "$ingress" 80
  local answer=$scratch/answer
  # The first request may have to start a pod.
  run curl --silent --show-error --max-time 90 --output "$answer" "http://127.0.0.1:$port/v2/models/iris-classifier/infer" \
    --header "Host: $host" --header 'Content-Type: application/json' --data "$IRIS" || true
  [ "$dry_run" = no ] || return 0
  say "$(cat "$answer" 2>/dev/null)"
  grep -q '"setosa"' "$answer" 2>/dev/null || fail WRONG_ANSWER "the response of the route $host does not contain the class setosa" \
    "to investigate: $(quoted kubectl --context "$context" logs --namespace default --selector serving.knative.dev/service=iris-classifier --container user-container)"
}

ask_broker() {
  title='the event'
  step 'An event through the Broker'
  local address service namespace id status i
  id=setup-$(date +%s)
  address=$(ask_kube get brokers.eventing.knative.dev default --namespace default --output 'jsonpath={.status.address.url}')
  [ "$dry_run" = no ] || address=http://broker-ingress.knative-eventing.svc.cluster.local/default/default
  address=${address#*://} # SERVICE.NAMESPACE.svc…/PATH
  service=${address%%.*} namespace=${address#*.}
  namespace=${namespace%%.*}
  forward "$namespace" "$service" 80
  broker="http://127.0.0.1:$port/${address#*/}"
  status=$(run curl --silent --show-error --max-time 30 --output /dev/null --write-out '%{http_code}' "$broker" \
    --header 'Content-Type: application/json' --header 'ce-specversion: 1.0' --header "ce-id: $id" --header 'ce-source: /setup-cluster' \
    --header 'ce-type: com.example.iris.classify.request' --data "$IRIS") || true
  local logs=(kubectl --context "$context" logs --namespace default --selector 'serving.knative.dev/service=iris-replies'
    --container user-container --tail=-1)
  if [ "$dry_run" = yes ]; then
    say "$status"
    run "${logs[@]}"
    return
  fi
  [ "$status" = 202 ] || fail WRONG_ANSWER "the Broker returned status $status for an event; expected 202" \
    "to investigate: $(quoted kubectl --context "$context" get brokers.eventing.knative.dev,triggers.eventing.knative.dev --namespace default)"
  # Two pods may have to start, one after the other.
  for ((i = 0; i < 60; i++)); do
    if "${logs[@]}" 2>/dev/null | grep "\"subject\":\"$id\""; then return; fi
    sleep 2
  done
  fail WRONG_ANSWER "the Broker accepted the event $id, but no reply arrived at iris-replies" \
    "lost events, with reasons: $(quoted kubectl --context "$context" logs --namespace default --selector serving.knative.dev/service=iris-dead-letter --container user-container --tail=-1)" \
    "to investigate: $(quoted kubectl --context "$context" get triggers.eventing.knative.dev --namespace default)"
}

tell() {
  if [ "$dry_run" = yes ]; then step 'The script would then print'; else step 'Everything is installed'; fi
  cat <<TOLD
Send a request, in two terminals:
  kubectl --context $context port-forward --namespace $ingress_namespace service/$ingress 8080:80
  curl http://127.0.0.1:8080/v2/models/iris-classifier/infer -H 'Host: $host' -H 'Content-Type: application/json' -d '$IRIS'
While that port is forwarded, the playground is at http://$host:8080

Events: a PingSource sends a sample every minute. To see the replies:
  kubectl --context $context logs --namespace default --selector serving.knative.dev/service=iris-replies --container user-container --tail=-1 --follow
docs/events.md describes how to send an event.

Grafana, if this script installed it: http://localhost:3000, user admin. To forward the port and to print the password:
  kubectl --context $context port-forward --namespace monitoring service/grafana 3000
  kubectl --context $context get secret grafana-admin --namespace monitoring --output 'jsonpath={.data.password}' | base64 --decode

To remove everything that this script installed:
  scripts/delete-cluster.sh ${named_or_context}
TOLD
}

main() {
  check_tools
  if [ -n "$context" ]; then
    named_or_context="--context $context"
  else
    named_or_context="--name $name"
    make_cluster
    load_image
  fi
  title='the cluster'
  step 'The cluster'
  fit_cluster
  begin_record
  local component
  for component in "${COMPONENTS[@]}"; do install "$component"; done
  ask_route
  ask_broker
  tell
}

# `main; exit` is on one line, because bash reads a script while running it, and would also run
# later changes to this file.
main; exit
