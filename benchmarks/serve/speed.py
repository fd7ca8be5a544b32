"""Tokens a second and time to first token: python -m benchmarks.serve speed [--gguf FILE] [--only NAME ...]

Each engine answers 1, 4 and 16 streams at once, greedily: prompts of 60 tokens that begin apart, 64 tokens each. Every
number is the median of the runs. Beside them: plain `transformers.generate` (a batch of prompts of one length, so that
nothing has to be filled up), llama.cpp's own server (xllamacpp) on the same GGUF, and with `--peer PYTHON`, of an
environment that has it, `llama_cpp.server`. Then what our engine does beyond that: a system prompt of 600 tokens for
the first and the second time, eight LoRA adapters in a batch against one, and how long it takes to load. Prints JSON
lines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weitiao.machine.hardware import configure_process
from weitiao.serve.child import ChildServer, free_port
from weitiao.serve.engine import Engine, Request

NUM_PROMPT, NUM_ANSWER, SYSTEM_TOKENS = 60, 64, 600
NUM_ADAPTERS, RANK = 8, 8


@dataclass(frozen=True)
class Timed:
    """A stream: seconds to its first token, and its tokens."""

    first: float
    tokens: int


Stream = Callable[[tuple[int, ...], int], Awaitable[Timed]]
"""Answers a prompt with so many tokens."""


def prompts(num: int, length: int = NUM_PROMPT, start: int = 1000) -> list[tuple[int, ...]]:
    """Token ids that begin apart, so that no engine knows any of them."""
    return [tuple(start + (7 * number + 13 * place) % 30_000 for place in range(length)) for number in range(num)]


def of_engine(engine: Engine, adapter: str | None = None) -> Stream:
    """A stream of an engine behind our interface."""

    async def stream(prompt: tuple[int, ...], num: int) -> Timed:
        begun, first, tokens = time.perf_counter(), 0.0, 0
        async with aclosing(engine.generate(Request(prompt=prompt, adapter=adapter, max_tokens=num))) as answer:
            async for _ in answer:
                first = first or time.perf_counter() - begun
                tokens += 1
        return Timed(first, tokens)

    return stream


def of_child(child: ChildServer) -> Stream:
    """A stream of llama.cpp's own server, without our interface before it."""

    async def stream(prompt: tuple[int, ...], num: int) -> Timed:
        body = {"prompt": list(prompt), "stream": True, "temperature": 0, "ignore_eos": True, "n_predict": num}
        begun, first, tokens = time.perf_counter(), 0.0, 0
        async with aclosing(child.stream("/completion", body)) as events:
            async for event in events:
                first = first or time.perf_counter() - begun
                tokens = event.get("tokens_predicted", tokens)
        return Timed(first, tokens)

    return stream


def of_server(url: str) -> Stream:
    """A stream of a server that has OpenAI's completions and takes no token ids: a text of about as many."""
    import httpx2

    client = httpx2.AsyncClient(timeout=600)

    async def stream(prompt: tuple[int, ...], num: int) -> Timed:
        text = " ".join(map(str, prompt))[: len(prompt)]  # a digit is a token
        body = {"prompt": text, "stream": True, "temperature": 0, "max_tokens": num}
        begun, first, tokens = time.perf_counter(), 0.0, 0
        async with client.stream("POST", url, json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    first = first or time.perf_counter() - begun
                    tokens += 1
        return Timed(first, tokens)

    return stream


async def timed(streams: Sequence[Stream], asked: Sequence[tuple[int, ...]], num: int = NUM_ANSWER) -> dict[str, float]:
    """All prompts at once: tokens a second of all together, and the median time to the first token."""
    begun = time.perf_counter()
    found = await asyncio.gather(*(stream(prompt, num) for stream, prompt in zip(streams, asked, strict=True)))
    seconds = time.perf_counter() - begun
    return {
        "tokens_per_second": sum(one.tokens for one in found) / seconds,
        "first_token_seconds": statistics.median(one.first for one in found),
    }


async def repeated(stream: Mapping[str, Stream], counts: Sequence[int], runs: int) -> None:
    """Print what streams do, so many at once; prompts are new in every run. Engines take turns, so that what else the
    machine does is the same for all."""
    for one in stream.values():
        await timed([one], prompts(1, start=500), 8)  # what is made at first use
    for num in counts:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in stream}
        for run in range(runs):
            for name, one in stream.items():
                start = 2000 + 997 * run + 131 * len(name)
                found[name].append(await timed([one] * num, prompts(num, start=start)))
        for name, values in found.items():
            tell(name, streams=num, **medians(values))


def medians(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(one[key] for one in found), 3) for key in found[0]}


def tell(name: str, **values: Any) -> None:
    print(json.dumps({"engine": name, **values}), flush=True)


async def own(args: argparse.Namespace) -> None:
    """Our engine: streams, the system prompt, adapters."""
    from weitiao.serve.own.engine import OwnEngine, OwnSettings

    with tempfile.TemporaryDirectory() as folder:
        adapters = make_adapters(args.model, Path(folder))
        engine = OwnEngine(args.model, settings=OwnSettings(slots=16, threads=args.threads))
        begun = time.perf_counter()
        await engine.start()
        tell("own", loading_seconds=round(time.perf_counter() - begun, 2))
        await repeated({"own": of_engine(engine)}, args.streams, args.runs)
        await system_prompt("own", of_engine(engine), args.runs)
        for name, directory in adapters.items():
            await engine.load_adapter(name, directory)
        for num in args.streams:
            if num < NUM_ADAPTERS:
                continue
            mixed = [of_engine(engine, str(i % NUM_ADAPTERS)) for i in range(num)]
            for several, streams in ((1, [mixed[0]] * num), (NUM_ADAPTERS, mixed)):
                found = [await timed(streams, prompts(num, start=5000 + 997 * run)) for run in range(args.runs)]
                tell("own", streams=num, adapters=several, **medians(found))
        await engine.close()


async def system_prompt(name: str, stream: Stream, runs: int) -> None:
    """Seconds to the first token behind a system prompt that is new, and behind the same one again."""
    found = []
    for run in range(runs):
        (system,) = prompts(1, SYSTEM_TOKENS, start=9000 + 997 * run)
        first, again = [(await stream((*system, *question), 1)).first for question in prompts(2, 20, start=400)]
        found.append({"first_seconds": first, "again_seconds": again, "ratio": first / again})
    tell(name, system_tokens=SYSTEM_TOKENS, **medians(found))


def make_adapters(model: str, folder: Path) -> dict[str, Path]:
    """Random LoRA adapters on all linear layers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from weitiao.models.config import ModelConfig
    from weitiao.models.names import resolve_model

    config = LoraConfig(r=RANK, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    base = AutoModelForCausalLM.from_pretrained(resolve_model(ModelConfig(name=model)), dtype=torch.float32)
    adapted = get_peft_model(base, config, adapter_name="0")
    for number in range(1, NUM_ADAPTERS):
        adapted.add_adapter(str(number), config)
    for number in range(NUM_ADAPTERS):
        adapted.save_pretrained(str(folder), selected_adapters=[str(number)])
    return {str(number): folder / str(number) for number in range(NUM_ADAPTERS)}


def gguf_of(args: argparse.Namespace) -> Path:
    """The file that llama.cpp runs."""
    from weitiao.study.engines import gguf_file

    file = args.gguf or gguf_file(args.model)
    if file is None:
        raise SystemExit(f"{args.model} has no GGUF file: name one with --gguf.")
    return Path(file)


async def llama(args: argparse.Namespace) -> None:
    """llama.cpp behind our interface, and its own server asked directly: what the interface takes."""
    from weitiao.serve.llama import LlamaEngine
    from weitiao.study.engines import tokenizer_directory

    file = gguf_of(args)
    engine = LlamaEngine(file, tokenizer_directory(file), context=1024, slots=16, threads=args.threads)
    begun = time.perf_counter()
    await engine.start()
    tell("llama.cpp", loading_seconds=round(time.perf_counter() - begun, 2))
    both = {"llama.cpp": of_engine(engine), "llama.cpp's own server": of_child(engine.child)}
    with python_server(args) as peer:
        await repeated({**both, **peer}, args.streams, args.runs)
    await system_prompt("llama.cpp", of_engine(engine), args.runs)
    await engine.close()


def plain(args: argparse.Namespace) -> None:
    """transformers.generate on a batch of prompts of one length."""
    import torch
    from transformers import AutoModelForCausalLM

    from weitiao.models.config import ModelConfig
    from weitiao.models.names import resolve_model

    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(resolve_model(ModelConfig(name=args.model)), dtype=torch.float32)
    for num in args.streams:
        found = []
        for run in range(args.runs):
            ids = torch.tensor(prompts(num, start=2000 + 997 * run))
            how: dict[str, Any] = {"attention_mask": torch.ones_like(ids), "do_sample": False, "eos_token_id": None}
            begun = time.perf_counter()
            model.generate(ids, max_new_tokens=1, **how)
            first = time.perf_counter() - begun
            begun = time.perf_counter()
            model.generate(ids, max_new_tokens=NUM_ANSWER, **how)
            seconds = time.perf_counter() - begun
            found.append({"tokens_per_second": num * NUM_ANSWER / seconds, "first_token_seconds": first})
        tell("transformers", streams=num, **medians(found))


@contextmanager
def python_server(args: argparse.Namespace) -> Iterator[dict[str, Stream]]:
    """A stream of `llama_cpp.server`, where an environment that has it is named."""
    if args.peer is None:
        yield {}
        return
    port = free_port()
    command = [args.peer, "-m", "llama_cpp.server", "--model", gguf_of(args), "--port", port]
    command += ["--n_threads", args.threads, "--n_threads_batch", args.threads, "--n_ctx", 1024]
    command += ["--interrupt_requests", False]  # each new one would break off those that run
    with subprocess.Popen(
        [str(one) for one in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for(port)
            yield {"llama_cpp.server": of_server(f"http://127.0.0.1:{port}/v1/completions")}
        finally:
            server.kill()


def wait_for(port: int) -> None:
    """Until somebody listens there."""
    for _ in range(1200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise SystemExit(f"Nobody listens at {port}.")


def main(words: list[str]) -> None:
    """Parse, measure, print."""
    configure_process()
    from weitiao.machine.hardware import choose_threads, detect_hardware

    works: dict[str, Callable[[argparse.Namespace], Any]] = {
        "own": own, "llama.cpp": llama, "transformers": plain,
    }  # fmt: skip
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve speed", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--gguf", type=Path, help="That of the model if not given.")
    parser.add_argument("--peer", type=Path, help="Python of an environment with llama-cpp-python[server].")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=choose_threads(detect_hardware()))
    parser.add_argument("--only", nargs="+", choices=works, default=list(works))
    args = parser.parse_args(words)
    for name in args.only:
        found = works[name](args)
        if asyncio.iscoroutine(found):
            asyncio.run(found)
