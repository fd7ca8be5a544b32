"""The wordings from which the demo's customer messages are put together: a part for training, one for the test.

They are in `wording.json`. No greeting, sentence, urgency phrase or closing of the test part occurs in the training
part, so a model that scores well on the test has learned the task and not the sentences. The test phrases paraphrase
the training phrases and share words with them, as the messages of tomorrow share words with those of today.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from weitiao.records import record_of


@dataclass(frozen=True, slots=True)
class Wording:
    """One part's phrases; a message is made of one of each, chosen independently.

    Attributes:
        greetings: Beginnings; an empty one is left out of the message, as everywhere below.
        sentences: Templates with the fields `{order}`, `{items}` and `{date}`, each once.
        urgency: Phrases for each value of the answer's field `urgency`.
        closings: Endings.
    """

    greetings: tuple[str, ...]
    sentences: tuple[str, ...]
    urgency: dict[str, tuple[str, ...]]
    closings: tuple[str, ...]


_TEXTS: dict[str, Any] = json.loads((resources.files("weitiao.demo") / "wording.json").read_text(encoding="utf-8"))
TRAIN, TEST = (record_of(Wording, _TEXTS[part]) for part in ("train", "test"))
PRODUCTS: tuple[tuple[str, str], ...] = tuple((name, plural) for name, plural in _TEXTS["products"])
"""The catalogue: the name that the answer gives, and its plural."""
