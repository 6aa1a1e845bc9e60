"""What only a vendor can say of a data set: the words of a Croissant card that no check can measure."""

import datetime

from goldsmith.types.artifact import Frozen


class DataCard(Frozen):
    """A YAML file with what is known; what is left out is exported as "not stated".

    `licence`: a URL or an SPDX name for the data set as a whole. The others are the properties of Croissant and its
    responsible-AI vocabulary (RAI 1.0) of the same meaning. `collection_timeframe`: dates, first and last.
    """

    name: str | None = None
    description: str | None = None
    url: str | None = None
    version: str = "1.0.0"
    licence: str | None = None
    creators: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    cite_as: str | None = None
    collection: str | None = None
    collection_types: tuple[str, ...] = ()
    collection_timeframe: tuple[datetime.date, ...] = ()
    missing_data: str | None = None
    raw_data: str | None = None
    preprocessing: tuple[str, ...] = ()
    annotation_protocol: str | None = None
    annotation_platform: tuple[str, ...] = ()
    annotator_demographics: tuple[str, ...] = ()
    biases: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()
    use_cases: tuple[str, ...] = ()
    social_impact: str | None = None
    personal_information: tuple[str, ...] = ()
    maintenance: str | None = None
