"""The model being tuned: base, adapter, head; log-probabilities of labels; the reference; saving.

Only safetensors are read and written, remote code never runs, and nothing is reported to anybody.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from goldsmith.engines.chat import Chat
from goldsmith.engines.reward_form import NOTE, require_words, reward_form
from goldsmith.engines.training import attention, losses, quantised
from goldsmith.engines.training.adapters import Start, choose_weights, put_adapter
from goldsmith.engines.training.batches import Batch
from goldsmith.engines.training.settings import EndsIn, TrainingSettings
from goldsmith.engines.training.vocabulary import ROWS, fit_vocabulary, rows_wanted
from goldsmith.types.errors import BadInput, Unavailable

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

Way = Literal["flat", "packed", "padded"]
"""How rows are put before the model: `flat` steers attention itself and shares prompts; `packed` lets transformers
mask by positions; `padded` gives each row a line of its own. Fastest first; a self-test picks the first exact one."""


def _dtype(name: str) -> torch.dtype:
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def load_model(
    base: str | Path,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    adapter_base: str | Path | None = None,
    four_bits: bool = False,
    ends_in: EndsIn | None = None,
) -> Any:
    """A model in eval mode; an adapter folder comes merged with its base (`adapter_base`, where that is no longer where
    training found it). `four_bits`: its linear layers quantised (see `quantised`). `ends_in`: what it must give; a
    language model asked for a number gets a new head. None: what the folder says it is.

    Raises:
        Unavailable: nothing to load there. BadInput: an adapter for another base; a reward model asked for words.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = Path(base)
    if ends_in is None:
        ends_in = "number" if reward_form(base) is not None else "words"
    elif ends_in == "words":
        require_words(base)
    if (folder / "adapter_config.json").is_file():
        return adapted(folder, dtype, device, adapter_base).merge_and_unload().eval()
    more: dict[str, Any] = {}
    if four_bits:
        quantised.require_four_bits(device)
        more = {"quantization_config": quantised.four_bits(), "device_map": {"": device}}
    try:
        model = _from_pretrained(str(base), ends_in, {"dtype": _dtype(dtype), **more})
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(
            "the base model could not be loaded",
            where=str(base),
            found=str(error)[:300],
            next_step="name a folder with config.json and safetensors weights, or a hub id that can be reached",
        ) from error
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise Unavailable("a weight file of the base model is damaged", where=str(base), found=error) from error
    placed: Any = model if four_bits else model.to(device)
    return placed.eval()


def _from_pretrained(base: str, ends_in: EndsIn, more: dict[str, Any]) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from transformers.utils import logging

    how: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, **more}
    if ends_in == "words":
        return AutoModelForCausalLM.from_pretrained(base, **how)
    was = logging.get_verbosity()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # a language model has no such head yet: as wanted
    try:
        return AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, **how)
    finally:
        logging.set_verbosity(was)


def adapted(folder: Path, dtype: str = "float32", device: str = "cpu", base: str | Path | None = None) -> Any:
    """A base with the adapter in `folder` on it, unmerged, as peft loads it.

    Raises:
        BadInput: an adapter for another base.
    """
    from peft import PeftModel

    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    found = str(base or config["base_model_name_or_path"])
    _check_base(folder, found)
    ends_in: EndsIn = "words" if reward_form(folder) is None else "number"
    model = load_model(found, dtype=dtype, device=device, ends_in=ends_in)
    fit_vocabulary(model, rows_wanted(folder, NOTE))
    return PeftModel.from_pretrained(model, str(folder)).eval()


def _check_base(folder: Path, base: str) -> None:
    note = folder / NOTE
    if not note.is_file():
        return
    wanted = json.loads(note.read_text("utf-8")).get("base_digest")
    if wanted is not None and wanted != base_digest(base):
        raise BadInput(
            "this adapter was trained on another base model",
            where=str(folder),
            found=f"{base} with digest {base_digest(base)}",
            allowed=wanted,
            next_step="put the base model it was trained on back in its place",
        )


def base_digest(base: str | Path) -> str:
    """SHA-256 over names and bytes of a model folder's weights and config; of a hub id, over its cached snapshot."""
    folder = Path(base)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(str(base), allow_patterns=["*.json", "*.safetensors"]))
        except Exception as error:
            raise Unavailable("the base model could not be reached", where=str(base), found=str(error)[:200]) from error
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors" or path.name in ("config.json", "adapter_config.json"):
            with path.open("rb") as file:
                total.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return "sha256:" + total.hexdigest()


def _decoder_of(model: Any) -> Any:
    """The part of the model that makes hidden states, without its head.

    Raises:
        BadInput: it cannot be told from the rest.
    """
    candidates: list[Any] = [model.get_decoder(), getattr(model, "model", None)]
    for found in candidates:
        if found is not None and found is not model and found.get_output_embeddings() is None:
            return found
    raise BadInput(
        "the model's decoder cannot be told from its head, so it cannot be trained here",
        found=type(model).__name__,
        next_step="report the architecture",
    )


class Policy:
    """A model under training. `way` is how batches are put before it (see `Way`)."""

    def __init__(self, model: Any, chat: Chat, settings: TrainingSettings, base: str) -> None:
        self.model, self.chat, self.base = model, chat, base
        self.start: Start | None = None  # of an adapter that took part of the base over
        self.settings = settings
        self.device = next(model.parameters()).device
        self.inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.is_adapter = model is not self.inner
        self.plain_attention: str = self.inner.config._attn_implementation
        self.way: Way = "padded"
        self.segments_too = False  # layers may ask for more than the one kernel over all does
        self._routing: dict[str, bool] = {}
        self._routed: tuple[torch.Tensor, ...] | None = None
        self.decoder = _decoder_of(self.inner)
        self.mixed = settings.precision == "bfloat16_mixed"
        self._kept: dict[str, torch.Tensor] = {}
        self.value_head: torch.nn.Linear | None = None
        self.ends_in = settings.ends_in
        if self.ends_in == "number" and not hasattr(self.inner, "score"):
            raise BadInput(
                "a model of this architecture cannot be made to end in one number here",
                found=type(self.inner).__name__,
                allowed="a decoder whose sequence classifier has a `score` layer",
            )

    @property
    def shares(self) -> bool:
        """Whether a prompt with several branches is computed once."""
        return self.way == "flat"

    def take(self, way: Way) -> None:
        """Put batches before the model in this way from now on."""
        attention.register()
        self.inner.set_attn_implementation(attention.NAME if way == "flat" else self.plain_attention)
        self.way = way

    def trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Names and tensors that are trained, in a fixed order."""
        own = [] if self.value_head is None else [(f"value_head.{n}", p) for n, p in self.value_head.named_parameters()]
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad] + own

    def add_value_head(self) -> None:
        """A linear layer over the last hidden state that learns what is still to come; it begins at 0, is trained and
        checkpointed with the model, and is no part of what is saved."""
        width = self.inner.get_output_embeddings().weight.shape[1]
        self.value_head = torch.nn.Linear(width, 1, device=self.device)
        torch.nn.init.zeros_(self.value_head.weight)
        torch.nn.init.zeros_(self.value_head.bias)

    def head(self) -> losses.Head:
        """How this model turns hidden states into logits. For one that ends in a number, which has no such layer, its
        input embeddings stand in: enough for the self-test, which asks whether hidden states are the same."""
        if self.ends_in == "number":
            return losses.Head(self.inner.get_input_embeddings().weight)
        module = self.inner.get_output_embeddings()
        rows = getattr(module, "token_adapter", None)
        weight = None
        if rows is not None:  # single rows are trained
            module = rows.get_base_layer()
            weight = module.weight if rows.disable_adapters else rows.get_merged_weights(rows.active_adapters)
        if not isinstance(module, torch.nn.Linear):
            raise BadInput(
                "the model's output layer cannot be tuned or is of an unknown kind",
                found=type(module).__name__,
                allowed="a plain linear layer",
                next_step="leave lm_head out of adapter.targets",
            )
        config = self.inner.config.get_text_config()
        scale = float(getattr(config, "logit_scale", None) or 1.0) / float(
            getattr(config, "logits_scaling", None) or 1.0
        )
        cap = getattr(config, "final_logit_softcapping", None)
        own = module.weight if weight is None else weight
        return losses.Head(own, module.bias, scale, None if cap is None else float(cap))

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Last hidden states at the labels' predictors [N, H], in the precision of matrix products."""
        states_NH = self._hidden(batch)
        return states_NH.to(torch.bfloat16) if self.mixed else states_NH

    def _hidden(self, batch: Batch) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16) if self.mixed else nullcontext():
            if self.way == "padded":
                return self._padded(batch)
            extra = self._layout(batch) if self.way == "flat" else {}
            out = self.decoder(
                input_ids=batch.input_ids_T[None],
                position_ids=batch.position_ids_T[None],
                use_cache=False,
                **extra,
                **self._routing,
            )
            self._routed = getattr(out, "router_logits", None)
            states: torch.Tensor = out.last_hidden_state[0].index_select(0, batch.predictors_N)
            return states

    def _layout(self, batch: Batch) -> dict[str, Any]:
        """What tells the attention which token sees which: on a GPU in half precision for one kernel over all."""
        half = self.mixed or self.settings.precision == "bfloat16"
        if attention.HAS_VARLEN and self.device.type == "cuda" and half:
            one = attention.varlen(batch.layout, self.device).as_arguments()
            return one | {"layout": batch.layout} if self.segments_too else one
        return {"layout": batch.layout}

    def compile(self) -> str:
        """Fuse each decoder layer with torch.compile, and say what was fused; shapes stay dynamic, so that batches of
        any size share it. A model that keeps its layers elsewhere runs as it is."""
        layers = getattr(self.decoder, "layers", None)
        if layers is None:
            return "nothing: this architecture does not list its decoder layers"
        if self.segments_too:
            return "nothing: layers that take their segments one by one would be compiled anew for every batch"
        for layer in layers:
            layer.compile(dynamic=True)
        return "decoder layers"

    def _padded(self, batch: Batch) -> torch.Tensor:
        sizes = torch.tensor(batch.layout.lengths, device=self.device)
        if any(parent >= 0 for parent in batch.layout.parents):
            raise ValueError("a padded forward cannot share prompts")
        width = int(sizes.max())
        real_BT = torch.arange(width, device=self.device)[None] < sizes[:, None]
        ids_BT = torch.full(real_BT.shape, self.chat.pad_id, dtype=torch.int64, device=self.device)
        ids_BT[real_BT] = batch.input_ids_T
        out = self.decoder(input_ids=ids_BT, attention_mask=real_BT.long(), use_cache=False, **self._routing)
        routed = getattr(out, "router_logits", None)
        self._routed = None if routed is None else tuple(r.reshape(-1, r.shape[-1])[real_BT.flatten()] for r in routed)
        flat: torch.Tensor = out.last_hidden_state[real_BT]
        return flat.index_select(0, batch.predictors_N)

    def logprobs(self, batch: Batch, temperature: float = 1.0) -> torch.Tensor:
        """Log-probability of each label [N], float32."""
        batch = batch.to(self.device)
        head = replace(self.head(), temperature=temperature)
        return losses.linear_logprobs(self.hidden(batch), batch.labels_N, head)

    def logprobs_and_values(self, batch: Batch, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        """`logprobs`, and what the value head expects before each label, float32 [N] both, from one forward."""
        if self.value_head is None:
            raise ValueError("this policy has no value head")
        batch = batch.to(self.device)
        states_NH = self.hidden(batch)
        head = replace(self.head(), temperature=temperature)
        logprobs_N = losses.linear_logprobs(states_NH, batch.labels_N, head)
        return logprobs_N, self.value_head(states_NH.float()).squeeze(1)

    def numbers(self, batch: Batch) -> torch.Tensor:
        """What a model that ends in a number gives at each of the labels' predictors [N], float32."""
        hidden_NH = self.hidden(batch.to(self.device))
        kind = next(self.inner.score.parameters()).dtype
        score_N1: torch.Tensor = self.inner.score(hidden_NH.to(kind))
        return score_N1.squeeze(-1).float()

    def sequence_logprobs(self, batch: Batch) -> torch.Tensor:
        """Summed log-probability of each trained node [owners], float32."""
        return losses.sum_by_owner(self.logprobs(batch), batch.owners_N.to(self.device), len(batch.owner_rows))

    def cross_entropy(self, batch: Batch, labels: float, *, balance: float = 0.0) -> torch.Tensor:
        """The batch's summed cross-entropy over `labels`, the trained tokens of the whole update; a scalar. Where rows
        have weights, their tokens count by them, also in `labels`.

        `balance`: weight of the load balance of a mixture of experts, counted by the batch's share of the labels.

        Raises:
            BadInput: a balance asked of a model without experts.
        """
        batch = batch.to(self.device)
        weights_N = torch.full(batch.labels_N.shape, 1.0 / labels, device=self.device)
        if (rows_N := batch.label_weights_N) is not None:
            weights_N = weights_N * rows_N
        self._routing = {"output_router_logits": True} if balance else {}
        try:
            loss = losses.linear_cross_entropy(self.hidden(batch), batch.labels_N, self.head(), weights_N)
        finally:
            self._routing = {}
        if not balance:
            return loss
        share = len(batch.labels_N) / labels if rows_N is None else float(weights_N.sum())
        return loss + balance * share * self._balance()

    def _balance(self) -> torch.Tensor:
        routed, config = self._routed, self.inner.config.get_text_config()
        if not routed:
            raise BadInput(
                "router_balance is set, but this model has no mixture of experts that tells its routing",
                where="router_balance",
                found=str(config.model_type),
                next_step="leave router_balance out",
            )
        return losses.expert_balance(
            torch.cat([r.reshape(-1, r.shape[-1]) for r in routed]), config.num_experts_per_tok
        )

    def keep_reference(self) -> None:
        """Take the present weights for the reference. An adapter's base is there anyway; a fully tuned model keeps a
        copy."""
        if not self.is_adapter:
            self._kept = {name: p.detach().clone() for name, p in self.trainable()}

    def reference(self) -> AbstractContextManager[Any]:
        """Within it an adapter is off, or the weights that `keep_reference` kept are in place. A fully tuned model
        that kept none has no reference but its log-probs before training."""
        if self.start is not None:
            return self.start.restored()
        if self.is_adapter:
            return self.model.disable_adapter()  # type: ignore[no-any-return]
        return self._swapped() if self._kept else nullcontext()

    @contextmanager
    def _swapped(self) -> Iterator[None]:
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, p in self.trainable():
            p.data, self._kept[name] = self._kept[name], p.data

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """No dropout, no gradients."""
        was = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.model.train(was)

    @contextmanager
    def generating(self) -> Iterator[None]:
        """Within it the model itself can write: plain attention with a cache, no dropout, no gradients."""
        self.inner.set_attn_implementation(self.plain_attention)
        try:
            with self.evaluating(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                yield
        finally:
            self.take(self.way)

    # ---- weights in and out ------------------------------------------------------------------------------------

    def weights(self) -> dict[str, torch.Tensor]:
        """The trained tensors by name, detached, on the CPU."""
        return {name: p.detach().cpu().contiguous() for name, p in self.trainable()}

    def load_weights(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over tensors that `weights` gave."""
        mine = dict(self.trainable())
        if set(mine) != set(tensors):
            raise BadInput("the checkpoint holds other weights than this model trains", found=f"{len(tensors)} tensors")
        with torch.no_grad():
            for name, parameter in mine.items():
                parameter.copy_(tensors[name])

    def save(self, folder: Path) -> None:
        """Write what plain transformers or peft loads: weights, tokenizer, chat template, generation config, and a
        note of the base an adapter belongs to."""
        self.inner.set_attn_implementation(self.plain_attention)
        if self.ends_in == "words":
            config = self.inner.generation_config
            config.eos_token_id = sorted(self.chat.stop_ids)
            config.pad_token_id = self.chat.pad_id
        else:
            self.inner.config.pad_token_id = self.chat.pad_id  # transformers looks for the last token before it
        if self.is_adapter:
            self._save_adapter(folder)
        else:
            self.model.save_pretrained(str(folder), safe_serialization=True)
        if self.ends_in == "words":
            config.save_pretrained(str(folder))
        self.chat.tokenizer.save_pretrained(str(folder))
        note = {
            "base": self.base,
            "base_digest": base_digest(self.base),
            "form": "adapter" if self.is_adapter else "full",
            **({"makes": getattr(self.settings, "id", "reward_model")} if self.ends_in == "number" else {}),
        }
        if self.is_adapter and self.settings.new_tokens:
            note[ROWS] = self.inner.get_input_embeddings().weight.shape[0]
        if self.settings.adapter.kind == "qlora":
            note["base_in"] = "nf4"
        (folder / NOTE).write_text(json.dumps(note, indent=1, sort_keys=True) + "\n", "utf-8")
        self.take(self.way)

    def _save_adapter(self, folder: Path) -> None:
        """As peft does; one that took part of the base over becomes a plain one (peft: 'PiSSA to LoRA')."""
        if self.start is None:
            self.model.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
        else:
            with tempfile.TemporaryDirectory() as place:
                first = Path(place) / "start"
                with self.start.restored():
                    self.model.save_pretrained(str(first), safe_serialization=True, save_embedding_layers=False)
                self.model.save_pretrained(
                    str(folder),
                    safe_serialization=True,
                    save_embedding_layers=False,
                    path_initial_model_for_weight_conversion=str(first),
                )
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty card


def open_policy(base: str, chat: Chat, settings: TrainingSettings, *, seed: int, device: str = "cpu") -> Policy:
    """Load the base and put the adapter on it; the seed is set first, so that equal seeds give equal adapters.

    Raises:
        Unavailable: four bits where they cannot be had. BadInput: settings that do not fit this model.
    """
    torch.manual_seed(seed)
    adapter = settings.adapter
    model = load_model(
        base,
        dtype="bfloat16" if settings.precision == "bfloat16" else "float32",
        device=device,
        four_bits=adapter.kind == "qlora",
        ends_in=settings.ends_in,
    )
    new_ids = [int(chat.tokenizer.convert_tokens_to_ids(token)) for token in settings.new_tokens]
    if new_ids:
        fit_vocabulary(model, max(new_ids) + 1, new_ids)
    if adapter.kind == "qlora":
        model = quantised.make_trainable(model, activation_checkpointing=settings.activation_checkpointing)
    elif settings.activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if adapter.kind == "none":
        choose_weights(model, adapter)
    else:
        model = put_adapter(model, adapter, base, new_ids, settings.ends_in)
    model.train()
    policy = Policy(model, chat, settings, base)
    policy.start = Start(model) if adapter.init == "pissa" else None
    if settings.has_value_head:
        policy.add_value_head()
    return policy


def merge(adapter_dir: Path, output_dir: Path, *, base: str | Path | None = None) -> Path:
    """Write the whole model that an adapter and its base make (`base`: where that is now, if it has moved)."""
    from transformers import AutoTokenizer, GenerationConfig

    model = load_model(adapter_dir, adapter_base=base)
    form = reward_form(adapter_dir)
    if form is None:
        model.generation_config = GenerationConfig.from_pretrained(str(adapter_dir))
    else:
        model.config.pad_token_id = AutoTokenizer.from_pretrained(str(adapter_dir)).pad_token_id
    model.save_pretrained(str(output_dir), safe_serialization=True)
    if form is not None:
        note = json.dumps({"form": "full", "makes": form}, indent=1, sort_keys=True)
        (output_dir / NOTE).write_text(note + "\n", "utf-8")
    AutoTokenizer.from_pretrained(str(adapter_dir)).save_pretrained(str(output_dir))
    return output_dir
