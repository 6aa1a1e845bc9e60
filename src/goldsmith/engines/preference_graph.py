"""Preferences as a directed graph, an edge from the better to the worse answer: which edges lie on a cycle."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def cyclic_edges(edges: Iterable[tuple[Node, Node]]) -> set[tuple[Node, Node]]:
    """The edges within a strongly connected component, and loops: those that lie on some cycle."""
    known = list(edges)
    component = components(known)
    return {(a, b) for a, b in known if a == b or component[a] == component[b]}


def components(edges: Iterable[tuple[Node, Node]]) -> dict[Node, int]:
    """Each node's strongly connected component, numbered (Kosaraju's two passes, without recursion)."""
    forward: dict[Node, list[Node]] = defaultdict(list)
    backward: dict[Node, list[Node]] = defaultdict(list)
    nodes: dict[Node, None] = {}
    for a, b in edges:
        forward[a].append(b)
        backward[b].append(a)
        nodes[a] = nodes[b] = None
    order = _finished(nodes, forward)
    found: dict[Node, int] = {}
    for number, start in enumerate(reversed(order)):
        stack = [start] if start not in found else []
        while stack:
            node = stack.pop()
            if node not in found:
                found[node] = number
                stack += [other for other in backward[node] if other not in found]
    return found


def _finished(nodes: Iterable[Node], forward: dict[Node, list[Node]]) -> list[Node]:
    seen: set[Node] = set()
    order: list[Node] = []
    for start in nodes:
        stack: list[tuple[Node, bool]] = [(start, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack += [(other, False) for other in forward[node] if other not in seen]
    return order
