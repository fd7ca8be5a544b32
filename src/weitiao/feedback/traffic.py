"""What a server answered, and what was said of it, in the file of pairs and judgements."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from weitiao.data.example import Message
from weitiao.errors import DataError, RunError
from weitiao.feedback.items import digest_of, first_shown, item_of
from weitiao.feedback.store import FeedbackStore, Judgement, Made, now
from weitiao.json_text import json_text

T = TypeVar("T")
Rating = Literal["good", "bad"]
FROM_SERVER = "served:"
"""How the row of a pair begins that came from answers of a server."""

_TABLES = """
CREATE TABLE IF NOT EXISTS served (
    id TEXT PRIMARY KEY, time TEXT NOT NULL, model TEXT NOT NULL, routed INTEGER NOT NULL, user TEXT,
    prompt TEXT, messages TEXT, answer TEXT, sampling TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    tokens INTEGER NOT NULL, finish TEXT NOT NULL, seconds REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS served_prompt ON served (prompt);
CREATE TABLE IF NOT EXISTS ratings (
    number INTEGER PRIMARY KEY AUTOINCREMENT, served TEXT NOT NULL, rating TEXT NOT NULL, time TEXT NOT NULL,
    comment TEXT
);
CREATE INDEX IF NOT EXISTS ratings_served ON ratings (served);
CREATE TABLE IF NOT EXISTS routes (number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, weights TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS started (id INTEGER PRIMARY KEY CHECK (id = 0), weights TEXT NOT NULL);
"""


class UnknownAnswerError(Exception):
    """No answer of this id is known here, or its text was not kept."""


@dataclass(frozen=True, kw_only=True)
class ServedAnswer:
    """An answer that a server gave.

    Attributes:
        id: Of the response, by which it is judged.
        model: Who answered.
        routed: Whether a route chose who does.
        user: Who asked; only a hash of it is kept.
        messages: What was answered.
        answer: What was written.
        sampling: How.
        prompt_tokens, tokens: Read and written.
        finish: How it ended.
        seconds: From the request to the end.
    """

    id: str
    model: str
    routed: bool
    user: str | None
    messages: Sequence[Message]
    answer: str
    sampling: Mapping[str, Any]
    prompt_tokens: int
    tokens: int
    finish: str
    seconds: float


class TrafficStore:
    """The part of a store that a server writes; one process has it open, others may read and judge meanwhile.

    What was written is on the disk when a call returns. One thread at a time may use it.

    Args:
        path: The file.
        keep_texts: Whether prompts and answers are kept. Without them there are counts and ratings, and no pairs.

    Raises:
        RunError: The file cannot be written.
        DataError: It is no store.
    """

    def __init__(self, path: Path, *, keep_texts: bool = True) -> None:
        self.path, self._keep_texts = path, keep_texts
        self._pairs = FeedbackStore(path)
        # It stays open: whoever closes a file last has to tidy it up, which takes longer than to write an answer.
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=60.0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise RunError(
                f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}.",
                "Check the path of --feedback.",
            ) from error
        self._run(lambda connection: connection.execute("PRAGMA journal_mode = WAL"))
        self._run(lambda connection: connection.execute("PRAGMA synchronous = FULL"))
        self._run(lambda connection: connection.executescript(_TABLES))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def record(self, one: ServedAnswer) -> None:
        """Keep an answer."""
        texts: tuple[str | None, ...] = (None, None, None)
        if self._keep_texts:
            texts = (digest_of(list(one.messages)), json_text(list(one.messages)), one.answer)
        user = None if one.user is None else hashlib.sha256(one.user.encode()).hexdigest()[:16]
        values = (
            one.id, now(), one.model, int(one.routed), user, *texts, json_text(dict(one.sampling)), one.prompt_tokens,
            one.tokens, one.finish, one.seconds,
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        self._run(lambda connection: connection.execute(f"INSERT INTO served VALUES ({marks})", values))

    def rate(self, name: str, rating: Rating, comment: str | None = None) -> str:
        """Keep what somebody says of an answer; where another answer to the same was said the opposite of, the two
        are a pair with a winner.

        Returns:
            The model that gave it.

        Raises:
            UnknownAnswerError: There is no such answer.
        """
        (found,) = self._found(name)
        row = (name, rating, now(), comment)
        query = "INSERT INTO ratings (served, rating, time, comment) VALUES (?, ?, ?, ?)"
        self._run(lambda connection: connection.execute(query, row))
        if found.prompt is not None:
            self._prefer_over_opposites(found, rating)
        return found.model

    def prefer(self, name: str, *, over: str | None = None, better: str | None = None, comment: str | None) -> str:
        """Keep that an answer is better than another one to the same, or that a text would have been better than it.

        Args:
            name: The answer.
            over: The worse answer.
            better: The better text.
            comment: What was said beside it.

        Returns:
            The model that gave the answer.

        Raises:
            UnknownAnswerError: There is no such answer, or its text was not kept.
            DataError: The two answer different things.
        """
        found = self._found(name, *([over] if over is not None else []))
        if any(one.prompt is None for one in found):
            raise UnknownAnswerError(name)
        if over is not None:
            if found[0].prompt != found[1].prompt:
                raise DataError(f"{name} and {over} answer different things.", "Compare answers to the same.")
            self._keep_pair(found[0], found[1].answer, Made(found[1].model, found[1].sampling), comment)
        if better is not None:
            self._keep_pair(found[0], better, Made("user", {}), comment, wins=False)
        return found[0].model

    def outcomes(self) -> dict[str, tuple[int, int]]:
        """How many users found the answers of each model good and bad that a route gave them.

        Each user counts once, by what was said first: what one user says is not independent. Whoever gave no name
        counts each time.
        """
        query = (
            "SELECT model, rating FROM ratings JOIN served ON served.id = ratings.served WHERE routed "
            "AND number IN (SELECT min(number) FROM ratings JOIN served ON served.id = ratings.served WHERE routed "
            "GROUP BY coalesce(user, served.id))"
        )
        found: dict[str, list[int]] = {}
        for model, rating in self._read(query):
            found.setdefault(model, [0, 0])[rating == "bad"] += 1
        return {model: (good, bad) for model, (good, bad) in found.items()}

    def counts(self) -> dict[str, int]:
        """Answers of each model."""
        return dict(self._read("SELECT model, count(*) FROM served GROUP BY model"))

    def begin_route(self, weights: Mapping[str, float]) -> dict[str, float]:
        """The shares that a route has when a server starts: those that it was given last while it ran, if it was last
        started with the same ones as now; else these."""
        asked = json_text(dict(weights))
        if self._read("SELECT 1 FROM started WHERE weights = ?", asked):
            ((last,),) = self._read("SELECT weights FROM routes ORDER BY number DESC LIMIT 1")
            return {str(name): float(share) for name, share in json.loads(last).items()}
        self._run(lambda connection: connection.execute("INSERT OR REPLACE INTO started VALUES (0, ?)", (asked,)))
        self.note_route(weights)
        return dict(weights)

    def note_route(self, weights: Mapping[str, float]) -> None:
        """Keep which shares a route has from now on."""
        row = (now(), json_text(dict(weights)))
        query = "INSERT INTO routes (time, weights) VALUES (?, ?)"
        self._run(lambda connection: connection.execute(query, row))

    def forget(self, days: float) -> int:
        """Remove answers older than so many days, what was said of them, and the pairs made of them.

        Returns:
            How many answers went.
        """
        before = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="milliseconds")
        old = "SELECT id FROM served WHERE time < ?"

        def remove(connection: sqlite3.Connection) -> int:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'pairs'").fetchone():
                gone = f"SELECT id FROM pairs WHERE row_id IN (SELECT '{FROM_SERVER}' || id FROM ({old}))"
                connection.execute(f"DELETE FROM judgements WHERE pair IN ({gone})", (before,))
                connection.execute(f"DELETE FROM pairs WHERE id IN ({gone})", (before,))
                connection.execute(
                    "DELETE FROM answers WHERE id NOT IN (SELECT a FROM pairs UNION SELECT b FROM pairs)"
                )
                connection.execute("DELETE FROM prompts WHERE id NOT IN (SELECT prompt FROM pairs)")
            connection.execute(f"DELETE FROM ratings WHERE served IN ({old})", (before,))
            num = connection.execute("DELETE FROM served WHERE time < ?", (before,)).rowcount
            connection.execute("COMMIT")
            return num

        return self._run(remove)

    def _found(self, *names: str) -> list[_Kept]:
        rows = {
            row[0]: _kept(row)
            for name in names
            for row in self._read("SELECT id, model, prompt, messages, answer, sampling FROM served WHERE id = ?", name)
        }
        if missing := [name for name in names if name not in rows]:
            raise UnknownAnswerError(missing[0])
        return [rows[name] for name in names]

    def _prefer_over_opposites(self, one: _Kept, rating: Rating) -> None:
        """Pairs with every answer of another model to the same of which the opposite was said last."""
        query = (
            "SELECT served.id, model, prompt, messages, answer, sampling FROM served JOIN ratings ON "
            "served.id = ratings.served WHERE prompt = ? AND served.id != ? AND rating != ? "
            "AND number IN (SELECT max(number) FROM ratings GROUP BY served)"
        )
        for row in self._read(query, one.prompt, one.id, rating):
            other = _kept(row)
            better, worse = (one, other) if rating == "good" else (other, one)
            self._keep_pair(better, worse.answer, Made(worse.model, worse.sampling), None)

    def _keep_pair(self, one: _Kept, text: str, made: Made, comment: str | None, *, wins: bool = True) -> None:
        """Keep a pair of an answer and another text, and which of them won."""
        row, order = f"{FROM_SERVER}{one.id}", first_shown(f"{one.id}:{text}", seed=0)
        answers = [(one.answer, Made(one.model, one.sampling)), (text, made)]
        (a, made_a), (b, made_b) = answers if order == "ab" else answers[::-1]
        item = item_of(row, tuple(json.loads(one.messages)), a, b)
        if item.is_same:
            return
        self._pairs.keep([(item, made_a, made_b)])
        winner: Literal["a", "b"] = "a" if wins == (order == "ab") else "b"
        self._pairs.add(Judgement(item.item_id, "user", "ab", winner, now(), comment=comment))

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._run(lambda connection: connection.execute(query, values).fetchall())

    def _run(self, do: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return do(self._connection)
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise RunError(
                f"The answers cannot be kept in {self.path}: {error}.", "Make room or fix the permissions there."
            ) from error


def _kept(row: tuple[Any, ...]) -> _Kept:
    name, model, prompt, messages, answer, sampling = row
    return _Kept(name, model, prompt, messages, answer, json.loads(sampling))


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer as the file has it; texts are None where they were not kept."""

    id: str
    model: str
    prompt: str
    messages: str
    answer: str
    sampling: dict[str, Any]
