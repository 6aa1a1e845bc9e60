"""New tokens in a tokenizer."""

from collections.abc import Sequence
from typing import Any

from goldsmith.types.errors import BadInput


def add_tokens(tokenizer: Any, tokens: Sequence[str]) -> None:
    """Make each text one token. A token that the chat template writes steers, and is kept from users' texts like every
    other; the rest are words that anybody may write.

    Raises:
        BadInput: an empty one, one twice, or one that is a token already.
    """
    known = tokenizer.get_vocab()
    for token in tokens:
        if not token.strip() or token in known or list(tokens).count(token) > 1:
            raise BadInput(
                "this cannot become a new token",
                where="new_tokens",
                found=repr(token),
                allowed="texts that are no token yet, each once",
                next_step=f"leave it out: it has the id {known[token]}" if token in known else None,
            )
    tokenizer.add_tokens(list(tokens))
