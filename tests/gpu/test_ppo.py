"""PPO on a GPU: its steps against the CPU's, what it takes up after a kill, and that it learns."""

import json
import math
from collections import Counter

import pytest
import torch

from tests.gpu.world import DEVICE, MARKS, ON_GPU, apart, cosine
from tests.trainer.ppo.world import POLICY, prompt_of, prompts, rules, silent, sums, training
from trainer.nursery.practice import practice
from trainer.ppo.experience import judge, lengths, observe
from trainer.ppo.learner import Learner
from trainer.ppo.loop import train
from trainer.ppo.models import Models
from trainer.ppo.record import METRICS, SIGNALS, read_lines
from trainer.ppo.rollouts import Sampler, score
from trainer.ppo.tensors import minibatches

pytestmark = MARKS
LIKE = {"float32": 0.9999, "bfloat16": 0.97}  # least cosine of a gradient and the CPU's
MISMATCH = {"float32": 1e-4, "bfloat16": 0.05}  # nats a token, between the engine and the recomputation
BASELINES = [{"baseline": "critic"}, {"baseline": "group", "kl": "k3"}]


def settings_of(device=DEVICE, dtype="float32", **more):
    given = {"prompts": 8, "epochs": 1, "minibatches": 1, "grad_clip": 1e9, "micro_batch": 16}
    return training(device=device, dtype=dtype, **given | more).settings


@pytest.fixture(scope="module")
def responses(device):
    """Return responses that the CPU drew, with rewards that differ, for whoever learns from them."""
    settings = settings_of("cpu")
    models = Models(POLICY, settings)
    end = models.engine.tokenizer.eos_token_id
    drawn = Sampler(lambda: models.engine, models.engine.prompts, POLICY, end).draw(sums(8), 2, 0, "step", Counter())
    score(drawn, rules(), settings)
    for n, response in enumerate(drawn):
        response.score = response.worst = n % 3 / 2
    return drawn


def learnt(responses, settings):
    """Take one step from the nursery; return what was told, the gradients and the change of every weight."""
    models = Models(POLICY, settings)
    before = [p.detach().clone() for p in models.trained.values()]
    epochs = [list(minibatches(lengths(responses), settings.minibatches, settings.micro_batch, 0))]
    seen = observe(models, responses, epochs[0])
    told = Learner(models, settings).learn(seen, judge(seen, settings, 0.1), epochs, 0, 0.1)
    changes = [p.detach() - b for p, b in zip(models.trained.values(), before, strict=True)]
    return told, [p.grad for p in models.trained.values() if p.grad is not None], changes


def test_auto_computes_in_bfloat16_on_a_gpu_and_keeps_weights_in_fp32(device):
    models = Models(POLICY, settings_of("auto" if ON_GPU else "cpu", "auto"))
    assert models.dtype == (torch.bfloat16 if ON_GPU else torch.float32)
    kinds = {(p.device.type, p.dtype) for p in (*models.trained.values(), *models.reference.parameters())}
    assert kinds == {(models.device.type, torch.float32)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("more", BASELINES, ids=["critic", "group"])
def test_a_step_is_the_cpus(responses, dtype, more, note):
    ours, ourgradient, _ = learnt(responses, settings_of(dtype=dtype, **more))
    theirs, gradient, _ = learnt(responses, settings_of("cpu", **more))
    like = cosine(ourgradient, gradient)
    norms = ours.norms["policy"][0] / theirs.norms["policy"][0]
    ratio = ours.mean("ratio")
    off = abs(ours.mean("policy_loss") - theirs.mean("policy_loss"))
    note(cosine=like, norms=norms, loss_off=off, ratio_off=abs(ratio - 1), clipped=int(ours.sums["clipped"]))
    assert ratio == pytest.approx(1.0, abs=1e-3) and ours.sums["clipped"] == 0
    assert like > LIKE[dtype]
    assert norms == pytest.approx(1.0, abs=1e-3 if dtype == "float32" else 0.1)
    assert off < (1e-5 if dtype == "float32" else 1e-2)


@pytest.mark.parametrize("more", BASELINES, ids=["critic", "group"])
def test_accumulated_parts_give_the_update_of_the_whole(responses, more, note):
    whole = learnt(responses, settings_of(micro_batch=16, **more))
    for micro in (1, 5):
        parts = learnt(responses, settings_of(micro_batch=micro, **more))
        off = apart(whole[1], parts[1]), apart(whole[2], parts[2])
        note(micro=micro, gradient_apart=off[0], update_apart=off[1])
        assert off[0] < 1e-3
        assert off[1] < 0.05  # Adam's first step takes little but the sign of what is hardly there


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_some_steps_with_finite_numbers_and_a_small_mismatch(tmp_path, dtype, note):
    done = train(training(device=DEVICE, dtype=dtype, kl_target=1.0, kl_horizon=64), rules(), tmp_path, silent)
    lines = [line for line in read_lines(done.folder / METRICS) if line["kind"] == "step"]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(math.isfinite(v) for line in lines for v in line.values() if isinstance(v, float))
    note(mismatch=max(line["mismatch"] for line in lines), first_kl=lines[0]["kl"])
    assert all(line["mismatch"] < MISMATCH[dtype] for line in lines)
    assert lines[0]["kl"] == pytest.approx(0.0, abs=1e-6 if dtype == "float32" else 1e-2)
    saved = Models(POLICY.model_copy(update={"model": str(done.folder / "policy")}), settings_of())
    assert all(torch.isfinite(p).all() for p in saved.policy.parameters())


class Killed(Exception):
    pass


@pytest.mark.parametrize("more", BASELINES, ids=["critic", "group"])
def test_a_killed_training_goes_on_as_the_unbroken_one(tmp_path, more, note):
    """Bit for bit where the device repeats a training so; else the same prompts, and numbers that are near."""
    chosen = training(steps=6, device=DEVICE, dtype="bfloat16", **more)

    def told(line):
        if line["kind"] == "step" and line["step"] == 4:
            raise Killed  # after the checkpoint of step 2

    train(chosen, rules(), tmp_path / "whole", silent)
    train(chosen, rules(), tmp_path / "again", silent)
    with pytest.raises(Killed):
        train(chosen, rules(), tmp_path / "killed", told)
    train(chosen, rules(), tmp_path / "killed", silent)
    texts = {n: (tmp_path / n / METRICS).read_text() for n in ("whole", "again", "killed")}
    repeats, resumes = texts["whole"] == texts["again"], texts["whole"] == texts["killed"]
    note(repeats_bit_for_bit=repeats, resumes_bit_for_bit=resumes)
    whole, killed = ([json.loads(x) for x in texts[n].splitlines()] for n in ("whole", "killed"))
    assert [(x["kind"], x["step"]) for x in whole] == [(x["kind"], x["step"]) for x in killed]
    rows = [[(r["step"], r["prompt_id"], r["sample"]) for r in read_lines(tmp_path / n / SIGNALS)] for n in texts]
    assert rows[0] == rows[1] == rows[2]
    if repeats:
        assert resumes
    for one, other in zip(whole, killed, strict=True):
        if one["kind"] == "step" and one["step"] <= 3:
            assert one["score"] == pytest.approx(other["score"], abs=0.2)
            assert one["entropy"] == pytest.approx(other["entropy"], rel=0.2)


def test_it_learns(tmp_path, note):
    """A short one of `make demo-train`: sums, a group baseline, prompts of which some samples are right."""
    tasks = [t for t in practice() if t.domain == "math"]
    every = [prompt_of(t, n) for n, t in enumerate(tasks[:464])]
    chosen = training(
        prompts(tuple(every[:400]), tuple(every[400:])), POLICY.model_copy(update={"batch_size": 256}),
        steps=30, prompts=16, samples=8, baseline="group", kl="k3", kl_coefficient=0.001, rate=6e-4, epochs=1,
        minibatches=4, micro_batch=32, dynamic_sampling=True, evaluate_every=30, evaluate_samples=4,
        checkpoint_every=30, warmup_steps=5, device=DEVICE, dtype="bfloat16",
    )  # fmt: skip
    done = train(chosen, rules(), tmp_path, silent)
    scores = [x["score"] for x in read_lines(tmp_path / METRICS) if x["kind"] == "step"]
    first, last = sum(scores[:5]) / 5, sum(scores[-5:]) / 5
    note(heldout_first=done.first, heldout_last=done.last, score_first=first, score_last=last)
    assert done.last > done.first + 0.08
