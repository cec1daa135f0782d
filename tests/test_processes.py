"""Child processes, locks and limits, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from anime_ai import processes
from anime_ai.errors import AnimeAIError, StorageError
from anime_ai.processes import HeldError, Lock, Process, current, hold, is_alive, kill_tree, start

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "日志 folder" / "train.log"


@pytest.fixture
def run(log: Path) -> Iterator[Callable[..., Process]]:
    """Starts Python code in a child process; whatever is left is killed at the end."""
    started: list[Process] = []

    def run_code(code: str, **named: object) -> Process:
        started.append(start([sys.executable, "-u", "-c", code], log, **named))  # type: ignore[arg-type]
        return started[-1]

    yield run_code
    for process in started:
        kill_tree(process, grace_s=0)


def said(log: Path) -> str:
    return log.read_text(encoding="utf-8") if log.exists() else ""


def test_output_is_appended_to_the_log_and_input_is_empty(run: Callable[..., Process], log: Path) -> None:
    for _ in range(2):
        process = run("import sys; print('出', repr(sys.stdin.read())); print('错', file=sys.stderr)")
        wait_for(lambda process=process: not is_alive(process))
    assert said(log).splitlines() == ["出 ''", "错"] * 2


def test_variables_are_added_and_the_folder_is_set(
    run: Callable[..., Process], log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_PARENT", "有")
    monkeypatch.setenv("PYTHONUTF8", "0")
    code = "import os, sys; print(os.environ['FROM_PARENT'], os.environ['ADDED'], sys.flags.utf8_mode, os.getcwd())"
    process = run(code, env={"ADDED": "新"}, cwd=tmp_path)
    wait_for(lambda: not is_alive(process))
    assert said(log).strip() == f"有 新 1 {tmp_path.resolve()}"


def test_arguments_never_meet_a_shell(log: Path, tmp_path: Path) -> None:
    nasty = "$(touch pwned); `touch pwned` && touch pwned | > pwned"
    process = start([sys.executable, "-c", "import sys; print(sys.argv[1])", nasty], log, cwd=tmp_path)
    wait_for(lambda: not is_alive(process))
    assert said(log).strip() == nasty
    assert not (tmp_path / "pwned").exists()


def test_what_cannot_start_says_so(log: Path, tmp_path: Path) -> None:
    for arguments in (["/no/such/program"], [str(tmp_path)], [sys.executable, "nul\0"]):
        with pytest.raises(AnimeAIError) as failed:
            start(arguments, log)
        assert failed.value.key == "process.start"
    with pytest.raises(StorageError, match="storage.write|无法写入|Cannot write"):
        start([sys.executable, "-c", ""], tmp_path)


def test_alive_until_it_ends(run: Callable[..., Process]) -> None:
    process = run("import time; time.sleep(60)")
    assert is_alive(process)
    assert is_alive(current())
    assert not is_alive(Process(process.pid, process.started - 1)), "an earlier process with the same pid"
    psutil.Process(process.pid).kill()
    wait_for(lambda: not is_alive(process))
    assert not psutil.pid_exists(process.pid), "a zombie stayed"


@posix
def test_a_zombie_of_another_parent_is_dead(run: Callable[..., Process], log: Path) -> None:
    run("import subprocess, sys, time; print(subprocess.Popen([sys.executable, '-c', '']).pid); time.sleep(60)")
    wait_for(lambda: said(log).strip())
    pid = int(said(log))
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    started, ended = processes._look(pid)
    assert ended
    assert started is not None
    assert not is_alive(Process(pid, started))


def test_start_time_is_the_same_from_every_process_and_reading(run: Callable[..., Process], log: Path) -> None:
    process = run(
        "from anime_ai.processes import current; print(current()); import time; time.sleep(60)",
        cwd=Path(processes.__file__).parent.parent,
    )
    wait_for(lambda: "\n" in said(log))
    assert said(log).strip() == str(process)


def test_start_time_does_not_move_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells a start time that does not depend on the clock")
    before = current()
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert is_alive(before)
    assert current() == before


def test_ended_children_leave_neither_zombies_nor_warnings(log: Path) -> None:
    import gc

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = [start([sys.executable, "-c", ""], log) for _ in range(3)]
        wait_for(lambda: not any(is_alive(process) for process in ended))
        gc.collect()
    assert not any(psutil.pid_exists(process.pid) for process in ended)
    assert not set(ended) & set(processes._children)


def test_child_outlives_its_parent_without_a_warning(log: Path, tmp_path: Path) -> None:
    parent = (
        "import sys; from pathlib import Path; from anime_ai.processes import start\n"
        f"child = start([sys.executable, '-c', 'import time; time.sleep(60)'], Path({str(log)!r}))\n"
        "print(child.pid, child.started)"
    )
    root = Path(processes.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", parent],
        cwd=root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stderr == ""
    pid, started = done.stdout.split()
    child = Process(int(pid), float(started))
    try:
        assert is_alive(child), "a later process recognises it"
    finally:
        kill_tree(child, grace_s=0)
    assert not is_alive(child)


@posix
def test_asked_first_so_that_it_can_save(run: Callable[..., Process], log: Path) -> None:
    process = run(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('saved'), sys.exit(0)))\n"
        "print('ready'); time.sleep(60)"
    )
    wait_for(lambda: "ready" in said(log))
    kill_tree(process, grace_s=30)
    assert not is_alive(process)
    assert said(log).split() == ["ready", "saved"]


# What three processes say into one log comes in whole lines only where each is one write.
FAMILY = (
    "import os, signal, subprocess, sys, time\n"
    "{deaf}\n"
    "sleep = 'import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);'\n"
    "sleep += 'os.write(1, b\\'deaf\\\\n\\'); time.sleep(60)'\n"
    "far = subprocess.Popen([sys.executable, '-u', '-c', sleep], start_new_session=True)\n"
    "near = subprocess.Popen([sys.executable, '-u', '-c', sleep])\n"
    "os.write(1, b'pids %d %d\\n' % (far.pid, near.pid)); time.sleep(60)"
)


@posix
def test_deaf_process_and_its_whole_family_are_killed(run: Callable[..., Process], log: Path) -> None:
    process = run(FAMILY.format(deaf="signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    wait_for(lambda: said(log).count("deaf\n") == 2 and "pids" in said(log))
    line = next(line for line in said(log).splitlines() if line.startswith("pids"))
    pids = [int(word) for word in line.split()[1:]]
    kill_tree(process, grace_s=0.2)
    assert not is_alive(process)
    for pid in pids:
        wait_for(lambda pid=pid: processes._look(pid)[1])


@posix
def test_group_of_a_dead_leader_is_killed(run: Callable[..., Process], log: Path) -> None:
    process = run(FAMILY.format(deaf=""))
    wait_for(lambda: said(log).count("deaf\n") == 2 and "pids" in said(log))
    line = next(line for line in said(log).splitlines() if line.startswith("pids"))
    far, near = (int(word) for word in line.split()[1:])
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(process))
    assert not processes._look(near)[1]
    kill_tree(process, grace_s=0)
    wait_for(lambda: processes._look(near)[1])
    os.kill(far, signal.SIGKILL)  # it had left the group, and nobody knows any more whose it was


def test_another_process_with_the_same_pid_is_left_alone(run: Callable[..., Process]) -> None:
    process = run("import time; time.sleep(60)")
    kill_tree(Process(process.pid, process.started - 100), grace_s=0)
    assert is_alive(process)


@posix
def test_a_process_does_not_kill_itself_with_its_family(run: Callable[..., Process], log: Path) -> None:
    process = run(
        "from anime_ai.processes import current, kill_tree\nimport subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "kill_tree(current(), grace_s=0); print('still here', child.wait())",
        cwd=Path(processes.__file__).parent.parent,
    )
    wait_for(lambda: not is_alive(process))
    assert said(log).strip() == f"still here -{signal.SIGKILL.value}"


@posix
def test_interrupt_on_the_terminal_reaches_only_the_parent(run: Callable[..., Process], log: Path) -> None:
    process = run(
        "import os, signal, time; from anime_ai.processes import ignore_interrupts\n"
        "ignore_interrupts(); os.kill(os.getpid(), signal.SIGINT); print('still here'); time.sleep(60)",
        cwd=Path(processes.__file__).parent.parent,
    )
    assert os.getpgid(process.pid) == process.pid != os.getpgrp(), "a group of its own"
    wait_for(lambda: "still here" in said(log))
    assert is_alive(process)


def test_lower_priority_counts_once(run: Callable[..., Process], log: Path) -> None:
    process = run(
        "import psutil; from anime_ai.processes import lower_priority\n"
        "lower_priority(); lower_priority(); print(psutil.Process().nice())",
        cwd=Path(processes.__file__).parent.parent,
    )
    wait_for(lambda: not is_alive(process))
    expected = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", max(10, psutil.Process().nice()))
    assert said(log).strip() == str(int(expected))


HOLDER = (
    "import sys, time; from pathlib import Path; from anime_ai.processes import Lock\n"
    "lock = Lock(Path(sys.argv[1] if len(sys.argv) > 1 else PATH)); print(lock.try_acquire()); time.sleep(60)"
)


def test_lock_is_held_across_processes_and_freed_by_death(
    run: Callable[..., Process], log: Path, tmp_path: Path
) -> None:
    path = tmp_path / "新 folder" / "accelerator.lock"
    process = run(f"PATH = {str(path)!r}\n" + HOLDER, cwd=Path(processes.__file__).parent.parent)
    wait_for(lambda: "True" in said(log))
    lock = Lock(path)
    assert not lock.try_acquire()
    with pytest.raises(HeldError) as held, hold(path):
        pass
    assert str(path) in held.value.say("zh")
    kill_tree(process, grace_s=0)
    assert lock.try_acquire()
    assert lock.try_acquire(), "holding it already is holding it"
    lock.release()
    lock.release()
    with hold(path):
        assert not lock.try_acquire(), "two holders in one process are two holders"
    with hold(path):
        pass


def test_lock_belongs_to_no_thread(tmp_path: Path) -> None:
    lock, other = Lock(tmp_path / "x.lock"), Lock(tmp_path / "x.lock")
    taken, over = threading.Event(), threading.Event()

    def take() -> None:
        if lock.try_acquire():
            taken.set()
        over.wait(30)

    thread = threading.Thread(target=take)
    thread.start()
    assert taken.wait(30)
    assert not other.try_acquire()
    lock.release()
    assert other.try_acquire(), "another thread than the one that took it can release it"
    over.set()
    thread.join()
    other.release()


def test_lock_is_freed_when_the_block_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with hold(tmp_path / "x.lock"):
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    with hold(tmp_path / "x.lock"):
        pass


def test_lock_where_no_file_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError) as refused:
        Lock(tmp_path / "file" / "x.lock").try_acquire()
    assert refused.value.key == "storage.write"


def put(file: Path, content: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


def test_limits_of_control_groups_version_2(tmp_path: Path) -> None:
    put(tmp_path / "proc/self/cgroup", "0::/docker/abc\n")
    group = tmp_path / "sys/fs/cgroup"
    put(group / "docker/abc/cpu.max", "max 100000\n")
    put(group / "docker/cpu.max", "150000 100000\n")
    put(group / "docker/abc/memory.max", "max\n")
    put(group / "docker/memory.max", f"{2**31}\n")
    assert processes._quotas(tmp_path) == [1.5]
    assert processes._memory_limits(tmp_path) == [2**31]


def test_limits_of_control_groups_version_1_in_a_container(tmp_path: Path) -> None:
    put(tmp_path / "proc/self/cgroup", "7:memory:/host/path\n4:cpu,cpuacct:/host/path\n1:name=systemd:/\n0::/\n")
    group = tmp_path / "sys/fs/cgroup"
    put(group / "cpu/cpu.cfs_quota_us", "200000\n")
    put(group / "cpu/cpu.cfs_period_us", "100000\n")
    put(group / "memory/memory.limit_in_bytes", "1073741824\n")
    assert processes._quotas(tmp_path) == [2.0]
    assert processes._memory_limits(tmp_path) == [2**30]


def test_no_limits(tmp_path: Path) -> None:
    assert processes._quotas(tmp_path) == []
    put(tmp_path / "proc/self/cgroup", "nonsense\n4:cpu:/\n0::/../..\n")
    put(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    put(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    put(tmp_path / "sys/fs/cgroup/cpu.max", "broken\n")
    assert processes._quotas(tmp_path) == []
    assert processes._memory_limits(tmp_path) == []


def test_usable_is_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= processes.usable_cpus() <= (os.cpu_count() or 1)
    assert 0 < processes.usable_memory() <= psutil.virtual_memory().total
    monkeypatch.setattr(processes, "_quotas", lambda system: [0.5, 64.0])
    assert processes.usable_cpus() == 1
    monkeypatch.setattr(processes, "_memory_limits", lambda system: [1000, 2000])
    assert processes.usable_memory() == 1000


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2, reason="needs two processors")
def test_affinity_counts(run: Callable[..., Process], log: Path) -> None:
    process = run(
        "import os; from anime_ai.processes import usable_cpus\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(usable_cpus())",
        cwd=Path(processes.__file__).parent.parent,
    )
    wait_for(lambda: not is_alive(process))
    assert said(log).strip() == "1"
