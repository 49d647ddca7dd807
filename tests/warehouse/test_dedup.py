"""Duplicates and the split, against a brute-force reading of the rules."""

import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.curation import dedup, neighbours
from warehouse.curation.dedup import bands_of, is_heldout, resolve
from warehouse.curation.identity import gold_hash, prompt_id
from warehouse.curation.minhash import Bands, band_keys, choose_bands, from_bytes, signatures, to_bytes
from warehouse.schemas import SIGNATURES
from warehouse.settings import IngestSettings

NOTHING_EARLIER = pl.LazyFrame(schema=SIGNATURES.columns)


def jaccard_texts(similarity, shingles, rng):
    """Two texts of `shingles` word triples each, of which the shared part gives this Jaccard index."""
    shared = round(2 * shingles * similarity / (1 + similarity))
    words = [f"w{rng.getrandbits(40)}" for _ in range(shared + 2)]
    ends = [[f"w{rng.getrandbits(40)}" for _ in range(shingles - shared)] for _ in range(2)]
    return [" ".join(words + end) for end in ends]


@pytest.mark.parametrize("similarity", [0.4, 0.6, 0.8, 0.95])
def test_signatures_estimate_jaccard_without_bias(similarity):
    rng = random.Random(1)
    pairs = [jaccard_texts(similarity, 160, rng) for _ in range(400)]
    one = signatures([a for a, _ in pairs], shingle_words=3, size=128)
    two = signatures([b for _, b in pairs], shingle_words=3, size=128)
    estimates = (one == two).mean(axis=1)
    assert estimates.mean() == pytest.approx(similarity, abs=0.01)
    assert estimates.std() <= 0.05


@pytest.mark.parametrize(("near", "neighbour"), [(0.8, 0.6), (0.9, 0.8), (0.5, 0.5), (1.0, 1.0)])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_bands_find_what_they_promise(size, near, neighbour):
    bands = choose_bands(size, near, neighbour)
    assert bands.rows * bands.count <= size
    assert bands.recall(near) >= 0.99
    assert bands.recall(neighbour) >= 0.98


def test_band_recall_is_the_curve_in_the_docstring():
    rng = random.Random(2)
    bands = Bands(4, 32)
    for similarity in (0.3, 0.5, 0.6):
        pairs = [jaccard_texts(similarity, 160, rng) for _ in range(1000)]
        one, two = (band_keys(signatures([p[i] for p in pairs], shingle_words=3, size=128), bands) for i in (0, 1))
        met = (one == two).any(axis=1).mean()
        assert met == pytest.approx(bands.recall(similarity), abs=0.06)
    assert bands.recall(0.6) == pytest.approx(0.988, abs=5e-4)


def test_band_keys_of_a_part_are_a_part_of_the_keys():
    found = signatures(["a b c d e", "f g h"], shingle_words=2, size=128)
    whole = band_keys(found, Bands(4, 32))
    assert whole.shape == (2, 32)
    assert np.array_equal(band_keys(found, Bands(4, 32), 5, 7), whole[:, 5:12])
    assert len(np.unique(whole)) == whole.size


def test_signatures_are_stored_and_read_back():
    found = signatures(["a b c d e", "", "x"], shingle_words=3, size=64)
    assert np.array_equal(from_bytes(to_bytes(found), 64), found)
    with pytest.raises(ValueError, match=r"signatures of \[64\] places, ingest.signature_size is 128"):
        from_bytes(to_bytes(found), 128)


def test_short_texts_are_near_only_when_the_same():
    texts = ["2 + 2", "2 - 2", "2  + 2\n", "Hello", "hello", "???", "!!!", "漢", "字"]
    found = signatures(texts, shingle_words=3, size=64)
    same = {(i, j) for i in range(9) for j in range(i) if (found[i] == found[j]).all()}
    assert same == {(2, 0), (4, 3)}


def test_signatures_do_not_depend_on_the_company():
    rng = random.Random(3)
    texts = [" ".join(rng.choices("abcdefgh", k=rng.randrange(8))) for _ in range(1200)]
    whole = signatures(texts, shingle_words=3, size=64)
    assert np.array_equal(whole[700:703], signatures(texts[700:703], shingle_words=3, size=64))


VOCABULARY = [f"word{i}" for i in range(400)]


@st.composite
def batches(draw):
    """Rows (text, gold, pool): some texts are copies of earlier ones, whole or with words changed."""
    rng = random.Random(draw(st.integers(0, 10**9)))
    rows = []
    for _ in range(draw(st.integers(1, 40))):
        kind = rng.random()
        if rows and kind < 0.75:
            words = rng.choice(rows)[0].split()
            for _ in range(rng.choice([0, 0, 1, 1, 2, 3, 5, 8])):
                words[rng.randrange(len(words))] = rng.choice(VOCABULARY)
        else:
            words = rng.choices(VOCABULARY, k=rng.randrange(1, 80))
        rows.append(
            (" ".join(words), rng.choice([None, None, "7", "8"]), rng.choice(["new", "new", "original", "eval"]))
        )
    return rows


def frame(rows):
    return pl.DataFrame(
        {
            "prompt_id": [prompt_id([("user", t)]) for t, _, _ in rows],
            "gold_hash": [gold_hash(g) for _, g, _ in rows],
            "pool": [p for *_, p in rows],
        },
        schema_overrides={"prompt_id": pl.String, "gold_hash": pl.String, "pool": pl.String},
    )


def run(rows, config, work, earlier=NOTHING_EARLIER):
    index = frame(rows)
    found = signatures([t for t, _, _ in rows], shingle_words=config.shingle_words, size=config.signature_size)
    fates = resolve(index, found, earlier, config, work)
    stored = pl.DataFrame(
        {
            "prompt_id": index["prompt_id"],
            "split": fates["split"],
            "gold_hash": index["gold_hash"],
            "bands": band_keys(found, bands_of(config)).tolist(),
            "signature": to_bytes(found),
        },
        schema_overrides={"bands": pl.List(pl.Int64), "signature": pl.Binary},
    )
    return pl.concat([index, fates], how="horizontal"), stored.filter((fates["outcome"] == "kept").to_list())


def brute_force(rows, config):
    """Read the rules row by row over all pairs; return (outcome, reason_code, split) of each row."""
    ids = [prompt_id([("user", t)]) for t, _, _ in rows]
    found = signatures([t for t, _, _ in rows], shingle_words=config.shingle_words, size=config.signature_size)
    keys = band_keys(found, bands_of(config))
    fates = [None] * len(rows)
    for i, (_, gold, pool) in enumerate(rows):
        copies = [j for j in range(len(rows)) if ids[j] == ids[i] and (rows[j][2] == "eval") == (pool == "eval")]
        winner = min(copies, key=lambda j: (rows[j][1] is None, j))
        if pool != "eval" and any(ids[j] == ids[i] and rows[j][2] == "eval" for j in range(len(rows))):
            fates[i] = ("duplicate", "evaluation_prompt", None)
        elif winner != i:
            differs = None not in (gold, rows[winner][1]) and gold != rows[winner][1]
            fates[i] = ("duplicate", "gold_conflict" if differs else "duplicate", None)
        elif pool == "eval":
            fates[i] = ("kept", None, "eval")
    for i, (_, gold, _) in enumerate(rows):
        if fates[i] is not None:
            continue
        similar = [
            (j, (found[i] == found[j]).mean())
            for j in range(i)
            if fates[j][2] in ("train", "heldout") and (keys[i] == keys[j]).any()
        ]
        near = [
            j
            for j, s in similar
            if s >= config.near_duplicate_threshold
            and (config.near_duplicate_golds == "ignore" or None in (gold, rows[j][1]) or gold == rows[j][1])
        ]
        splits = {fates[j][2] for j, s in similar if s >= config.heldout_neighbour_threshold}
        if near:
            fates[i] = ("near_duplicate", "near_duplicate", None)
        elif len(splits) == 2:
            fates[i] = ("near_duplicate", "split_conflict", None)
        else:
            own = "heldout" if is_heldout(ids[i], config.heldout_share) else "train"
            fates[i] = ("kept", None, splits.pop() if splits else own)
    return fates


@settings(max_examples=120, deadline=None)
@given(batches(), st.sampled_from(["differ", "ignore"]), st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([3, 256]))
def test_fates_are_those_of_the_rules(tmp_path_factory, rows, golds, share, block):
    config = IngestSettings(near_duplicate_golds=golds, heldout_share=share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "BLOCK_ROWS", block)
        patch.setattr(dedup, "_KEYS_AT_ONCE", block)
        found, _ = run(rows, config, tmp_path_factory.mktemp("x"))
    assert list(found.select("outcome", "reason_code", "split").iter_rows()) == brute_force(rows, config)


@settings(max_examples=80, deadline=None)
@given(batches(), st.data())
def test_a_batch_after_another_is_as_one_batch(tmp_path_factory, rows, data):
    # Golds and the eval pool make order matter (the copy with a gold wins inside a batch); without them nothing does.
    rows = [(text, None, "new") for text, _, _ in rows]
    config = IngestSettings(heldout_share=0.3)
    work = tmp_path_factory.mktemp("x")
    cut = data.draw(st.integers(0, len(rows)))
    whole, _ = run(rows, config, work)
    first, stored = run(rows[:cut], config, work)
    second, _ = run(rows[cut:], config, work, stored.sample(fraction=1.0, shuffle=True, seed=1).lazy())
    columns = ["prompt_id", "split"]
    kept = [f.filter(pl.col("outcome") == "kept").select(columns) for f in (first, second)]
    assert pl.concat(kept).equals(whole.filter(pl.col("outcome") == "kept").select(columns))


def test_golds_across_batches(tmp_path):
    config = IngestSettings()
    long = " ".join(VOCABULARY[:60])
    _, stored = run([(long, "7", "new"), ("plain words here", None, "new")], config, tmp_path)
    rows = [(long, "8", "new"), (long, "7", "new"), ("plain words here", "5", "new"), (long, None, "new")]
    found, _ = run(rows, config, tmp_path, stored.lazy())
    assert found["reason_code"].to_list() == ["gold_conflict", "duplicate", "brings_gold", "duplicate"]
    assert set(found["outcome"]) == {"duplicate"}


def test_the_copy_with_a_gold_wins_and_conflicts_are_marked(tmp_path):
    rows = [
        ("one prompt", None, "new"),
        ("one prompt", "7", "new"),
        ("one prompt", "8", "new"),
        ("one prompt", "7", "new"),
    ]
    found, _ = run(rows, IngestSettings(), tmp_path)
    assert found["outcome"].to_list() == ["duplicate", "kept", "duplicate", "duplicate"]
    assert found["reason_code"].to_list() == ["duplicate", None, "gold_conflict", "duplicate"]
    assert found["gold_conflict"].to_list() == [False, True, False, False]


def test_near_copies_with_other_golds_are_other_tasks(tmp_path):
    words = VOCABULARY[:60]
    changed = [*words[:59], "other"]
    rows = [
        (" ".join(words), "7", "new"),
        (" ".join(changed), "8", "new"),
        (" ".join([*changed[:59], "third"]), "7", "new"),
    ]
    found, _ = run(rows, IngestSettings(heldout_share=0), tmp_path)
    assert found["outcome"].to_list() == ["kept", "kept", "near_duplicate"]
    assert found["other_gold_of"].to_list() == [None, found["prompt_id"][0], None]
    assert found["matched_prompt_id"][2] == found["prompt_id"][0]
    assert 0.8 <= found["similarity"][2] < 1
    ignoring, _ = run(rows, IngestSettings(heldout_share=0, near_duplicate_golds="ignore"), tmp_path)
    assert ignoring["outcome"].to_list() == ["kept", "near_duplicate", "near_duplicate"]


def test_no_held_out_prompt_has_a_neighbour_in_train(tmp_path):
    rng = random.Random(5)
    rows = []
    for _ in range(150):
        words = rng.choices(VOCABULARY, k=60)
        for _ in range(6):
            rows.append((" ".join(words), None, "new"))
            for _ in range(rng.choice([1, 2, 4])):
                words[rng.randrange(60)] = rng.choice(VOCABULARY)
    config = IngestSettings(heldout_share=0.3)
    _, stored = run(rows, config, tmp_path)
    signature = from_bytes(stored["signature"].to_list(), 128)
    split = stored["split"].to_numpy()
    held, train = signature[split == "heldout"], signature[split == "train"]
    assert len(held) > 50
    close = [(row == train).mean(axis=1).max() for row in held]
    # Pairs that never share a band are not seen: at most 2% right at the threshold, fewer above.
    assert np.mean(np.array(close) >= config.heldout_neighbour_threshold) < 0.02
    assert max(close) < 0.7


def test_a_row_between_a_held_out_and_a_trained_one_goes(tmp_path):
    rng = random.Random(6)
    config = IngestSettings(heldout_share=0.5)
    for _ in range(20):
        words = [f"u{rng.getrandbits(40)}" for _ in range(160)]
        one, two, between = words[:120], words[40:], words[20:140]
        rows = [(" ".join(w), None, "new") for w in (one, two, between)]
        found, _ = run(rows, config, tmp_path)
        splits = found["split"].to_list()
        if splits[0] == splits[1]:
            assert splits[2] == splits[0]
        else:
            assert found["reason_code"].to_list() == [None, None, "split_conflict"]
            assert found["matched_prompt_id"][2] == found["prompt_id"][splits.index("heldout")]


def test_the_held_out_share_is_met():
    ids = [prompt_id([("user", str(i))]) for i in range(20_000)]
    assert np.mean([is_heldout(i, 0.02) for i in ids]) == pytest.approx(0.02, abs=0.003)
    assert not any(is_heldout(i, 0.0) for i in ids)
    assert all(is_heldout(i, 1.0) for i in ids)


def test_one_template_costs_no_more_than_its_rows(tmp_path, monkeypatch):
    """Every row meets every other: pairs compared must grow with rows, not with their square."""
    compared = []
    similarity = dedup._NearPass._similarity

    def counted(self, one, two):
        compared.append(len(one))
        return similarity(self, one, two)

    monkeypatch.setattr(dedup._NearPass, "_similarity", counted)
    text = "Please read this carefully and answer in one short sentence of at most ten words what is {} and why {}"
    config = IngestSettings(near_duplicate_threshold=1.0, heldout_share=0.0)
    totals = []
    for count in (1500, 3000):
        compared.clear()
        run([(text.format(i, i * 7), str(i), "new") for i in range(count)], config, Path(tmp_path))
        totals.append(sum(compared))
    assert totals[1] < 2.6 * totals[0]


def test_other_sizes_in_earlier_batches_are_refused(tmp_path):
    text = " ".join(VOCABULARY[:60])
    _, stored = run([(text, None, "new")], IngestSettings(signature_size=64), tmp_path)
    keys = band_keys(signatures([text], shingle_words=3, size=128), Bands(4, 32))
    stored = stored.with_columns(bands=pl.Series(keys.tolist()))
    with pytest.raises(ValueError, match="ingest all batches anew"):
        run([(text + " more", None, "new")], IngestSettings(), tmp_path, stored.lazy())
