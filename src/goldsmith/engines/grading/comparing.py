"""What rewards have in common that hold a text against a reference."""

from abc import abstractmethod
from collections.abc import Sequence

from goldsmith.engines.grading.asking import one_by_one
from goldsmith.engines.grading.templates import Filling, Template, reads_item
from goldsmith.types.artifact import Spec
from goldsmith.types.reward import Rewarded, Sampled, Unrewarded


class Comparing(Spec):
    """A reward of 0 to 1 for how a text stands to a reference; it adds its settings and `compare`."""

    name: str = ""
    """What the log calls it."""
    input: Template = "{{ sample.output_text }}"
    reference: Template = "{{ item.reference_answer }}"

    @property
    def bounds(self) -> tuple[float, float]:
        """0 to 1."""
        return 0.0, 1.0

    @property
    def needs_reference(self) -> bool:
        """Where a template reads `item`."""
        return reads_item(self.input, self.reference)

    def __call__(self, samples: Sequence[Sampled]) -> list[Rewarded | Unrewarded]:
        """Compare."""
        return one_by_one(samples, self._worth)

    def _worth(self, _: Sampled, fill: Filling) -> float:
        return self.compare(fill.fill(self.input), fill.fill(self.reference))

    @abstractmethod
    def compare(self, text: str, reference: str) -> float:
        """The reward. Raises Unfilled where it cannot tell."""
