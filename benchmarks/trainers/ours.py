"""This project's own loop: `python ours.py '{"kind": "sft", …}'`."""

from contextlib import nullcontext
from typing import Any

import work


class Cheap:
    """A reward that every tool has, that costs nothing and differs within each group."""

    id, version, bounds, needs_reference = "cheap", 1, (0.0, 1.0), False

    def __call__(self, samples: Any) -> list[Any]:
        from goldsmith.types.reward import Rewarded

        return [Rewarded(i * 37 % 100 / 100) for i in range(len(samples))]


def method_of(options: work.Options) -> Any:
    """The method with the settings that the other tools get."""
    from goldsmith.methods.dpo import Dpo
    from goldsmith.methods.grpo import Grpo
    from goldsmith.methods.sft import Sft

    settings: dict[str, Any] = {
        "learning_rate": work.LEARNING_RATE[options.kind],
        "batch_size": work.PROMPTS if options.kind == "grpo" else work.BATCH,
        "schedule": "constant",
        "warmup_share": 0.0,
        "precision": options.precision,
        "epochs": 1.0,
    }
    if options.kind == "sft":
        return Sft(**settings)
    if options.kind == "dpo":
        return Dpo(beta=work.BETA, **settings)
    more = {"group_size": work.GROUP, "max_new_tokens": work.ANSWER_TOKENS, "logprob_gap_at_most": None}
    return Grpo(rewards=({"reward": "cheap"},), **more, **settings).given({"cheap": Cheap()})


def rows_of(kind: str, made: list[work.Row]) -> list[Any]:
    """The rows as the loop takes them."""
    import numpy as np

    from goldsmith.engines.training.data.rows import Node, Row

    def node(ids: list[int], trained: bool, parent: int = -1) -> Node:
        return Node(np.array(ids, dtype=np.int32), np.full(len(ids), trained), parent)

    found = []
    for i, row in enumerate(made):
        nodes: tuple[Node, ...] = (node(row["prompt"], False),)
        if kind == "sft":
            ids, mask = row["prompt"] + row["answer"], [False] * len(row["prompt"]) + [True] * len(row["answer"])
            nodes = (Node(np.array(ids, dtype=np.int32), np.array(mask)),)
        elif kind == "dpo":
            nodes = (*nodes, node(row["chosen"], True, 0), node(row["rejected"], True, 0))
        found.append(Row(nodes, str(i), str(i)))
    return found


def plan_of(rows: list[Any], per_update: int, forward_tokens: int, policy: Any) -> Any:
    """The rows as they come, so that every tool sees the same batches."""
    from goldsmith.engines.training.data.batches import Plan

    class InOrder(Plan):
        def rows_of(self, step: int) -> list[int]:
            return list(range(step * self.rows_per_update, (step + 1) * self.rows_per_update))

    steps = len(rows) // per_update
    return InOrder(tuple(rows), 0, per_update, steps, forward_tokens, work.BATCH, share=policy.shares)


def main() -> None:
    options = work.Options.of_process()
    import peft  # noqa: F401 - imports are before the memory is looked at

    from goldsmith.engines.chat import Chat
    from goldsmith.engines.training.guards.self_test import choose_way
    from goldsmith.engines.training.memory.allocator import keep_pages
    from goldsmith.engines.training.model.policy import Policy
    from goldsmith.engines.training.optimizer import build_optimizer
    from goldsmith.types.record import Conversation, Message, Record, Role, TextPart

    method = method_of(options)
    keep_pages()
    watch = work.Watch(options, options.rows // method.batch_size)
    model = work.make_model(options.size)
    policy = Policy(model.train(), Chat(work.make_tokenizer(model.config.vocab_size)), method, "unused")
    rows = rows_of(options.kind, work.make_rows(options.kind, options.rows))
    choose_way(policy, rows, 2048)
    plan = plan_of(rows, method.batch_size, method.forward_tokens or 2048, policy)
    optimizer = build_optimizer(policy, method, plan.steps)
    plain = policy.generating if options.validation else nullcontext  # validation goes by the model's own attention
    with plain():
        watch.start(model)
    if options.kind == "grpo":
        asked = Record(content=Conversation(messages=(Message(role=Role.USER, parts=(TextPart(text="a"),)),)))
        prepared = method.prepare(policy, rows, plan, {row.key: asked for row in rows})
    else:
        prepared = method.prepare(policy, rows, plan)
    for metrics in method.steps(policy, plan, optimizer, prepared, 0):
        watch.losses.append(metrics.loss)
        with plain():
            watch.update_done(model)
    watch.report()


if __name__ == "__main__":
    main()
