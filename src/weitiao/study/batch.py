"""`weitiao batch`: a file of prompts in, a file of answers out."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from weitiao.data.config import DataConfig
from weitiao.data.example import PROMPTS, Example, asked
from weitiao.data.load import DataSet, load_data
from weitiao.data.reading.paths import resolve_paths
from weitiao.data.writing.rejected import add_rejected, refuse_inputs
from weitiao.errors import DataError, RenderingError
from weitiao.methods.base import base_model
from weitiao.methods.fingerprint import weights_hash
from weitiao.methods.open import find_final
from weitiao.models.config import ModelConfig
from weitiao.serve.answer_file import AnswerFile, as_row
from weitiao.serve.calls import ToolCall
from weitiao.serve.engine import Request
from weitiao.serve.text import Answer, ModelText, Prompt, write
from weitiao.study.engines import EngineSettings, OpenEngine, gguf_file, open_engine

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """What is answered, and how.

    Attributes:
        data: A file, a directory of files, or a data set of the hub.
        output: Where the answers go.
        how: How answers are written; each row draws by the seed and its row id.
        system: A system message for rows that have none.
        on_bad_rows: What becomes of rows that cannot be used.
    """

    data: str
    output: Path
    how: Request
    system: str | None = None
    on_bad_rows: Literal["error", "skip"] = "error"


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What was done.

    Attributes:
        output: Where the answers lie.
        answers: All of them; `before`: those that an earlier call had left.
        rejected: Rows that cannot be used, listed in rejected.jsonl beside the output.
        finish: How many of the new answers ended how.
        prompt_tokens, cached_tokens, completion_tokens: Of the new answers.
        seconds: From the first new prompt to the last token.
    """

    output: str
    answers: int
    before: int = 0
    rejected: int = 0
    finish: Mapping[str, int] = field(default_factory=dict)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


def batch(
    target: str,
    settings: BatchSettings,
    engine: EngineSettings,
    *,
    tell: Tell,
    on_progress: Callable[[int, int], None],
) -> BatchReport:
    """Answer the rows of a file; a call that was ended by whatever is gone on with by the same call.

    Args:
        target: A run, an adapter, a model by name, path or hub id, or a GGUF file.
        settings: What is answered, and how.
        engine: How the model is run.
        tell: Gets every line that a person should see.
        on_progress: Told how many answers are ready, and of how many.

    Raises:
        WeitiaoError: The model, the rows or the output cannot be used, or the engine died.
    """
    rejected = settings.output.with_name("rejected.jsonl") if settings.on_bad_rows == "skip" else None
    config = DataConfig.model_validate({"train": settings.data, "on_bad_rows": settings.on_bad_rows})
    config = resolve_paths(config, (Path.cwd(),))
    refuse_inputs(settings.output, [source.path for source in config.train])
    data = load_data(config, rows=PROMPTS, rejected_path=rejected)
    tell(str(data.summaries[0]).replace("train:", "batch:", 1))
    file = AnswerFile(settings.output, _job(target, settings, engine, data))
    with file.opened():
        try:
            return asyncio.run(_run(target, settings, engine, data, file, tell, on_progress))
        except KeyboardInterrupt:
            tell(f"{len(file.done):,} answers are kept in {file.partial}; the same command goes on.")
            raise


async def _run(
    target: str,
    settings: BatchSettings,
    engine: EngineSettings,
    data: DataSet,
    file: AnswerFile,
    tell: Tell,
    on_progress: Callable[[int, int], None],
) -> BatchReport:
    opened = await open_engine(target, engine)
    try:
        refused: list[tuple[str, str]] = []
        prompts = dict(_prompts(opened, data.train, settings, refused))
        if refused and settings.on_bad_rows == "skip":
            add_rejected(settings.output.with_name("rejected.jsonl"), data.train, refused)
            tell(f"{len(refused):,} rows have no prompt that the model can take: see rejected.jsonl")
        if not prompts:
            raise DataError(f"{settings.data}: no row is left to be answered.", "See rejected.jsonl.")
        before = len(file.done)
        if before:
            tell(f"{before:,} of {len(prompts):,} answers are there already.")
        left = [(example, prompts[example.row_id]) for example in data.train if example.row_id in prompts]
        tally = _Tally()
        on_progress(before, len(prompts))
        await _answer_all(opened, [one for one in left if one[0].row_id not in file.done], settings, file, tally,
                          lambda: on_progress(len(file.done), len(prompts)))  # fmt: skip
        file.finish([example.row_id for example, _ in left])
    finally:
        await opened.engine.close()
    return BatchReport(
        str(settings.output), len(prompts), before, data.summaries[0].rejected + len(refused), dict(tally.finish),
        tally.prompt_tokens, tally.cached_tokens, tally.completion_tokens, time.monotonic() - tally.begun,
    )  # fmt: skip


def _prompts(
    opened: OpenEngine, examples: Sequence[Example], settings: BatchSettings, refused: list[tuple[str, str]]
) -> Iterator[tuple[str, Prompt]]:
    """The prompt of each row, before the first is answered; rows that have none go to `refused`, or are an error."""
    context = opened.engine.served.context
    for example in examples:
        try:
            prompt = _prompt(opened.text, example, settings.system)
            if len(prompt.ids) >= context:
                what = f"its {len(prompt.ids):,} tokens leave no room for an answer in the context of {context:,}."
                raise RenderingError(what, "Shorten the row.")
        except RenderingError as error:
            if settings.on_bad_rows == "error":
                remedy = f"{error.remedy} Or add --on-bad-rows skip."
                raise RenderingError(f"{example.row_id}: {error.what}", remedy) from error
            refused.append((example.row_id, error.what))
        else:
            yield example.row_id, prompt


def _prompt(text: ModelText, example: Example, system: str | None) -> Prompt:
    if not example.messages:
        return text.raw(example.text)
    turns, _ = asked(example)
    if system is not None and turns[0]["role"] != "system":
        turns = ({"role": "system", "content": system}, *turns)
    return text.chat(list(turns), list(example.tools))


@dataclass(slots=True)
class _Tally:
    finish: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    begun: float = field(default_factory=time.monotonic)


async def _answer_all(
    opened: OpenEngine,
    rows: Sequence[tuple[Example, Prompt]],
    settings: BatchSettings,
    file: AnswerFile,
    tally: _Tally,
    ready: Callable[[], None],
) -> None:
    """Answer rows, so many at once as the engine has slots, and one that waits for each."""
    waiting = iter(rows)

    async def take() -> None:
        for example, prompt in waiting:
            file.add(await _answer(opened, example, prompt, settings, tally))
            ready()

    tasks = [asyncio.create_task(take()) for _ in range(2 * opened.engine.served.slots)]
    try:
        await asyncio.gather(*tasks)
    finally:  # what was not ready is answered by the next call
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(
    opened: OpenEngine, example: Example, prompt: Prompt, settings: BatchSettings, tally: _Tally
) -> dict[str, Any]:
    answer, content, reasoning, calls = Answer(opened.text, prompt), "", "", list[ToolCall]()
    seed = _seed_of(example.row_id, settings.how.seed)
    request = replace(settings.how, prompt=prompt.ids, stop_ids=opened.text.stop_ids, seed=seed)
    async with aclosing(write(opened.engine, request, answer)) as pieces:
        async for piece in pieces:
            content, reasoning = content + piece.content, reasoning + piece.reasoning
            calls += piece.calls
    usage = {
        "prompt_tokens": len(prompt.ids),
        "cached_tokens": answer.cached,
        "completion_tokens": answer.num_tokens,
    }
    tally.finish[str(answer.finish)] += 1
    tally.prompt_tokens += usage["prompt_tokens"]
    tally.cached_tokens += usage["cached_tokens"]
    tally.completion_tokens += usage["completion_tokens"]
    said: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        said["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in calls
        ]
    beside = {"reasoning": reasoning} if reasoning else {}
    return as_row(example, said) | beside | {"finish": answer.finish, "usage": usage}


def _seed_of(row_id: str, seed: int) -> int:
    """A row draws alike wherever it stands, and otherwise than the others."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{row_id}".encode(), digest_size=4).digest())


def _job(target: str, settings: BatchSettings, engine: EngineSettings, data: DataSet) -> dict[str, Any]:
    """What decides the answers."""
    how = settings.how
    written = (how.max_tokens, how.temperature, how.top_k, how.top_p, how.seed, how.schema, settings.system)
    return {"model": _model(target, engine), "data": data.fingerprint, "setting": list(written)}


def _model(target: str, engine: EngineSettings) -> str:
    file = gguf_file(target) if engine.engine != "own" else None
    if file is not None:
        facts = file.stat()
        return f"{file.name}, {facts.st_size} bytes, {facts.st_mtime_ns}"
    final = find_final(target)
    config = engine.base or (ModelConfig(name=target) if final is None else base_model(final))
    return weights_hash(config, final)
