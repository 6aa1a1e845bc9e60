"""Runs one peer in the environment it is installed in: python peer_tools.py TOOL TASK.json ANSWER.json

Each peer has an environment of its own (see `peers.py`), so this file imports the standard library and the peer
alone. The answer is a JSON object: `cpu_s` (user + system, after a small warm-up), `version`, and the tool's `found`.
"""

import json
import logging
import os
import resource
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")


def cpu_s() -> float:
    """User and system seconds of this process and of those it waited for."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def presidio(task: dict[str, Any]) -> Any:
    """The analyzer with its default recognisers: for each text [entity, start, end, score]."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    # The list of top-level domains that comes with the package, instead of a download.
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    logging.disable(logging.WARNING)
    model = {"lang_code": "en", "model_name": task["model"]}
    provider = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": [model]})
    engine = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=["en"])
    for text in task["texts"][:20]:
        engine.analyze(text, language="en")
    yield
    yield [
        [[hit.entity_type, hit.start, hit.end, hit.score] for hit in engine.analyze(text, language="en")]
        for text in task["texts"]
    ]


def datatrove(task: dict[str, Any]) -> Any:
    """MinHash in four steps as its documentation shows, one worker: the places of the texts that stay."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.pipeline.readers.base import BaseReader
    from datatrove.utils.hashing import HashConfig
    from loguru import logger

    logger.remove()
    kept: list[int] = []

    class Given(BaseReader):
        name = "given"

        def __init__(self, texts: list[str]) -> None:
            super().__init__()
            self.texts = texts

        def run(self, *_: Any, **__: Any) -> Any:
            for place, text in enumerate(self.texts):
                yield Document(text=text, id=str(place))

    def keep(data: Any, *_: Any, **__: Any) -> Any:
        kept.extend(int(document.id) for document in data)
        yield from ()

    def run(texts: list[str], folder: str) -> None:
        config = MinhashConfig(hash_config=HashConfig(precision=64), **task.get("settings", {}))
        steps: list[tuple[list[Any], int]] = [
            ([Given(texts), MinhashDedupSignature(f"{folder}/signatures", config=config)], 1),
            ([MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)], config.num_buckets),
            ([MinhashDedupCluster(f"{folder}/buckets", f"{folder}/removed", config=config)], 1),
            ([Given(texts), MinhashDedupFilter(f"{folder}/removed"), keep], 1),
        ]
        for number, (pipeline, tasks) in enumerate(steps):
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{folder}/logs/{number}").run()

    with tempfile.TemporaryDirectory() as folder:
        run(task["texts"][:100], folder)
    kept.clear()
    yield
    with tempfile.TemporaryDirectory() as folder:
        run(task["texts"], folder)
    yield sorted(set(kept))


def data_juicer(task: dict[str, Any]) -> Any:
    """`document_minhash_deduplicator`: the places of the texts that stay."""
    import datasets
    from data_juicer.core.data import NestedDataset
    from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
    from loguru import logger

    logger.remove()
    datasets.disable_progress_bars()
    datasets.disable_caching()

    def run(texts: list[str]) -> list[int]:
        operator = DocumentMinhashDeduplicator(**task.get("settings", {}))
        rows = NestedDataset.from_dict({"text": texts, "place": list(range(len(texts)))})
        left, _ = operator.process(rows.map(operator.compute_hash))
        return [int(place) for place in left["place"]]

    run(task["texts"][:100])
    yield
    yield run(task["texts"])


def evidently(task: dict[str, Any]) -> Any:
    """`DataDriftPreset` with its defaults: for each pair of tables the columns that drifted, "" for the data set."""
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(text_columns=["text"], numerical_columns=["characters", "words"])

    def table(texts: list[str]) -> Any:
        numbers = {"characters": [float(len(t)) for t in texts], "words": [float(len(t.split())) for t in texts]}
        return Dataset.from_pandas(pd.DataFrame({"text": texts, **numbers}), data_definition=definition)

    def drifted(reference: list[str], current: list[str]) -> list[str]:
        told = Report([DataDriftPreset()], include_tests=True).run(table(current), table(reference)).dict()
        tests = [test for test in told["tests"] if test["status"] == "FAIL"]
        return sorted({test["metric_config"]["params"].get("column", "") for test in tests})

    drifted(task["pairs"][0][0][:60], task["pairs"][0][1][:60])
    yield
    yield [drifted(reference, current) for reference, current in task["pairs"]]


TOOLS = {
    "presidio": (presidio, "presidio-analyzer"),
    "datatrove": (datatrove, "datatrove"),
    "data-juicer": (data_juicer, "py-data-juicer"),
    "evidently": (evidently, "evidently"),
}


def main() -> None:
    """Does the task and leaves the answer."""
    tool, package = TOOLS[sys.argv[1]]
    steps = tool(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    next(steps)
    started = cpu_s()
    found = next(steps)
    used = cpu_s() - started
    answer = {"cpu_s": used, "version": f"{sys.argv[1]} {metadata.version(package)}", "found": found}
    Path(sys.argv[3]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
