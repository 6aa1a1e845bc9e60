"""A decoder and the ways of putting batches before it: flat with shared prompts, packed, or padded."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from goldsmith.engines.training.attention import flat
from goldsmith.engines.training.attention.flex import Tree
from goldsmith.engines.training.data.batches import Batch
from goldsmith.engines.training.memory.offload import Offload
from goldsmith.engines.training.model.noise import EmbeddingNoise
from goldsmith.engines.training.settings import TrainingSettings
from goldsmith.types.errors import BadInput

Way = Literal["flat", "packed", "padded"]
"""How rows are put before the model: `flat` steers attention itself and shares prompts; `packed` lets transformers
mask by positions; `padded` gives each row a line of its own. Fastest first; a self-test picks the first exact one."""


def _plainly(work: Callable[[], Any]) -> Any:
    return work()


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


class Forward:
    """Batches through a model's decoder to the hidden states from which its labels are predicted.

    `way` is how they are put before it. `inner` is the plain model within an adapter, or the model itself.
    """

    def __init__(self, inner: Any, pad_id: int, settings: TrainingSettings) -> None:
        self.inner, self.pad_id = inner, pad_id
        self.device = next(inner.parameters()).device
        self.precision = settings.precision
        self.mixed = settings.precision == "bfloat16_mixed"
        self.plain_attention: str = inner.config._attn_implementation
        self.way: Way = "padded"
        self.segments_too = False  # layers may ask for more than the one kernel over all does
        self.flex = self.device.type == "cuda"  # such layers take FlexAttention
        self.flex_failure = ""
        self.decoder = _decoder_of(inner)
        alpha = float(settings.neftune_alpha)
        self.noise = EmbeddingNoise(inner, alpha) if alpha else None
        away = settings.activation_offload and self.device.type == "cuda"
        self.offload = Offload(self.device) if away else None
        self._routing: dict[str, bool] = {}
        self._routed: tuple[torch.Tensor, ...] | None = None
        self.gathered: Callable[[Callable[[], Any]], Any] = _plainly
        """Does work that computes with this model, within which weights that are cut into shards are whole."""
        self.whole: Callable[[], AbstractContextManager[None]] = nullcontext
        """Within it shards are put together in every process, so that each can make forwards of its own, without
        gradients. All must enter it."""

    @property
    def shares(self) -> bool:
        """Whether a prompt with several branches is computed once; under noise each branch is a sequence of its own."""
        return self.way == "flat" and self.noise is None

    def take(self, way: Way) -> None:
        """Put batches before the model in this way from now on."""
        flat.register()
        self.inner.set_attn_implementation(flat.NAME if way == "flat" else self.plain_attention)
        self.way = way

    def hidden(self, batch: Batch) -> torch.Tensor:
        """Last hidden states at the labels' predictors [N, H], in the precision of matrix products."""
        with self.offload.waiting() if self.offload and torch.is_grad_enabled() else nullcontext():
            states_NH = self._hidden(batch)
        return states_NH.to(torch.bfloat16) if self.mixed else states_NH

    def _hidden(self, batch: Batch) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16) if self.mixed else nullcontext():
            if self.way == "padded":
                return self._padded(batch)
            extra = self._layout(batch) if self.way == "flat" else {}
            with self._noisy(batch):
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

    def _noisy(self, batch: Batch, real_BT: torch.Tensor | None = None) -> AbstractContextManager[None]:
        """Noise on the embeddings, where it is set and the batch is learnt from; never where no gradient is wanted."""
        if self.noise is None or batch.draw is None or not torch.is_grad_enabled():
            return nullcontext()
        width = int(self.inner.get_input_embeddings().weight.shape[1])
        return self.noise.on(batch, width, self.device, real_BT)

    def _layout(self, batch: Batch) -> dict[str, Any]:
        """What tells the attention which token sees which: on a GPU in half precision for one kernel over all."""
        half = self.mixed or self.precision == "bfloat16"
        one_kernel = flat.HAS_VARLEN and self.device.type == "cuda" and half
        told: dict[str, Any] = flat.varlen(batch.layout, self.device).as_arguments() if one_kernel else {}
        if self.segments_too or not one_kernel:
            told["layout"] = batch.layout
            if self.flex:
                told["tree"] = Tree(batch.layout, self.device)
        return told

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
        ids_BT = torch.full(real_BT.shape, self.pad_id, dtype=torch.int64, device=self.device)
        ids_BT[real_BT] = batch.input_ids_T
        with self._noisy(batch, real_BT):
            out = self.decoder(input_ids=ids_BT, attention_mask=real_BT.long(), use_cache=False, **self._routing)
        routed = getattr(out, "router_logits", None)
        self._routed = None if routed is None else tuple(r.reshape(-1, r.shape[-1])[real_BT.flatten()] for r in routed)
        flat: torch.Tensor = out.last_hidden_state[real_BT]
        return flat.index_select(0, batch.predictors_N)
