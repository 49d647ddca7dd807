"""The device that tests on a GPU run on, and the numbers that they measured, told at the end."""

import pytest
import torch

from tests.gpu.world import DEVICE, ON_GPU

MEASURED = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def device():
    """Skip where the device is not there."""
    if ON_GPU and not torch.cuda.is_available():
        pytest.skip("torch sees no NVIDIA GPU here (PREPPO_GPU_TESTS_DEVICE=cpu runs these tests on the CPU)")
    return torch.device(DEVICE)


@pytest.fixture
def note(request):
    """Return a function that keeps what a test measured, whether it passes or not."""
    kept = request.config.stash.setdefault(MEASURED, [])

    def keep(**values):
        told = (f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())
        kept.append(f"{request.node.name}: {', '.join(told)}")

    return keep


def pytest_terminal_summary(terminalreporter, config):
    kept = config.stash.get(MEASURED, [])
    if kept:
        name = torch.cuda.get_device_name(0) if ON_GPU else "the CPU"
        terminalreporter.section(f"measured on {name}, torch {torch.__version__}")
        for line in kept:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def cpu_engine():
    """The reference: the engine in fp32 on the CPU."""
    from tests.gpu.world import engine

    return engine(device="cpu")
