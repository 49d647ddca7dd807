"""The raw side of vllm_engine.py, run by the interpreter of vLLM's environment: prompts in, tokens a second out.

One JSON line in for every round (prompts as token ids, seeds), one out (tokens, seconds). No preppo in this process.
"""

import json
import os
import sys


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    options = json.loads(sys.stdin.readline())
    import time

    from vllm import LLM, SamplingParams

    llm = LLM(model=options["model"], **options["arguments"])
    out.write("ready\n")
    out.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        prompts = [{"prompt_token_ids": tokens} for tokens in asked["prompts"]]
        params = [
            SamplingParams(temperature=1.0, top_p=1.0, max_tokens=room, seed=seed, logprobs=0)
            for seed, room in zip(asked["seeds"], asked["rooms"], strict=True)
        ]
        started = time.perf_counter()
        found = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - started
        tokens = sum(len(o.outputs[0].token_ids) for o in found)
        out.write(json.dumps({"tokens": tokens, "seconds": seconds}) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
