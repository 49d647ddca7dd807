"""The whole loop on the nursery model with the real verifiers: the checklist's items that only a running step shows."""

import json
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
import torch

from tests.trainer.ppo.world import POLICY, prompts, rules, silent, sums, training
from trainer.engines.transformers import TransformersEngine
from trainer.ppo.curriculum import phase_of, plan_phases
from trainer.ppo.engines import Drawing
from trainer.ppo.experience import judge, lengths, observe
from trainer.ppo.gather import gather
from trainer.ppo.learner import BETAS, EPSILON, Learner
from trainer.ppo.loop import train
from trainer.ppo.models import Models
from trainer.ppo.prompts import PpoError
from trainer.ppo.record import read_lines
from trainer.ppo.rollouts import Response, Sampler, all_alike, score
from trainer.ppo.tensors import collate, minibatches
from verifiers.hybrid import REWARD_MODEL, RTV, HybridReward, Reward
from warehouse.schemas import TRAINING_SIGNALS
from warehouse.settings import EngineSettings

pytestmark = pytest.mark.usefixtures("one_thread")


def says(*values, source=REWARD_MODEL, worst=None):
    """Return a hybrid reward of one source that gives these rewards in turn."""

    def ask(items):
        found = [values[n % len(values)] for n in range(len(items))]
        return [
            Reward(i.prompt_id, i.sample, v, source, "test@1", "scored", worst=worst)
            for i, v in zip(items, found, strict=True)
        ]

    return HybridReward({source: ask})


def sampler(models, policy=POLICY):
    return Sampler(lambda: models.engine, models.engine.prompts, policy, models.engine.tokenizer.eos_token_id)


def experience(settings, reward=None):
    """Return models, responses, epochs and what was seen of them, of a first step."""
    models = Models(POLICY, settings)
    responses = sampler(models).draw(sums(settings.prompts), settings.samples, 0, "step", Counter())
    score(responses, reward or rules(), settings)
    epochs = [
        list(minibatches(lengths(responses), settings.minibatches, settings.micro_batch, n))
        for n in range(settings.epochs)
    ]
    return models, epochs, observe(models, responses, epochs[0])


def test_2_the_policy_samples_from_its_whole_distribution_at_the_temperature_that_it_learns_at():
    policy = POLICY.model_copy(update={"top_p": 0.5, "temperature": 0.7})
    models = Models(policy, training().settings)
    drawn = sampler(models, policy)
    assert (drawn._sampling.top_p, drawn._sampling.temperature) == (1.0, 0.7)
    responses = drawn.draw(sums(3), 2, 0, "step", Counter())
    score(responses, says(1.0), training().settings)
    seen = observe(models, responses, [[list(range(6))]])
    for response, row, mask in zip(responses, seen.old, seen.mask, strict=True):
        assert float(row[mask].sum()) == pytest.approx(response.engine_logprob, abs=1e-3)


def test_2_a_temperature_of_zero_is_refused():
    with pytest.raises(PpoError, match="temperature = 0 draws the same response again"):
        Models(POLICY.model_copy(update={"temperature": 0.0}), training().settings)


def test_4_a_response_ends_with_its_first_end_token_and_its_text_is_what_is_scored():
    models = Models(POLICY, training().settings)
    end = models.engine.tokenizer.eos_token_id
    for response in sampler(models).draw(sums(6), 2, 0, "step", Counter()):
        assert response.tokens.count(end) == (response.finish_reason == "stop")
        assert response.finish_reason != "stop" or response.tokens[-1] == end
        assert response.text == models.engine.tokenizer.decode(response.tokens, skip_special_tokens=True)


def test_4_what_was_cut_is_left_out_or_gets_the_lowest_reward_as_the_settings_say():
    policy = POLICY.model_copy(update={"max_tokens": 2})
    models = Models(policy, training().settings)
    for settings, expected in ((training().settings, None), (training(truncated="lowest").settings, 0.0)):
        cut = sampler(models, policy).draw(sums(3), 1, 0, "step", Counter())
        score(cut, says(1.0), settings)
        assert {r.finish_reason for r in cut} == {"length"}
        assert {r.score for r in cut} == {expected}
        assert {r.reward.status for r in cut} == {"truncated"}
        assert {r.reward.reward for r in cut} == {None}


@pytest.mark.parametrize(("null_reward", "expected"), [("leave_out", None), ("lowest", 0.0)])
def test_a_null_reward_is_left_out_or_the_lowest(null_reward, expected):
    settings = training(null_reward=null_reward).settings
    _, _, seen = experience(settings, says(None, 1.0))
    assert [r.score for r in seen.responses][:2] == [expected, 1.0]
    assert seen.counted.tolist()[:2] == [expected is not None, True]


def test_a_reward_that_is_no_number_stops_everything():
    with pytest.raises(PpoError, match=r"source reward_model \(test@1\) gave the reward nan, which is no number"):
        experience(training().settings, says(float("nan")))


@pytest.mark.parametrize("baseline", [{"baseline": "critic"}, {"baseline": "group", "kl": "k3"}])
def test_15_before_any_update_the_ratio_is_exactly_1_nothing_is_clipped_and_the_kl_is_0(baseline):
    settings = training(**baseline, epochs=1, minibatches=1, prompts=6).settings
    models, epochs, seen = experience(settings)
    told = Learner(models, settings).learn(seen, judge(seen, settings, 0.1), epochs, 0, 0.1)
    assert told.sums["ratio"] == told.sums["ratio_squared"] == told.tokens
    assert told.sums["clipped"] == told.sums["update_kl"] == 0
    torch.testing.assert_close(seen.old, seen.reference, atol=0, rtol=0)


def test_15_log_probabilities_that_are_not_the_policys_are_found_out():
    settings = training().settings
    models, epochs, seen = experience(settings)
    wrong = replace(seen, old=seen.old - 0.1)
    with pytest.raises(PpoError, match=r"step 1 of 4: before any update the ratio is 1\.105171 and not 1"):
        Learner(models, settings).learn(wrong, judge(seen, settings, 0.1), epochs, 0, 0.1)


@pytest.mark.parametrize("extra", [{}, {"baseline": "group", "kl": "k3", "entropy_coefficient": 0.1}])
def test_14_gradients_do_not_depend_on_how_a_minibatch_is_computed(extra):
    found = []
    for micro in (1, 3, 8):
        settings = training(micro_batch=micro, epochs=1, minibatches=1, grad_clip=1e9, **extra).settings
        models, epochs, seen = experience(settings, says(0.0, 1.0, 0.5, None))
        Learner(models, settings).learn(seen, judge(seen, settings, 0.1), epochs, 0, 0.1)
        found.append({n: p.grad.clone() for n, p in models.trained.items() if p.grad is not None})
    for other in found[1:]:
        for name, gradient in found[0].items():
            torch.testing.assert_close(other[name], gradient, atol=2e-6, rtol=1e-3)


def test_13_adam_as_published_and_rates_that_fall_to_zero():
    settings = training(rate=1e-3, critic_rate=2e-3, steps=4).settings
    learner = Learner(Models(POLICY, settings), settings)
    assert (
        (learner.optimizer.defaults["eps"], learner.optimizer.defaults["betas"])
        == (EPSILON, BETAS)
        == (1e-5, (0.9, 0.95))
    )
    assert learner.rates(0) == [1e-3, 2e-3]
    assert learner.rates(3) == pytest.approx([0.25e-3, 0.5e-3])
    assert (
        Learner(Models(POLICY, settings), training(rate=1e-3, warmup_steps=3, steps=4).settings).rates(0)[0] == 0.25e-3
    )
    steady = training(rate=1e-3, anneal=False).settings
    assert Learner(Models(POLICY, steady), steady).rates(3)[0] == 1e-3


def test_gradients_are_clipped():
    settings = training(grad_clip=1e-3, epochs=1, minibatches=1).settings
    models, epochs, seen = experience(settings, says(0.0, 1.0))
    told = Learner(models, settings).learn(seen, judge(seen, settings, 0.1), epochs, 0, 0.1)
    assert told.norms["policy"][0] > 1e-3
    norm = torch.stack([p.grad.norm() for p in models.policy.parameters()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_a_step_away_from_numbers_is_not_taken():
    settings = training().settings
    models, epochs, seen = experience(settings)
    before = {n: p.detach().clone() for n, p in models.trained.items()}
    judged = judge(seen, settings, 0.1)
    broken = replace(judged, advantages=judged.advantages * float("nan"))
    with pytest.raises(PpoError, match=r"step 3 of 4: the loss is nan for prompts 0000.*last checkpoint stays"):
        Learner(models, settings).learn(seen, broken, epochs, 2, 0.1)
    assert all(torch.equal(p, before[n]) for n, p in models.trained.items())


def test_updates_that_go_too_far_are_cut_short():
    settings = training(epoch_kl=1e-9, epochs=3, rate=1e-2).settings
    models, epochs, seen = experience(settings, says(0.0, 1.0))
    told = Learner(models, settings).learn(seen, judge(seen, settings, 0.1), epochs, 0, 0.1)
    assert (told.minibatches, told.skipped) == (2, 4)  # the second one is the first to differ


def test_the_robust_objective_learns_from_the_worst_head():
    settings = training(robust=0.25).settings
    _, _, seen = experience(settings, says(0.8, worst=0.4))
    scores = judge(seen, settings, 0.1).scores
    torch.testing.assert_close(scores, torch.full_like(scores, 0.25 * 0.8 + 0.75 * 0.4))


def test_the_kl_penalty_and_the_robust_share_come_into_the_returns():
    settings = training(gae_lambda=1.0, whiten_advantages=False).settings
    _, _, seen = experience(settings, says(1.0))
    moved = replace(seen, reference=torch.where(seen.mask, seen.old - 0.5, seen.reference))
    judged = judge(moved, settings, 0.1)
    for n, response in enumerate(seen.responses):
        assert float(judged.returns[n, 0]) == pytest.approx(1.0 - 0.05 * len(response.tokens), abs=1e-5)


METRICS = {
    "kl", "entropy", "score", "non_score_reward", "clip_fraction", "value_clip_fraction", "ratio_variance", "eos_rate",
    "mismatch", "policy_loss", "value_loss", "response_tokens", "coefficient", "left_out",
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        return train(training(kl_target=0.5, kl_horizon=16), rules(), folder, silent)


def test_17_metrics_of_every_step_are_written(done):
    lines = read_lines(done.folder / "metrics.jsonl")
    steps = [line for line in lines if line["kind"] == "step"]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert all(line.keys() >= METRICS for line in steps)
    assert [line["step"] for line in lines if line["kind"] == "evaluation"] == [0, 2, 4]
    assert steps[0]["kl"] == 0.0


def test_8_the_coefficient_follows_the_kl(done):
    steps = [line for line in read_lines(done.folder / "metrics.jsonl") if line["kind"] == "step"]
    assert steps[0]["coefficient"] == 0.1
    assert steps[1]["coefficient"] == pytest.approx(0.1 * (1 - 0.2 * 8 / 16))  # the KL was 0, far below its target


def test_16_what_the_engine_says_of_its_tokens_is_recomputed_and_the_difference_told(done):
    steps = [line for line in read_lines(done.folder / "metrics.jsonl") if line["kind"] == "step"]
    assert all(0 <= line["mismatch"] < 1e-5 for line in steps)


def test_phases_come_in_the_order_of_the_curriculum(done):
    steps = [line["phase"] for line in read_lines(done.folder / "metrics.jsonl") if line["kind"] == "step"]
    assert steps == ["first", "first", "second", "second"]


def test_signals_have_a_row_for_every_response(done):
    found = pl.read_parquet(done.folder / "signals.parquet")
    assert dict(found.schema) == dict(pl.Schema(TRAINING_SIGNALS.columns))
    assert found.height == 4 * 4 * 2
    assert found.select(TRAINING_SIGNALS.key).is_unique().all()
    assert found["training_run_id"].unique().to_list() == [done.run_id]
    assert set(found["source"]) == {RTV}


def test_the_best_policy_and_the_last_can_be_loaded(done):
    assert (done.folder / "best" / "model.safetensors").is_file()
    assert Models(POLICY.model_copy(update={"model": str(done.folder / "policy")}), training().settings).policy
    lines = [x for x in read_lines(done.folder / "metrics.jsonl") if x["kind"] == "evaluation"]
    assert done.best == max(line["score"] for line in lines)


def test_training_ends_early_where_the_kl_is_too_high(tmp_path):
    done = train(training(stop_kl=1e-6, rate=3e-3), rules(), tmp_path, silent)
    assert done.steps == 2
    assert done.stopped.startswith("the KL ")
    assert train(training(stop_kl=1e-6, rate=3e-3), rules(), tmp_path, silent).stopped == done.stopped


def test_prompts_whose_samples_are_alike_are_replaced():
    easy, mixed = sums(6, seed=3, levels=(1,)), sums(6, seed=4, first=50, levels=(2,))
    [phase] = plan_phases(easy + mixed, 1)
    right = {p.prompt_id for p in easy}

    def ask(items):
        return [
            Reward(i.prompt_id, i.sample, 1.0 if i.prompt_id in right else float(i.sample % 2), REWARD_MODEL, "t@1")
            for i in items
        ]

    settings = training(dynamic_sampling=True, prompts=4, samples=2).settings
    models = Models(POLICY, settings)
    state = type("State", (), {"cursor": 0, "step": 0})()
    kept, replaced = gather(sampler(models), HybridReward({REWARD_MODEL: ask}), phase, settings, state)
    assert [r.prompt.prompt_id for r in kept[::2]] == [p.prompt_id for p in mixed[:4]]
    assert {r.prompt.prompt_id for r in replaced} == right
    assert state.cursor == 10  # 4, then 4 instead of them, then 2 instead of two of those
    assert [r.group for r in kept] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert not any(all_alike(kept[i : i + 2]) for i in range(0, 8, 2))


def test_phases_share_the_steps_and_begin_again_where_rows_run_out():
    train_on = sums(2, "a") + sums(6, "b", seed=12, first=10)
    first, second = plan_phases(train_on, 10)
    assert (first.first, first.steps, second.first, second.steps) == (0, 3, 3, 7)
    assert phase_of([first, second], 2) is first
    assert phase_of([first, second], 3) is second
    assert first.take(0, 2, 0) == list(first.prompts)
    assert sorted(p.prompt_id for p in second.take(3, 6, 0)) != [p.prompt_id for p in second.prompts]
    assert sorted(p.prompt_id for p in second.take(6, 6, 0)) == sorted(p.prompt_id for p in second.prompts)
    assert second.take(4, 5, 0) == second.take(4, 2, 0) + second.take(6, 3, 0)
    with pytest.raises(PpoError, match=r"ppo\.steps = 1, but the release has 2 phases: a, b"):
        plan_phases(train_on, 1)


def test_any_engine_can_draw_the_responses(tmp_path):
    machine = EngineSettings()
    found = train(replace(training(steps=2), machine=machine), rules(), tmp_path / "policy", silent)
    own = train(training(steps=2), rules(), tmp_path / "own", silent)
    assert (found.first, found.last) == (own.first, own.last)
    served = POLICY.model_copy(update={"engine": "openai"})
    with pytest.raises(PpoError, match="the engine 'openai' of \\[policy\\] cannot be given new weights"):
        Drawing(None, served, machine, tmp_path)


def test_tokens_of_an_engine_that_tells_none_are_made_of_its_text():
    models = Models(POLICY, training().settings)
    answers = sampler(models)
    drawn = answers.draw(sums(4), 1, 0, "step", Counter())

    class Mute:
        def generate(self, requests):
            for one in models.engine.generate(requests):
                yield replace(one, tokens=None)

    mute = Sampler(Mute, models.engine.prompts, POLICY, models.engine.tokenizer.eos_token_id)
    again: list[Response] = mute.draw(sums(4), 1, 0, "step", Counter())
    assert [r.text for r in again] == [r.text for r in drawn]
    assert [r.tokens[-1] for r in again] == [r.tokens[-1] for r in drawn]


@pytest.mark.parametrize(
    ("response", "finish", "text"),
    [
        ("42", "stop", "<think>twice 21</think>42"),
        ("", "length", "<think>twice 21"),
        ("4", "length", "<think>twice 21</think>4"),
    ],
)
def test_a_thought_is_learnt_with_the_tags_that_the_engine_took_off(response, finish, text):
    models = Models(POLICY, training().settings)

    class Thinking:
        def generate(self, requests):
            for one in models.engine.generate(requests):
                yield replace(one, tokens=None, reasoning="twice 21", response=response, finish_reason=finish)

    end = models.engine.tokenizer.eos_token_id
    (found,) = Sampler(Thinking, models.engine.prompts, POLICY, end).draw(sums(1), 1, 0, "step", Counter())
    assert found.text == response
    assert (found.tokens[-1] == end) == (finish == "stop")
    assert models.engine.tokenizer.decode(found.tokens, skip_special_tokens=True) == text


def test_a_training_is_a_function_of_its_settings(tmp_path):
    one = train(training(steps=2), rules(), tmp_path / "one", silent)
    two = train(training(steps=2), rules(), tmp_path / "two", silent)
    other = train(training(steps=2, seed=1), rules(), tmp_path / "other", silent)
    texts = [(d.folder / "metrics.jsonl").read_text() for d in (one, two, other)]
    assert texts[0] == texts[1] != texts[2]
    assert json.loads(texts[0].splitlines()[0])["prompts"] == len(prompts().heldout)


def test_computing_in_bfloat16_keeps_weights_in_fp32(tmp_path):
    done = train(training(steps=2, dtype="bfloat16"), rules(), tmp_path, silent)
    models = Models(POLICY.model_copy(update={"model": str(done.folder / "policy")}), training().settings)
    assert {p.dtype for p in models.trained.values()} == {torch.float32}
    before = dict(Models(POLICY, training().settings).policy.named_parameters())
    assert any(not torch.equal(p, before[n]) for n, p in models.policy.named_parameters())


@pytest.mark.parametrize("machine", [None, EngineSettings()])
def test_only_the_policy_computes_in_bfloat16_and_not_what_rewards_it(tmp_path, monkeypatch, machine):
    generated, rewarded = [], []
    generate, ask = TransformersEngine.generate, rules().sources[RTV]

    def generating(engine, requests):
        generated.append(torch.is_autocast_enabled("cpu"))
        return generate(engine, requests)

    def asked(items):
        rewarded.append(torch.is_autocast_enabled("cpu"))
        return ask(items)

    monkeypatch.setattr(TransformersEngine, "generate", generating)
    chosen = replace(training(steps=2, dtype="bfloat16"), machine=machine)
    train(chosen, HybridReward({RTV: asked}), tmp_path, silent)
    assert set(generated) == {machine is None}  # another engine computes in the type of [policy]
    assert set(rewarded) == {False}


def test_values_are_in_fp32_where_the_trunk_computes_in_bfloat16():
    models = Models(POLICY, training(dtype="bfloat16").settings)
    torch.nn.init.normal_(models.critic.head.weight)
    responses = sampler(models).draw(sums(4), 1, 0, "step", Counter())
    with models.computing(), torch.no_grad():
        values = models.critic(collate(responses, models.pad))
    assert values.dtype == torch.float32
    assert not torch.equal(values, values.bfloat16().float())
