# The components: setup-cluster.sh installs them in this order, and delete-cluster.sh removes them
# in reverse order. Each component NAME has these variables and functions:
#   title_NAME     its title
#   version_NAME   the version to install
#   users_NAME     the CRDs whose objects are removed together with the component
#   there_NAME     succeeds if any version is installed
#   install_NAME   installs the component; can be repeated after an interruption
#   ready_NAME     waits until the component is ready
#   remove_NAME V  removes the objects that install_NAME created for version V
# shellcheck shell=bash disable=SC2034,SC2153,SC2154,SC2317

# KEDA and metrics-server are removed early: they serve aggregated APIs, and no namespace can be
# deleted while an aggregated API does not respond.
readonly COMPONENTS=(cert_manager serving eventing kserve monitoring keda metrics_server classifier)

knative() { echo "https://github.com/$1/releases/download/knative-v$2"; }
delete() { kube delete --ignore-not-found --timeout=300s "$@"; }

# --- cert-manager: issues the certificates of KServe's webhooks

title_cert_manager='cert-manager'
version_cert_manager=$CERT_MANAGER
users_cert_manager='certificates.cert-manager.io issuers.cert-manager.io clusterissuers.cert-manager.io'
there_cert_manager() { exists crd certificates.cert-manager.io; }
cert_manager_manifest() { echo "https://github.com/cert-manager/cert-manager/releases/download/v$1/cert-manager.yaml"; }
install_cert_manager() { apply --filename "$(cert_manager_manifest "$CERT_MANAGER")"; }
ready_cert_manager() { available cert-manager; }
remove_cert_manager() { delete --filename "$(cert_manager_manifest "$1")"; }

# --- Knative Serving, and Kourier as its ingress

title_serving='Knative Serving with Kourier'
version_serving="$SERVING,$KOURIER"
users_serving='services.serving.knative.dev routes.serving.knative.dev configurations.serving.knative.dev'
there_serving() { exists crd services.serving.knative.dev; }
install_serving() {
  local release
  release=$(knative knative/serving "$SERVING")
  apply --filename "$release/serving-crds.yaml"
  established services.serving.knative.dev images.caching.internal.knative.dev
  apply --filename "$release/serving-core.yaml"
  apply --filename "$(knative knative-extensions/net-kourier "$KOURIER")/kourier.yaml"
  # Knative's webhook validates the settings below, so it must run first.
  available knative-serving
  again kubectl --context "$context" patch configmap config-network --namespace knative-serving --type merge \
    --patch '{"data":{"ingress-class":"kourier.ingress.networking.knative.dev"}}'
  # Host names in this domain resolve to this machine, which forwards a port. Without a domain,
  # routes are reachable only inside the cluster.
  again kubectl --context "$context" patch configmap config-domain --namespace knative-serving --type merge \
    --patch '{"data":{"127.0.0.1.sslip.io":""}}'
  # Our manifests need no feature flags (npm run check --prefix scripts/manifests checks this), and
  # registries-skipping-tag-resolving contains dev.local by default.
}
ready_serving() {
  available knative-serving
  available kourier-system
}
remove_serving() {
  local serving=${1%,*} kourier=${1#*,} release
  release=$(knative knative/serving "$serving")
  delete --filename "$(knative knative-extensions/net-kourier "$kourier")/kourier.yaml"
  delete --filename "$release/serving-core.yaml"
  delete --filename "$release/serving-crds.yaml"
}

# --- Knative Eventing, with in-memory channels and an in-memory Broker, as knative/eventing expects

title_eventing='Knative Eventing with the Broker in memory'
version_eventing=$EVENTING
users_eventing='brokers.eventing.knative.dev triggers.eventing.knative.dev channels.messaging.knative.dev inmemorychannels.messaging.knative.dev
  subscriptions.messaging.knative.dev pingsources.sources.knative.dev apiserversources.sources.knative.dev
  containersources.sources.knative.dev sinkbindings.sources.knative.dev'
readonly EVENTING_MANIFESTS=(eventing-crds.yaml eventing-core.yaml in-memory-channel.yaml mt-channel-broker.yaml)
there_eventing() { exists crd brokers.eventing.knative.dev; }
install_eventing() {
  local release manifest
  release=$(knative knative/eventing "$EVENTING")
  for manifest in "${EVENTING_MANIFESTS[@]}"; do
    apply --filename "$release/$manifest"
    [ "$manifest" != eventing-crds.yaml ] || established brokers.eventing.knative.dev triggers.eventing.knative.dev
  done
}
ready_eventing() { available knative-eventing; }
remove_eventing() {
  local release i
  release=$(knative knative/eventing "$1")
  for ((i = ${#EVENTING_MANIFESTS[@]} - 1; i >= 0; i--)); do delete --filename "$release/${EVENTING_MANIFESTS[i]}"; done
}

# --- KServe, in Knative mode, without its own runtimes: kserve/runtimes serves any ONNX model

title_kserve='KServe in Knative mode'
version_kserve=$KSERVE
users_kserve='inferenceservices.serving.kserve.io trainedmodels.serving.kserve.io inferencegraphs.serving.kserve.io
  servingruntimes.serving.kserve.io clusterservingruntimes.serving.kserve.io'
there_kserve() { exists crd inferenceservices.serving.kserve.io; }

# chart NAME [OPTION]...: installs or upgrades one of KServe's Helm charts.
chart() {
  local name=$1 state
  shift
  # Helm refuses to resume an interrupted installation.
  state=$(ask helm --kube-context "$context" list --namespace kserve --filter "^$name\$" --pending --output json)
  case $state in
    *'"status":"pending-install"'*) again helm --kube-context "$context" uninstall "$name" --namespace kserve ;;
    *'"status":"pending-'*) again helm --kube-context "$context" rollback "$name" --namespace kserve ;;
  esac
  again helm --kube-context "$context" upgrade --install "$name" "oci://ghcr.io/kserve/charts/$name" --version "v$KSERVE" \
    --namespace kserve --create-namespace "$@"
}
install_kserve() {
  chart kserve-crd
  # By default, KServe creates routes for Istio, and gives InferenceServices a host name that the
  # ingress does not serve.
  chart kserve-resources --set kserve.controller.deploymentMode=Knative --set kserve.controller.gateway.disableIstioVirtualHost=true
}
ready_kserve() { available kserve; }
remove_kserve() {
  run helm --kube-context "$context" uninstall kserve-resources --namespace kserve --ignore-not-found --wait
  run helm --kube-context "$context" uninstall kserve-crd --namespace kserve --ignore-not-found --wait
  delete namespace kserve
}

# --- Prometheus, Grafana and kube-state-metrics, from monitoring/; also turns on Knative's metrics

title_monitoring='Prometheus, Grafana, kube-state-metrics'
version_monitoring="$PROMETHEUS,$GRAFANA,$KUBE_STATE_METRICS"
users_monitoring=
there_monitoring() { exists namespace monitoring; }
# observe NAMESPACE SETTINGS: changes the settings and restarts Knative, which reads them at
# startup.
observe() {
  again kubectl --context "$context" patch configmap config-observability --namespace "$1" --type merge --patch "{\"data\":$2}"
  again kubectl --context "$context" rollout restart deployment --namespace "$1"
  available "$1"
}
install_monitoring() {
  # A client-side apply stores the object in an annotation, for which the dashboards are too large.
  apply --server-side --kustomize monitoring
  if ! exists secret grafana-admin --namespace monitoring; then
    head -c 18 /dev/urandom | base64 | tr -d '\n' >"$scratch/password"
    again kubectl --context "$context" create secret generic grafana-admin --namespace monitoring --from-file="password=$scratch/password"
  fi
  if [ -n "$(recorded serving)" ] || [ "$dry_run" = yes ]; then
    observe knative-serving '{"metrics-protocol":"prometheus","request-metrics-protocol":"http/protobuf","request-metrics-endpoint":"http://prometheus.monitoring.svc:9090/api/v1/otlp/v1/metrics"}'
  fi
  if [ -n "$(recorded eventing)" ] || [ "$dry_run" = yes ]; then
    observe knative-eventing '{"metrics-protocol":"prometheus"}'
  fi
}
ready_monitoring() { available monitoring; }
remove_monitoring() { delete --kustomize monitoring; }

# --- KEDA, for kubernetes/keda and kserve/standard/keda

title_keda='KEDA'
version_keda=$KEDA
users_keda='scaledobjects.keda.sh scaledjobs.keda.sh'
keda_manifest() { echo "https://github.com/kedacore/keda/releases/download/v$1/keda-$1.yaml"; }
there_keda() { exists crd scaledobjects.keda.sh; }
# A client-side apply stores the object in an annotation, for which KEDA's CRDs are too large.
install_keda() { apply --server-side --filename "$(keda_manifest "$KEDA")"; }
ready_keda() { available keda; }
remove_keda() { delete --filename "$(keda_manifest "$1")"; }

# --- metrics-server, for kubernetes/hpa

title_metrics_server='metrics-server'
version_metrics_server=$METRICS_SERVER
users_metrics_server=
metrics_server_manifest() { echo "https://github.com/kubernetes-sigs/metrics-server/releases/download/v$1/components.yaml"; }
there_metrics_server() { exists apiservice v1beta1.metrics.k8s.io; }
install_metrics_server() {
  apply --filename "$(metrics_server_manifest "$METRICS_SERVER")"
  # kind's kubelets have self-signed certificates. On other clusters, keep the check of
  # certificates, which detects attacks.
  local node
  node=$(ask_kube get nodes --output 'jsonpath={.items[0].spec.providerID}')
  [ "$dry_run" = no ] || node=$context
  case $node in
    kind*)
      again kubectl --context "$context" patch deployment metrics-server --namespace kube-system --type json \
        --patch '[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--kubelet-insecure-tls"}]'
      ;;
  esac
}
ready_metrics_server() {
  kube rollout status deployment/metrics-server --namespace kube-system --timeout=180s || not_ready kube-system
}
remove_metrics_server() { delete --filename "$(metrics_server_manifest "$1")"; }

# --- the classifier, its Broker and Triggers

title_classifier='the iris classifier'
version_classifier=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
users_classifier=
readonly CLASSIFIER=knative/overlays/local
# This image is in no registry: the nodes must already have it.
readonly LOCAL_IMAGE=dev.local/onnx-function:$version_classifier
there_classifier() { exists services.serving.knative.dev iris-classifier --namespace default; }
install_classifier() {
  if [ -z "${image-}" ]; then
    apply --kustomize "$CLASSIFIER"
    return
  fi
  # Replaces the image in kustomize's output, without changing the files.
  local manifest=$scratch/classifier.yaml
  if [ "$dry_run" = yes ]; then
    say "$(quoted kubectl kustomize "$CLASSIFIER") | sed 's|$LOCAL_IMAGE|$image|; s|imagePullPolicy: Never|imagePullPolicy: IfNotPresent|' >$manifest"
  else
    kubectl kustomize "$CLASSIFIER" | sed "s|$LOCAL_IMAGE|$image|; s|imagePullPolicy: Never|imagePullPolicy: IfNotPresent|" >"$manifest"
  fi
  apply --filename "$manifest"
}
ready_classifier() {
  kube wait services.serving.knative.dev/iris-classifier services.serving.knative.dev/iris-replies services.serving.knative.dev/iris-dead-letter \
    brokers.eventing.knative.dev/default triggers.eventing.knative.dev/iris-classify triggers.eventing.knative.dev/iris-replies \
    --namespace default --for=condition=Ready --timeout=300s && return
  {
    kube get services.serving.knative.dev,revisions.serving.knative.dev,brokers.eventing.knative.dev,triggers.eventing.knative.dev \
      --namespace default || true
  } >&2
  not_ready default
}
remove_classifier() { delete --kustomize "$CLASSIFIER"; }
