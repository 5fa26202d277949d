#!/usr/bin/env bash
# Brings crawlmill up in containers from a clean clone, as a new user would, and breaks it on purpose:
#
#   - everything gets healthy; the quickstart runs, its report opens;
#   - a job over 40 shards of real pages runs on two workers, one of which is stopped while Ray says that it holds a
#     running shard: the job completes, and its bytes are those of a run that nobody disturbed;
#   - `down` and `up` lose nothing, also while a job runs.
#
# Usage: tests/acceptance/compose.sh [--here]      --here: the working tree as it is, instead of a clone of HEAD
#
# Needs docker and docker-compose; where they or the two public images are missing, docker-local.sh of the folder
# CRAWLMILL_SHARED (../shared) provides them. Real pages come from CRAWLMILL_CORPORA (../shared/corpora). Takes ten
# minutes on two cores, and four more for the first build; leaves nothing behind but the builder's cache.
set -euo pipefail

project=$(cd "$(dirname "$0")/../.." && pwd)
shared=${CRAWLMILL_SHARED:-$project/../shared}
corpora=${CRAWLMILL_CORPORA:-$shared/corpora}
shards=40
over=900 # seconds after which a wait is given up

say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

[ -f "$corpora/html/web-bench.warc.gz" ] || die "no corpora at $corpora: set CRAWLMILL_CORPORA"

work=$(mktemp -d)
export COMPOSE_PROJECT_NAME=crawlmill-acceptance-$$
export CRAWLMILL_IMAGE=crawlmill:acceptance-$$
CRAWLMILL_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export CRAWLMILL_PORT
export CRAWLMILL_SERVER=http://127.0.0.1:$CRAWLMILL_PORT

clean_up() {
  status=$?
  trap - EXIT INT TERM
  cd "$tree" 2>/dev/null || exit $status
  if [ $status != 0 ]; then
    compose ps || true
    compose logs --no-color --tail 40 || true
  fi
  compose down --volumes --timeout 5 >/dev/null 2>&1 || true
  docker image rm "$CRAWLMILL_IMAGE" >/dev/null 2>&1 || true
  rm -rf "$work"
  exit $status
}
tree=$work
trap clean_up EXIT
trap 'exit 130' INT TERM

say "tree"
if [ "${1:-}" = --here ]; then
  tree=$project
else
  git clone --quiet --no-hardlinks "$project" "$work/crawlmill"
  tree=$work/crawlmill
fi
cd "$tree"
echo "$tree at $(git rev-parse --short HEAD)"

say "docker"
if ! docker image inspect python:3.11-slim-bookworm postgres:15-bookworm >/dev/null 2>&1; then
  "$shared/tools/docker-local.sh"
fi
if docker compose version >/dev/null 2>&1; then compose() { docker compose "$@"; }; else compose() { docker-compose "$@"; }; fi
echo "compose $(compose version --short)"

# What a user does ---------------------------------------------------------------------------------------------------

# The command line, from the image: this machine need not have it installed.
crawlmill() { docker run --rm --interactive --network host -e CRAWLMILL_SERVER -e CRAWLMILL_TOKEN "$CRAWLMILL_IMAGE" crawlmill "$@"; }

# Usage: get PATH       the service's answer, or failure where it is none of success
get() {
  python3 - "$CRAWLMILL_SERVER$1" <<'P'
import os, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + os.environ["CRAWLMILL_TOKEN"]})
sys.stdout.buffer.write(urllib.request.urlopen(request, timeout=60).read())
P
}

# Usage: field NAME     of the JSON document on stdin
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# Usage: submit OUTPUT <JOB      prints the job's id
submit() { crawlmill submit /dev/stdin --output "$1" --json | field id; }

# Usage: finish ID      waits until the job is over; fails unless it completed
finish() { timeout $over docker run --rm --network host -e CRAWLMILL_SERVER -e CRAWLMILL_TOKEN "$CRAWLMILL_IMAGE" \
  crawlmill status "$1" --watch || die "job $1 did not complete"; }

# Usage: report ID      fetches the job's report through the service
report() {
  get "/api/v1/jobs/$1/report" >"$work/report.html"
  grep -q '</html>' "$work/report.html" || die "the report of $1 is no page"
  echo "report of $1: $(wc -c <"$work/report.html") bytes"
}

# Usage: digests OUTPUT
digests() { compose exec -T head sh -c "cd /data/$1 && find data ledger signals -type f | LC_ALL=C sort | xargs sha256sum"; }

healthy() {
  local id state end=$((SECONDS + over))
  for id in $(compose ps -q head worker postgres service); do
    until state=$(docker inspect --format '{{.State.Health.Status}}' "$id") && [ "$state" = healthy ]; do
      [ $SECONDS -lt $end ] || die "$(docker inspect --format '{{.Name}}' "$id") is $state"
      [ "$(docker inspect --format '{{.RestartCount}}' "$id")" -lt 5 ] || die "$(docker inspect --format '{{.Name}}' "$id") does not start"
      sleep 1
    done
  done
  compose ps
}

# What Ray says ------------------------------------------------------------------------------------------------------

# Prints node address, task id and name of a shard that is running.
holder() {
  compose exec -T head timeout $over python - <<'P'
import time
from ray.util.state import list_nodes, list_tasks
while True:
    running = list_tasks(filters=[("state", "=", "RUNNING")], limit=1000, detail=True)
    shards = [task for task in running if task.name.startswith("shard ") and task.node_id and task.start_time_ms]
    if shards:
        task = max(shards, key=lambda each: each.start_time_ms)
        address = {node.node_id: node.node_ip for node in list_nodes()}[task.node_id]
        print(address, task.task_id, task.name)
        break
    time.sleep(0.2)
P
}

# Usage: attempts TASK  prints every attempt at a task: number, state, address of its node, kind of error
attempts() {
  compose exec -T head python - "$1" <<'P'
import sys
from ray.util.state import list_nodes, list_tasks
addresses = {node.node_id: node.node_ip for node in list_nodes()}
for task in sorted(list_tasks(filters=[("task_id", "=", sys.argv[1])], detail=True), key=lambda each: each.attempt_number):
    print(task.attempt_number, task.state, addresses.get(task.node_id, "-"), task.error_type or "-")
P
}

# The test -----------------------------------------------------------------------------------------------------------

say "build"
compose build >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log"; die "the image does not build"; }
docker image inspect --format 'image: {{.Size}} bytes, user {{.Config.User}}' "$CRAWLMILL_IMAGE"

say "up"
compose up -d 2>&1 | tail -n 20
healthy
[ "$(compose ps -q worker | wc -l)" = 2 ] || die "there are not two workers"
for id in $(compose ps -q head worker service); do
  [ "$(docker exec "$id" id -u)" = 10001 ] || die "$id does not run as 10001"
done
CRAWLMILL_TOKEN=$(compose exec -T service cat /secrets/service/api-token)
export CRAWLMILL_TOKEN

say "quickstart"
quickstart=$(submit out <examples/quickstart.yaml)
finish "$quickstart"
report "$quickstart"

say "$shards shards of real pages"
python3 tests/acceptance/cut_shards.py "$corpora/html/web-bench.warc.gz" $shards "$work/html"
tar -C "$work" -c html | compose exec -T head tar -x --no-same-owner -C /data
cat >"$work/job.yaml" <<'J'
name: real-pages
source: {kind: warc, paths: ["html/*.warc.gz"]}
recipe: fineweb
J

say "a job, and a worker that is stopped"
disturbed=$(submit disturbed <"$work/job.yaml")
held=$(holder)
read -r address task name <<<"$held"
for id in $(compose ps -q worker); do
  [ "$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$id")" = "$address" ] && victim=$id
done
echo "job $disturbed: Ray says that $address holds \"$name\" (task $task)"
docker stop --time 1 "${victim:?no worker has the address $address}" >/dev/null
echo "stopped the container with that address: $(docker inspect --format '{{.Name}} is {{.State.Status}}' "$victim")"
finish "$disturbed"
attempts "$task" | tee "$work/attempts"
grep -q "^0 FAILED $address " "$work/attempts" || die "the shard was done before its worker was stopped: no proof; run this again"
grep -q "^[1-9].* FINISHED " "$work/attempts" || die "Ray tells of no second attempt that finished"
report "$disturbed"

say "the same job, undisturbed"
docker start "$victim" >/dev/null
healthy >/dev/null
undisturbed=$(submit undisturbed <"$work/job.yaml")
finish "$undisturbed"
digests disturbed >"$work/a"
digests undisturbed >"$work/b"
[ "$(wc -l <"$work/a")" -ge 3 ] || die "there are hardly any files"
diff "$work/a" "$work/b" || die "the bytes differ"
echo "equal: $(wc -l <"$work/a") files of data, ledger and signals, sha256 of all sums $(sha256sum <"$work/a" | cut -c-16)"
compose exec -T head crawlmill verify /data/disturbed

say "down and up"
compose down 2>&1 | tail -n 3
compose up -d 2>&1 | tail -n 3
healthy
crawlmill jobs --json </dev/null >"$work/jobs.json"
python3 - "$work/jobs.json" "$quickstart" "$disturbed" "$undisturbed" <<'P'
import json, sys
states = {job["id"]: job["state"] for job in json.load(open(sys.argv[1]))}
assert {states.get(each) for each in sys.argv[2:]} == {"complete"}, states
print("jobs:", states)
P
for id in "$quickstart" "$disturbed" "$undisturbed"; do report "$id"; done

say "down and up while a job runs"
interrupted=$(submit interrupted <"$work/job.yaml")
holder
until get "/api/v1/jobs/$interrupted" | python3 -c '
import json, sys
sys.exit(not (json.load(sys.stdin).get("progress") or {}).get("shards_done"))'; do
  [ $SECONDS -lt $((over * 4)) ] || die "no shard of $interrupted gets done"
  sleep 1
done
compose down 2>&1 | tail -n 1
compose up -d 2>&1 | tail -n 1
healthy >/dev/null
finish "$interrupted"
digests interrupted | diff - "$work/b" || die "the bytes differ"
echo "equal again"

say "passed"
