"""TRL: `python trl_side.py '{"kind": "sft", …}'`."""

import tempfile
from typing import Any

import work


def sft(options: work.Options, watch: work.Watch, model: Any, tokenizer: Any, folder: str) -> Any:
    """Rows padded, or packed."""
    packing = options.setting == "packing"
    told = arguments(options, max(1, work.BATCH // 4) if packing else work.BATCH)
    return sft_trainer(
        work.make_rows("sft", options.rows),
        work.PACKED_TOKENS if packing else None,
        {"output_dir": folder, **told},
        {"model": model, "processing_class": tokenizer, "callbacks": [work.callback(watch)]},
    )


def sft_trainer(rows: list[work.Row], packed_tokens: int | None, told: dict[str, Any], given: dict[str, Any]) -> Any:
    """`packed_tokens`: rows are put together up to so many; None: they are padded. `told`: the configuration's words,
    `given`: the trainer's."""
    import trl
    from datasets import Dataset

    data = Dataset.from_list(
        [{"input_ids": r["prompt"] + r["answer"], "labels": [-100] * len(r["prompt"]) + r["answer"]} for r in rows]
    )
    packing = packed_tokens is not None
    config = trl.SFTConfig(
        max_length=packed_tokens,
        packing=packing,
        shuffle_dataset=False,
        dataset_kwargs=None if packing else {"skip_prepare_dataset": True},
        remove_unused_columns=packing,
        **told,
    )
    return trl.SFTTrainer(args=config, train_dataset=data, **given)


def dpo(options: work.Options, watch: work.Watch, model: Any, tokenizer: Any, folder: str) -> Any:
    """The reference asked in each update, or once before."""
    given = {"model": model, "ref_model": work.make_model(options.size), "processing_class": tokenizer}
    return dpo_trainer(
        work.make_rows("dpo", options.rows),
        {"output_dir": folder, **arguments(options)},
        {**given, "callbacks": [work.callback(watch)]},
    )


def dpo_trainer(rows: list[work.Row], told: dict[str, Any], given: dict[str, Any]) -> Any:
    """`told`: the configuration's words, `given`: the trainer's. Its own preparation is passed by: rows are tokens."""
    import trl
    from datasets import Dataset

    config = trl.DPOConfig(max_length=None, beta=work.BETA, **told)
    dummy = Dataset.from_list([{"prompt": "w2", "chosen": " w2", "rejected": " w3"}])
    trainer = trl.DPOTrainer(args=config, train_dataset=dummy, **given)
    trainer.train_dataset = Dataset.from_list([{f"{key}_ids": value for key, value in r.items()} for r in rows])
    return trainer


def grpo(options: work.Options, watch: work.Watch, model: Any, tokenizer: Any, folder: str) -> Any:
    """Groups sampled by transformers."""
    import trl
    from datasets import Dataset

    rows = work.make_rows("grpo", options.rows)
    config = trl.GRPOConfig(
        output_dir=folder,
        num_generations=work.GROUP,
        max_completion_length=work.ANSWER_TOKENS,
        shuffle_dataset=False,
        **arguments(options, work.PROMPTS * work.GROUP) | {"train_sampling_strategy": "random"},
    )
    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [i * 37 % 100 / 100 for i in range(len(completions))],
        args=config,
        train_dataset=Dataset.from_list([{"prompt": str(i)} for i in range(options.rows)]),
        processing_class=tokenizer,
        callbacks=[work.callback(watch)],
    )
    trainer._tokenize_prompts = lambda prompts: ([rows[int(p)]["prompt"] for p in prompts], None, {})
    return trainer


def arguments(options: work.Options, batch: int = work.BATCH) -> dict[str, Any]:
    """What all of TRL's configs are told."""
    return {
        **work.shared_arguments(options, batch),
        "report_to": [],
        "activation_checkpointing": False,
        "train_sampling_strategy": "sequential",
    }


def precompute(trainer: Any) -> None:
    """What `precompute_ref_log_probs=True` does, on rows that are tokens already; nothing comes from its cache."""
    import uuid

    trainer.train_dataset._fingerprint = uuid.uuid4().hex
    trainer.train_dataset = trainer._precompute_ref_logps(
        trainer.train_dataset, "train", trainer.args.per_device_train_batch_size
    )
    trainer.precompute_ref_logps = True
    trainer.ref_model = None


def main() -> None:
    options = work.Options.of_process()
    import trl  # noqa: F401 - imports are before the memory is looked at

    per_update = work.PROMPTS if options.kind == "grpo" else work.BATCH
    watch = work.Watch(options, options.rows // per_update)
    model = work.make_model(options.size)
    tokenizer = work.make_tokenizer(model.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        trainer = {"sft": sft, "dpo": dpo, "grpo": grpo}[options.kind](options, watch, model, tokenizer, folder)
        watch.start(model)
        if options.setting == "precomputed":
            precompute(trainer)
        trainer.train()
    watch.report()


if __name__ == "__main__":
    main()
