"""The sandbox: what a solution can and cannot do in it, seen from both sides, and what is left when something is killed."""
# ruff: noqa: E501 - a probe reads best on a line of its own

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from verifiers import Task, VerifierPool
from verifiers.sandbox.inside import namespaces
from verifiers.sandbox.isolation import USER, NoIsolation, command

bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not on this machine")
ROOT = Path(__file__).parents[2]
SQUARE = "def f(x): return x * x"
GOLD = json.dumps({"kind": "asserts", "tests": ["assert f(3) == 9"]})


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(1) as made:
        yield made


def told(pool, source, expected, **more):
    """Assert that `f()` of a solution returns what is expected."""
    gold = {"kind": "calls", "entry_point": "f", "cases": [{"expected": expected}], **more}
    (verdict,) = pool.verify([Task("code", source, json.dumps(gold))])
    if verdict.status.value != "correct":
        reason = source.replace("def f(): return ", "def f(): raise ValueError(", 1) + ")"
        (failed,) = pool.verify([Task("code", reason, json.dumps(gold))])
        pytest.fail(f"{verdict.detail}; {failed.detail}")


# --- from inside --------------------------------------------------------------------------------------------------

PROBES = {
    "the first process": ("os.getpid(), os.getppid()", [1, 0]),
    "nobody": ("os.getresuid() + os.getresgid()", [USER] * 6),
    "no groups but unmapped ones": ("all(group == 65534 for group in os.getgroups())", True),
    "own session": ("os.getsid(0) in (0, 1), os.getpgid(0) in (0, 1)", [True, True]),
    "no processes": ("os.listdir('/proc')", []),
    "empty scratch folder": ("os.listdir('/tmp') + os.listdir('/dev/shm'), os.getcwd()", [[], "/tmp"]),
    "environment": (
        "sorted(os.environ)",
        ["HOME", "LANG", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PATH", "PWD", "PYTHONHASHSEED"],
    ),
    "arguments": ("sys.argv", ["solution.py"]),
    "descriptors": (
        "[fd for fd in range(1024) if fds(fd)] == [0, 1, 2, server.requests.fileno(), server.answers] and [os.readlink is not None]",
        [True],
    ),
    "devices": (
        "sorted(os.listdir('/dev'))",
        ["fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "urandom", "zero"],
    ),
    "nothing of the host": (
        "[p for p in ('/etc/passwd', '/etc/shadow', '/etc/hostname', '/etc/ssl', '/sys', '/run', '/var', '/home', '/opt', '/mnt', '/boot', '/srv') if os.path.exists(p)]",
        [],
    ),
    "nothing of the repository": (
        f"os.path.exists({str(ROOT / 'pyproject.toml')!r}), os.path.exists({str(Path(__file__))!r})",
        [False, False],
    ),
    "host name": ("os.path.exists('/etc/hosts'), os.path.exists('/etc/resolv.conf')", [False, False]),
    "no capabilities": ("capabilities()", [0] * 6),
    "no new privileges, and filtered": ("libc.prctl(39, 0, 0, 0, 0), libc.prctl(21, 0, 0, 0, 0)", [1, 2]),
    "become root": (
        "[e(os.setuid, 0), e(os.setgid, 0), e(os.setresuid, 0, 0, 0), e(os.setgroups, [0])]",
        ["EINVAL", "EINVAL", "EINVAL", "EPERM"],
    ),
    "become another": ("[e(os.setuid, 1000), e(os.seteuid, 1)]", ["EINVAL", "EINVAL"]),
    "write to the system": (
        "[w(p) for p in ('/usr/x', '/usr/bin/python3', '/bin/sh', '/x', '/dev/x', '/sandbox/x', '/sandbox/site/x', '/sandbox/nothing/x', '/sandbox/fd/x')]",
        ["EROFS", "EACCES", "EACCES"] + ["EROFS"] * 6,
    ),
    "write to its own machinery": (
        "[w('/sandbox/code.zip'), w(os.__file__)]",
        ["EACCES", "EACCES"],
    ),
    "remove from the system": (
        "[e(os.unlink, '/bin/sh'), e(os.rmdir, '/sandbox/nothing'), e(os.rename, '/usr', '/x'), e(os.chmod, '/usr', 0o777), e(os.chown, '/usr', 65534, 65534)]",
        ["EROFS"] * 5,
    ),
    "open devices": (
        "[e(os.open, f'/dev/{p}', 0) for p in ('mem', 'kmsg', 'tty', 'ptmx', 'sda', 'vda', 'fuse', 'kvm', 'net/tun', 'pts/0', 'loop-control')]",
        ["ENOENT"] * 11,
    ),
    "make devices": (
        "[e(os.mknod, '/tmp/d', 0o020666, os.makedev(1, 3)), e(os.mknod, '/tmp/b', 0o060666, os.makedev(8, 0))]",
        ["EPERM", "EPERM"],
    ),
    "links out": (
        "[e(os.link, '/usr/bin/env', '/tmp/env'), os.symlink('/etc/passwd', '/tmp/link'), e(open, '/tmp/link')]",
        ["EXDEV", None, "ENOENT"],
    ),
    "change root": ("e(os.chroot, '/tmp')", "EPERM"),
    "signals to others": (
        "[e(os.kill, 2, 9), e(os.kill, 3, 0), e(os.kill, 1000, 0), e(os.kill, -1, 0)]",
        ["ESRCH"] * 4,
    ),
    "raise limits": (
        "[limit(n) for n in ('CPU', 'AS', 'NPROC', 'NOFILE', 'FSIZE', 'CORE', 'MSGQUEUE')]",
        ["ValueError"] * 7,
    ),
    "networks": (
        "[e(socket.socket, f, t) for f, t in ((2, 1), (2, 2), (2, 3), (10, 1), (16, 3), (17, 3), (40, 1), (31, 3), (38, 5), (29, 3))]",
        ["EPERM"] * 10,
    ),
    "pairs": ("[e(socket.socketpair, 30, 1), e(socket.socketpair, 2, 1)]", ["EPERM", "EPERM"]),
    "interfaces": ("e(socket.if_nameindex)", "EPERM"),
    "names": ("e(socket.getaddrinfo, 'localhost', 80)", "EAI"),
    "sockets of its own": ("sum(map(len, [socket.socketpair()])), socket.socket(1).fileno() > 0", [2, True]),
    "nicer": (
        "[e(os.nice, 5), e(os.sched_setaffinity, 0, [0]), e(os.sched_setscheduler, 0, 5, os.sched_param(0)), e(os.setpriority, 0, 0, 19)]",
        ["EPERM"] * 4,
    ),
    "memory without limit": ("e(os.memfd_create, 'x')", "EPERM"),
    "giving way": ("[os.sched_yield()]", [None]),
    "setuid programs": (
        "[run(p) for p in ('/usr/bin/su', '/usr/bin/mount', '/usr/bin/sudo', '/usr/bin/newgrp') if os.path.exists(p)].count(0)",
        0,
    ),
    "setuid of its own": (
        "[os.chmod(made(), 0o6755), os.stat('/tmp/id').st_uid, subprocess.run(['/tmp/id'], capture_output=True).returncode]",
        [None, USER, 7],
    ),
    "room for files": ("sizes()", ["ENOSPC", True]),
    "number of files": ("many()", ["ENOSPC", True]),
    "size of a file": ("large()", "EFBIG"),
    "number of processes": ("children() <= 16", True),
    "number of threads": ("threads() <= 16", True),
}
HELP = """
import ctypes, errno, json, os, resource, socket, struct, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
frame = sys._getframe()
while not ("request" in frame.f_locals and "line" in frame.f_locals): frame = frame.f_back
server = frame.f_locals["self"]
def e(what, *args):
    try:
        what(*args)
        return "done"
    except socket.gaierror:
        return "EAI"
    except OSError as error:
        return errno.errorcode[error.errno]
def w(path): return e(open, path, "ab")
def fds(fd):
    try: return bool(os.fstat(fd))
    except OSError: return False
def capabilities():
    data = ctypes.create_string_buffer(24)
    libc.capget(ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0)), data)
    return list(struct.unpack("6I", data.raw))
def limit(name):
    kind = getattr(resource, f"RLIMIT_{name}")
    soft, hard = resource.getrlimit(kind)
    try: resource.setrlimit(kind, (hard + 1, hard + 1))
    except (ValueError, OSError) as error: return type(error).__name__
def run(path): return subprocess.run([path], stdin=subprocess.DEVNULL, capture_output=True).returncode
def made():
    with open("/tmp/id", "w") as file: file.write("#!/bin/sh\\n[ $(/usr/bin/id -u) = 0 ] || exit 7\\n")
    return "/tmp/id"
def sizes():
    written = 0
    for i in range(9):
        with open(f"/tmp/{i}", "wb", 0) as file:
            try:
                for _ in range(8): written += file.write(bytes(1 << 20))
            except OSError as error: return errno.errorcode[error.errno], written <= 16 << 20
def many():
    for i in range(9999):
        try: os.mkdir(f"/tmp/{i}")
        except OSError as error: return errno.errorcode[error.errno], i < 1024
def large():
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("/dev/shm/x", "wb") as file:
        return e(os.ftruncate, file.fileno(), (16 << 20) + 1)
def children():
    n = 0
    while True:
        try:
            if os.fork() == 0: time.sleep(9)
        except OSError: return n
        n += 1
def threads():
    n = 0
    while True:
        try: threading.Thread(target=time.sleep, args=[9], daemon=True).start()
        except RuntimeError: return n
        n += 1
"""


@bubblewrap
@pytest.mark.parametrize("name", PROBES)
def test_from_inside(pool, name):
    expression, expected = PROBES[name]
    told(pool, f"{HELP}\ndef f(): return {expression}", expected)


CALLS = sorted(namespaces._REFUSED)


@bubblewrap
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
def test_system_calls_that_are_refused(pool):
    numbers = [namespaces._REFUSED[name][0] for name in CALLS]
    source = (
        f"{HELP}\ndef f():\n    return [(libc.syscall(n, 0, 0, 0, 0, 0, 0), ctypes.get_errno())[1] for n in {numbers}]"
    )
    told(pool, source, [1] * len(numbers))


@bubblewrap
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
def test_the_limit_on_time_cannot_be_changed_and_others_can(pool):
    source = (
        f"{HELP}\nimport resource\ndef f():\n    new, old = (ctypes.c_long * 2)(1, 1), (ctypes.c_long * 2)()\n"
        "    core = (ctypes.c_long * 2)()\n    call = lambda *a: (libc.syscall(*a), ctypes.get_errno())\n"
        "    denied = call(160, 0, new), call(302, 0, 0, new, old)\n"
        "    asked = libc.syscall(302, 0, 0, None, old), libc.syscall(97, 0, old), old[0] > 1\n"
        "    return denied, asked, (libc.syscall(160, 4, core), libc.syscall(302, 0, 4, core, None))"
    )
    told(pool, source, [[[-1, 1], [-1, 1]], [0, 0, True], [0, 0]])


@bubblewrap
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")
def test_no_further_namespaces_by_any_call(pool):
    flags = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]
    source = (
        f"{HELP}\ndef f():\n    first = [(libc.syscall(56, {flags}[i] | 17, 0, 0, 0, 0), ctypes.get_errno())[1] for i in range(7)]\n"
        "    return first, (libc.syscall(435, ctypes.create_string_buffer(88), 88), ctypes.get_errno())[1]"
    )
    told(pool, source, [[1] * 7, 38])


@bubblewrap
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the instruction is one of x86_64")
@pytest.mark.parametrize(
    "code", [b"\xb8\x14\x00\x00\x00\xcd\x80\xc3", b"\xb8\x27\x00\x00\x40\x0f\x05\xc3"], ids=["32 bits", "x32"]
)
def test_another_kind_of_system_call_ends_the_process(pool, code):
    source = (
        f"import ctypes, mmap\ndef f():\n    m = mmap.mmap(-1, 4096, prot=7)\n    m.write({code!r})\n"
        "    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"
    )
    gold = json.dumps({"kind": "calls", "entry_point": "f", "cases": [{"expected": 1}]})
    (verdict,) = pool.verify([Task("code", source, gold)])
    assert verdict.status.value == "incorrect" and "signal 31" in verdict.detail


# --- from outside -------------------------------------------------------------------------------------------------


def children(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def tree(pid):
    """Return the processes below one that are alive, each with its command line."""
    found, waiting = {}, [pid]
    while waiting:
        for child in children(waiting.pop()):
            waiting.append(child)
            try:
                state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    found[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


def roles(pid):
    """Return the ids below a process by what they are: `server`, `worker`, `bwrap`, `zygote`, `child`."""
    found = {"server": [], "worker": [], "bwrap": [], "zygote": [], "child": []}
    for child, line in tree(pid).items():
        if "verifiers.worker" in line:
            found["server" if child in children(pid) else "worker"].append(child)
        elif line.startswith(shutil.which("bwrap")):
            found["bwrap"].append(child)
        elif "inside.zygote" in line:
            try:
                parent = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
                above = Path(f"/proc/{parent}/cmdline").read_text()
            except OSError:
                continue
            found["zygote" if above.startswith(shutil.which("bwrap")) else "child"].append(child)
    return found


def roles_besides_others():
    """Return a function that gives the roles of what starts from now on below this process.

    Pools of other tests may still be warm, each with a process that tests are run in.
    """
    others = {pid for pids in roles(os.getpid()).values() for pid in pids}
    return lambda: {name: [pid for pid in pids if pid not in others] for name, pids in roles(os.getpid()).items()}


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def verify_beside(pool, source, gold=GOLD):
    """Start a verification in a thread; return it, and the list that its verdicts go to."""
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.extend(pool.verify([Task("code", source, gold)])))
    thread.start()
    return thread, verdicts


def wait_for(what, seconds=10):
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found
    return found


SLOW = f"import time\ntime.sleep(1.5)\n{SQUARE}"


def confined(children):
    """Return the processes that have no capability and a filter on system calls."""
    return [c for c in children if int((said := status_of(c))["CapEff"], 16) == 0 and said["Seccomp"] == "2"]


@bubblewrap
def test_from_outside():
    mine_alone = roles_besides_others()
    with VerifierPool(1) as pool:
        thread, verdicts = verify_beside(pool, SLOW)
        found = wait_for(lambda: (r := mine_alone()) and len(r["child"]) == 2 and r)
        # A child drops what it has step by step; the solution is the one that ends without any capability, and filtered.
        solution = wait_for(lambda: next(iter(confined(found["child"])), None))
        mine = {
            name: str(Path(f"/proc/self/ns/{name}").readlink()) for name in ("user", "mnt", "pid", "net", "ipc", "uts")
        }
        theirs = []
        for child in found["child"]:
            said = status_of(child)
            spaces = {name: str(Path(f"/proc/{child}/ns/{name}").readlink()) for name in mine}
            theirs.append(spaces)
            assert "0" not in said["Uid"].split() and "0" not in said["Gid"].split()
            assert spaces["pid"] != mine["pid"] and spaces["net"] != mine["net"]
            assert said["NStgid"].split()[-1] == "1"
        said = status_of(solution)
        assert [said[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0" * 16] * 4
        assert (said["NoNewPrivs"], said["Seccomp"]) == ("1", "2")
        assert all(str(Path(f"/proc/{solution}/ns/{name}").readlink()) != mine[name] for name in mine)
        assert all(theirs[0][name] != theirs[1][name] for name in mine)
        for zygote in found["zygote"]:
            said = status_of(zygote)
            assert "0" not in said["Uid"].split()
            # What it is capable of, it is in a user namespace of its own.
            assert str(Path(f"/proc/{zygote}/ns/user").readlink()) != mine["user"]
        thread.join()
        assert verdicts[0].status.value == "correct"


@bubblewrap
@pytest.mark.parametrize("victim", ["server", "worker", "bwrap", "zygote", "child"])
def test_whatever_is_killed_nothing_is_left_and_the_next_call_works(victim):
    mine_alone, others = roles_besides_others(), set(tree(os.getpid()))
    with VerifierPool(1) as pool:
        thread, verdicts = verify_beside(pool, SLOW)
        found = wait_for(lambda: (r := mine_alone()) and len(r["child"]) == 2 and r)
        time.sleep(0.2)
        before = {pid: line for pid, line in tree(os.getpid()).items() if pid not in others}
        for pid in found[victim]:
            os.kill(pid, signal.SIGKILL)
        thread.join(30)
        expected = {"child": {"incorrect", "error"}}.get(victim, {"correct"})
        assert {v.status.value for v in verdicts} <= expected, verdicts
        assert [v.status.value for v in pool.verify([Task("code", SQUARE, GOLD)] * 3)] == ["correct"] * 3
        left = set(found["child"]) | set(found[victim])
        wait_for(lambda: not left & set(tree(os.getpid())), 2)
    try:
        wait_for(lambda: not [pid for pid in before if Path(f"/proc/{pid}").exists()], 2)
    except AssertionError:
        pytest.fail(
            str(
                {
                    pid: (line[:60], status_of(pid).get("State"), status_of(pid).get("PPid"))
                    for pid, line in before.items()
                    if Path(f"/proc/{pid}").exists()
                }
            )
        )


@bubblewrap
def test_a_parent_that_is_killed_takes_all_with_it():
    program = (
        "import json, sys\nfrom verifiers import Task, VerifierPool\n"
        f"VerifierPool(2).verify([Task('code', {'import time; time.sleep(60)'!r} + '#' * n, {GOLD!r}) for n in range(2)])\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as parent:
        wait_for(lambda: len(roles(parent.pid)["child"]) == 4, 60)
        below = tree(parent.pid)
        parent.kill()
    wait_for(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()], 3)


@bubblewrap
def test_closing_ends_every_process():
    before = tree(os.getpid())
    with VerifierPool(2) as pool:
        pool.verify([Task("code", SQUARE + "\n" * n, GOLD) for n in range(8)])
        during = tree(os.getpid())
        assert len(during) > len(before)
    wait_for(lambda: set(tree(os.getpid())) <= set(before), 2)


def readable_python():
    """Return an interpreter and a path with which another user can import the verifiers, or skip."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, with setpriv")
    packages = [path for path in sys.path if path.endswith("site-packages")]
    candidates = [sys.executable, f"/usr/bin/python3.{sys.version_info[1]}"]
    for python in candidates:
        path = os.pathsep.join([str(ROOT), *packages])
        again = "import subprocess, sys, verifiers; subprocess.run([sys.executable, '-c', ''], check=True)"
        tried = as_user(python, path, again)
        if tried.returncode == 0:
            return python, path
    pytest.skip("no interpreter that another user may run can import the verifiers")


def as_user(python, path, program):
    user = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "--no-new-privs"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*user, python, "-c", program], cwd="/", env=environment, capture_output=True, text=True, check=False
    )


@bubblewrap
def test_as_an_ordinary_user():
    python, path = readable_python()
    program = f"""
import json, os, threading, time
from pathlib import Path
from verifiers import Task, VerifierPool
def uids(pid):
    for child in [c for t in Path(f"/proc/{{pid}}/task").iterdir() for c in (t / "children").read_text().split()]:
        yield Path(f"/proc/{{child}}/status").read_text().split("Uid:")[1].split()[0]
        yield from uids(child)
with VerifierPool(1) as pool:
    found = [(v.status.value, v.detail) for v in pool.verify([Task("code", s, {GOLD!r}) for s in ({SQUARE!r}, "f = abs")])]
    thread = threading.Thread(target=pool.verify, args=[[Task("code", {SLOW!r}, {GOLD!r})]])
    thread.start()
    time.sleep(0.7)
    seen = sorted(set(uids(os.getpid())))
    thread.join()
print(json.dumps([os.getuid(), found, seen]))
"""
    done = as_user(python, path, program)
    assert done.returncode == 0, done.stderr[-2000:]
    uid, found, seen = json.loads(done.stdout)
    assert (uid, found, seen) == (
        1000,
        [["correct", "1 calls"], ["incorrect", "test 1: an assertion does not hold"]],
        ["1000"],
    )


def test_the_command_for_an_ordinary_user(monkeypatch):
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not on this machine")
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    arguments, fds = command("solution", "bubblewrap")
    for descriptor in fds:
        os.close(descriptor)
    assert "--unshare-user" in arguments and "--cap-add" not in arguments
    for namespace in ("pid", "ipc", "uts", "net"):
        assert f"--unshare-{namespace}" in arguments
    writable = [option for option in arguments if option in ("--bind", "--bind-try", "--dev", "--tmpfs")]
    assert writable == []  # what a solution can write to is the folder of its own that its child mounts


# --- without isolation --------------------------------------------------------------------------------------------


def test_without_bubblewrap_nothing_is_run(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with VerifierPool(2) as pool:
        verdicts = pool.verify([Task("code", f"open({str(tmp_path / 'ran')!r}, 'w')\n#{n}", GOLD) for n in range(20)])
    assert {(v.status.value, v.score) for v in verdicts} == {("error", None)}
    (detail,) = {v.detail for v in verdicts}
    assert "bubblewrap is missing" in detail and "http" in detail and "\n" not in detail
    assert not (tmp_path / "ran").exists()


def test_a_bubblewrap_that_does_not_start_is_told(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with VerifierPool(1) as pool:
        verdicts = pool.verify([Task("code", f"{SQUARE}\n#{n}", GOLD) for n in range(5)])
    (detail,) = {v.detail for v in verdicts}
    assert {v.status.value for v in verdicts} == {"error"} and "No permissions to create new namespace" in detail


def test_without_isolation_a_machine_is_told_so(monkeypatch):
    monkeypatch.setattr("verifiers.sandbox.isolation.SUPPORTED", False)
    with pytest.raises(NoIsolation, match="x86_64 or aarch64"):
        command("solution", "bubblewrap")


def test_unsafe_works_and_every_verdict_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    stdio = json.dumps({"kind": "stdio", "cases": [{"stdin": "3\n", "stdout": "9\n"}]})
    before = set(Path("/tmp").glob("preppo-*"))
    with VerifierPool(1, sandbox="unsafe") as pool:
        verdicts = pool.verify(
            [Task("code", SQUARE, GOLD), Task("code", "f = abs", GOLD), Task("code", "print(int(input()) ** 2)", stdio)]
        )
    assert [v.status.value for v in verdicts] == ["correct", "incorrect", "correct"]
    assert all(v.detail.startswith("not isolated: ") for v in verdicts)
    assert not {path for path in Path("/tmp").glob("preppo-*") if len(path.name) == len("preppo-12345678")} - before
