"""A mistake in the settings is one line that names the key, the value and what is allowed."""

import pytest

from warehouse.settings import Settings, SettingsError, load_settings, outcome_hash


def write(tmp_path, text):
    file = tmp_path / "preppo.toml"
    file.write_text(text)
    return file


SOURCE = '[[source]]\nname = "a"\npath = "a.jsonl"\nprompt = "q"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[policy]\nsampels = 3", r"unknown key `policy.sampels` \(value 3\); allowed here: .*samples"),
        ("[policy]\nsamples = 0", r"`policy.samples` = 0: .*greater than or equal to 1"),
        ('[selection]\nrule = "hard"', r"`selection.rule` = \"hard\": .*'pre_ppo'"),
        (SOURCE + 'pool = "test"', r"`source.0.pool` = \"test\": .*'original', 'new' or 'eval'"),
        (SOURCE + 'ground_truth = { column = "a", extrat = "x" }', r"unknown key `source.0.ground_truth.extrat`"),
        (SOURCE + SOURCE, "two .*source.* are named 'a'"),
        ('[[source]]\nname = "a"\nprompt = "q"', "exactly one of `path`"),
        ('[[rollouts]]\nname = "r"\npath = "x"\nkey = "k"\nresponse = "r"\nsource = "nope"', "'nope' is not the name"),
        ("[policy\n", "not valid TOML"),
        ('[ingest]\nevaluation_sets = [{ name = "x" }]', "exactly one of `path` and `source`"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        load_settings(write(tmp_path, text), {})


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(SettingsError) as caught:
        load_settings(write(tmp_path, "[policy]\nsamples = 0\ntop_p = 2"), {})
    assert len(str(caught.value).splitlines()) == 2


def test_the_environment_overrules_the_file(tmp_path):
    file = write(tmp_path, "[policy]\nsamples = 4")
    loaded = load_settings(file, {"PREPPO__POLICY__SAMPLES": "16", "PREPPO__POLICY__MODEL": "some/model"})
    assert (loaded.settings.policy.samples, loaded.settings.policy.model) == (16, "some/model")
    with pytest.raises(SettingsError, match=r"environment.*`policy.samples`|`policy.samples`"):
        load_settings(file, {"PREPPO__POLICY__SAMPLES": "many"})


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(SettingsError, match="no such settings file; `preppo init`"):
        load_settings(tmp_path / "none.toml", {})


def test_settings_cannot_change():
    with pytest.raises(ValueError, match="frozen"):
        Settings().policy.samples = 3


def test_only_what_decides_an_outcome_is_hashed():
    base = Settings()
    moved = Settings.model_validate({"engine": {"workers": 7}, "policy": {"batch_size": 3, "device": "cuda"}})
    other = Settings.model_validate({"policy": {"seed": 1}})
    assert outcome_hash(base) == outcome_hash(moved) != outcome_hash(other)
