"""benchmarks/gpu_decoding.py as it is, with a tiny model on the CPU; and what it says where no GPU is."""

import json

import pytest

from benchmarks import gpu_decoding

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
# The sizes of the nursery: what is compiled is then what other tests compile, and on disk already.
TINY = "--device cpu --hidden 128 --layers 4 --intermediate 384 --batch 1 3 --prompt 8 --new 6 --rounds 1"


def test_a_tiny_model_on_the_cpu(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu_decoding, "RESULTS", tmp_path)
    assert gpu_decoding.main([*TINY.split(), "--bandwidth-mib", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert [(r["engine"], r["batch"]) for r in rows] == [(e, b) for e in ("plain", "compiled") for b in (1, 3)]
    assert all(r["step_s"] > 0 and r["share"] == r["tokens_per_s"] / r["bound"] for r in rows)
    assert len([line for line in lines if line.startswith(("| 1 |", "| 3 |"))]) == len(rows)
    assert "Compilations: 1." in "\n".join(lines)
    assert not list(tmp_path.iterdir())  # only a GPU is reported on


def test_the_bound(monkeypatch):
    options = gpu_decoding.arguments([*TINY.split(), "--bandwidth-mib", "1"])
    monkeypatch.setattr(gpu_decoding, "measure", lambda *_: {"step_s": 0.5, "first_run_s": 1.0, "peak_bytes": 0})
    monkeypatch.setattr(gpu_decoding, "bandwidth", lambda *_: {"copy": 2e9, "sum": 1e9})
    found = gpu_decoding.run(options, gpu_decoding.torch.device("cpu"))
    matrices = 4 * (4 * 128 * 128 + 3 * 128 * 384) + 512 * 128
    norms = (2 * 4 + 1) * 128
    assert found["parameters"] == matrices + norms
    cache = (8 + 6 / 2) * 2 * 4 * 128 * 4  # positions, keys and values, layers, hidden, bytes
    for row in found["rows"]:
        assert row["bound"] == pytest.approx(row["batch"] * 2e9 / (4 * (matrices + norms) + row["batch"] * cache))
        assert row["share"] == pytest.approx(row["batch"] / 0.5 / row["bound"])


@pytest.mark.parametrize(
    ("gpus", "code", "said"),
    [([], 0, "No NVIDIA GPU here: nothing to check."), (["GPU 0: X"], 1, "NVIDIA GPU found (GPU 0: X), but torch ")],
)
def test_without_a_gpu_one_line_says_so(monkeypatch, capsys, gpus, code, said):
    monkeypatch.setattr(gpu_decoding, "usable", lambda: False)
    monkeypatch.setattr(gpu_decoding, "visible_gpus", lambda: gpus)
    assert gpu_decoding.main([]) == code
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(said)


def test_a_driver_without_a_gpu_is_none(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_decoding.visible_gpus() == []
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA Some Card (UUID: GPU-1)'\n")
    program.chmod(0o755)
    assert gpu_decoding.visible_gpus() == ["GPU 0: NVIDIA Some Card"]
    program.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    assert gpu_decoding.visible_gpus() == []


def test_sizes_beyond_the_context_are_refused(capsys):
    with pytest.raises(SystemExit):
        gpu_decoding.main(["--prompt", "1000", "--new", "100"])
    assert "1024 at most together" in capsys.readouterr().err
