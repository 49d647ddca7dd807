"""The layer around a sandbox: bubblewrap with every namespace unshared, or a refusal that says what is missing."""

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from verifiers.sandbox.inside.namespaces import SUPPORTED, TMP_MB
from verifiers.sandbox.inside.zygote import DEVICES

USER = 65_534
"""The user inside, and on the host where preppo itself runs as root: nobody."""

PACKAGES = ("numpy", "numpy.libs")
"""What solutions and tests may import beside the standard library."""

_ROOT = Path(__file__).resolve().parents[2]
_MODULES = (
    "__init__",
    "arrays",
    "compare",
    "judges",
    "link",
    "namespaces",
    "program",
    "purity",
    "remote",
    "scorer",
    "solution",
    "tester",
    "wire",
    "zygote",
)
_FILES = tuple(f"verifiers/sandbox/inside/{name}.py" for name in _MODULES)
_HERE = "/sandbox"
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the order of a set must not change a verdict
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
_HINT = 'set sandbox = "http" under [verifiers] to use a host that has it'


class NoIsolation(Exception):
    """Code cannot be run safely here; the message says why and what to do."""


def command(role: str, mode: str, python: str = sys.executable) -> tuple[list[str], list[int]]:
    """Return the command that starts a sandbox, with `{control}` in it, and the descriptors it needs.

    Args:
        role: `solution`, `tester` or `scorer`.
        mode: `bubblewrap`, or `unsafe` for no isolation at all.
        python: the interpreter that runs solutions.

    Raises:
        NoIsolation: the mode is `bubblewrap`, and there is none.
    """
    if mode == "unsafe":
        return [*_interpreter(python, ["-B"], str(_ROOT)), "{control}", str(USER), "unsafe", role], []
    program = shutil.which("bwrap")
    if not SUPPORTED or sys.platform != "linux":
        raise NoIsolation(
            f"refused: code is isolated on Linux, x86_64 or aarch64, and this is another machine: {_HINT}"
        )
    if program is None:
        raise NoIsolation(
            f"refused: no code is run without isolation, and bubblewrap is missing: install it (its "
            f"package is called bubblewrap), or {_HINT}"
        )
    code = _archive()
    arguments = [program, *_namespaces(), *_environment(), *_file_system(python, role)]
    arguments += ["--perms", "0444", "--ro-bind-data", str(code), f"{_HERE}/code.zip"]
    arguments += ["--remount-ro", "/", "--chdir", "/tmp", "--"]
    flags = ["-s", "-S", "-P", "-B"]  # not -I, which would have the hash seed ignored
    start = _interpreter(_real(python), flags, f"{_HERE}/code.zip")
    return [*arguments, *start, "{control}", str(USER), "isolated", role], [code]


def _archive() -> int:
    """Return a descriptor of a file in memory with the code that runs inside: one file, as each is one more mount."""
    descriptor = os.memfd_create("preppo")
    with open(os.dup(descriptor), "wb") as file, zipfile.ZipFile(file, "w") as archive:  # noqa: PTH123
        for folder in ("verifiers/", "verifiers/sandbox/"):
            archive.writestr(folder, b"")
        for name in _FILES:
            archive.write(_ROOT / name, name)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _real(python: str) -> str:
    """Return the interpreter outside of its virtual environment, which is not visible inside."""
    return str(Path(python).resolve())


def _interpreter(python: str, flags: list[str], path: str) -> list[str]:
    start = (
        f"import sys; sys.path[:0] = [{path!r}, '{_HERE}/site']; sys.argv = sys.argv[1:]; "
        "from verifiers.sandbox.inside.zygote import main; "
        "main(int(sys.argv[0]), int(sys.argv[1]), sys.argv[2], sys.argv[3])"
    )
    return [python, *flags, "-c", start]


def _namespaces() -> Iterator[str]:
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try")
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if os.getuid() == 0:
        # The mounts may need root (an interpreter below /root). The zygote leaves uid 0 before it does anything else.
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
    else:
        yield from ("--unshare-user", "--uid", str(USER), "--gid", str(USER))


def _environment() -> Iterator[str]:
    yield "--clearenv"
    for name, value in ENVIRONMENT.items():
        yield from ("--setenv", name, value)


def _file_system(python: str, role: str) -> Iterator[str]:
    """Yield the arguments for a read-only system: /usr, the interpreter, its packages, and five devices."""
    yield from ("--ro-bind", "/usr", "/usr")
    for folder in ("/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        path = Path(folder)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), folder)
        elif path.is_dir():
            yield from ("--ro-bind", folder, folder)
    yield from _folders(["/etc"])
    yield from ("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")
    yield from ("--ro-bind-try", "/etc/alternatives", "/etc/alternatives")
    home = Path(_real(python)).parent.parent
    if not home.is_relative_to("/usr"):
        yield from _folders([str(home.parent)])
        yield from ("--ro-bind", str(home), str(home))
    yield from _folders(f"{_HERE}/{name}" for name in ("site", "nothing", "fd"))
    if role == "scorer":
        yield from ("--ro-bind", _scorer_site(), f"{_HERE}/site")
    else:
        for name, source in _packages():
            yield from ("--ro-bind", source, f"{_HERE}/site/{name}")
    yield from (*_folders(["/dev", "/tmp"]), "--symlink", "/tmp", "/dev/shm", "--symlink", f"{_HERE}/fd", "/dev/fd")
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        yield from ("--symlink", f"{_HERE}/fd/{number}", f"/dev/{stream}")
    for device in DEVICES:
        yield from ("--dev-bind", f"/dev/{device}", f"/dev/{device}")
    yield from ("--proc", "/proc")
    if role != "solution":  # a solution gets a folder of its own
        yield from ("--perms", "1777", "--size", str(TMP_MB << 20), "--tmpfs", "/tmp")


def _folders(paths: Iterable[str]) -> Iterator[str]:
    """Yield the arguments that make folders with their parents; bubblewrap's own would be closed to other users."""
    wanted = {parent for path in paths for parent in (Path(path), *Path(path).parents) if parent != Path("/")}
    for path in sorted(wanted):
        yield from ("--perms", "0755", "--dir", str(path))


@functools.cache
def _packages() -> tuple[tuple[str, str], ...]:
    found = importlib.util.find_spec("numpy")
    if found is None or found.origin is None:
        return ()
    site = Path(found.origin).parent.parent
    return tuple((name, str(site / name)) for name in PACKAGES if (site / name).is_dir())


def _scorer_site() -> str:
    """Return the folder of reasoning_gym and of the thirty packages that it imports."""
    found = importlib.util.find_spec("reasoning_gym")
    if found is None or found.origin is None:
        raise NoIsolation("reasoning_gym is not installed: pip install 'preppo[reasoning-gym]'")
    return str(Path(found.origin).parent.parent)


def explain(errors: str) -> str:
    """Return the message for a sandbox that does not start, from what bubblewrap wrote."""
    told = " ".join(errors.split())[-200:] or "it ended without a word"
    return (
        f"refused: no code is run without isolation, and bubblewrap does not start here ({told}). Where a container "
        'forbids it, set sandbox = "http" under [verifiers] and serve it from a host that does not'
    )


def bubblewrap_version() -> str | None:
    """Return the version of bubblewrap, or None where there is none."""
    program = shutil.which("bwrap")
    if program is None:
        return None
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()
