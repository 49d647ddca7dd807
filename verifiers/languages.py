"""What it takes to run a language: one entry each. Python has more, a server that answers calls of its functions."""

from typing import NamedTuple


class Language(NamedTuple):
    """How programs of one language are found in a response and run.

    Attributes:
        fences: names after three backticks that mark its code.
        file: the name under which a program is saved, in an empty folder.
        command: what runs it, with a program of the host's /usr or a file first. Empty for Python, which is warm.
        build: what makes a file that runs out of `file`, once for all cases, and writes it to standard output.
        needs: programs that must be installed.
        processes: processes and threads that it may have.
    """

    fences: tuple[str, ...]
    file: str
    command: tuple[str, ...]
    build: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    processes: int = 16


LANGUAGES: dict[str, Language] = {
    "python": Language(("python", "py", "python3"), "solution.py", ()),
    "bash": Language(("bash", "sh", "shell"), "main.sh", ("/usr/bin/bash", "main.sh"), needs=("bash",)),
    "cpp": Language(
        ("cpp", "c++", "cc"),
        "main.cpp",
        ("./main",),
        build=("/usr/bin/sh", "-c", "g++ -O2 -std=c++17 -o main main.cpp 2>/dev/null >&2 && exec cat main"),
        needs=("g++",),
        processes=32,
    ),
    "javascript": Language(
        ("javascript", "js"), "main.js", ("/usr/bin/node", "main.js"), needs=("node",), processes=32
    ),
}
