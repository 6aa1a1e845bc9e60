"""LLaMA-Factory 0.9, in an environment of its own: `python factory.py '{"kind": "sft", …}'`."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import work


def dataset(options: work.Options, rows: list[work.Row], folder: Path) -> None:
    """The rows as LLaMA-Factory reads them."""
    if options.kind == "sft":
        told = [{"instruction": work.as_text(r["prompt"]), "output": work.as_text(r["answer"])} for r in rows]
        columns = {"prompt": "instruction", "response": "output"}
    else:
        told = [
            {"instruction": work.as_text(r["prompt"]), **{k: work.as_text(r[k]) for k in ("chosen", "rejected")}}
            for r in rows
        ]
        columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
    (folder / "rows.json").write_text(json.dumps(told))
    info = {"rows": {"file_name": "rows.json", "ranking": options.kind == "dpo", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def main() -> None:
    options = work.Options.of_process()
    import llamafactory.train.dpo.workflow
    import llamafactory.train.sft.workflow  # noqa: F401 - imports are before the memory is looked at
    from llamafactory.train.tuner import run_exp

    rows = work.make_rows(options.kind, options.rows)
    packing = options.setting == "packing"
    batch = max(1, work.BATCH // 4) if packing else work.BATCH
    watch = work.Watch(options, options.rows // work.BATCH)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = work.make_model(options.size)
        model.save_pretrained(folder / "base")
        work.make_tokenizer(model.config.vocab_size).save_pretrained(folder / "base")
        del model
        dataset(options, rows, folder)
        args: dict[str, Any] = {
            **work.shared_arguments(options, batch),
            "model_name_or_path": str(folder / "base"),
            "stage": options.kind,
            "do_train": True,
            "finetuning_type": "full",
            "template": "empty",
            "dataset": "rows",
            "dataset_dir": str(folder),
            "output_dir": str(folder / "out"),
            "cutoff_len": work.PACKED_TOKENS,
            "flash_attn": "sdpa",
            "disable_gradient_checkpointing": True,
            "disable_shuffling": True,
            "overwrite_cache": True,
            "report_to": "none",
            "plot_loss": False,
        }
        if packing:
            args |= {"packing": True, "neat_packing": True}
        if options.kind == "dpo":
            args |= {"pref_loss": "sigmoid", "pref_beta": work.BETA}
        run_exp(args, callbacks=[work.callback(watch)])
    watch.report()


if __name__ == "__main__":
    sys.exit(main())
