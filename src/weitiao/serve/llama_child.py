"""llama.cpp's own server (`xllamacpp`), in a process that ends when its standard input does.

As a module: `python -m weitiao.serve.llama_child`; the first line of its input has the arguments of `run` as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence


def run(model: str, *, port: int, key: str, context: int, slots: int, threads: int, adapters: Sequence[str]) -> None:
    """Serve a GGUF file on this machine until standard input ends.

    Args:
        model: The file.
        port: Where requests come in.
        key: That they bring.
        context: Tokens of each answer and its prompt.
        slots: Answers that are written at once.
        threads: That compute.
        adapters: LoRA adapters as GGUF files; a request names them by their number.
    """
    import xllamacpp

    for one in (signal.SIGINT, signal.SIGTERM):  # the server ends it, when its answers are finished
        signal.signal(one, signal.SIG_IGN)
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], port, [key]
    params.n_ctx, params.n_parallel = context * slots, slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = slots + 4
    params.special = True  # the bytes of all tokens are told, by which those are known that it does not name
    params.cache_ram_mib = 0  # prompts of earlier requests are known from the slots; more memory is not taken
    params.fit_params = params.warmup = params.ui = params.endpoint_slots = False
    if adapters:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in adapters]
        params.lora_init_without_apply = True
    server = xllamacpp.Server(params)
    sys.stdin.read()
    del server
    os._exit(0)


if __name__ == "__main__":
    run(**json.loads(sys.stdin.readline()))
