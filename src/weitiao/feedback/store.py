"""What people and models say of answers, in one file of SQLite: prompts, answers with what made them, judgements.

Several processes may write at once. Each judgement is on the disk before the next question is asked, and nothing is
ever changed or removed: a later judgement and a withdrawal are rows of their own, so that the file tells the story.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weitiao.errors import DataError, RunError
from weitiao.evaluation.judges.pairwise import Spent
from weitiao.feedback.items import Choice, Order, PreferenceItem, digest_of
from weitiao.json_text import json_text
from weitiao.records import first_problem, record_of
from weitiao.sqlite_files import opened

STORE_FILE = "feedback.db"
LINES_FILE = "judgements.jsonl"
"""Where judgements lay before they came into a store: one line of JSON each. They are taken over."""

_Statement = tuple[str, tuple[Any, ...] | dict[str, Any]]

_TABLES = """
CREATE TABLE IF NOT EXISTS prompts (id TEXT PRIMARY KEY, messages TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    id TEXT PRIMARY KEY, prompt TEXT NOT NULL, text TEXT NOT NULL, model TEXT NOT NULL, sampling TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS pairs (
    id TEXT PRIMARY KEY, row_id TEXT NOT NULL, prompt TEXT NOT NULL, a TEXT NOT NULL, b TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS drawn (id TEXT PRIMARY KEY, texts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS judgements (
    number INTEGER PRIMARY KEY AUTOINCREMENT, pair TEXT NOT NULL, judge TEXT NOT NULL, shown TEXT NOT NULL,
    choice TEXT NOT NULL, time TEXT NOT NULL, seconds REAL, comment TEXT, withdrawn INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS judgements_pair ON judgements (pair);
CREATE TABLE IF NOT EXISTS spent (
    judge TEXT NOT NULL, time TEXT NOT NULL, requests INTEGER NOT NULL, timeouts INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL
);
"""
_STANDING = """
SELECT pair, judge, shown, choice, time, seconds, comment FROM judgements
WHERE number IN (SELECT max(number) FROM judgements GROUP BY judge, pair, shown) AND NOT withdrawn ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judge says about one pair of answers.

    Attributes:
        item_id: `PreferenceItem.item_id`, which changes with the prompt and with either answer.
        judge: Who says it: `human`, `human:NAME`, or the name of a judge model.
        order: Which answer was shown first: `ab` is that of A.
        choice: The better answer, by its model and not by its place: `a` or `b`; `tie`, or `bad` for neither.
        time: When, in UTC (ISO 8601).
        seconds: How long it took; None where nobody measured.
        comment: What the judge wrote beside it.
    """

    item_id: str
    judge: str
    order: Order
    choice: Choice
    time: str
    seconds: float | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What made an answer.

    Attributes:
        model: Its name, as a person wrote it.
        sampling: The settings that it was drawn with, by name.
    """

    model: str
    sampling: dict[str, Any]


def by_judge(judgements: Iterable[Judgement]) -> dict[str, list[Judgement]]:
    """The judgements of each judge, in the order in which judges come."""
    found: dict[str, list[Judgement]] = {}
    for one in judgements:
        found.setdefault(one.judge, []).append(one)
    return found


def now() -> str:
    """The time of a judgement made now."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class FeedbackStore:
    """The store in a file.

    A later judgement of the same judge, pair and order replaces an earlier one, and a withdrawal takes it back.

    Args:
        path: The file; it and its directory are made when there is something to store.

    Raises:
        DataError: The file is no such store, or a line of the judgements that lay beside it is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.with_name(LINES_FILE)
        if not path.exists() and lines.is_file():
            self._write([(_INSERT, _values(one, withdrawn=withdrawn)) for one, withdrawn in _lines(lines)])
        if path.exists():
            self._read("SELECT count(*) FROM judgements")

    def __len__(self) -> int:
        return len(self.judgements())

    def judgements(self) -> list[Judgement]:
        """Those that stand, in the order in which they were made."""
        return [Judgement(*row) for row in self._read(_STANDING)]

    def by(self, judge: str) -> list[Judgement]:
        """Those of one judge."""
        return [one for one in self.judgements() if one.judge == judge]

    @property
    def judges(self) -> list[str]:
        """Everyone who judged something, in order of appearance."""
        return list(dict.fromkeys(one.judge for one in self.judgements()))

    def add(self, *judgements: Judgement, judge: str = "", spent: Spent | None = None) -> None:
        """Store judgements, all or none; they are on the disk when this returns.

        One that is there already, made at the same time, is not stored again: who sends it may send it twice.

        Args:
            judgements: The judgements.
            judge: Who made them, where something was spent.
            spent: What they, and replies that were none, took.

        Raises:
            RunError: The file cannot be written.
        """
        rows: list[_Statement] = [(_INSERT, _values(one)) for one in judgements]
        if spent is not None:
            rows.append(("INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?, ?)", (judge, now(), *astuple(spent))))
        self._write(rows)

    def spent(self) -> dict[str, Spent]:
        """What each judge behind a server took in all."""
        sums = ", ".join(f"sum({one.name})" for one in fields(Spent))
        return {
            row[0]: Spent(*row[1:]) for row in self._read(f"SELECT judge, {sums} FROM spent GROUP BY judge", "spent")
        }

    def withdraw(self, judgement: Judgement, *, at: str | None = None) -> None:
        """Take a judgement back: its pair counts as not judged.

        Args:
            judgement: The judgement.
            at: When; now, where it is None.

        Raises:
            RunError: The file cannot be written.
        """
        self._write([(_INSERT, _values(replace(judgement, time=at or now()), withdrawn=True))])

    def keep(self, pairs: Iterable[tuple[PreferenceItem, Made, Made]]) -> int:
        """Store pairs of answers, with what made each; those that are there already stay.

        Returns:
            How many are new.
        """
        rows: list[_Statement] = []
        for item, made_a, made_b in pairs:
            prompt = digest_of(item.messages)
            rows.append(("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (prompt, json_text(item.messages))))
            answers = []
            for text, made in ((item.a, made_a), (item.b, made_b)):
                answers.append(digest_of([prompt, text, made.model, made.sampling]))
                values = (answers[-1], prompt, text, made.model, json_text(made.sampling))
                rows.append(("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", values))
            ids = (item.item_id, item.row_id, prompt, *answers)
            rows.append(("INSERT OR IGNORE INTO pairs VALUES (?, ?, ?, ?, ?)", ids))
        return self._write(rows, counted="pairs")

    def pairs(self) -> list[tuple[PreferenceItem, Made, Made]]:
        """All pairs, in the order in which they came, with what made the answers."""
        return [_pair_of(row) for row in self._read(f"{_PAIRS} ORDER BY pairs.rowid")]

    def pair(self, item_id: str) -> tuple[PreferenceItem, Made, Made]:
        """One pair, with what made the answers.

        Raises:
            DataError: There is none of this id.
        """
        for row in self._read(f"{_PAIRS} WHERE pairs.id = ?", values=(item_id,)):
            return _pair_of(row)
        raise DataError(f"{self.path} holds no pair {item_id}.", "Load its pairs again.")

    def drawn(self, key: str) -> list[str] | None:
        """Answers that were drawn for pairs that are not made yet, by what they were drawn of and how."""
        found = self._read("SELECT texts FROM drawn WHERE id = ?", "drawn", (key,))
        return json.loads(found[0][0]) if found else None

    def keep_drawn(self, key: str, texts: Sequence[str]) -> None:
        """Store answers until their pairs are made: whatever breaks in before costs none that were drawn.

        Raises:
            RunError: The file cannot be written.
        """
        self._write([("INSERT OR REPLACE INTO drawn VALUES (?, ?)", (key, json_text(list(texts))))])

    def forget_drawn(self, keys: Iterable[str]) -> None:
        """Their pairs are made."""
        self._write([("DELETE FROM drawn WHERE id = ?", (key,)) for key in keys])

    def _read(self, query: str, table: str = "judgements", values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        try:
            with opened(self.path) as connection:
                begun = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone()
                return connection.execute(query, values).fetchall() if begun else []  # another process may be making it
        except sqlite3.DatabaseError as error:
            what = f"{self.path}: it is no store of feedback ({error})."
            raise DataError(what, "Name the file that `weitiao feedback sample` or `compare --judge` made.") from error

    def _write(self, rows: Sequence[_Statement], *, counted: str = "judgements") -> int:
        """Run all statements as one; how many rows a table has gained."""
        count = f"SELECT count(*) FROM {counted}"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with opened(self.path) as connection:
                connection.executescript(_TABLES)
                connection.execute("BEGIN IMMEDIATE")
                before = connection.execute(count).fetchone()[0]
                for statement, values in rows:
                    connection.execute(statement, values)
                gained: int = connection.execute(count).fetchone()[0] - before
                connection.execute("COMMIT")
                return gained
        except (OSError, sqlite3.Error) as error:
            raise RunError(
                f"The judgement cannot be written to {self.path}: {getattr(error, 'strerror', None) or error}.",
                "Make room or fix the permissions there; what was judged before is kept.",
            ) from error


_COLUMNS = ("pair", "judge", "shown", "choice", "time", "seconds", "comment", "withdrawn")
_INSERT = (
    f"INSERT INTO judgements ({', '.join(_COLUMNS)}) SELECT {', '.join(f':{name}' for name in _COLUMNS)} "
    "WHERE NOT EXISTS (SELECT 1 FROM judgements WHERE pair = :pair AND judge = :judge AND shown = :shown "
    "AND time = :time AND choice = :choice AND withdrawn = :withdrawn)"
)
_PAIRS = (
    "SELECT pairs.id, row_id, messages, a.text, b.text, a.model, a.sampling, b.model, b.sampling FROM pairs "
    "JOIN prompts ON prompts.id = pairs.prompt JOIN answers AS a ON a.id = pairs.a "
    "JOIN answers AS b ON b.id = pairs.b"
)


def _values(judgement: Judgement, *, withdrawn: bool = False) -> dict[str, Any]:
    return dict(zip(_COLUMNS, (*astuple(judgement), int(withdrawn)), strict=True))


def _pair_of(row: tuple[Any, ...]) -> tuple[PreferenceItem, Made, Made]:
    item = PreferenceItem(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4])
    return item, Made(row[5], json.loads(row[6])), Made(row[7], json.loads(row[8]))


def _lines(path: Path) -> Iterator[tuple[Judgement, bool]]:
    """The judgements in a file of lines, and whether each takes one back; a last line that broke off is no line."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            values = json.loads(line)
            yield record_of(Judgement, values), bool(values.get("withdrawn"))
        except ValueError as error:
            if number == len(lines):
                return
            problem = f"{path}, line {number}: it is no judgement ({first_problem(error)})."
            raise DataError(problem, "Correct or remove that line.") from error
