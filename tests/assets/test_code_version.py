"""A code version changes with the code, and not with its layout."""

import pytest

from assets import code_version as module
from assets.code_version import code_version
from assets.discovery import BATCH_STAGES, CORPUS_STAGES


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "warehouse" / "__init__.py").write_text("")
    (tmp_path / "warehouse" / "helper.py").write_text("def f(x):\n    return x + 1\n")
    (tmp_path / "warehouse" / "stage.py").write_text("def g():\n    from warehouse.helper import f\n    return f(1)\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def version():
        for cached in (module.code_version, module._read):
            cached.cache_clear()
        return code_version("warehouse.stage")

    yield tmp_path, version
    monkeypatch.undo()
    version_caches = (module.code_version, module._read)
    for cached in version_caches:
        cached.cache_clear()


def test_comments_and_docstrings_do_not_count(project):
    folder, version = project
    before = version()
    (folder / "warehouse" / "helper.py").write_text(
        '"""New."""\n\n\ndef f(x):\n    """Add."""\n    return (x + 1)  # one\n'
    )
    assert version() == before


def test_a_change_in_what_is_imported_counts(project):
    folder, version = project
    before = version()
    (folder / "warehouse" / "helper.py").write_text("def f(x):\n    return x + 2\n")
    assert version() != before


def test_every_stage_has_a_version_of_its_own():
    versions = [s.code_version for s in (*BATCH_STAGES, *CORPUS_STAGES)]
    assert len(set(versions)) == len(versions)


def test_an_unknown_module_is_refused():
    with pytest.raises(ModuleNotFoundError, match="cannot be told"):
        code_version("warehouse.nothing_here")
