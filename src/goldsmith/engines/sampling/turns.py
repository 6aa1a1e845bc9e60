"""A streamed turn: text goes out at once, a tool call is held back until it can be read whole."""

from goldsmith.engines.sampling.detokenise import overlap

_STARTS = {"nano": "<|call|>", "hermes": "<tool_call>", "mistral": "[TOOL_CALLS]", "llama3": "<|python_tag|>"}


class TurnStream:
    """Splits the pieces of a turn at its first tool call, as the chat template `form` marks it.

    What `push` lets out is always the start of the turn's text; the rest is known once the turn is parsed.
    """

    def __init__(self, form: str) -> None:
        self._start = _STARTS.get(form, "")
        self._bare_json = form == "llama3"
        self._held = ""
        self._begun = False
        self._calling = False
        self.shown = ""

    def push(self, piece: str) -> str:
        """Take a piece; the text that certainly is no part of a call, often empty."""
        self._held += piece
        if self._calling or not self._held:
            return ""
        if self._bare_json and not self._begun:
            bare = self._held.lstrip()
            if not bare:
                return ""
            self._calling = bare.startswith("{")
        if self._start and self._start in self._held:
            self._calling = True
            before, mark, rest = self._held.partition(self._start)
            self._held = mark + rest
            return self._let_out(before.rstrip("\n"))
        if self._calling:
            return ""
        keep = overlap(self._held, self._start)
        # blank lines before a call belong to the call's markup
        cut = len(self._held[: len(self._held) - keep].rstrip("\n")) if self._start else len(self._held)
        out, self._held = self._held[:cut], self._held[cut:]
        return self._let_out(out)

    def rest(self, text: str) -> str:
        """What of the turn's final `text` has not been let out yet."""
        return self._let_out(text[len(self.shown) :]) if text.startswith(self.shown) else ""

    def _let_out(self, text: str) -> str:
        self._begun = self._begun or bool(text.strip())
        self.shown += text
        return text
