#!/bin/bash
# The profile beside this file, tried on a cluster of this one machine: profiles/slurm/one_node.sh [SNAKEMAKE ARGUMENT]...
# By default the whole graph in profile smoke. Needs root, the environment (make env), and Debian's Slurm:
#   apt-get install --no-install-recommends slurm-wlm munge
# Daemons listen on the loopback alone, and end with this script, as do their files. The configuration lies where Slurm
# looks for it, for a job's own srun is told of no other place.
# The node claims what the profile asks for (a GPU, 8 cores, 64 GB), whatever the machine has.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-$PWD/.venv/bin/python}
[ $# -gt 0 ] || set -- --config profile=smoke
conf=/etc/slurm
for file in slurm.conf gres.conf; do
    [ ! -e "$conf/$file" ] || { echo "error: $conf/$file is there: this machine is of a cluster" >&2; exit 1; }
done
work=$(mktemp -d)
end() {
    for daemon in slurmd slurmctld munged; do
        [ -f "$work/$daemon.pid" ] && kill "$(cat "$work/$daemon.pid")" 2>/dev/null || true
    done
    sleep 1
    rm -rf "$work" "$conf/slurm.conf" "$conf/gres.conf"
}
trap end EXIT

"$python" -m uv pip install --quiet --python "$python" --constraint constraints.txt --target "$work/site" --no-deps \
    snakemake-executor-plugin-slurm snakemake-executor-plugin-slurm-jobstep throttler
export PYTHONPATH=$PWD:$work/site

chmod 755 "$work"
mkdir -m 700 "$work/munge"
dd if=/dev/urandom of="$work/munge/key" bs=128 count=1 status=none
chmod 600 "$work/munge/key"
munged --force --key-file "$work/munge/key" --socket "$work/munge.socket" --pid-file "$work/munged.pid" \
    --log-file "$work/munge/log" --seed-file "$work/munge/seed"

cat > "$conf/slurm.conf" <<EOF
ClusterName=one
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
SlurmdParameters=config_overrides
MpiDefault=none
GresTypes=gpu
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=8 RealMemory=65536 Gres=gpu:1
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE
EOF
echo "Name=gpu File=/dev/null" > "$conf/gres.conf"
mkdir "$work/state" "$work/spool"
slurmctld
slurmd
for _ in $(seq 20); do
    [ "$(sinfo --noheader --format %T 2>/dev/null)" = idle ] && break
    sleep 1
done
sinfo
[ "$(sinfo --noheader --format %T)" = idle ] || { tail -n 20 "$work"/slurm*.log; exit 1; }

# Without accounting, as here, only squeue knows how a job ended.
"$python" -m snakemake --profile profiles/slurm --slurm-status-command squeue --slurm-init-seconds-before-status-checks 5 \
    --latency-wait 5 "$@" || { tail -n 20 "$work"/slurm*.log; exit 1; }
