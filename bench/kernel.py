"""What the kernel says about a process tree: control groups, memory maps, scheduler counters.

A `Group` holds one server and all its children, also those that left before anyone looked: CPU
time and peak memory come from there. It lives below the caller's own group (cgroup v1 per
controller, or v2); where a controller cannot be had, its number is None and the benchmark says so.

Memory is `Pss_Anon + Pss_Shmem` of `smaps_rollup`: what no other pod can share and what does not
depend on the rest of the machine. Plain PSS shrinks as soon as another Python maps libpython.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MOUNT: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 100_000
NS_PER_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
CONTROLLERS: Final = ("cpuacct", "memory", "cpu")


def _own_groups() -> dict[str, Path]:
    """Controller → directory of our own group; key "" is the v2 hierarchy."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names:
            found |= {name: MOUNT / name / path.lstrip("/") for name in names.split(",")}
        else:
            root = MOUNT if (MOUNT / "cgroup.controllers").exists() else MOUNT / "unified"
            found[""] = root / path.lstrip("/")
    return found


def _read_int(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


@dataclass
class Group:
    """The control groups of one server; make one for each start, and remove it."""

    name: str
    directories: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = _own_groups()
        for controller in (*CONTROLLERS, ""):
            parent = own.get(controller)
            if parent is None or not (parent / "cgroup.procs").exists():
                continue
            if not controller:  # v2: a group that holds processes may refuse; then we go without
                with suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text("+cpu +memory")
            with suppress(OSError):
                (parent / self.name).mkdir(exist_ok=True)
                self.directories[controller] = parent / self.name

    def join(self) -> None:
        """Move the calling process in; between fork and exec."""
        for directory in self.directories.values():
            with suppress(OSError):
                (directory / "cgroup.procs").write_text(str(os.getpid()))

    def _file(self, controller: str, v1: str, v2: str) -> Path | None:
        for key, name in ((controller, v1), ("", v2)):
            if key in self.directories and (self.directories[key] / name).exists():
                return self.directories[key] / name
        return None

    def cpu_ns(self) -> int | None:
        """User and system time of everything that ever ran in here."""
        file = self._file("cpuacct", "cpuacct.usage", "cpu.stat")
        if file is None:
            return None
        if file.name == "cpuacct.usage":
            return _read_int(file)
        usage = dict(line.split() for line in file.read_text().splitlines())
        return int(usage["usage_usec"]) * 1000 if "usage_usec" in usage else None

    def peak_bytes(self) -> int | None:
        """Highest memory charged so far, page cache and kernel memory of its own included."""
        file = self._file("memory", "memory.max_usage_in_bytes", "memory.peak")
        return _read_int(file) if file else None

    def limit_cpu(self, quota_us: int | None) -> bool:
        """CPU time per 100 ms for the whole tree; None lifts it. False: this machine has no quota."""
        file = self._file("cpu", "cpu.cfs_quota_us", "cpu.max")
        if file is None:
            return False
        try:
            if file.name == "cpu.max":
                file.write_text(f"{quota_us or 'max'} {PERIOD_US}")
            else:
                (file.parent / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                file.write_text(str(quota_us or -1))
        except OSError:
            return False
        return True

    def pids(self) -> set[int]:
        found: set[int] = set()
        for directory in self.directories.values():
            with suppress(OSError):
                found |= {int(pid) for pid in (directory / "cgroup.procs").read_text().split()}
        return found

    def remove(self) -> None:
        """Kill what is left inside, then delete the group."""
        for directory in self.directories.values():
            for _ in range(200):
                for pid in self.pids():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                try:
                    directory.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.01)
                    continue
                break


def tree(root: int) -> set[int]:
    """`root` and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, queue = set[int](), [root]
    while queue:
        pid = queue.pop()
        found.add(pid)
        queue += children.get(pid, [])
    return found


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of a process tree."""

    anon: int
    """Pss_Anon + Pss_Shmem: the number to gate on."""
    alone: int
    """anon + every file page once: the most a pod alone on its node would hold."""
    pss: int
    processes: int


def memory(root: int) -> Memory:
    """What the tree holds now; a child that has ended holds nothing. Raises OSError where the root has ended."""
    anon = pss = 0
    files: dict[tuple[str, ...], int] = {}
    pids = tree(root)
    for pid in pids:
        try:
            rollup = _fields(Path(f"/proc/{pid}/smaps_rollup").read_text())
            smaps = Path(f"/proc/{pid}/smaps").read_text()
        except (FileNotFoundError, ProcessLookupError):
            if pid == root:
                raise
            continue
        anon += rollup["Pss_Anon"] + rollup["Pss_Shmem"]
        pss += rollup["Pss"]
        for key, resident in _file_pages(smaps):
            files[key] = max(files.get(key, 0), resident)
    return Memory(anon=anon, alone=anon + sum(files.values()), pss=pss, processes=len(pids))


def _fields(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines())
    return {row[0][:-1]: int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == "kB"}


def _file_pages(smaps: str) -> list[tuple[tuple[str, ...], int]]:
    """(device, inode, offset) of each mapped file and its resident pages that are still the file's.

    Processes of one tree map a file at the same offsets, so the larger count stands for the union.
    """
    found: list[tuple[tuple[str, ...], int]] = []
    key: tuple[str, ...] | None = None
    resident = 0
    for line in smaps.splitlines():
        row = line.split()
        if "-" in row[0] and not row[0].endswith(":"):
            key = (row[3], row[4], row[2]) if row[4] != "0" else None
        elif key and row[0] == "Rss:":
            resident = int(row[1]) * 1024
        elif key and row[0] == "Anonymous:":
            found.append((key, resident - int(row[1]) * 1024))
    return found


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Scheduler counters over all threads of a tree, since each thread began."""

    switches: int
    cpu_ns: int
    """Run time; that of children already waited for comes in ticks of 10 ms."""


def activity(root: int) -> Activity:
    """Context switches (voluntary and not) and run time of every living thread."""
    switches = cpu = 0
    for pid in tree(root):
        with suppress(OSError):
            reaped = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]
            cpu += sum(map(int, reaped)) * NS_PER_TICK
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for line in (task / "status").read_text().splitlines():
                    if "ctxt_switches" in line:
                        switches += int(line.split()[1])
                cpu += int((task / "schedstat").read_text().split()[0])
    return Activity(switches=switches, cpu_ns=cpu)
