#!/usr/bin/env bash
# Removes exactly what setup-cluster.sh installed: its kind cluster, or in another cluster the
# recorded components, last first.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/cluster/versions.sh
source scripts/cluster/common.sh
source scripts/cluster/components.sh

help() {
  cat <<HELP
usage: scripts/delete-cluster.sh [--name NAME | --context CONTEXT] [--yes] [--dry-run]

Without --context: deletes the cluster that setup-cluster.sh made in kind, with everything in it.

  --name NAME        of the cluster of kind; onnx-function, if not said
  --context CONTEXT  removes from this cluster what setup-cluster.sh installed in it, last first
  --yes              does not ask first
  --dry-run          prints every command, and runs none
  --help             this

What others made of a component keeps the component: it would be deleted with it.

exit codes:
$CODES_HELP
HELP
}

name=onnx-function
yes=no
wrong() { fail USAGE "$1" 'scripts/delete-cluster.sh --help tells what can be said'; }
while [ $# -gt 0 ]; do
  case $1 in
    --name | --context)
      [ -n "${2-}" ] || wrong "$1 needs a value"
      case $1 in
        --name) name=$2 named=yes ;;
        --context) context=$2 ;;
      esac
      shift 2
      ;;
    --yes) yes=yes && shift ;;
    --dry-run) dry_run=yes && shift ;;
    --help) help && exit ;;
    *) wrong "$1 is no option" ;;
  esac
done
[ -z "$context" ] || [ -z "${named-}" ] || wrong '--name is of a cluster of kind; with --context it says nothing'

confirm() {
  [ "$yes" = no ] && [ "$dry_run" = no ] || return 0
  local answer=
  printf '%s [y/N] ' "$1"
  read -r answer || wrong 'nobody is there to answer; --yes answers'
  [ "$answer" = y ] || { say 'nothing was removed'; exit 0; }
}

delete_kind() {
  title="the cluster $name in kind"
  tool kind "$KIND_LEAST" https://kind.sigs.k8s.io/docs/user/quick-start/#installation kind --version
  if [ "$dry_run" = no ] && ! kind get clusters 2>/dev/null | grep -qx "$name"; then
    say "kind has no cluster $name; nothing to remove"
    return
  fi
  confirm "Delete the cluster $name in kind, with everything in it?"
  run kind delete cluster --name "$name" || fail STEP_FAILED 'kind could not delete the cluster, and says above why'
}

# Objects that others made with a component: ours are gone by then, and owned objects go with their
# owner.
others() {
  local users_name="users_$1" kind found
  for kind in ${!users_name}; do
    exists crd "$kind" || [ "$dry_run" = yes ] || continue
    found=$(ask_kube get "$kind" --all-namespaces --no-headers \
      --output custom-columns=OWNER:.metadata.ownerReferences[*].kind,KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name) || exit
    sed -n 's/^<none> *//p' <<<"$found"
  done
}

remove() {
  local component=$1 title_name="title_$1" before left
  title=${!title_name}
  before=$(recorded "$component")
  if [ "$dry_run" = yes ]; then
    local version_name="version_$1"
    before=${!version_name}
  elif [ -z "$before" ]; then
    return 0
  fi
  step "$title ${before//,/, }"
  left=$(others "$component") || exit
  [ -z "$left" ] || fail STEP_FAILED "$title stays: others made these with it, which would be deleted too" "${left//$'\n'/$'\n  '}" \
    'right would be: they are gone, or you keep the component. Start again then: the rest is removed.'
  "remove_$component" "${before% begun}" || fail STEP_FAILED "$title could not be removed; it says above why" \
    'An object with a finalizer may wait for a controller that is gone: kubectl get OBJECT -o yaml names it.' 'Start again when it is mended.'
  record "$component" null
}

delete_installed() {
  title='the cluster'
  tool kubectl "$KUBECTL_LEAST" https://kubernetes.io/docs/tasks/tools/ kubectl version --client
  tool helm "$HELM_LEAST" https://helm.sh/docs/intro/install/ helm version --short
  fit_cluster
  local installed
  installed=$(ask_kube get configmap "$RECORD" --namespace "$RECORD" --ignore-not-found --output 'jsonpath={.data}')
  if [ "$dry_run" = no ] && [ -z "$installed" ] && ! exists namespace "$RECORD"; then
    say "setup-cluster.sh installed nothing in $context; nothing to remove"
    return
  fi
  confirm "Remove from $context what setup-cluster.sh installed: ${installed:-nothing more}?"
  local i
  for ((i = ${#COMPONENTS[@]} - 1; i >= 0; i--)); do remove "${COMPONENTS[i]}"; done
  title='the record'
  step 'The record of what was installed'
  delete namespace "$RECORD"
}

if [ -n "$context" ]; then delete_installed; else delete_kind; fi
step 'Nothing is left of it'
