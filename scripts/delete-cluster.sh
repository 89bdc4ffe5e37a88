#!/usr/bin/env bash
# Removes everything that setup-cluster.sh installed: its kind cluster, or in another cluster the
# recorded components, in reverse order.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/cluster/versions.sh
source scripts/cluster/common.sh
source scripts/cluster/components.sh

help() {
  cat <<HELP
usage: scripts/delete-cluster.sh [--name NAME | --context CONTEXT] [--yes] [--dry-run]

Without --context, the script deletes the kind cluster that setup-cluster.sh created, with everything in it.

  --name NAME        the name of the kind cluster (onnx-function)
  --context CONTEXT  removes the components that setup-cluster.sh installed in the cluster of this context
  --yes              does not ask for confirmation
  --dry-run          prints every command, but does not run it
  --help             prints this text

If other objects use a component, the script keeps the component, because removing it would delete those objects.

exit codes:
$CODES_HELP
HELP
}

name=onnx-function
yes=no
wrong() { fail USAGE "$1" 'scripts/delete-cluster.sh --help lists the options'; }
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
    *) wrong "unknown option: $1" ;;
  esac
done
[ -z "$context" ] || [ -z "${named-}" ] || wrong '--name and --context exclude each other: --name is for a kind cluster'

confirm() {
  [ "$yes" = no ] && [ "$dry_run" = no ] || return 0
  local answer=
  printf '%s [y/N] ' "$1"
  read -r answer || wrong 'cannot ask for confirmation, because standard input is closed; use --yes'
  [ "$answer" = y ] || { say 'nothing was removed'; exit 0; }
}

delete_kind() {
  title="the cluster $name in kind"
  tool kind "$KIND_LEAST" https://kind.sigs.k8s.io/docs/user/quick-start/#installation kind --version
  if [ "$dry_run" = no ] && ! kind get clusters 2>/dev/null | grep -qx "$name"; then
    say "kind has no cluster $name: nothing to remove"
    return
  fi
  confirm "Delete the cluster $name in kind, with everything in it?"
  run kind delete cluster --name "$name" || fail STEP_FAILED "kind could not delete the cluster $name; its error is above"
}

# Lists the remaining objects of a component's kinds. Omits owned objects, because their owners
# control them.
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
  [ -z "$left" ] || fail STEP_FAILED "$title was kept: removing it would also delete these objects" "${left//$'\n'/$'\n  '}" \
    'Delete these objects and run the script again to remove the remaining components, or keep the component.'
  "remove_$component" "${before% begun}" || fail STEP_FAILED "$title could not be removed; the error is above" \
    'An object with a finalizer may wait for a controller that no longer runs: kubectl get OBJECT -o yaml shows its finalizers.' \
    'Fix the cause and run the script again.'
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
    say "setup-cluster.sh has no record in $context: nothing to remove"
    return
  fi
  confirm "Remove the components that setup-cluster.sh installed in $context: ${installed:-only its record}?"
  local i
  for ((i = ${#COMPONENTS[@]} - 1; i >= 0; i--)); do remove "${COMPONENTS[i]}"; done
  title='the record'
  step 'The record of the installed components'
  delete namespace "$RECORD"
}

if [ -n "$context" ]; then delete_installed; else delete_kind; fi
step 'Removed'
