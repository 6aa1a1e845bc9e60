"""Records nearest in wording to a text: TF-IDF over words and word pairs, cosine similarity."""

from collections.abc import Sequence

import numpy as np

from goldsmith.types.record import Comparison, Conversation, Message, Rating, Record, Role, TextPart


def turns_of(record: Record) -> list[Message]:
    """A record's turns without system prompts; of a comparison, those that lead to the better answer."""
    content = record.content
    if isinstance(content, Conversation):
        messages: tuple[Message, ...] = content.messages
    elif isinstance(content, Comparison):
        messages = content.prompt + content.chosen
    elif isinstance(content, Rating):
        messages = content.prompt + content.answer
    else:
        return [Message(role=Role.USER, parts=(TextPart(text=content.text),))]
    return [message for message in messages if message.role is not Role.SYSTEM]


def text_of(record: Record) -> str:
    """What a person reads in a record: user turns, answers, tool calls and results."""
    lines = []
    for message in turns_of(record):
        lines.append(message.text)
        lines.extend(f"{call.name} {call.arguments}" for call in message.calls)
    return "\n".join(line for line in lines if line)


def nearest(records: Sequence[Record], text: str, count: int) -> list[tuple[int, float]]:
    """(index, cosine in 0..1) of the `count` records nearest to `text`, nearest first; ties by index."""
    if not records or not text.strip():
        return []
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+", sublinear_tf=True, max_features=50_000)
    try:
        matrix = vectorizer.fit_transform(text_of(record)[:20_000] for record in records)
    except ValueError:  # nothing but punctuation
        return []
    similarity = np.asarray((matrix @ vectorizer.transform([text[:20_000]]).T).todense()).ravel()
    order = np.lexsort((np.arange(len(similarity)), -similarity))[:count]
    return [(int(place), float(similarity[place])) for place in order if similarity[place] > 0]
