"""Token ids to text, bit by bit: a stream never shows half a character, nor the start of a stop text."""

from collections.abc import Sequence
from typing import Any

_REPLACEMENT = "�"


class TextStream:
    """Text of a growing list of token ids.

    The window decoded anew for each token starts at the last place known to be a character boundary
    (the method of text-generation-inference), so that the cost per token does not grow with the answer.
    Joined, the pieces equal the tokenizer's decoding of all ids, up to the first stop text.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._ids: list[int] = []
        self._window_start = 0  # ids from here on are decoded again, for the sake of the ids after
        self._read = 0  # ids up to here have gone into `_held`
        self._held = ""  # text that may be the start of a stop text
        self.stopped = False
        """A stop text was met; nothing more comes out."""

    def push(self, token_id: int) -> str:
        """Take one token; the text that is certain now, often empty."""
        if self.stopped:
            return ""
        self._ids.append(token_id)
        before = self._decode(self._ids[self._window_start : self._read])
        after = self._decode(self._ids[self._window_start :])
        if len(after) <= len(before) or after.endswith(_REPLACEMENT):
            return ""  # a character is not complete yet
        self._window_start, self._read = self._read, len(self._ids)
        return self._release(after[len(before) :])

    def finish(self) -> str:
        """No more tokens: whatever was held back, broken characters as U+FFFD."""
        if self.stopped:
            return ""
        before = self._decode(self._ids[self._window_start : self._read])
        after = self._decode(self._ids[self._window_start :])
        self._read = len(self._ids)
        text = self._release(after[len(before) :])
        if self.stopped:
            return text
        held, self._held = self._held, ""
        return text + held

    def _release(self, text: str) -> str:
        self._held += text
        ends = [at for at in (self._held.find(stop) for stop in self._stop) if at >= 0]
        if ends:
            self.stopped = True
            text, self._held = self._held[: min(ends)], ""
            return text
        keep = max((overlap(self._held, stop) for stop in self._stop), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def _decode(self, ids: Sequence[int]) -> str:
        return decode(self._tokenizer, ids)


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of `ids`, special tokens shown, nothing tidied up: what the model wrote."""
    if not ids:
        return ""
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper start of `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-size:]):
            return size
    return 0
