#!/usr/bin/env bash
# Runs one command with socket activation, as systemd does with onnx-function.socket and
# onnx-function.service, but needs neither root nor a running systemd: it keeps a listening socket
# open, and starts the command when a connection arrives while the command is not running.
#
#   IDLE_EXIT_SECONDS=5 scripts/systemd/activate.sh 127.0.0.1:8080 node build/main.js
#
# Needs systemd-socket-activate, from Debian's package systemd. Exits if the command fails.
set -euo pipefail

# By default, systemd-socket-activate passes no environment.
mapfile -t environment < <(compgen -e | grep -v '^LISTEN_' | sed 's/^/--setenv=/')

# When systemd-socket-activate restarts this script, the socket is descriptor 3.
if [ "${LISTEN_PID-}" != $$ ]; then
  exec systemd-socket-activate "${environment[@]}" --listen="$1" bash "$0" "$@"
fi
shift
command=
trap 'kill $command 2>/dev/null; wait; exit' TERM INT
while true; do
  (LISTEN_PID=$BASHPID exec systemd-socket-activate "${environment[@]}" "$@") &
  command=$!
  wait "$command"
done
