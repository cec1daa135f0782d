"""Child processes, locks and signals: the one module that knows POSIX and Windows. Knows nothing of what a child does.

A child is started in a session (Windows: process group) of its own with its output in a file, so it outlives this
process and Ctrl-C in the terminal does not reach it. Its pid and start time together recognise it later.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from anime_ai.errors import AnimeAIError, StorageError

WINDOWS = sys.platform == "win32"
APART = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""How Windows starts a child that outlives this program: with this one's console it would end where that is closed."""


class HeldError(StorageError):
    """Another process holds the lock."""


@dataclass(frozen=True)
class Process:
    """A process, told apart from a later one with the same pid by its start time.

    `started` is in seconds and only to be compared: on Linux since the machine's start, which a change of the clock
    does not move, elsewhere since 1970.
    """

    pid: int
    started: float


_children: dict[Process, subprocess.Popen[bytes]] = {}
_children_lock = threading.Lock()


def start(arguments: list[str], log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Process:
    """Start a program (never a shell) whose output is appended to the file `log`.

    `env` is added to this process's own variables; Python children write UTF-8 whatever the locale. Raises AnimeAIError
    when the program cannot be started, StorageError when the log cannot be written.
    """
    _reap()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = open(log, "ab")
    except OSError as error:
        raise StorageError("storage.write", path=log, why=error.strerror or error) from error
    with output:
        try:
            child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**os.environ, "PYTHONUTF8": "1", **(env or {})},
                start_new_session=not WINDOWS,
                creationflags=APART,
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise AnimeAIError("process.start", program=arguments[0], why=why) from error
    # A child that has ended already is still a zombie, because only `_reap` waits for it: its start time is readable.
    process = Process(child.pid, _look(child.pid)[0] or time.time())
    with _children_lock:
        _children[process] = child
    return process


def start_module(module: str, arguments: list[str], log: Path, env: Mapping[str, str] | None = None) -> Process:
    """Start a module of this program in a Python of its own, from whatever folder; see `start`."""
    root = str(Path(__file__).resolve().parents[1])
    paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH", "")) if path)
    return start([sys.executable, "-m", module, *arguments], log, env={"PYTHONPATH": paths, **(env or {})})


def current() -> Process:
    """This process."""
    return Process(os.getpid(), _look(os.getpid())[0] or time.time())


def is_alive(process: Process) -> bool:
    """Whether this very process is still running; one that ended and was not waited for counts as dead."""
    _reap()
    if process in _children:
        return True
    started, ended = _look(process.pid)
    return started == process.started and not ended


def kill_tree(process: Process, grace_s: float = 5.0) -> None:
    """End a process and everything it started: ask it, wait up to `grace_s` seconds, then kill what is left.

    Also ends what a dead process of `start` left behind. Does nothing to another process that has its pid by now.
    """
    family = _family(process)
    if is_alive(process):
        _ask(process.pid)
        _wait([member for member in family if member.pid == process.pid], grace_s)
    for _ in range(3):  # what was killed may have started something meanwhile
        left = [member for member in {*family, *_family(process)} if _runs(member)]
        if not left:
            break
        for member in left:
            with suppress(psutil.Error):
                member.kill()
        _wait(left, 2.0)
    _reap()


def ignore_interrupts() -> None:
    """Let Ctrl-C in the terminal pass this process by: for a child that shares the terminal with its parent."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def lower_priority() -> None:
    """Let the page and the rest of the machine go first. Calling it again changes nothing."""
    with suppress(psutil.Error, OSError):
        psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 10))


class Lock:
    """A lock between processes: a file that the operating system frees when its holder ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path, thread_local=False)

    def try_acquire(self) -> bool:
        """Whether this object holds the lock now. Never waits. Raises StorageError when the file cannot be made."""
        if self._lock.is_locked:
            return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            raise StorageError("storage.write", path=self.path, why=error.strerror or error) from error
        return True

    def release(self) -> None:
        """Free the lock. Releasing a lock that is not held does no harm."""
        self._lock.release(force=True)


@contextmanager
def hold(path: Path) -> Iterator[Lock]:
    """Hold the lock at `path` for the block. Raises HeldError at once when another one holds it."""
    lock = Lock(path)
    if not lock.try_acquire():
        raise HeldError("process.held", path=path)
    try:
        yield lock
    finally:
        lock.release()


def usable_cpus() -> int:
    """Processors that this process may use: its affinity and its control group's quota, at least 1."""
    count: float = os.cpu_count() or 1
    with suppress(AttributeError, OSError, psutil.Error):
        count = len(psutil.Process().cpu_affinity() or []) or count
    return max(1, int(min([count, *_quotas(Path("/"))])))


def peak_memory() -> int:
    """The most bytes that this process has held in memory so far, with the pages that it read of mapped files (weights,
    libraries): the system may drop those, but what computes with them crawls then."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # bytes there, KiB elsewhere


def give_back_memory() -> None:
    """Give the system the pages of what was freed, where the heap keeps them: glibc's does between what is in use."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def usable_memory() -> int:
    """Bytes of main memory that this process may use: the machine's, or its control group's limit if less."""
    return min([psutil.virtual_memory().total, *_memory_limits(Path("/"))])


def free_memory() -> int:
    """Bytes of main memory that this process could still take; what holds copies of files counts as free."""
    limits = _memory_limits(Path("/"))
    held = [anonymous for folder in _control_group("memory", Path("/")) for anonymous in _anonymous(folder)]
    left = [min(limits) - max(held)] if limits and held else []
    return max(0, min([psutil.virtual_memory().available, *left]))


def _reap() -> None:
    """Wait for own children that have ended, so that no zombie stays."""
    with _children_lock:
        for process in [process for process, child in _children.items() if child.poll() is not None]:
            del _children[process]


@atexit.register
def _let_go() -> None:
    """Children may outlive this process; Popen would warn about each of them."""
    for child in _children.values():
        child.returncode = child.poll() or 0


def _look(pid: int) -> tuple[float | None, bool]:
    """Start time of the process with this pid (None: there is none) and whether it has ended and is a zombie."""
    if sys.platform == "linux":
        # psutil adds the boot time, which moves with the clock; two readings of one process would differ.
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            return int(fields[19]) / os.sysconf("SC_CLK_TCK"), fields[0] in (b"Z", b"X", b"x")
        except (OSError, IndexError, ValueError):
            return None, True
    try:
        found = psutil.Process(pid)
        return found.create_time(), found.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.AccessDenied:
        return None, False
    except psutil.Error:
        return None, True


def _ask(pid: int) -> None:
    with suppress(OSError):
        os.kill(pid, getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))


def _runs(member: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return member.is_running() and member.status() != psutil.STATUS_ZOMBIE
    return False


def _wait(members: list[psutil.Process], seconds: float) -> None:
    """Wait until all of `members` have ended. Not by psutil, which would take a child's exit status from its Popen."""
    end = time.monotonic() + seconds
    while any(_runs(member) for member in members) and time.monotonic() < end:
        _reap()
        time.sleep(0.02)


def _family(process: Process) -> set[psutil.Process]:
    """The process, its descendants and its group, as far as they run; never this process itself."""
    started, _ = _look(process.pid)
    if started is not None and started != process.started:
        return set()
    members: set[psutil.Process] = set()
    with suppress(psutil.Error):
        leader = psutil.Process(process.pid)
        members.update([leader, *leader.children(recursive=True)])
    if not WINDOWS and process.pid != os.getpgrp():
        for other in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                # What is older than the leader is in another group that has the number by now.
                if os.getpgid(other.pid) == process.pid and (_look(other.pid)[0] or 0) >= process.started:
                    members.add(other)
    return {member for member in members if member.pid != os.getpid()}


def _control_group(controller: str, system: Path) -> list[Path]:
    """The folders of this process's control group and of those above it, of version 2 and of version 1.

    In a container the path may be the host's, of which only the mount itself is seen: it comes first.
    """
    try:
        lines = (system / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    folders: list[Path] = []
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mount = system / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            mount = system / "sys/fs/cgroup" / controller
        else:
            continue
        inside = [part for part in path.split("/") if part not in ("", "..")]
        folders += [mount.joinpath(*inside[:depth]) for depth in range(len(inside) + 1)]
    return folders


def _numbers(file: Path) -> list[float]:
    """The numbers of a control group's file; "max" is none."""
    try:
        return [float(word) for word in file.read_text(encoding="utf-8").split() if word != "max"]
    except (OSError, ValueError):
        return []


def _quotas(system: Path) -> list[float]:
    found: list[float] = []
    for folder in _control_group("cpu", system):
        pair = _numbers(folder / "cpu.max")
        if not pair:
            pair = _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        if len(pair) == 2 and pair[0] > 0 and pair[1] > 0:
            found.append(pair[0] / pair[1])
    return found


def _memory_limits(system: Path) -> list[int]:
    found: list[int] = []
    for folder in _control_group("memory", system):
        for name in ("memory.max", "memory.limit_in_bytes"):
            found += [int(limit) for limit in _numbers(folder / name) if limit > 0]
    return found


def _anonymous(folder: Path) -> list[int]:
    """Bytes of a control group that belong to no file."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    words = [line.split() for line in lines]
    return [int(pair[1]) for pair in words if len(pair) == 2 and pair[0] in ("anon", "total_rss") and pair[1].isdigit()]
