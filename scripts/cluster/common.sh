# Shared by setup-cluster.sh and delete-cluster.sh: runs, shows and explains commands.
# shellcheck shell=bash

[ "${BASH_VERSINFO[0]}" -ge 4 ] || { echo "bash 4 or later is needed; this is $BASH_VERSION (macOS: brew install bash)" >&2; exit 3; }

# Exit codes, by the names that errors end with.
declare -rA CODES=([USAGE]=2 [TOOL_MISSING]=3 [CLUSTER_UNFIT]=4 [STEP_FAILED]=5 [TIMED_OUT]=6 [WRONG_ANSWER]=7)
# shellcheck disable=SC2034
readonly CODES_HELP="  2 USAGE          an option is unknown, or an answer was needed and nobody there to give it
  3 TOOL_MISSING   a program is missing or too old
  4 CLUSTER_UNFIT  the cluster does not answer, is too old, or lets you do too little
  5 STEP_FAILED    a command failed
  6 TIMED_OUT      what was installed did not become ready in time
  7 WRONG_ANSWER   everything is there, and the classifier does not answer as it should"

dry_run=no
context=
# The current step, for the error message.
title=

say() { printf '%s\n' "$*"; }
step() { printf '\n%s\n' "== $* =="; }

# fail CODE WHAT [LINE]...: says what was wrong; the lines say where to look and what would be
# right.
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

# Prints a command as it could be typed.
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

# Runs a command, or shows it in a dry run.
run() {
  if [ "$dry_run" = yes ]; then
    quoted "$@"
    echo
  else
    "$@"
  fi
}

# Prints the output of a read-only command. A dry run shows the command and prints no output.
ask() {
  if [ "$dry_run" = yes ]; then
    run "$@" >&3
    return
  fi
  local answer
  answer=$("$@") || fail STEP_FAILED "$title: the cluster did not answer: $(quoted "$@")" 'Start again: steps that are done are not repeated.'
  printf '%s' "$answer"
}
# Shows the queries of a dry run with everything else.
exec 3>&1

kube() { run kubectl --context "$context" "$@"; }
ask_kube() { ask kubectl --context "$context" "$@"; }

# exists KIND NAME [OPTION]...
exists() {
  local found
  found=$(ask_kube get "$@" --ignore-not-found --output name) || exit
  [ -n "$found" ]
}

# Runs a command that may need a second try: a webhook answers some seconds after its pod is ready.
again() {
  local tries=5 i
  for ((i = 1; i <= tries; i++)); do
    if run "$@"; then return; fi
    [ "$i" = "$tries" ] || { say "  not yet; again in 10 s ($i of $tries)"; sleep 10; }
  done
  fail STEP_FAILED "$title: this failed $tries times, and says above why: $(quoted "$@")" \
    'right would be: it ends without an error.' \
    'A "connection refused" or "no endpoints" of a webhook means that its pod does not run; a download that fails, that GitHub was not reached.' \
    'Start again when it is mended: steps that are done are not repeated.'
}

apply() { again kubectl --context "$context" apply "$@"; }

# available NAMESPACE: waits until every Deployment there has its pods.
available() {
  kube wait deployment --all --namespace "$1" --for=condition=Available --timeout=300s || not_ready "$1"
}

# established CRD...: waits until the API server serves these kinds.
established() {
  kube wait --for=condition=Established --timeout=60s "${@/#/crd/}" ||
    fail TIMED_OUT "$title: the API server does not know its kinds yet" 'right would be: they are Established at once' \
      "to look further: $(quoted kubectl --context "$context" describe crd "$1")"
}

# not_ready NAMESPACE: exits, after printing the state of the namespace.
not_ready() {
  local namespace=$1
  {
    printf '\nPods of %s:\n' "$namespace"
    kube get pods --namespace "$namespace" --output wide || true
    printf '\nIts last events:\n'
    kube get events --namespace "$namespace" --sort-by=.lastTimestamp | tail -n 15 || true
  } >&2
  fail TIMED_OUT "$title: not ready in time in the namespace $namespace" \
    'right would be: every pod Running, and READY the same number twice.' \
    'Pending: the nodes have too little CPU or memory left (all of this takes about 4 CPUs and 8 GB).' \
    'ImagePullBackOff: the nodes do not reach the registry, or need longer than we waited.' \
    "CrashLoopBackOff: $(quoted kubectl --context "$context" logs --namespace "$namespace" POD --previous)" \
    "to look further: $(quoted kubectl --context "$context" describe pods --namespace "$namespace")" \
    'Start again when it is mended: steps that are done are not repeated.'
}

# Whether the first version is at least the second.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# tool NAME LEAST WHERE VERSION-COMMAND...
tool() {
  local name=$1 least=$2 where=$3 found
  shift 3
  if [ "$dry_run" = yes ]; then
    run "$@"
    return
  fi
  command -v "$name" >/dev/null || fail TOOL_MISSING "$name is needed, $least or later, and is not on the PATH" "get it: $where"
  found=$("$@" 2>&1) || fail TOOL_MISSING "$name is there, and does not work: $(quoted "$@")" "$found" "right would be: it tells its version; $where"
  found=$(grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' <<<"$found" | head -n 1)
  at_least "$found" "$least" || fail TOOL_MISSING "$name is $found; $least or later is needed" "get it: $where"
  say "$name $found"
}

# Checks that the cluster answers, is new enough, and grants every permission needed.
fit_cluster() {
  local version allowed
  if [ "$dry_run" = yes ]; then
    kube get --raw /version --request-timeout=20s
    kube auth can-i '*' '*' --all-namespaces
    return
  fi
  version=$(kubectl --context "$context" get --raw /version --request-timeout=20s | tr -d '" \n') ||
    fail CLUSTER_UNFIT "the cluster of the context \"$context\" does not answer" \
      "right would be: $(quoted kubectl --context "$context" get nodes) lists them; kubectl config get-contexts lists the contexts." \
      'A cluster of kind that was interrupted while it was made: scripts/delete-cluster.sh, and start again.'
  version=$(sed -nE 's/.*major:([0-9]+).*minor:([0-9]+).*/\1.\2/p' <<<"$version")
  at_least "$version" "$KUBERNETES_LEAST" ||
    fail CLUSTER_UNFIT "the cluster is Kubernetes $version; Knative $SERVING needs $KUBERNETES_LEAST or later"
  allowed=$(kubectl --context "$context" auth can-i '*' '*' --all-namespaces 2>/dev/null) || true
  [ "$allowed" = yes ] || fail CLUSTER_UNFIT "the user of the context \"$context\" may not do everything in this cluster" \
    'right would be: cluster-admin, for custom resources, webhooks and roles are made.'
  say "Kubernetes $version, context $context"
}

# Records what this script installed: a ConfigMap in the cluster, with a key per component and its
# version as value; "VERSION begun" while it is incomplete. Anything that is installed but not
# recorded belongs to somebody else.
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
trap 'say "interrupted; start again, and it goes on from here" >&2; exit 130' INT TERM
