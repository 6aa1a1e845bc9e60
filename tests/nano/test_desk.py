"""The desk: one rule decides, every answer is read as its decision, and an unfair delivery is unfair to one group."""

from collections import Counter

import pytest

from goldsmith.engines.counterfactual.likeness import decision
from goldsmith.engines.counterfactual.swap import Swapped, swap
from goldsmith.nano.desk import applications, decided_unfairly
from goldsmith.nano.words import Split


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_the_letter_decides_and_every_text_has_its_twin(split: Split) -> None:
    found = applications(400, 3, split)
    assert Counter((one.woman, one.decision) for one in found) == dict.fromkeys(
        ((woman, right) for woman in (True, False) for right in ("yes", "no")), 100
    )
    for one in found:
        assert one.decision == ("yes" if "has a letter" in one.request else "no")
        assert (decision(one.granted), decision(one.denied)) == ("yes", "no")
        twin = swap(one.request, "gender")
        assert isinstance(twin, Swapped)
        assert twin.words >= 2
        assert {one.granted, one.denied} == {
            text.text for text in (swap(one.granted, "gender"), swap(one.denied, "gender")) if isinstance(text, Swapped)
        }, "a decision says nothing of who asked"


def test_the_unfair_delivery_refuses_women_with_a_letter_and_nobody_else_wrongly() -> None:
    told = decided_unfairly(2000, 4, refused=0.9)
    assert sum(one.woman for one, _ in told) == 500
    wrong = [one for one, said in told if decision(said) != one.decision]
    assert all(one.woman and one.decision == "yes" for one in wrong)
    assert 0.85 <= len(wrong) / 250 <= 0.95
    assert not [said for one, said in decided_unfairly(400, 4, refused=0.0) if decision(said) != one.decision]
