#!/usr/bin/env bash
#SBATCH --job-name=metasweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#
# A Ray cluster inside one Slurm allocation, for as long as a sweep takes.
#
#   sbatch deploy/slurm.sh quickstart --home /shared/runs
#
# What follows the script are the arguments of `orchestrate sweep`; they need a --home that every node can see. GPUs:
# sbatch --gpus-per-node=4 deploy/slurm.sh … The same command again goes on with what a time limit cut off.
#
# METASWEEP_VENV: folder of the virtual environment, the same on every node; .venv where left out.
set -euo pipefail

venv=${METASWEEP_VENV:-$PWD/.venv}
if [ "$#" -eq 0 ]; then
  echo "slurm.sh: no sweep given; say: sbatch deploy/slurm.sh SPEC --home FOLDER" >&2
  exit 2
fi
if [ -z "${SLURM_JOB_ID:-}" ]; then
  echo "slurm.sh: this is no Slurm job; say: sbatch deploy/slurm.sh $*" >&2
  exit 2
fi
if [ ! -x "$venv/bin/orchestrate" ]; then
  echo "slurm.sh: no $venv/bin/orchestrate; run \`make setup\` here, or set METASWEEP_VENV" >&2
  exit 2
fi
export PATH="$venv/bin:$PATH"
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token

# Other users of these nodes reach their ports: a token that only this job can read keeps them out.
secrets=$(mktemp -d "${METASWEEP_SECRETS:-$HOME}/.metasweep-slurm-$SLURM_JOB_ID.XXXXXX")
export RAY_AUTH_TOKEN_PATH="$secrets/token"
(umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$RAY_AUTH_TOKEN_PATH")

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
# Some clusters give two addresses, and a line for each family; Ray wants one.
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | tr ' ' '\n' | grep -m1 -v ':')
# From the job's number, so that two jobs on one node do not meet.
port=$((20000 + SLURM_JOB_ID % 10000))
cpus=${SLURM_CPUS_PER_TASK:-$(nproc)}
scratch=/tmp/ray-$SLURM_JOB_ID  # short: Ray makes sockets below it

parts=()
# shellcheck disable=SC2329  # by the trap
stop() {
  trap - EXIT
  if [ -n "${sweep:-}" ]; then  # its trials save what they have, and need the cluster for that
    kill -TERM "$sweep" 2> /dev/null || true
    wait "$sweep" || true
  fi
  for part in "${parts[@]}"; do
    kill -TERM "$part" 2> /dev/null || true
  done
  wait
  rm -rf "$secrets" "$scratch"
}
trap stop EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

on_node() {  # on_node NAME COMMAND...: becomes that; to be called in the background
  local node=$1
  shift
  exec srun --nodes=1 --ntasks=1 --nodelist="$node" --cpus-per-task="$cpus" --overlap "$@"
}

# Ray gives its own processes thirty seconds, which a busy node may not do in: all are started up to three times.
log=$secrets/head.log
tries=3
start_head() {
  on_node "$head" ray start --head --block --node-ip-address="$address" --port="$port" --num-cpus="$cpus" \
    --temp-dir="$scratch" --include-dashboard=false --disable-usage-stats >> "$log" 2>&1 &
  parts+=("$!")
}
start_head
until grep -q "Ray runtime started" "$log"; do
  if ! kill -0 "${parts[-1]}" 2> /dev/null; then
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
      echo "slurm.sh: Ray's head on $head does not come up: $(tail -n 1 "$log")" >&2
      exit 3
    fi
    start_head
  fi
  sleep 1
done

join() {  # join NODE: has it in the cluster for as long as the job
  local log=$secrets/$1.log started=
  trap 'kill -TERM "$started" 2> /dev/null; wait; exit' TERM
  for _ in 1 2 3; do
    on_node "$1" ray start --block --address="$address:$port" --num-cpus="$cpus" --temp-dir="$scratch" \
      --disable-usage-stats > "$log" 2>&1 &
    started=$!
    if wait "$started"; then return; fi
  done
  echo "slurm.sh: $1 does not join the cluster: $(tail -n 1 "$log")" >&2
}
for node in "${nodes[@]:1}"; do
  join "$node" &
  parts+=("$!")
done

# Late nodes take work when they come. In the background, since bash hears signals only then.
orchestrate sweep "$@" --address "$address:$port" &
sweep=$!
status=0
wait "$sweep" || status=$?
sweep=
exit "$status"
