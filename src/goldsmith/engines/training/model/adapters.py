"""What of a model is tuned: low-rank factors beside its layers, some of its layers, or everything."""

import difflib
import fnmatch
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from goldsmith.engines.training.settings import AdapterSettings, EndsIn
from goldsmith.types.errors import BadInput

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


def put_adapter(
    model: Any, adapter: AdapterSettings, base: str, new_ids: Sequence[int] = (), ends_in: EndsIn = "words"
) -> Any:
    """The model with low-rank factors on it, by peft. `new_ids`: rows of the embeddings that are trained too. The head
    of one that ends in a number is trained whole.

    Raises:
        BadInput: targets the model does not have, or a combination that peft cannot do.
    """
    from peft import LoraConfig, get_peft_model

    _require_targets(model, adapter)
    more: dict[str, Any] = {}
    if adapter.parameters:
        more["target_parameters"] = list(adapter.parameters)
    if new_ids:
        more["trainable_token_indices"] = _embedding_rows(model, new_ids)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,  # type: ignore[arg-type]
        lora_dropout=adapter.dropout,
        target_modules=_targets(model, adapter),
        exclude_modules=list(adapter.exclude) or None,
        use_rslora=adapter.rank_stabilised,
        use_dora=adapter.dora,
        init_lora_weights="pissa" if adapter.init == "pissa" else True,
        layers_to_transform=None if adapter.last_layers is None else _last_layers(model, adapter.last_layers),
        task_type="CAUSAL_LM" if ends_in == "words" else "SEQ_CLS",
        modules_to_save=None if ends_in == "words" else ["score"],
        **more,
    )
    try:
        tuned = get_peft_model(model, config)
    except (ValueError, TypeError) as error:
        raise BadInput(
            "this adapter cannot be put on this model",
            where="adapter",
            found=str(error)[:300],
            allowed="names of linear layers, or all-linear; parameters only without dropout",
        ) from error
    tuned.peft_config["default"].base_model_name_or_path = base
    return tuned


def _targets(model: Any, adapter: AdapterSettings) -> str | list[str]:
    """As peft takes them, which looks for single layers by names alone."""
    if adapter.targets != ("all-linear",):
        return list(adapter.targets)
    if adapter.last_layers is None:
        return "all-linear"
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    return sorted({name.rpartition(".")[2] for name in linear if _LAYER.search(name)})


def choose_weights(model: Any, adapter: AdapterSettings) -> None:
    """Mark the weights of a model without an adapter that are trained: all, those of the last layers, or those whose
    names match.

    Raises:
        BadInput: nothing matches.
    """
    last = None if adapter.last_layers is None else set(_last_layers(model, adapter.last_layers))
    names = [name for name, _ in model.named_parameters()]
    for pattern in adapter.only:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.3)
            raise BadInput(
                "no weight of the model has such a name",
                where="adapter.only",
                found=pattern,
                allowed="a pattern such as *.layers.1.mlp.* or " + ", ".join(close or names[:3]),
            )
    for name, parameter in model.named_parameters():
        wanted = True
        if last is not None:
            found = _LAYER.search(name)
            wanted = found is not None and int(found.group(1)) in last
        if adapter.only:
            wanted = wanted and any(fnmatch.fnmatchcase(name, pattern) for pattern in adapter.only)
        parameter.requires_grad_(wanted)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise BadInput("no weight is left to train", where="adapter", found="last_layers and only have none in common")


def what_is_tuned(model: Any, adapter: AdapterSettings) -> dict[str, str | int]:
    """For the record of a run: how many weights are trained, and what an adapter left alone."""
    facts: dict[str, str | int] = {
        "weights_trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "weights": sum(p.numel() for p in model.parameters()),
    }
    if adapter.kind != "none" and not adapter.parameters and expert_weights(model):
        facts["adapter_leaves_out"] = "the experts' weights (adapter.parameters names them)"
    return facts


def expert_weights(model: Any) -> list[str]:
    """Names of the stacked weights of a mixture of experts, as `adapter.parameters` takes them."""
    found = {
        ".".join(name.split(".")[-3:]).removeprefix("base_layer.")
        for name, p in model.named_parameters()
        if p.ndim == 3 and ".experts." in name
    }
    return sorted(found)


class Start:
    """A PiSSA adapter (Meng et al. 2024, arXiv:2404.02948) as it was before training. It holds the main part of the
    base's weights, so switching it off does not give the base back, but putting these values in does."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.values = {
            name: p.detach().clone() for name, p in model.named_parameters() if ".lora_A." in name or ".lora_B." in name
        }

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Within it the model computes what its base does."""
        mine = {name: p for name, p in self.model.named_parameters() if name in self.values}
        now = {name: p.detach().clone() for name, p in mine.items()}
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(self.values[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in mine.items():
                    parameter.copy_(now[name])


# ---- what the model has ----------------------------------------------------------------------------------------


def _last_layers(model: Any, count: int) -> list[int]:
    numbers = {int(found.group(1)) for name, _ in model.named_parameters() if (found := _LAYER.search(name))}
    if not numbers or count > len(numbers):
        raise BadInput(
            "the model has fewer layers",
            where="adapter.last_layers",
            found=count,
            allowed=f"1 to {len(numbers)}" if numbers else "an architecture that lists its layers",
        )
    return sorted(numbers)[-count:]


def _linear_names(model: Any) -> list[str]:
    return sorted({name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear)})


def _require_targets(model: Any, adapter: AdapterSettings) -> None:
    """Every target and exclusion means something in this model; peft itself passes over names it does not find."""
    modules = [name for name, _ in model.named_modules()]
    parameters = [name for name, _ in model.named_parameters()]
    asked = [("targets", name, modules, _linear_names(model)) for name in adapter.targets if name != "all-linear"]
    asked += [("exclude", name, modules, _linear_names(model)) for name in adapter.exclude]
    asked += [("parameters", name, parameters, expert_weights(model)) for name in adapter.parameters]
    for where, name, there, offered in asked:
        if any(one == name or one.endswith("." + name) for one in there):
            continue
        close = difflib.get_close_matches(name, offered, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadInput(
            f"the model has nothing called {name!r}{hint}",
            where=f"adapter.{where}",
            found=name,
            allowed=", ".join(offered) or "none in this model",
        )


def _embedding_rows(model: Any, new_ids: Sequence[int]) -> dict[str, list[int]]:
    """The rows by the embedding's name; of the head too, where that has weights of its own."""
    ins, out = model.get_input_embeddings(), model.get_output_embeddings()
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    rows = {names[id(ins)]: list(new_ids)}
    if out is not None and out.weight is not ins.weight:
        rows[names[id(out)]] = list(new_ids)
    return rows
