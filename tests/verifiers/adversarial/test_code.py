"""Attacks on the code verifier: each has one status, none is a false accept, and nothing of it is left afterwards."""
# ruff: noqa: E501 - an attack reads best on a line of its own

import json
import os
import secrets
import shutil
import time
from pathlib import Path

import pytest

from verifiers import Task, VerifierPool

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not on this machine")

SQUARES = ["assert f(3) == 9", "assert f(4) == 16", "assert f(-5) == 25"]


def asserts(*tests, **more):
    return json.dumps({"kind": "asserts", "tests": list(tests or SQUARES), "time_s": 0.5, **more})


def calls(*cases, **more):
    return json.dumps({"kind": "calls", "entry_point": "f", "cases": list(cases), "time_s": 0.5, **more})


def stdio(*cases, **more):
    made = [{"stdin": given, "stdout": expected} for given, expected in cases]
    return json.dumps({"kind": "stdio", "cases": made, "time_s": 0.5, **more})


GOLD = asserts()

# What a solution that knows how its process works can get hold of.
SERVER = """
import json, os, sys
frame = sys._getframe()
while not (isinstance(frame.f_locals.get("self"), object) and "request" in frame.f_locals and "line" in frame.f_locals):
    frame = frame.f_back
server = frame.f_locals["self"]
def current():
    frame = sys._getframe()
    while not ("request" in frame.f_locals and "line" in frame.f_locals):
        frame = frame.f_back
    return frame.f_locals["request"]["id"]
def raw(data):
    data = data if isinstance(data, bytes) else data.encode()
    while data:
        data = data[os.write(server.answers, data):]
def answer(**members):
    raw(json.dumps({"id": current(), **members}) + "\\n")
def take_over():
    for line in server.requests:
        request = json.loads(line)
        raw(json.dumps({"id": request["id"], "ok": request["args"][0] ** 2}) + "\\n")
"""


def forged(line):
    """Return a solution that answers its first call with a line of its own, and all others as it should."""
    return f"{SERVER}\ndef f(x):\n    {line}\n    take_over()\n"


EXITS = {
    "exit at import": "import os; os._exit(0)",
    "exit in a call": "import os\ndef f(x): os._exit(0)",
    "sys.exit at import": "import sys; sys.exit(0)",
    "sys.exit in a call": "import sys\ndef f(x): sys.exit(0)",
    "quit": "def f(x): quit()",
    "own SystemExit": "class E(SystemExit): code = 0\ndef f(x): raise E(0)",
    "KeyboardInterrupt": "def f(x): raise KeyboardInterrupt",
    "GeneratorExit": "def f(x): raise GeneratorExit",
    "BaseException": "class E(BaseException): pass\ndef f(x): raise E",
    "StopIteration": "def f(x): raise StopIteration(x * x)",
    "exit at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return x",
    "exit in a destructor": "import os\nclass D:\n    def __del__(self): os._exit(0)\ndef f(x):\n    D()\n    return x",
    "exit of a thread": "import os, threading\ndef f(x):\n    threading.Thread(target=os._exit, args=[0]).start()\n"
    "    import time; time.sleep(9)",
    "kills itself": "import os\ndef f(x):\n    os.kill(os.getpid(), 9)\n    return x",
    "kills its parent": "import os\ndef f(x):\n    os.kill(os.getppid(), 9)\n    return x",
    "kills everybody": "import os\ndef f(x):\n    os.kill(-1, 9)\n    return x",
    "kills its group": "import os\ndef f(x):\n    os.killpg(0, 15)\n    return x",
    "abort": "import os\ndef f(x): os.abort()",
    "segmentation fault": "import ctypes\ndef f(x): ctypes.string_at(0)",
    "another program": "import os\ndef f(x): os.execv('/usr/bin/true', ['true'])",
    "closes its pipes": "import os\ndef f(x):\n    os.closerange(0, 64)\n    return x",
    "stops itself": "import os, signal\ndef f(x):\n    os.kill(0, signal.SIGSTOP)\n    return x",
    "ignores signals and loops": "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\nwhile True: pass",
}
OBJECTS = {
    "equal to all": "class A:\n    __eq__ = lambda s, o: True\n    __hash__ = lambda s: 0\ndef f(x): return A()",
    "unequal to none": "class A:\n    __ne__ = lambda s, o: False\ndef f(x): return A()",
    "int that is equal": "class A(int):\n    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\ndef f(x): return A(1)",
    "str that is equal": "class A(str):\n    __eq__ = lambda s, o: True\n    __hash__ = str.__hash__\ndef f(x): return A()",
    "float that is equal": "class A(float):\n    __eq__ = lambda s, o: True\n    __hash__ = float.__hash__\n"
    "def f(x): return A()",
    "list that is equal": "class A(list):\n    __eq__ = lambda s, o: True\ndef f(x): return A()",
    "dict that is equal": "class A(dict):\n    __eq__ = lambda s, o: True\ndef f(x): return A()",
    "tuple that is equal": "class A(tuple):\n    __eq__ = lambda s, o: True\ndef f(x): return A()",
    "class that is equal": "class M(type):\n    __eq__ = lambda s, o: True\n    __hash__ = type.__hash__\n"
    "class A(metaclass=M): pass\ndef f(x): return A",
    "claims to be an int": "class A:\n    __class__ = property(lambda s: int)\n    __eq__ = lambda s, o: True\n"
    "def f(x): return A()",
    "mock": "from unittest.mock import MagicMock\ndef f(x): return MagicMock()",
    "mock any": "from unittest.mock import ANY\ndef f(x): return ANY",
    "the function is an object": "class F:\n    def __call__(self, x): return F()\n    __eq__ = lambda s, o: True\nf = F()",
    "the function is a class": "class f:\n    def __init__(self, x): pass\n    __eq__ = lambda s, o: True",
    "the function is a number": "f = 9",
    "the function is missing": "def g(x): return x * x",
    "coroutine": "async def f(x): return x * x",
    "generator": "def f(x): yield x * x",
    "not a number": "def f(x): return float('nan')",
    "ellipsis": "def f(x): return ...",
    "not implemented": "def f(x): return NotImplemented",
    "hostile text of an error": "class E(Exception):\n    def __str__(self): import os; os._exit(0)\ndef f(x): raise E",
    "endless text of an error": "class E(Exception):\n    def __str__(self):\n        while True: pass\n"
    "def f(x): raise E",
    "hostile name of an error": "E = type('[]\\n\"}{\\x00' * 50, (Exception,), {})\ndef f(x): raise E",
    "hostile name of a class": "A = type('passed\\n\"]', (), {})\ndef f(x): return A()",
    "raises AssertionError": "def f(x): raise AssertionError",
    "raises ImportError": "def f(x): raise ImportError('no module named tests')",
    "raises SyntaxError": "def f(x): raise SyntaxError",
    "raises at import": "raise ImportError('no module')",
    "raises our own": "class NotSendable(Exception): pass\ndef f(x): raise NotSendable",
    "syntax error": "def f(x) return x * x",
    "null bytes": "def f(x): return x * x\0",
    "surrogates": "def f(x): return '\\ud800'",
    "right but ends later": "import os\nn = 0\ndef f(x):\n    global n\n    n += 1\n    if n == 3: os._exit(0)\n    return x * x",
}
MACHINERY = {
    "patched builtins": "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.AssertionError = Exception\n"
    "builtins.compile = builtins.exec = lambda *a: None\ndef f(x): return x",
    "patched json": "import json\nold = json.dumps\njson.dumps = lambda *a, **k: old({'id': 0, 'ok': 9})\ndef f(x): return x",
    "patched write": 'import os\nold = os.write\nos.write = lambda fd, data: old(fd, b\'["passed", ""]\\n\')\ndef f(x): return x',
    "patched wire": "import sys\nsys.modules['verifiers.sandbox.inside.wire'].dump = lambda m: b'[\"passed\",\"\"]\\n'\n"
    "def f(x): return x",
    "imports the tester": "from verifiers.sandbox.inside import tester, link\nlink.Link.finish = print\n"
    "tester.run = print\ndef f(x): return x",
    "walks frames": "import sys\ndef f(x):\n    frame, found = sys._getframe(), []\n    while frame:\n"
    "        found += [v for v in frame.f_locals.values() if isinstance(v, int) and v in (9, 16, 25)]\n"
    "        frame = frame.f_back\n    return found[0] if found else None",
    "walks objects": "import gc\ndef f(x):\n    for o in gc.get_objects():\n"
    "        if isinstance(o, dict) and 'expected' in o: return o['expected']",
    "inspects": "import inspect\ndef f(x):\n    return ''.join(map(str, (i.code_context for i in inspect.stack())))",
    "traces": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef f(x): return x",
    "import hook": "import sys\nclass H:\n    def find_spec(self, *a): sys.exit(0)\nsys.meta_path.insert(0, H())\n"
    "def f(x):\n    import colorsys\n    return x",
    "modules replaced": "import sys\nfor n in list(sys.modules): sys.modules[n] = None\ndef f(x): return x",
    "decorator that looks": "import inspect\ndef d(g):\n    def h(x):\n        tests = [r for r in inspect.stack() if 'test' in r.filename]\n"
    "        return x * x if tests else g(x)\n    return h\n@d\ndef f(x): return x",
    "gc callback": "import gc, os\ngc.callbacks.append(lambda *a: os._exit(0))\ndef f(x):\n    gc.collect()\n    return x",
    "main only": "if __name__ == '__main__':\n    def f(x): return x * x",
    "closes the requests": f"{SERVER}\nserver.requests.close()\ndef f(x): return x",
}
PROTOCOL = {
    "verdict on every descriptor": 'import os\nfor fd in range(3, 64):\n    try: os.write(fd, b\'["passed", "3 calls"]\\n\')\n'
    "    except OSError: pass\ndef f(x): return x",
    "answers in advance": f"{SERVER}\nfor i in range(3): raw(json.dumps({{'id': str(i), 'ok': 9}}) + '\\n')\ndef f(x): return x",
    "answer without an id": forged("raw('{\"ok\": 9}\\n')"),
    "answer with another id": forged('raw(\'{"id": "0000", "ok": 9}\\n\')'),
    "id that is a number": forged('raw(\'{"id": 0, "ok": 9}\\n\')'),
    "two answers": forged("answer(ok=9); answer(ok=16)"),
    "two answers in one write": forged("raw(2 * (json.dumps({'id': current(), 'ok': x * x}) + '\\n'))"),
    "answer and a verdict": forged("raw(json.dumps({'id': current(), 'ok': x * x}) + '\\n[\"passed\", \"\"]\\n')"),
    "two ids": forged('raw(\'{"id": 1, "id": "%s", "ok": 8}\\n\' % current())'),
    "list": forged('raw(\'["passed", ""]\\n\')'),
    "text": forged("raw('passed\\n')"),
    "empty line": forged("raw('\\n')"),
    "blank lines": forged("raw('\\n' * 1000)"),
    "half a line": forged("raw('{\"id\": ')"),
    "no newline": forged("raw('{' * 100_000)"),
    "endless line": forged("while True: raw('1' * 100_000)"),
    "null bytes in a line": forged("raw(b'\\0' * 100 + b'\\n')"),
    "no UTF-8": forged("raw(b'\\xff\\xfe{}\\n')"),
    "deep nesting": forged("raw('[' * 100_000 + ']' * 100_000 + '\\n')"),
    "deep nesting in the answer": forged("raw('{\"id\": \"%s\", \"ok\": %s}\\n' % (current(), '[' * 900 + ']' * 900))"),
    "number out of range": forged('raw(\'{"id": "%s", "ok": 1e999}\\n\' % current())'),
    "number that is none": forged('raw(\'{"id": "%s", "ok": NaN}\\n\' % current())'),
    "endless number": forged('raw(\'{"id": "%s", "ok": %s}\\n\' % (current(), \'9\' * 100_000))'),
    "no value": forged("answer()"),
    "unknown type": forged("answer(ok={'t': 'code', 'v': 'x * x'})"),
    "no type": forged("answer(ok={'v': 9})"),
    "reference to nothing": forged("answer(ok={'t': 'ref', 'v': -1, 'k': 'A', 'c': 'function'})"),
    "reference without end": forged("answer(ok={'t': 'ref', 'v': 10**30, 'k': 'A', 'c': 'function'})"),
    "reference to a text": forged("answer(ok={'t': 'ref', 'v': 'x', 'k': 'A', 'c': 'function'})"),
    "reference of every sort": forged("answer(ok={'t': 'ref', 'v': 1, 'k': {}, 'c': {}})"),
    "type of no builtin": forged("answer(ok={'t': 'type', 'v': 'print'})"),
    "type of a module": forged("answer(ok={'t': 'type', 'v': '__import__'})"),
    "argument that was not sent": forged("answer(ok={'t': 'same', 'v': 7})"),
    "arguments from behind": forged("answer(ok={'t': 'same', 'v': -1})"),
    "array of objects": forged("answer(ok={'t': 'array', 'v': [9], 'k': 'V1000000000'})"),
    "array without end": forged("answer(ok={'t': 'array', 'v': [1] * 9, 'k': '<U999999999'})"),
    "decimal without end": forged("answer(ok={'t': 'decimal', 'v': '1e999999999'})"),
    "range without end": forged("answer(ok={'t': 'range', 'v': [0, 10**18, 1]})"),
    "fraction by zero": forged("answer(ok={'t': 'fraction', 'v': [9, 0]})"),
    "unhashable set": forged("answer(ok={'t': 'set', 'v': [[9]]})"),
    "unhashable key": forged("answer(ok={'t': 'dict', 'v': [[[9], 9]]})"),
    "dict that is none": forged("answer(ok={'t': 'dict', 'v': 9})"),
    "integer that is none": forged("answer(ok={'t': 'int', 'v': 'x'})"),
    "changed that is none": forged("answer(ok=9, changed=9)"),
    "changed what was not sent": forged("answer(ok=9, changed=[[9]])"),
    "raise of nothing": forged("answer(**{'raise': None})"),
    "raise of a verdict": forged("answer(**{'raise': ['passed', 'passed']})"),
    "raise of classes that are none": forged("answer(**{'raise': ['passed', '', [0, -1, 'x', [], {}, None]]})"),
    "raise of a number": forged("answer(**{'raise': ['ValueError', '', 9]})"),
    "raise of a name with a null": forged("answer(**{'raise': ['A\\0', '', [-1]]})"),
    "error for an object": forged("answer(ok={'t': 'ref', 'v': 1, 'k': 'A', 'c': 'error'})"),
    "raise of an exit": forged("answer(**{'raise': ['SystemExit', '0']})"),
    "raise of a limit": forged("answer(**{'raise': ['NotPlain', 'passed']})"),
    "iterator without end": forged("answer(ok={'t': 'iterator', 'v': [], 'more': 10**9})"),
    "colliding keys": forged(
        "answer(ok={'t': 'set', 'v': [{'t': 'int', 'v': hex(k * (2**61 - 1))} for k in range(300_000)]})"
    ),
    "changed more than was sent": forged("answer(ok=9, changed=[[9], [9]])"),
    "answer to the load": f"{SERVER}\nanswer(ok={{'f': 9}})\ntake_over()",
    "no answer at import": f"{SERVER}\nimport time\ntime.sleep(9)",
    "definitions that are none": f"{SERVER}\nanswer(ok=[])\ndef f(x): return x",
    "function by number": f"{SERVER}\nanswer(ok={{'f': {{'t': 'ref', 'v': 0, 'k': 'A', 'c': 'function'}}}})\nimport time\ntime.sleep(9)",
}
BOMBS = {
    "fork": "import os\ndef f(x):\n    while True:\n        try: os.fork()\n        except OSError: pass",
    "fork at import": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "threads": "import threading, time\ndef f(x):\n    while True: threading.Thread(target=time.sleep, args=[9]).start()",
    "memory": "def f(x):\n    held = []\n    while True: held.append(bytearray(50_000_000))",
    "memory at once": "def f(x): return len(bytearray(8_000_000_000))",
    "memory of children": "import os, time\ndef f(x):\n    for i in range(12):\n        if os.fork() == 0:\n"
    "            held = bytearray(400_000_000)\n            for i in range(0, len(held), 4096): held[i] = 1\n"
    "            time.sleep(9)\n    time.sleep(9)",
    "shared memory": "import mmap, os, time\ndef f(x):\n    for i in range(12):\n        if os.fork() == 0:\n"
    "            held = mmap.mmap(-1, 400_000_000)\n            for i in range(0, len(held), 4096): held[i] = 1\n"
    "            time.sleep(9)\n    time.sleep(9)",
    "list": "def f(x): return [0] * 10**10",
    "text": "def f(x): return 'x' * 10**8",
    "many items": "def f(x): return [[]] * 2_000_000",
    "integer": "def f(x): return 1 << 10**7",
    "power": "def f(x): return 9 ** 9 ** 9",
    "text of an integer": "import sys\nsys.set_int_max_str_digits(0)\ndef f(x): return str(1 << 10**8)",
    "nested": "def f(x):\n    a = []\n    for i in range(100_000): a = [a]\n    return a",
    "cycle": "def f(x):\n    a = []\n    a.append(a)\n    return a",
    "recursion": "def f(x): return f(x)",
    "recursion without limit": "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __getattr__(self, n): return getattr(self, n)\n"
    "def f(x): return A().a",
    "iterator of nothing": "def f(x):\n    while True: yield None",
    "iterator of numbers": "import itertools\ndef f(x): return itertools.count()",
    "range": "def f(x): return range(10**18)",
    "descriptors": "import os\ndef f(x):\n    while True: os.open('/dev/null', 0)",
    "pipes": "import os\ndef f(x):\n    while True: os.pipe()",
    "disk": "def f(x):\n    with open('/tmp/a', 'wb') as file:\n        while True: file.write(b'x' * 1_000_000)",
    "files": "def f(x):\n    i = 0\n    while True:\n        open(f'/tmp/{i}', 'w').close()\n        i += 1",
    "folders": "import os\ndef f(x):\n    while True:\n        os.mkdir('a')\n        os.chdir('a')",
    "output": "def f(x):\n    while True: print('x' * 100_000)",
    "loop": "def f(x):\n    while True: pass",
    "loop at import": "while True: pass",
    "loop in C": "def f(x): return sum(range(10**15))",
    "regular expression": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 60 + 'b')",
    "sleep": "import time\ndef f(x): time.sleep(99)",
    "sleep in C": "import ctypes\ndef f(x): ctypes.CDLL(None).sleep(99)",
    "waits for input": "def f(x): return input() and open(0).read()",
    "waits for a child": "import os, time\ndef f(x):\n    if os.fork() == 0: time.sleep(99)\n    os.wait()",
    "waits for a lock": "import threading\ndef f(x):\n    lock = threading.Lock()\n    lock.acquire()\n    lock.acquire()",
    "destructor": "class D:\n    def __del__(self):\n        while True: pass\ndef f(x):\n    D()\n    return x * x",
    "endless repr": "class R:\n    def __repr__(self):\n        while True: pass\n    __str__ = __repr__\ndef f(x): return R()",
    "endless length": "class L(list):\n    def __iter__(self):\n        while True: yield 9\n    def __len__(self): return 10**9\n"
    "def f(x): return L([x])",
    "source": "f = [" + "0," * 90_000 + "]",
    "nested source": "f = " + "(" * 5_000 + ")" * 5_000,
    "busy with others": "import os\nfor i in range(12):\n    if os.fork() == 0:\n        while True: pass\nimport time\ntime.sleep(99)",
}
DAEMON = """
import os, sys, time
def f(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                open("/tmp/alive", "a").write("x")
                time.sleep(0.01)
        os._exit(0)
    os.wait()
    return x * x
"""
DAEMONS = {
    "daemon": (DAEMON, "correct"),
    "daemon that outlives a crash": (DAEMON.replace("return x * x", "os._exit(0)"), "incorrect"),
    "daemon that ignores signals": (
        DAEMON.replace(
            "while True:",
            "import signal\n            for s in range(1, 65):\n"
            "                try: signal.signal(s, signal.SIG_IGN)\n                except (OSError, ValueError): pass\n            while True:",
        ),
        "correct",
    ),
    "thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=[99]).start()\ndef f(x): return x * x",
        "correct",
    ),
    "stopped child": (
        "import os, signal, time\ndef f(x):\n    pid = os.fork()\n    if pid == 0: time.sleep(99)\n"
        "    os.kill(pid, signal.SIGSTOP)\n    return x * x",
        "correct",
    ),
}
ATTACKS = {
    **{
        name: (source, GOLD, "incorrect")
        for table in (EXITS, OBJECTS, MACHINERY, PROTOCOL, BOMBS)
        for name, source in table.items()
    },
    **{name: (source, GOLD, status) for name, (source, status) in DAEMONS.items()},
}
ANYTHING = (
    "class A:\n    def __init__(self, *a): pass\n    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __bool__ = lambda *a: True\n"
    "    __len__ = __index__ = __int__ = __hash__ = lambda s: 9\n    __iter__ = lambda s: iter([9])\n"
    "    __str__ = __repr__ = lambda s: '9'\n    __getattr__ = lambda s, n: lambda *a: A()\n    __call__ = lambda s, *a: A()\n"
)
TRUSTING = {  # tests that an object would pass by accident, or by its own word
    "truth": "assert f(3)",
    "no truth": "assert not f(3) or f(3)",
    "another": "assert f(3) != 8",
    "not that": "assert not f(3) == 8",
    "in": "assert f(3) in [9]",
    "not in": "assert f(3) not in [8]",
    "holds": "assert 9 in f(3)",
    "less": "assert f(3) < 10",
    "length": "assert len(f(3)) == 9",
    "items": "assert list(f(3)) == [9]",
    "text": "assert str(f(3)) == '9'",
    "formatted": "assert f'{f(3)}' == '9'",
    "key": "assert {9: 1}.get(f(3)) == 1",
    "set": "assert len({f(3), f(4)}) == 1",
    "sorted": "assert sorted([f(3), f(2)])",
    "largest": "assert max(f(3), 8)",
    "sum": "assert sum([f(3)]) == 9",
    "bool": "assert bool(f(3)) is True",
    "any": "assert any(f(x) for x in (1, 2))",
    "all": "assert all(map(f, (1, 2)))",
    "filter": "assert list(filter(f, [1, 2])) == [1, 2]",
    "swallowed": "try:\n    ok = f(3) == 9\nexcept BaseException:\n    ok = True\nassert ok",
    "swallowed truth": "try:\n    ok = bool(f(3))\nexcept BaseException:\n    ok = True\nassert ok",
    "close": "import math\nassert math.isclose(f(3), 9)",
    "attribute": "assert f(3).real == 9",
    "method": "assert f(3).bit_length() == 4",
    "copied": "import copy\nassert copy.deepcopy(f(3)) == 9",
    "integer": "assert int(f(3)) == 9",
    "index": "assert 'abcdefghij'[f(3)] == 'j'",
    "instance": "assert isinstance(f(3), int)",
}
OWN_JUDGES = {  # what the tests use without defining it does not come from the solution
    "isclose": ("def f(x): return 8\ndef isclose(*a, **k): return True", asserts("assert isclose(f(3), 9)")),
    "math": ("class math:\n    isclose = lambda *a: True\ndef f(x): return 8", asserts("assert math.isclose(f(3), 9)")),
    "deepcopy": ("def deepcopy(x): return 8\ndef f(x): return 8", asserts("assert f(deepcopy(3)) == deepcopy(9)")),
    "builtin": ("def all(x): return True\ndef f(x): return 8", asserts("assert all(f(x) == x * x for x in (1, 2))")),
    "helper of the prefix": (
        "    return 8\ndef near(*a): return True",
        asserts("assert near(f(3), 9)", prefix="def near(a, b):\n    return a == b\ndef f(x):\n"),
    ),
    "helper of the tests": (
        "def near(*a): return True\ndef f(x): return 8",
        asserts("def near(a, b):\n    return a == b\nassert near(f(3), 9)"),
    ),
    "constant": ("inf = 8\ndef f(x): return 8", asserts("assert f(3) == inf")),
    "argument that it changes": (
        "def f(x):\n    x.append(9)\n    return 8",
        asserts("x = [9]\nassert f(x) == 8 and x == [9]"),
    ),
    "argument that it hands back": ("def f(x): return x", asserts("x = [9]\nassert f(x) == [9] and f(x) is not x")),
    "inner list that it hands back": (
        "def f(x): return list(x)",
        asserts("x = [[9]]\ny = f(x)\ny[0].append(1)\nassert x == [[9]]"),
    ),
    "changed before it raised": (
        "def f(x):\n    x.clear()\n    raise ValueError",
        asserts("x = [9]\ntry:\n    f(x)\nexcept ValueError:\n    pass\nassert x == [9]"),
    ),
    "tuple argument changed": (
        "def f(x):\n    x[0].append(1)\n    return 9",
        asserts("x = ([3],)\nassert f(x) == 9 and x == ([3],)"),
    ),
    "keyword changed": (
        "def f(x):\n    x.append(1)\n    return 9",
        asserts("x = [3]\nassert f(x=x) == 9 and x == [3]"),
    ),
    "rows that are one": (
        "def f(n): return [[0] * n] * n",
        asserts("g = f(2)\ng[0][0] = 1\nassert g == [[1, 0], [0, 0]]"),
    ),
    "hands back what it took": (
        "def f(x):\n    y = []\n    x.append(y)\n    return y",
        asserts("x = []\nf(x).append(1)\nassert x == [[]]"),
    ),
    "two arguments that are one": (
        "def f(x, y):\n    x.append(1)\n    return len(x)",
        asserts("x = []\nassert f(x, x) == 1 and x == []"),
    ),
    "ordered otherwise": (
        "from collections import OrderedDict\ndef f(x): return OrderedDict(b=1, a=2)",
        asserts("from collections import OrderedDict\nassert f(3) == OrderedDict(a=2, b=1)"),
    ),
    "view of a dict": ("def f(x): return {9: 1}.keys()", asserts("assert f(3) == [9]")),
    "true for one": ("def f(x): return True", calls({"args": [1], "expected": 1})),
    "one for true": ("def f(x): return 1", calls({"args": [1], "expected": True})),
    "nearly an integer": ("def f(x): return 9.0000001", calls({"args": [3], "expected": 9})),
    "nearly a large integer": ("def f(x): return 1e18", calls({"args": [3], "expected": 10**18 + 1})),
    "twice the same": (
        "def f(x): return [[1, 2], [1, 2]]",
        calls({"args": [1], "expected": [[1, 2], [2, 1]]}, compare={"unordered": True}),
    ),
    "object in a list": (f"{ANYTHING}def f(x): return [A()]", calls({"args": [1], "expected": [9]})),
    "object in a dict": (f"{ANYTHING}def f(x): return {{'a': A()}}", calls({"args": [1], "expected": {"a": 9}})),
    "object as a key": (f"{ANYTHING}def f(x): return {{A(): 9}}", calls({"args": [1], "expected": {"9": 9}})),
    "infinite": ("def f(x): return float('inf')", calls({"args": [1], "expected": 1e308})),
    "printed nearly": ("print(1000001)", stdio(("", "1000000\n"), compare={"rel_tol": 1e-5})),
}
STARVED = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def f(x):
    until = time.monotonic() + 1.3
    for i in range(8):
        if os.fork() == 0:
            while time.monotonic() < until: pass
            os._exit(0)
    while True: pass
"""
BUSY = "import time\ndef busy():\n    while time.process_time() < 0.3: pass\n    return 8\n"
UNDECIDED = {  # ways to go without a score: none where the answer is wrong
    "no time at all": (
        f"import resource\n{BUSY}def f(x):\n    try: resource.setrlimit(resource.RLIMIT_CPU, (0, 0))\n    except ValueError: pass\n"
        "    return busy()",
        GOLD,
    ),
    "no time at all, by number": (
        f"import ctypes\n{BUSY}def f(x):\n    ctypes.CDLL(None).syscall(160, 0, (ctypes.c_long * 2)())\n"
        "    ctypes.CDLL(None).prlimit(0, 0, (ctypes.c_long * 2)(), None)\n    return busy()",
        GOLD,
    ),
    "starved by its own": (STARVED, GOLD),
    "tests that count to it": ("def f(x): return 10**12", asserts("for i in range(f(3)): pass", "assert f(3) == 9")),
    "tests that wait for it": ("def f(x): return 10**6", asserts("import time\ntime.sleep(f(3))\nassert f(3) == 9")),
    "tests that search it": (
        "def f(x): return 'a' * 60 + 'b'",
        asserts("import re", "text = f(3)", "assert re.fullmatch('(a+)+', text)"),
    ),
    "tests that use a constant of it": (
        "N = 10**12\ndef f(x): return 9",
        asserts("for i in range(N): pass", "assert f(3) == 9"),
    ),
    "tests that use up memory for it": ("def f(x): return 10**12", asserts("assert len([0] * f(3)) == 9")),
    "tests that end with it": (
        "def f(x): return 0",
        asserts("import sys", "if f(3) == 0: sys.exit(f(3))\nassert f(3) == 9"),
    ),
    "function for a list": ("def C(): pass\ndef f(x): return 8", asserts("assert len(C) == 3 and f(3) == 9")),
    "text for a list": ("C = 5\ndef f(x): return 8", asserts("assert len(C) == 3 and f(3) == 9")),
}
EMPTY = {  # nothing is looked at where there is nothing
    "pairs": "assert all(a == b for a, b in zip(f(3), [9, 9]))",
    "loop": "for a, b in zip(f(3), [9]): assert a == b",
    "array": "import numpy as np\nassert (np.array(f(3)) == 9).all()",
    "sum of an array": "import numpy as np\nassert np.abs(np.array(f(3)) - 9).sum() < 1e-6",
    "items": "for x in f(3): assert x > 8",
}
NO_NUMBER = {"difference": "assert not abs(f(3) - 9) > 1e-6", "largest": "assert max(0, f(3) - 9) < 1e-6"}
REFERENCE = "def ref(x): return min(x) if x else None\ndef check(c):\n    for x in ([3, 1], [2]):\n        assert c(x) == ref(x)"
BY_ARGUMENT = {  # tests that compute what they expect from an argument, after the call
    "emptied": ("def f(x):\n    x.clear()\n    return []", asserts("x = [3, 1]\nassert f(x) == sorted(x)")),
    "emptied and returned": ("def f(x):\n    x.clear()\n    return x", asserts("x = [3, 1]\nassert f(x) == sorted(x)")),
    "emptied by keyword": ("def f(x):\n    x.clear()\n    return 0", asserts("x = [3, 1]\nassert f(x=x) == len(x)")),
    "inside": ("def f(x):\n    x[0].clear()\n    return 0", asserts("x = [[3, 1]]\nassert f(x) == len(x[0])")),
    "emptied later": ("def f(x):\n    x.clear()\n    return 0", asserts("x = {3: 1}\nn = f(x)\nassert n == len(x)")),
    "and nothing returned": (
        "def f(x): x.clear()",
        json.dumps({"kind": "check", "entry_point": "f", "test": REFERENCE}),
    ),
    "and an exception": (
        "def f(x):\n    x.clear()\n    raise ValueError",
        asserts("x = [3, 1]\ntry: r = f(x)\nexcept ValueError: r = []\nassert r == sorted(x)"),
    ),
    "and told from nothing first": (
        "def f(x):\n    x.clear()\n    return 0",
        asserts("x = [3, 1]\nassert f(x) is not None\nassert f(x) == len(x)"),
    ),
    "after the call": (
        "import threading\ndef f(x):\n    threading.Timer(0.01, x.clear).start()\n    return 0",
        asserts("import time\nx = [3, 1]\nr = f(x)\ntime.sleep(0.1)\nassert r == len(x)"),
    ),
    "only when it is looked at": (
        "n = 0\ndef f(x):\n    global n\n    n += 1\n    if n > 1: return 2\n    x.clear()\n    return 0",
        asserts("x = [3, 1]\nassert f(x) == len(x)"),
    ),
    "by a method": (
        "class S:\n    def f(self, x):\n        x.clear()\n        return 0",
        asserts("x = [3, 1]\nassert S().f(x) == len(x)"),
    ),
}
CAUGHT = {  # exceptions of the solution that catch those of the tests
    "AssertionError": "Low = AssertionError\ndef f(x): return 8",
    "Exception": "Low = Exception\ndef f(x): return 8",
    "BaseException": "Low = BaseException\ndef f(x): return 8",
    "catches all": "class M(type):\n    __instancecheck__ = __subclasscheck__ = lambda *a: True\n"
    "class Low(Exception, metaclass=M): pass\ndef f(x): return 8",
    "no class": "Low = 5\ndef f(x): return 8",
    "tuple": "Low = (AssertionError, Exception)\ndef f(x): return 8",
    "function that is one": "class Low(Exception): pass\nclass f(Exception): pass",
}
PROGRAMS = {
    "nothing": ("pass", "incorrect"),
    "exit 0": ("import os\nos._exit(0)", "incorrect"),
    "right and exit 1": ("print(int(input()) ** 2)\nraise SystemExit(1)", "incorrect"),
    "right and an error": ("print(int(input()) ** 2)\n1 / 0", "incorrect"),
    "right and killed": ("import os\nprint(int(input()) ** 2, flush=True)\nos.abort()", "incorrect"),
    "right and more": ("print(int(input()) ** 2)\nprint(1)", "incorrect"),
    "right at exit": ("import atexit\natexit.register(lambda: print(int(input()) ** 2))", "correct"),
    "right in a thread": (
        "import threading\nthreading.Thread(target=lambda: print(int(input()) ** 2)).start()",
        "correct",
    ),
    "right on another descriptor": (
        "import os\nfor fd in range(2, 64):\n    try: os.write(fd, b'9\\n')\n    except OSError: pass",
        "incorrect",
    ),
    "verdict": ('print(\'["passed", ""]\')', "incorrect"),
    "both": ("x = int(input())\nfor i in range(99): print(i)", "incorrect"),
    "binary": ("import sys\nsys.stdout.buffer.write(bytes(range(256)))", "incorrect"),
    "endless": ("while True: print('x' * 1000)", "incorrect"),
    "endless without a newline": ("import os\nwhile True: os.write(1, b'9' * 65536)", "incorrect"),
    "child holds the output": (
        "import os, time\nprint(int(input()) ** 2, flush=True)\nif os.fork() == 0: time.sleep(99)",
        "correct",
    ),
    "closes the output and stays": (
        "import os, time\nprint(int(input()) ** 2, flush=True)\nos.close(1)\ntime.sleep(99)",
        "incorrect",
    ),
    "waits": ("import time\ntime.sleep(99)", "incorrect"),
    "remembers": ("import os\nn = len(os.listdir('/tmp'))\nopen(f'/tmp/{n}', 'w')\nprint([9, 16][n])", "incorrect"),
    "memory, with something to say": (
        "import os, time\nfor i in range(12):\n    if os.fork() == 0:\n        held = bytearray(400_000_000)\n"
        "        for i in range(0, len(held), 4096): held[i] = 1\n        time.sleep(9)\n"
        "while True:\n    print(1, flush=True)\n    time.sleep(0.01)",
        "incorrect",
    ),
    "right and closed": ("import sys\nprint(int(input()) ** 2)\nsys.stdout.close()", "correct"),
    "right and without output": (
        "import sys\nprint(int(input()) ** 2, flush=True)\nsys.stdout = None",
        "correct",
    ),
    "twice": (
        "import os\nx = int(input())\npid = os.fork()\nprint(x * x, flush=True)\nif pid: os.wait()",
        "incorrect",
    ),
    "exit with an error": ("print(int(input()) ** 2)\nexit(1)", "incorrect"),
    "output as a file": ("import os\nos.unlink('/dev/stdout')", "incorrect"),
}


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(1) as made:
        made.verify([Task("code", "def f(x): return x * x", GOLD)])
        yield made


def descendants():
    """Return the processes below this one that are alive, but for that of the tests, which stays for the next solution."""
    found, waiting = set(), [os.getpid()]
    while waiting:
        parent = waiting.pop()
        for task in Path(f"/proc/{parent}/task").glob("*"):
            try:
                children = [int(pid) for pid in (task / "children").read_text().split()]
                waiting += children
                if is_zygote_of_tests(parent) and len(children) == 1:
                    continue
                states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in children]
            except OSError:
                continue
            found.update(pid for pid, state in zip(children, states, strict=True) if state != "Z")
    return found


def is_zygote_of_tests(pid):
    above = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    line = Path(f"/proc/{pid}/cmdline").read_text()
    return line.endswith("tester\0") and Path(f"/proc/{above}/cmdline").read_text().startswith(shutil.which("bwrap"))


def left_over(before):
    """Return the processes that are there now, were not before, and do not end within two seconds."""
    deadline = time.monotonic() + 2
    while (more := descendants() - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return more


def files():
    return {path.name for folder in ("/tmp", "/dev/shm") for path in Path(folder).glob("*")}


def attack(pool, source, gold, budget_s=20.0):
    before, held = descendants(), files()
    for _ in range(4):  # a machine that is busy with something else may leave a loop without a processor
        started = time.monotonic()
        (verdict,) = pool.verify([Task("code", source, gold, budget_s=budget_s)])
        assert time.monotonic() - started < budget_s + 1
        assert not left_over(before)
        if not verdict.detail.startswith("undecided: within"):
            break
    mine = {name for name in files() - held if "alive" in name or (name.startswith("preppo-") and len(name) == 15)}
    assert not mine
    return verdict


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(pool, name):
    source, gold, status = ATTACKS[name]
    verdict = attack(pool, source, gold)
    assert verdict.status.value == status, verdict.detail


def test_a_solution_that_answers_for_itself_as_it_should_is_none_of_these(pool):
    assert attack(pool, forged("answer(ok=x * x)"), GOLD).status.value == "correct"


@pytest.mark.parametrize("name", TRUSTING)
@pytest.mark.parametrize("source", [f"{ANYTHING}def f(x): return A()", f"{ANYTHING}f = A()", f"{ANYTHING}f = A"])
def test_no_test_takes_the_word_of_an_object(pool, name, source):
    verdict = attack(pool, source, asserts(TRUSTING[name]))
    assert verdict.status.value == "incorrect", verdict.detail


@pytest.mark.parametrize("name", OWN_JUDGES)
def test_a_solution_is_not_its_own_judge(pool, name):
    source, gold = OWN_JUDGES[name]
    verdict = attack(pool, source, gold)
    assert verdict.status.value == "incorrect", verdict.detail


@pytest.mark.parametrize("name", UNDECIDED)
def test_no_wrong_answer_goes_without_a_score(pool, name):
    source, gold = UNDECIDED[name]
    verdict = attack(pool, source, gold, budget_s=8.0)
    assert verdict.status.value == "incorrect", verdict.detail


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("value", ["[]", "()", "iter([])", "range(0)", "[[], ()]", "{}.keys()"])
def test_nothing_is_no_answer(pool, name, value):
    verdict = attack(pool, f"def f(x): return {value}", asserts(EMPTY[name]))
    assert verdict.status.value == "incorrect", verdict.detail


@pytest.mark.parametrize("name", NO_NUMBER)
@pytest.mark.parametrize("value", ["float('nan')", "__import__('numpy').float64('nan')"])
def test_what_is_no_number_is_no_answer(pool, name, value):
    verdict = attack(pool, f"def f(x): return {value}", asserts(NO_NUMBER[name]))
    assert verdict.status.value == "incorrect", verdict.detail


@pytest.mark.parametrize("name", BY_ARGUMENT)
def test_no_expectation_follows_what_the_solution_did_to_an_argument(pool, name):
    source, gold = BY_ARGUMENT[name]
    verdict = attack(pool, source, gold)
    assert verdict.status.value == "incorrect", verdict.detail


@pytest.mark.parametrize("name", CAUGHT)
def test_no_exception_of_the_solution_catches_one_of_the_tests(pool, name):
    gold = asserts("try:\n    assert f(3) == 9\n    raise ValueError\nexcept Low:\n    pass", "assert f(3)")
    verdict = attack(pool, CAUGHT[name], gold)
    assert verdict.status.value == "incorrect", verdict.detail


@pytest.mark.parametrize("name", PROGRAMS)
def test_program(pool, name):
    source, status = PROGRAMS[name]
    verdict = attack(pool, source, stdio(("3\n", "9\n"), ("4\n", "16\n")))
    assert verdict.status.value == status, verdict.detail


def test_the_pool_is_as_good_as_new_afterwards(pool):
    (verdict,) = pool.verify([Task("code", "def f(x): return x * x", GOLD)])
    assert verdict.status.value == "correct"


# --- what the solution can find out -------------------------------------------------------------------------------

SEARCH = """
import ctypes, gc, os, re, sys
PATTERN = re.compile(b"CAN" + b"ARY-[0-9a-f]{32}")
libc = ctypes.CDLL(None)
libc.write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]


def memory():
    "Yield all memory near anything known: what cannot be read fails in write(2), and not here."
    anchors = [id(object()), id(sys), id(int), id([]), libc.sbrk(0) & (1 << 47) - 1]
    anchors += [ctypes.cast(libc.write, ctypes.c_void_p).value, id(b"x" * 10**6), id(sys._getframe())]
    anchors += [id(o) for o in gc.get_objects()[::200]]
    libc.environ = None
    read, write = os.pipe()
    seen = set()
    for anchor in anchors:
        for step in range(-2048, 2048):
            page = (anchor >> 12) + step
            if page in seen or page <= 0:
                continue
            seen.add(page)
            if libc.write(write, page << 12, 4096) == 4096:
                yield os.read(read, 4096)


def elsewhere():
    "Yield what is in files, in the environment and behind descriptors."
    yield repr(os.environ).encode()
    yield repr(sys.argv).encode()
    for folder in ("/sandbox", "/tmp", "/proc", "/dev", "/etc", "/run", "/var", "/home", "/root", "/work", os.getcwd()):
        for parent, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(parent, name)
                if os.path.isfile(path) and not parent.startswith("/sandbox/site"):
                    try:
                        yield open(path, "rb").read()
                    except OSError:
                        pass
    for fd in range(64):
        try:
            yield os.pread(fd, 10**6, 0)
        except OSError:
            pass


def f(x):
    rest = b""
    for chunk in memory():
        for found in PATTERN.findall(rest + chunk):
            return found.decode()
        rest = chunk[-64:]
    for chunk in elsewhere():
        for found in PATTERN.findall(chunk):
            return found.decode()
    return "nothing"
"""


def canary():
    return f"CANARY-{secrets.token_hex(16)}"


@pytest.mark.parametrize("form", ["asserts", "check", "calls", "setup", "stdio"])
def test_nothing_of_the_tests_is_in_reach(pool, form):
    secret = canary()
    gold = {
        "asserts": asserts(f"assert f(3) == {secret!r}", time_s=8),
        "check": json.dumps(
            {"kind": "check", "entry_point": "f", "test": f"def check(c):\n    assert c(3) == {secret!r}", "time_s": 8}
        ),
        "calls": calls({"args": [3], "expected": secret}, time_s=8),
        "setup": asserts("assert f(3) == SECRET", setup=f"SECRET = {secret!r}", time_s=8),
        "stdio": stdio(("3\n", f"{secret}\n"), time_s=8),
    }[form]
    verdict = attack(pool, SEARCH + ("\nprint(f(3))" if form == "stdio" else ""), gold, budget_s=60)
    assert verdict.status.value == "incorrect"
    assert "another" in verdict.detail or "assertion" in verdict.detail or "other output" in verdict.detail, (
        verdict.detail
    )


def test_the_search_finds_what_is_there(pool):
    secret = canary()
    gold = asserts(
        f"held = f.__call__\nassert f.__name__ == 'f'\nassert g({secret!r}) is None\nassert f(3) == {secret!r}",
        time_s=8,
    )
    source = SEARCH + "\nheld = []\ndef g(x): held.append(x)\n"
    assert attack(pool, source, gold.replace("held = f.__call__\\n", ""), budget_s=60).status.value == "correct"


def test_what_is_asked_is_all_that_arrives(pool):
    source = (
        f"{SERVER}\nlines = []\nfor_line = server.requests\nclass Tap:\n    def __iter__(self):\n        for line in for_line:\n"
        "            lines.append(line.decode())\n            yield line\n"
        "def f(x):\n    import gc\n    return 9\n"
    )
    secret = canary()
    verdict = attack(pool, source, asserts(f"assert f(3) == 9\nassert f(4) != {secret!r}"))
    assert verdict.status.value == "correct"


# --- one solution and the next ------------------------------------------------------------------------------------

LEAVE = """
import builtins, ctypes, json, os, random, socket, sys, tempfile, threading
def attempt(what, *args):
    try:
        what(*args)
    except Exception:
        pass
def put(path):
    with open(path, "w") as file:
        file.write("note")
for folder in ("/tmp", "/dev/shm", "/dev", "/sandbox", "/sandbox/site", "/sandbox/nothing", "/sandbox/fd", "/", "/usr", "/etc", "/var", "/proc"):
    attempt(put, f"{folder}/note")
attempt(os.symlink, "/etc/passwd", "/tmp/link")
listener = socket.socket(socket.AF_UNIX)
attempt(listener.bind, "\\0note")
attempt(listener.listen)
other = socket.socket(socket.AF_UNIX)
attempt(other.bind, "/tmp/socket")
libc = ctypes.CDLL(None)
libc.shmget(4711, 4096, 0o1777), libc.semget(4711, 1, 0o1777), libc.msgget(4711, 0o1777)
libc.shm_open(b"/note", 0o102, 0o777), libc.mq_open(b"/note", 0o102, 0o777, None), libc.sem_open(b"/note", 0o100, 0o777, 1)
libc.syscall(248, b"user", b"note", b"note", 4, -3)
os.environ["NOTE"] = builtins.note = sys.note = json.note = "note"
random.seed(4711)
sys.setrecursionlimit(500)
def f(x): return x * x
"""
FIND = """
import builtins, ctypes, json, os, random, socket, sys
found = []
for folder in ("/tmp", "/dev/shm", "/dev", "/sandbox", "/sandbox/site", "/sandbox/nothing", "/sandbox/fd", "/", "/usr", "/etc", "/var", "/proc"):
    for name in ("note", "link", "socket"):
        if os.path.lexists(f"{folder}/{name}"): found.append(f"{folder}/{name}")
found += [name for name in ("NOTE",) if name in os.environ]
found += [module.__name__ for module in (builtins, sys, json) if hasattr(module, "note")]
client = socket.socket(socket.AF_UNIX)
if client.connect_ex("\\0note") == 0: found.append("socket")
libc = ctypes.CDLL(None)
for name, number in (("shm", libc.shmget(4711, 0, 0)), ("sem", libc.semget(4711, 0, 0)), ("msg", libc.msgget(4711, 0))):
    if number != -1: found.append(name)
if libc.shm_open(b"/note", 0, 0) != -1: found.append("posix shm")
if libc.syscall(250, 10, -3, b"user", b"note", 0) != -1: found.append("key")
if os.listdir("/tmp"): found.append("files")
if sys.getrecursionlimit() != 1000: found.append("recursion limit")
first = random.random()
def f(x): return [found, first]
"""


def test_two_solutions_cannot_communicate(pool):
    seen = []
    for _ in range(3):
        assert attack(pool, LEAVE, GOLD).status.value == "correct"
        verdict = attack(pool, FIND, calls({"args": [3], "expected": [[], 0.8444218515250481]}))
        seen.append((verdict.status.value, verdict.detail))
    assert seen == [("correct", "1 calls")] * 3


def test_two_solutions_at_the_same_time_cannot_communicate():
    wait = "\nimport time\ntime.sleep(0.3)\n"
    gold = calls({"args": [3], "expected": [[], 0.8444218515250481]})
    with VerifierPool(2) as two:
        tasks = [Task("code", source, gold) for source in (LEAVE + wait, FIND, wait + FIND, LEAVE + wait + wait)]
        verdicts = two.verify(tasks * 2)
    assert [v.status.value for v in verdicts] == ["incorrect", "correct", "correct", "incorrect"] * 2
