# The only list of the versions that setup-cluster.sh installs. A test compares other files with
# this list. monitoring/cluster repeats the versions of the Prometheus, Grafana and
# kube-state-metrics images, because it can be applied without setup-cluster.sh.
# shellcheck shell=bash disable=SC2034

# The default node of kind 0.30.0 (kubernetes-sigs/kind v0.30.0: pkg/apis/config/defaults/image.go).
KIND_NODE=kindest/node:v1.34.0@sha256:7416a61b42b1662ca6ca89f02028ac133a309a2a30ba309614e8ec94d976dc5a
# The minimum versions. Knative 1.23 requires this Kubernetes, and the scripts were written for
# these tools.
KUBERNETES_LEAST=1.34
KIND_LEAST=0.30
KUBECTL_LEAST=1.32
HELM_LEAST=3.13

# The manifests were checked against the schemas, admission code and metrics of these versions.
# KServe 0.20's own tests use Knative 1.21.1 (kserve/kserve v0.20.0: kserve-deps.env).
SERVING=1.23.0
KOURIER=1.23.0
EVENTING=1.23.0
KSERVE=0.20.0
# Issues the certificates of KServe's webhooks. This version supports Kubernetes 1.32 to 1.35
# (cert-manager.io/docs/releases).
CERT_MANAGER=1.20.3
KEDA=2.21.0
METRICS_SERVER=0.8.1

PROMETHEUS=3.16.0
GRAFANA=13.2.3
KUBE_STATE_METRICS=2.18.0
