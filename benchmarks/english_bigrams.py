"""Makes the table of English letter pairs that `encoded_text` reads ciphers with.

Run: python benchmarks/english_bigrams.py SHARED_DATA_FOLDER Counts pairs of letters and word gaps in GSM8K and PubMedQA
(MIT), OASST (Apache-2.0) and MT-Bench (Apache-2.0) questions; writes 100 x log2 of their probabilities, 27 x 27, no
text, to src/goldsmith/engines/text/english_bigrams.json.
"""

import gzip
import json
import re
import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[1] / "src/goldsmith/engines/text/english_bigrams.json"
_FIELDS = ("question", "prompt", "answer", "chosen", "context", "contexts", "long_answer", "turns")
_FILES = (
    "gsm8k/train.jsonl.gz",
    "oasst-trees/ranked_pairs.jsonl",
    "pubmedqa/pqal.jsonl.gz",
    "mt-bench/question.jsonl",
)


def main() -> None:
    """Counts and writes."""
    counts = np.ones((27, 27))
    for name in _FILES:
        path = Path(sys.argv[1]) / name
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
            for line in lines:
                row = json.loads(line)
                text = " ".join(str(row[field]) for field in _FIELDS if field in row)
                if sum(ord(c) > 127 for c in text) > 0.02 * len(text):
                    continue  # other languages
                letters = re.sub(r"[^a-z]+", "`", text.lower())
                codes = np.frombuffer(letters.encode(), np.uint8).astype(int) - 96
                np.add.at(counts, (codes[:-1], codes[1:]), 1)
    log2 = np.round(100 * np.log2(counts / counts.sum(axis=1, keepdims=True))).astype(int)
    OUT.write_text(json.dumps({"hundredths_of_bits": log2.tolist()}) + "\n")


if __name__ == "__main__":
    main()
