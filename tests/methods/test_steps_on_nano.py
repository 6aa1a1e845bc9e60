"""A process reward model learns which steps of an order desk's answers are right, in words it was not trained on."""

import json
import random
from pathlib import Path

import pytest
from goldsmith_test_records import said

from goldsmith import nano, plugins
from goldsmith.engines.examining import examine
from goldsmith.engines.reward_scoring import StepAnswerer
from goldsmith.engines.training.driver import TrainingJob, run_training
from goldsmith.evals.step_accuracy import StepAccuracy
from goldsmith.nano.tasks import generate
from goldsmith.nano.words import Split
from goldsmith.types.record import Conversation, Record, Role

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.timeout(900),
]  # wall time: 20 seconds of one idle core each
DEEDS = {"delivered": ("refund", "refunded"), "processing": ("cancel", "cancelled")}


def answers(count: int, seed: int, split: Split = "train", *, shuffled: bool = False) -> list[Record]:
    """Answers of four steps: look the order up, say its status, do what it asks for, say so. Each of three may be wrong
    by itself: acting before looking, and deeds that do not follow from the status, which another row rightly does. The
    status is not judged. `shuffled`: each answer has another one's labels."""
    rows = []
    for number, task in enumerate(generate("order_support", 2 * count, seed, split)):
        draw = random.Random(f"steps/{split}/{seed}/{number}")
        order = task.expected[0].mapping()["order_id"]
        status = next(one.status for one in task.state.orders if one.order_id == order)
        if status not in DEEDS:
            continue
        other = next(one for one in DEEDS if one != status)
        looked, does, says = (draw.random() < 0.6 for _ in range(3))
        early = draw.choice([deed for deed, _ in DEEDS.values()])
        steps = (
            f"I {'look up' if looked else early} order {order}.",
            f"It is {status}.",
            f"I {DEEDS[status if does else other][0]} order {order}.",
            f"I {DEEDS[status if says else other][1]} it.",
        )
        rows.append((task.request, "\n\n".join(steps), [looked, None, does, says]))
    assert len(rows) >= count
    labels = [one for *_, one in rows[:count]]
    if shuffled:
        random.Random(0).shuffle(labels)
    return [
        Record(content=Conversation(messages=(said(Role.USER, asked), said(Role.ASSISTANT, text))), extra=extra)
        for (asked, text, _), extra in zip(rows, [json.dumps({"labels": one}) for one in labels], strict=False)
    ]


def learned(folder: Path, *, shuffled: bool = False) -> dict[str, float]:
    """What the eval finds on answers about requests of the held-out split, after 40 updates."""
    settings = {"learning_rate": 1e-3, "batch_size": 16, "max_steps": 40, "overfit": {"act": "off"}}
    method = plugins.build("methods", "process_reward", {**settings, "adapter": {"kind": "none"}})
    rows = answers(320, 1, shuffled=shuffled)
    where = {"output_dir": folder / "out", "scratch_dir": folder / "scratch"}
    job = TrainingJob(method, str(nano.model_path()), rows, **where, seed=1, progress=False, device="cpu")
    with StepAnswerer(run_training(job).model_dir) as model:
        results, _ = examine(model, None, [("steps", StepAccuracy())], (), answers(100, 2, "heldout"))
    assert all(one.unscored == 0 for one in results)
    return {one.metric: one.mean for one in results}


def test_a_process_reward_model_tells_right_steps_and_the_first_wrong_one(tmp_path: Path) -> None:
    found = learned(tmp_path)
    assert found["step_accuracy"] > 0.9  # the commoner label: 0.6
    assert found["auc"] > 0.95  # tossing coins gives 0.5, give or take 0.06
    assert found["f1"] > 0.85


@pytest.mark.slow
def test_labels_of_other_answers_teach_nothing(tmp_path: Path) -> None:
    found = learned(tmp_path, shuffled=True)
    assert found["step_accuracy"] < 0.75
    assert found["auc"] < 0.75
    assert found["f1"] < 0.6
