"""What this process holds in memory, as the kernel counts it (Linux)."""

from pathlib import Path

NOW, HIGHEST = "VmRSS", "VmHWM"


def resident(which: str = NOW) -> int:
    """Return the resident memory of this process in bytes: now, or the highest since the process began.

    Unlike `getrusage`, whose maximum a new process inherits from the one that started it, the kernel's high-water mark
    is this process's own. Mapped files that were read count too.
    """
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(which):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {which}")
