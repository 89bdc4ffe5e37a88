# Functions that setup-cluster.sh and delete-cluster.sh share: they run, show and explain commands.
# shellcheck shell=bash

[ "${BASH_VERSINFO[0]}" -ge 4 ] || { echo "bash $BASH_VERSION is too old: install bash 4 or later (macOS: brew install bash)" >&2; exit 3; }

# Each error message ends with the name of its code.
declare -rA CODES=([USAGE]=2 [TOOL_MISSING]=3 [CLUSTER_UNFIT]=4 [STEP_FAILED]=5 [TIMED_OUT]=6 [WRONG_ANSWER]=7)
# shellcheck disable=SC2034
readonly CODES_HELP="  2 USAGE          an option is invalid, or a confirmation is needed and standard input is closed
  3 TOOL_MISSING   a program is missing, broken or too old
  4 CLUSTER_UNFIT  the cluster does not respond, is too old, or grants too few permissions
  5 STEP_FAILED    a command failed
  6 TIMED_OUT      a component did not become ready in time
  7 WRONG_ANSWER   everything is installed, but a request or an event to the classifier failed"

dry_run=no
context=
title=

say() { printf '%s\n' "$*"; }
step() { printf '\n%s\n' "== $* =="; }

# fail CODE WHAT [LINE]...: prints the error and exits. The lines say what was expected and where to
# look.
fail() {
  local code=$1 what=$2
  shift 2
  {
    printf '\n%s: %s\n' "${0##*/}" "$what"
    [ $# = 0 ] || printf '  %s\n' "$@"
    printf '%s (exit code %s)\n' "$code" "${CODES[$code]}"
  } >&2
  exit "${CODES[$code]}"
}

quoted() {
  local word text=
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_./:=,@%+-]*) word="'${word//\'/\'\\\'\'}'" ;;
    esac
    text+="$word "
  done
  printf '%s' "${text% }"
}

# Runs a command; a dry run prints it instead.
run() {
  if [ "$dry_run" = yes ]; then
    quoted "$@"
    echo
  else
    "$@"
  fi
}

# Like run, but for a read-only command whose output is used.
ask() {
  if [ "$dry_run" = yes ]; then
    run "$@" >&3
    return
  fi
  local answer
  answer=$("$@") || fail STEP_FAILED "$title: a query of the cluster failed: $(quoted "$@")" 'Run the script again: it does not repeat completed steps.'
  printf '%s' "$answer"
}
# A caller captures ask's output, so a dry run prints queries to a copy of stdout.
exec 3>&1

kube() { run kubectl --context "$context" "$@"; }
ask_kube() { ask kubectl --context "$context" "$@"; }

exists() {
  local found
  found=$(ask_kube get "$@" --ignore-not-found --output name) || exit
  [ -n "$found" ]
}

# Tries a command up to five times: a webhook starts to respond a few seconds after its pod is
# ready.
again() {
  local tries=5 i
  for ((i = 1; i <= tries; i++)); do
    if run "$@"; then return; fi
    [ "$i" = "$tries" ] || { say "  attempt $i of $tries failed; trying again in 10 s"; sleep 10; }
  done
  fail STEP_FAILED "$title: this command failed $tries times; its error is above: $(quoted "$@")" \
    'expected: the command succeeds.' \
    'If a webhook reports "connection refused" or "no endpoints", its pod does not run. If a download fails, GitHub is not reachable.' \
    'Fix the cause and run the script again: it does not repeat completed steps.'
}

apply() { again kubectl --context "$context" apply "$@"; }

available() {
  kube wait deployment --all --namespace "$1" --for=condition=Available --timeout=300s || not_ready "$1"
}

# established CRD...: waits until the API server serves these kinds.
established() {
  kube wait --for=condition=Established --timeout=60s "${@/#/crd/}" ||
    fail TIMED_OUT "$title: the API server does not serve its custom resources after 60 s" 'expected: each CRD has the condition Established' \
      "to investigate: $(quoted kubectl --context "$context" describe crd "$1")"
}

# not_ready NAMESPACE: prints the namespace's state and exits.
not_ready() {
  local namespace=$1
  {
    printf '\nPods of %s:\n' "$namespace"
    kube get pods --namespace "$namespace" --output wide || true
    printf '\nLast events of %s:\n' "$namespace"
    kube get events --namespace "$namespace" --sort-by=.lastTimestamp | tail -n 15 || true
  } >&2
  fail TIMED_OUT "$title: the namespace $namespace was not ready in time" \
    'expected: every pod is Running, and READY shows all of its containers (such as 2/2).' \
    'Pending: the nodes have too little free CPU or memory (all components together need about 4 CPUs and 8 GB).' \
    'ImagePullBackOff: the nodes cannot reach the registry, or the download takes longer than the time limit.' \
    "CrashLoopBackOff: $(quoted kubectl --context "$context" logs --namespace "$namespace" POD --previous)" \
    "to investigate: $(quoted kubectl --context "$context" describe pods --namespace "$namespace")" \
    'Fix the cause and run the script again: it does not repeat completed steps.'
}

at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# tool NAME LEAST WHERE VERSION-COMMAND...: checks that a tool is installed and new enough.
tool() {
  local name=$1 least=$2 where=$3 found
  shift 3
  if [ "$dry_run" = yes ]; then
    run "$@"
    return
  fi
  command -v "$name" >/dev/null || fail TOOL_MISSING "$name is not on the PATH; $least or later is needed" "get it: $where"
  found=$("$@" 2>&1) || fail TOOL_MISSING "$name is installed but does not work: $(quoted "$@")" "$found" "expected: the command prints a version; $where"
  found=$(grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' <<<"$found" | head -n 1)
  at_least "$found" "$least" || fail TOOL_MISSING "$name $found is too old; $least or later is needed" "get it: $where"
  say "$name $found"
}

fit_cluster() {
  local version allowed
  if [ "$dry_run" = yes ]; then
    kube get --raw /version --request-timeout=20s
    kube auth can-i '*' '*' --all-namespaces
    return
  fi
  version=$(kubectl --context "$context" get --raw /version --request-timeout=20s | tr -d '" \n') ||
    fail CLUSTER_UNFIT "the cluster of the context \"$context\" does not respond" \
      "expected: $(quoted kubectl --context "$context" get nodes) lists its nodes; kubectl config get-contexts lists the contexts." \
      'If kind was interrupted while it created this cluster, run scripts/delete-cluster.sh, then this script again.'
  version=$(sed -nE 's/.*major:([0-9]+).*minor:([0-9]+).*/\1.\2/p' <<<"$version")
  at_least "$version" "$KUBERNETES_LEAST" ||
    fail CLUSTER_UNFIT "the cluster runs Kubernetes $version; Knative $SERVING needs $KUBERNETES_LEAST or later"
  allowed=$(kubectl --context "$context" auth can-i '*' '*' --all-namespaces 2>/dev/null) || true
  [ "$allowed" = yes ] || fail CLUSTER_UNFIT "the user of the context \"$context\" does not have all permissions in this cluster" \
    'expected: the role cluster-admin, because the script creates custom resources, webhooks and roles.'
  say "Kubernetes $version, context $context"
}

# This ConfigMap records each component that setup-cluster.sh installed, with its version, or
# "VERSION begun" while the installation is incomplete. The scripts do not touch other components.
readonly RECORD=onnx-function-setup
recorded() { ask_kube get configmap "$RECORD" --namespace "$RECORD" --ignore-not-found --output "jsonpath={.data.$1}"; }
record() { again kubectl --context "$context" patch configmap "$RECORD" --namespace "$RECORD" --type merge --patch "{\"data\":{\"$1\":$2}}"; }

scratch=$(mktemp -d)
background=()
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  [ ${#background[@]} = 0 ] || kill "${background[@]}" 2>/dev/null || true
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'say "interrupted: run the script again to continue" >&2; exit 130' INT TERM
