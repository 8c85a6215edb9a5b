#!/bin/sh
# keep.sh APART DIR LOG COMMAND [ARGUMENT...]
#
# Runs COMMAND, its output in LOG, and leaves nothing of it once standard input ends: no process, no mount,
# no DIR. Whoever started us holds the other end, so this is true even when it was killed with -9.
# A line "keep" instead of the end of input: the same, but DIR stays (the daemon is to start again in it).
# When COMMAND ends by itself, "exited CODE" is printed, and we go on waiting for our own end.
#
# APART=yes: COMMAND gets process and mount namespaces of its own. The kernel ends such a namespace whole,
# whatever was forked, daemonised or mounted in it. Without them (not root) we end all descendants.

apart=$1 dir=$2 log=$3
shift 3
exec 3<&0 </dev/null

if [ "$apart" = yes ]; then
  # The shell inside is the namespace's init: it reaps what daemons leave to it.
  set -- unshare --pid --mount --mount-proc --fork --kill-child=KILL -- sh -c '"$@" & wait $!' sh "$@"
fi

# As one word, when it is one: the kernel writes a blank after each.
children() {
  echo $(cat /proc/"$1"/task/*/children 2>/dev/null)
}

below() {
  for child in $(children "$1"); do
    echo "$child"
    below "$child"
  done
}

runs() {
  grep -qs '^State:.[^Z]' /proc/"$1"/status
}

(
  "$@" >>"$log" 2>&1 3<&-
  echo "exited $?"
) &
kept=$!

word=
read -r word <&3

if [ "$apart" = yes ]; then
  # The end may come before the beginning is over: wait for the namespace's init, unless the command ended first.
  while init=$(children "$(children $kept)") && [ -z "$init" ] && runs $kept; do sleep 0.01; done
  # Not unshare itself: it returns once its namespace is empty, and that is what we wait for.
  kill -KILL $init 2>/dev/null
else
  while runs $kept; do
    kill -KILL $(below $kept) 2>/dev/null
    sleep 0.01
  done
fi
wait $kept

# What detached itself on purpose, as dproxy's supervisor does, still carries our mark in its environment.
for environ in $(grep -lzsx "TESTBED=$dir" /proc/[0-9]*/environ); do
  pid=${environ#/proc/}
  pid=${pid%/environ}
  [ "$pid" = $$ ] || kill -KILL "$pid" 2>/dev/null
done

[ "$word" = keep ] && exit
# Containers' groups are made under one named after DIR; the kernel keeps empty ones, and takes a moment to see
# that they are.
for _ in 1 2 3 4 5; do
  find /sys/fs/cgroup -depth -type d -path "*/$(basename "$dir")*" -exec rmdir {} + 2>/dev/null && break
  sleep 0.1
done
rm -rf --one-file-system "$dir"
