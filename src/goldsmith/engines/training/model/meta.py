"""A model without contents, from its config alone: what it is made of, before its weights are read."""

import copy
from pathlib import Path
from typing import Any

import torch

from goldsmith.engines.training.model.adapters import choose_weights, put_adapter
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput


def meta_plain(config: Any, settings: TrainingSettings) -> Any:
    """The model as it is read, on the meta device. Errors: BadInput for an unknown kind."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    dtype = torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    kind: Any = AutoModelForCausalLM
    config = copy.deepcopy(config)  # attention is chosen on the model's own
    if settings.ends_in == "number":
        config.num_labels, kind = 1, AutoModelForSequenceClassification
    try:
        with torch.device("meta"):
            return kind.from_config(config, dtype=dtype)
    except (ValueError, KeyError, ImportError, AttributeError) as error:
        named = getattr(config, "model_type", "?")
        what = "causal language" if settings.ends_in == "words" else "reward"
        raise BadInput(f"no {what} model can be built from this config", found=f"{named}: {error}") from error


def require_parts(base: Path, settings: TrainingSettings) -> None:
    """What the settings name is in the base, as far as its config tells; a base of which it does not is passed over.

    Raises:
        BadInput: as when the model is opened for training.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(base), trust_remote_code=False)
        model = meta_plain(config, settings)
    except (OSError, ValueError, KeyError):
        return  # whoever loads the model says so
    adapter = settings.adapter
    if adapter.kind == "none":
        choose_weights(model, adapter)
    else:  # in four bits, and whatever its factors start at, a layer has the name it has
        put_adapter(model, adapter.model_copy(update={"kind": "lora", "init": "zero"}), "base", (), settings.ends_in)
