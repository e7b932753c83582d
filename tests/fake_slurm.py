"""Stand-ins of SLURM's commands on one machine: what of them scripts of the documentation rely on, and no more."""

import os
import re
import subprocess
import sys

#: Options that batch scripts may have, by the variables that SLURM sets for them.
OPTIONS = {
    "job-name": "SLURM_JOB_NAME",
    "nodes": "SLURM_NNODES",
    "ntasks": "SLURM_NTASKS",
    "ntasks-per-node": "SLURM_NTASKS_PER_NODE",
    "cpus-per-task": "SLURM_CPUS_PER_TASK",
    "time": None,
    "signal": None,
    "array": None,
}

#: Starts a command once on each node, or as so many tasks of MPI. At the time limit, which the first job of a
#: chain meets once a file has so many lines, all processes get SIGTERM, twice: from the scheduler, and passed on.
SRUN = r"""#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
if [ "$(basename "$1")" = lmp ]; then
    tasks=$SLURM_NTASKS
    unset "${!SLURM_@}"  # or else it asks SLURM
    exec mpiexec.hydra -n "$tasks" "$@"
fi
set -m
pids=()
for ((node = 0; node < ${SLURM_NNODES:-1}; node++)); do SLURM_NODEID=$node "$@" & pids+=($!); done
if [ -n "$FAKE_LIMIT" ] && [ "$SLURM_ARRAY_TASK_ID" = 1 ]; then
    until [ "$(cat "$FAKE_LIMIT" 2> /dev/null | wc -l)" -gt 20 ]; do
        if [ -z "$(jobs -r)" ]; then break; fi
        sleep 0.05
    done
    for pid in "${pids[@]}"; do kill -TERM -- "-$pid"; done
    sleep 0.005
    for pid in "${pids[@]}"; do kill -TERM -- "-$pid"; done
fi
worst=0
for pid in "${pids[@]}"; do
    wait "$pid"
    status=$?
    if [ "$status" -gt "$worst" ]; then worst=$status; fi
done
exit "$worst"
"""

SCONTROL = '#!/bin/bash\n[ "$1 $2" = "show hostnames" ] && echo "$3" | tr , "\\n"\n'


def install(folder):
    """Put the commands that scripts call into a folder, and beside them those of this Python."""
    folder.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    modules = {"halocline": "halocline", "torchrun": "torch.distributed.run"}
    for name, module in modules.items():
        (folder / name).write_text(f'#!/bin/bash\nexec "{sys.executable}" -m {module} "$@"\n')
        (folder / name).chmod(0o755)


def sbatch(script, commands, folder, job, **variables):
    """Run a batch script in a folder, as each job of its array; their finished processes."""
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", script, flags=re.MULTILINE))
    assert len(asked) == script.count("#SBATCH"), "an option is not of the form --name=value"
    told = {OPTIONS[name]: value for name, value in asked.items() if OPTIONS[name]}
    nodes = ",".join(["127.0.0.1"] * int(asked.get("nodes", "1")))
    first, last = re.match(r"(\d+)-(\d+)", asked["array"]).groups()
    (folder / "script.sh").write_text(script)
    subprocess.run(["bash", "-n", "script.sh"], cwd=folder, check=True)
    done = []
    for index in range(int(first), int(last) + 1):
        environment = os.environ | told | variables
        environment |= {
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "SLURM_ARRAY_TASK_ID": str(index),
            "SLURM_ARRAY_TASK_COUNT": str(int(last) - int(first) + 1),
            "SLURM_JOB_ID": str(job + index),
            "SLURM_JOB_NODELIST": nodes,
        }
        done.append(
            subprocess.run(
                ["bash", "script.sh"],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
        )
    return done
