#!/bin/sh
# The batch scripts of fixtures/slurm under a real scheduler: slurmctld and slurmd of this machine alone, on the loopback interface, by a
# configuration written here. Each job is queued again once it is at work, and has to end with the bytes of a run nobody disturbed.
#   tests/slurm.sh BUILD      BUILD: the folder with the program
set -eu
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
home=$(mktemp -d "${TMPDIR:-/tmp}/deltascope-slurm.XXXXXX")
stop_daemons() {
    for daemon in slurmd slurmctld munged; do
        [ -s "$home/run/$daemon.pid" ] && kill "$(cat "$home/run/$daemon.pid")" 2>/dev/null || true
    done
}
leave() {
    stop_daemons
    for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$home" 2>/dev/null && break; sleep 0.5; done
}
trap leave EXIT
trap 'exit 130' INT TERM
skip() { echo "slurm: nothing is run under a scheduler here: $1" >&2; exit 0; }
fail() { echo "slurm: $1" >&2; for log in "$home"/*.log; do tail -n 20 "$log" >&2; done; exit 1; }
for program in munged slurmctld slurmd sbatch mpirun; do
    command -v $program >/dev/null || [ -x /usr/sbin/$program ] || skip "there is no $program"
done
[ -f "$build/deltascope-mpi.so" ] || skip "the program was built without MPI"
PATH=$PATH:/usr/sbin:/sbin

# ---- the scheduler ----
chmod 755 "$home"
mkdir "$home/run" "$home/state" "$home/spool"
chmod 755 "$home/run"
(umask 077; head -c 1024 /dev/urandom >"$home/key")
port=$((20000 + $$ % 20000))
user=$(id -un)
export SLURM_CONF="$home/slurm.conf"
cat >"$SLURM_CONF" <<CONF
ClusterName=deltascope
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$home/run/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmctldPidFile=$home/run/slurmctld.pid
SlurmdPidFile=$home/run/slurmd.pid
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
ReturnToService=2
MpiDefault=none
KillWait=5
MinJobAge=3600
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=UNLIMITED State=UP OverSubscribe=FORCE:4
CONF
munged --force --key-file="$home/key" --socket="$home/run/munge.socket" --pid-file="$home/run/munged.pid" \
    --log-file="$home/munged.log" --seed-file="$home/seed" >"$home/start.log" 2>&1 || skip "munged: $(tail -n 1 "$home/start.log")"
slurmctld -f "$SLURM_CONF" >"$home/start.log" 2>&1 || skip "slurmctld: $(tail -n 1 "$home/start.log")"
slurmd -N localhost -f "$SLURM_CONF" >"$home/start.log" 2>&1 || skip "slurmd: $(tail -n 1 "$home/start.log")"
for i in $(seq 60); do
    [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && break
    [ "$i" = 60 ] && skip "no node is idle after 30 seconds: $(tail -n 1 "$home/slurmd.log")"
    sleep 0.5
done

# ---- the jobs ----
state() { scontrol show job "$1" -o | tr ' ' '\n' | sed -n 's/^JobState=//p' | sort -u; }
restarts() { scontrol show job "$1" -o | tr ' ' '\n' | sed -n 's/^Restarts=//p' | head -n 1; }
wait_for() { # JOB STATE SECONDS
    for i in $(seq $((10 * $3))); do
        now=$(state "$1")
        [ "$now" = "$2" ] && return 0
        case $now in *FAILED* | *TIMEOUT* | *NODE_FAIL*) fail "job $1 is $now: $(cat "$home"/job-* 2>/dev/null)" ;; esac
        sleep 0.1
    done
    fail "job $1 is $(state "$1") after $3 seconds, not $2"
}
export DELTASCOPE="$build/deltascope" TOKENS="$PWD/fixtures/data/val.bin"
# mpirun as root wants its own consent; more ranks than processors
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_btl=self,vader
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_plm=isolated OMPI_MCA_ras=^slurm PMIX_MCA_gds=hash

# Queues it again as soon as `path` is there, and waits for its end.
disturb() { # JOB PATH
    for i in $(seq 600); do
        [ -e "$2" ] && break
        sleep 0.05
    done
    if [ "$(state "$1")" = RUNNING ]; then scontrol requeue "$1"; fi
    for i in $(seq 150); do
        case $(state "$1") in *PENDING*) scontrol release "$1" 2>/dev/null || true; break ;; *COMPLETED*) break ;; esac
        sleep 0.1
    done
    scontrol update JobId="$1" StartTime=now 2>/dev/null || true
    wait_for "$1" COMPLETED 600
    echo "  job $1 was queued again $(restarts "$1") time(s)"
}
same() { diff -r "$1" "$2" >"$home/difference" || fail "$(head -n 5 "$home/difference")"; }
submit() { sbatch --parsable --output="$home/job-%A_%a" --export=ALL "$@"; }

echo "a report of one checkpoint, by two ranks"
export OPTIONS="--sequences 8 --seq-len 64 --skip verify,jacobians" CHECKPOINT="$PWD/fixtures/models/ddl-cc-ec" OUT="$home/report"
"$DELTASCOPE" report --tokens "$TOKENS" --out "$home/undisturbed" --quiet $OPTIONS "$CHECKPOINT"
disturb "$(submit fixtures/slurm/audit.sbatch)" "$OUT/results/gates.json"
same "$home/undisturbed" "$OUT"

echo "an array, a checkpoint each"
export LIST="$home/list" OUT="$home/array"
printf '%s\n' "$PWD/fixtures/models/scalar-safetensors" "$PWD/fixtures/models/additive-small" >"$LIST"
mkdir "$OUT"
wait_for "$(submit fixtures/slurm/checkpoints.sbatch)" COMPLETED 300
for task in 1 2; do
    "$DELTASCOPE" report --tokens "$TOKENS" --out "$home/alone-$task" --quiet $OPTIONS "$(sed -n "${task}p" "$LIST")"
    same "$home/alone-$task" "$OUT/$task"
done

echo "a study, its runs shared by two ranks"
export PLAN="$home/plan.json" OUT="$home/study"
cat >"$PLAN" <<PLAN
{"name": "queued again", "variants": {
  "additive": {"config": "$PWD/fixtures/plans/demo-config.json", "variant": "additive"},
  "ddl-scalar": {"config": "$PWD/fixtures/plans/demo-config.json", "variant": "ddl-scalar"}},
 "seeds": [1, 2, 3],
 "recipe": {"rule": "delta", "seq_len": 32, "batch": 8, "accumulation": 1, "steps": 60, "order": "splitmix64", "data_seed": 7,
  "learning_rate": 0.003, "min_learning_rate": 0.0003, "warmup_steps": 6, "decay_steps": 60, "warmup": "t/w", "beta1": 0.9,
  "beta2": 0.95, "eps": 1e-08, "weight_decay": 0.1, "decay": "rank2", "clip": 1.0, "hidden_lr_multiplier": 1.0,
  "embedding_lr_multiplier": 1.0, "val_windows": 1},
 "data": {"train": "$PWD/fixtures/training/train-tokens.bin", "val": "$PWD/fixtures/training/val-tokens.bin"},
 "contrasts": [["ddl-scalar", "additive"]], "evaluations": 4, "saves": 6}
PLAN
job=$(submit fixtures/slurm/study.sbatch)
for i in $(seq 1200); do
    [ -n "$(find "$OUT" -name DONE 2>/dev/null | head -n 1)" ] && break
    sleep 0.1
done
disturb "$job" "$OUT"
"$DELTASCOPE" study --out "$home/study-alone" --quiet "$PLAN"
for run in $(cd "$home/study-alone" && find . -name windows.f32); do
    cmp "$home/study-alone/$run" "$OUT/$run" || fail "$run differs"
done
[ -s "$OUT/report.html" ] || fail "the study has no page"
echo "slurm: three kinds of jobs, queued again half way, end with the bytes of undisturbed runs"
