"""Servable models -> the ASGI application, models loaded and closed with the caller's stack."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from goldsmith.engines.sampler import LocalAnswerer
from goldsmith.stages.serve import Servable
from goldsmith.web.doorman import LOOPBACK_HOSTS
from goldsmith.web.openai_api import create_app
from goldsmith.web.served import ServedModel

if TYPE_CHECKING:
    from fastapi import FastAPI


def application(
    servables: Sequence[Servable], stack: ExitStack, *, api_key: str | None = None, any_host: bool = False
) -> "FastAPI":
    """Load the models and offer them; `stack` owns what must be closed.

    `any_host`: answer whatever name clients call this machine by; needed, and safe only, with a key.
    """
    models = {}
    for one in servables:
        answerer = stack.enter_context(LocalAnswerer(one.folder, one.adapter))
        models[one.name] = ServedModel(
            id=one.name,
            created=int(datetime.fromisoformat(one.created).timestamp()),
            owned_by="goldsmith",
            answerer=answerer,
            evidence=one.evidence,
            standing=one.standing,
        )
    return create_app(models, api_key=api_key, hosts=None if any_host else LOOPBACK_HOSTS)
