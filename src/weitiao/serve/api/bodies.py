"""What requests look like: the part of OpenAI's interface that is done here. A field that is not is refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(max_length=2**21)]
StopText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Messages = Annotated[list[dict[str, Any]], Field(min_length=1)]


class Body(BaseModel):
    """A request without fields that nothing reads."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class StreamOptions(Body):
    """What a stream brings beside the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class JsonSchema(Body):
    """The schema of an answer, as `response_format` has it."""

    name: str = "answer"
    description: str | None = None
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class ResponseFormat(Body):
    """What an answer has to be: text, any JSON object, or what a schema says."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None


class Sampling(Body):
    """How answers are drawn. Without a temperature they are greedy, as they were when the model was tested."""

    model: str
    temperature: float | None = Field(default=None, ge=0, le=100)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    user: str | None = Field(default=None, max_length=512)
    stream: bool | None = False
    # Said by clients, and without a meaning here.
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


class Completing(Sampling):
    """What chat and plain completions have in common."""

    n: int | None = Field(default=1, ge=1)
    stop: StopText | Annotated[list[StopText], Field(max_length=4)] | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    # Nothing but their neutral values.
    frequency_penalty: float | None = Field(default=0, ge=0, le=0)
    presence_penalty: float | None = Field(default=0, ge=0, le=0)
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class FunctionName(Body):
    """A function by its name."""

    name: str


class ChosenTool(Body):
    """The function that has to be called."""

    type: Literal["function"]
    function: FunctionName


class ChatBody(Completing):
    """`/v1/chat/completions`."""

    messages: Messages
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "required"] | ChosenTool | None = None
    parallel_tool_calls: bool | None = None


class CompletionBody(Completing):
    """`/v1/completions`: raw text that is gone on with, or token ids; several prompts, several answers."""

    prompt: Text | list[int] | Annotated[list[Text | list[int]], Field(min_length=1, max_length=64)]
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None


class TextFormat(Body):
    """The format of `/v1/responses`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextSettings(Body):
    """The text of `/v1/responses`."""

    format: TextFormat = TextFormat()


class ChosenFunction(Body):
    """The function that has to be called, as `/v1/responses` has it."""

    type: Literal["function"]
    name: str


class ResponsesBody(Sampling):
    """`/v1/responses`, without a state that the server keeps: each request brings the whole conversation."""

    input: Text | Messages
    instructions: Text | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    text: TextSettings | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "required"] | ChosenFunction | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: None = None
    truncation: Literal["disabled"] | None = None
    stream_options: StreamOptions | None = None


class ScoreBody(Body):
    """`/v1/score`: conversations that end in an answer, for a reward model."""

    model: str
    messages: Messages | Annotated[list[Messages], Field(min_length=1, max_length=256)]
    user: str | None = None


class FeedbackBody(Body):
    """`/v1/feedback`: what somebody says of an answer, or which of two is the better one."""

    id: str = Field(max_length=200)
    rating: Literal["good", "bad"] | None = None
    better: Text | None = None
    better_than: str | None = Field(default=None, max_length=200)
    comment: Annotated[str, StringConstraints(max_length=4000)] | None = None
    user: str | None = Field(default=None, max_length=512)


class LoadAdapterBody(Body):
    """`/v1/load_lora_adapter`, as vLLM has it."""

    lora_name: str = Field(pattern=r"^[\w.:-]{1,100}$")
    lora_path: str = Field(min_length=1, max_length=4096)
    base_model_name: str | None = None


class UnloadAdapterBody(Body):
    """`/v1/unload_lora_adapter`."""

    lora_name: str


class RouteBody(Body):
    """`/v1/route`: from now on, the share of users that each model gets."""

    weights: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1, max_length=32)
