"""Rows as a model that ends in one number reads them: whole, and asked at one place of each answer."""

from dataclasses import replace

import numpy as np

from goldsmith.engines.training.data.batches import Plan
from goldsmith.engines.training.data.rows import Node, Row


def judged(row: Row) -> Row:
    """The row asked once for each answer, at its last trained token: what comes after that is left out.

    A batch asks a model at the tokens before the trained ones, so that what is marked is a token after the end, which
    is never read.
    """
    parents = {node.parent for node in row.nodes}
    return replace(row, nodes=tuple(_ended(n) if i not in parents else _unasked(n) for i, n in enumerate(row.nodes)))


def _ended(node: Node) -> Node:
    end = int(np.flatnonzero(node.trained)[-1]) + 1
    ids = np.concatenate([node.ids[:end], node.ids[end - 1 : end]])
    return Node(ids, np.arange(end + 1) == end, node.parent)


def _unasked(node: Node) -> Node:
    return Node(node.ids, np.zeros(len(node.ids), dtype=np.bool_), node.parent)


def judged_plan(plan: Plan) -> Plan:
    """The same steps over judged rows."""
    return replace(plan, rows=tuple(judged(row) for row in plan.rows))
