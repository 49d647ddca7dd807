"""A child of its own namespaces: processes and files; no capabilities, no way to make further ones.

Every solution gets one, so that nothing of it, not a file, a process, a segment of shared memory or a socket, is there
when the next one starts. The layer around it is bubblewrap's, and a user namespace that the first process here makes to
be allowed this.
"""

import ctypes
import errno
import functools
import os
import platform
import resource
import signal
import struct
import threading
from typing import Any

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 22, 38
PR_SET_CHILD_SUBREAPER = 36
ADDR_NO_RANDOMIZE = 0x0040000
CHILD_CLEARTID, CHILD_SETTID = 0x00200000, 0x01000000
NEW_MOUNTS, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000
ANY_NAMESPACE = NEW_MOUNTS | NEW_CGROUP | NEW_UTS | NEW_IPC | NEW_USER | NEW_PID | NEW_NET
MS_NOSUID, MS_NODEV, MS_BIND = 2, 4, 4096
TMP_MB = 16
_SCRATCH = f"size={TMP_MB}m,nr_inodes=1024,mode=1777".encode()

_libc = ctypes.CDLL(None, use_errno=True)
_CAPABILITIES_OF_THIS = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
_NO_CAPABILITIES = ctypes.create_string_buffer(24)
_held = ctypes.PyDLL(None, use_errno=True)  # keeps the interpreter's lock, which a child could not take again

# Calls that no solution needs: numbers on x86_64 and aarch64. Most have opened kernels before, or make what outlives a
# process. With memfd_create a process could hold memory that no limit counts, and with the sched_* and *priority calls
# it could starve itself, so that running out of time looked like the machine's fault.
_REFUSED = {
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "fanotify_init": (300, 262),
    "inotify_init": (253, 26),
    "inotify_init1": (294, 26),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "open_tree_attr": (467, 467),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "reboot": (169, 142),
    "quotactl": (179, 60),
    "syslog": (103, 116),
}
_CLONE, _CLONE3, _SOCKET, _SOCKETPAIR, _YIELD = (56, 220), (435, 435), (41, 198), (53, 199), (24, 124)
_SETRLIMIT, _PRLIMIT = (160, 164), (302, 261)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
SUPPORTED = platform.machine() in _ARCHITECTURES
_COLUMN, _ARCHITECTURE = _ARCHITECTURES.get(platform.machine(), (0, 0))

# System V objects outlive a process, and so may what a network namespace holds. A child would need namespaces of its
# own for them, or must be unable to make any. The filter sees to the second, as the first costs more than all the rest.
OWN_NAMESPACES = NEW_MOUNTS | NEW_PID
OWN_PROCESSES = NEW_PID


def fork_lightly(namespaces: int = 0) -> int:
    """Fork into fresh namespaces without what Python does after a fork, which costs more than the fork.

    This process has one thread. The thread id that libc keeps is brought up to date by the kernel, as libc's own fork
    has it done. Returns 0 in the child, which is process 1 of a fresh process namespace.

    Raises:
        OSError: the kernel refuses a namespace.
    """
    address = _thread_id_address()
    flags = namespaces | signal.SIGCHLD | CHILD_SETTID | CHILD_CLEARTID
    last = (address, 0) if platform.machine() == "x86_64" else (0, address)
    child = int(_held.syscall(_CLONE[_COLUMN], flags, 0, 0, *last))
    if child < 0:
        raise OSError(ctypes.get_errno(), f"clone: {os.strerror(ctypes.get_errno())}")
    return child


@functools.cache
def _thread_id_address() -> int:
    """Return where libc keeps the id of this thread: 16 bytes before its list of robust locks."""
    head, size = ctypes.c_size_t(), ctypes.c_size_t()
    number = (274, 100)[_COLUMN]
    _check(_libc.syscall(number, 0, ctypes.byref(head), ctypes.byref(size)), "get_robust_list")
    address = head.value - 16
    if ctypes.c_int.from_address(address).value != threading.get_native_id():
        raise OSError(errno.ENOSYS, "this C library keeps its thread id elsewhere")
    return address


def enter(*, streams: bool) -> None:
    """In the child: private scratch folders, nothing of /proc, no capabilities, a filter on system calls.

    Args:
        streams: whether /dev/stdin and its like lead to the descriptors of this process, which is the program.
    """
    _check(_libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID | MS_NODEV, _SCRATCH), "mount")
    if streams:
        _check(_libc.mount(b"/proc/self/fd", b"/sandbox/fd", None, MS_BIND, None), "mount")
    _check(_libc.mount(b"/sandbox/nothing", b"/proc", None, MS_BIND, None), "mount")
    os.chdir("/tmp")
    drop_capabilities()
    filter_calls()


def drop_capabilities() -> None:
    """Give up every capability; no exec can give one back."""
    _check(_libc.capset(_CAPABILITIES_OF_THIS, _NO_CAPABILITIES), "capset")
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def filter_calls() -> None:
    """Refuse the calls of `_REFUSED`, every new namespace, and sockets but for AF_UNIX."""
    _check(_libc.prctl(PR_SET_SECCOMP, 2, _filter(), 0, 0), "seccomp")


@functools.cache
def _filter() -> Any:
    program = _program(sorted(numbers[_COLUMN] for numbers in _REFUSED.values()))
    code = ctypes.create_string_buffer(b"".join(program))
    descriptor = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    descriptor.code = code  # type: ignore[attr-defined]  # kept alive
    return descriptor


def _program(refused: list[int]) -> list[bytes]:
    load, equal, greater, bits, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill = 0x7FFF0000, 0x80000000
    refuse, unknown = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

    def step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    program = [
        step(load, 4),
        step(equal, _ARCHITECTURE, 1, 0),
        step(answer, kill),
        step(load, 0),
        step(greater, 0x40000000, 0, 1),  # the x32 numbers of x86_64
        step(answer, kill),
        step(equal, _CLONE3[_COLUMN], 0, 1),  # its flags are behind a pointer: libc falls back to clone
        step(answer, unknown),
        step(equal, _CLONE[_COLUMN], 0, 4),
        step(load, 16),
        step(bits, ANY_NAMESPACE, 0, 1),
        step(answer, refuse),
        step(answer, allow),
        step(equal, _YIELD[_COLUMN], 0, 1),
        step(answer, 0x00050000),  # says that it did: who gives way all the time would seem starved
        step(equal, _SOCKET[_COLUMN], 1, 0),
        step(equal, _SOCKETPAIR[_COLUMN], 0, 4),
        step(load, 16),
        step(equal, 1, 1, 0),  # AF_UNIX
        step(answer, refuse),
        step(answer, allow),
        # A lower limit on processor time: whom the kernel kills for that would seem killed by the machine.
        step(equal, _SETRLIMIT[_COLUMN], 0, 4),
        step(load, 16),
        step(equal, resource.RLIMIT_CPU, 0, 1),
        step(answer, refuse),
        step(answer, allow),
        step(equal, _PRLIMIT[_COLUMN], 0, 9),
        step(load, 24),
        step(equal, resource.RLIMIT_CPU, 1, 0),
        step(answer, allow),
        step(load, 32),
        step(equal, 0, 0, 2),
        step(load, 36),
        step(equal, 0, 1, 0),  # no new limit, only a question
        step(answer, refuse),
        step(answer, allow),
    ]
    # One step a number, which skips the rest to the last: installing the filter costs what it is long.
    program += [step(equal, number, len(refused) - place, 0) for place, number in enumerate(refused)]
    return [*program, step(answer, allow), step(answer, refuse)]


def limit(limits: dict[str, int]) -> None:
    """Set resource limits, soft and hard: names as in `resource`, without `RLIMIT_`."""
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        try:
            resource.setrlimit(kind, (value, value))
        except ValueError:  # above the hard limit of this machine
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (hard, hard))


def become(user: int) -> None:
    """Leave host uid 0 for good, if this is that."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _check(_libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "dumpable")


def found() -> None:
    """Make a user namespace for this process and its children, of this user alone: it may make the others."""
    _filter()
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(NEW_USER), "unshare")
    maps = (("setgroups", b"deny"), ("uid_map", b"%d %d 1" % (user, user)), ("gid_map", b"%d %d 1" % (group, group)))
    for name, content in maps:
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(descriptor, content)
        os.close(descriptor)


def fix_addresses() -> bool:
    """Have the next program of this process placed in memory where it always is; return whether that is news.

    Python hashes None, types and functions by their address, and with it the order of a set would change from one
    sandbox to the next. Some containers forbid it.
    """
    now = _libc.personality(0xFFFFFFFF)
    fixed = now | ADDR_NO_RANDOMIZE
    return now not in (-1, fixed) and _libc.personality(fixed) != -1


def adopt() -> None:
    """Become the parent of whatever ended children leave behind."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
