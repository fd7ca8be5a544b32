"""A causal model as people publish them with code of their own: nothing of it is known to this project.

Learned positions, one projection for queries, keys and values, attention and feed-forward side by side, a mask and an
attention written out, names of its own, no cache.
"""

import torch
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput


class HouseConfig(PretrainedConfig):
    model_type = "house"

    def __init__(self, vocab_size=400, width=32, floors=2, rooms=4, seq_length=256, **other):
        self.vocab_size, self.width, self.floors, self.rooms, self.seq_length = (
            vocab_size, width, floors, rooms, seq_length,
        )  # fmt: skip
        self.hidden_size, self.num_hidden_layers, self.max_position_embeddings = width, floors, seq_length
        super().__init__(**other)


class Floor(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.rooms = config.rooms
        self.norm = nn.LayerNorm(config.width)
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.dense = nn.Linear(config.width, config.width)
        self.up, self.down = nn.Linear(config.width, 3 * config.width), nn.Linear(3 * config.width, config.width)

    def forward(self, x, mask):
        y = self.norm(x)
        heads = self.query_key_value(y).unflatten(-1, (3, self.rooms, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = heads.unbind(0)
        scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~mask, float("-inf"))
        attended = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return x + self.dense(attended) + self.down(torch.relu(self.up(y)))


class HousePreTrained(PreTrainedModel):
    config_class = HouseConfig
    base_model_prefix = "transformer"


class HouseModel(HousePreTrained):
    def __init__(self, config):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.seq_length, config.width)
        self.floors = nn.ModuleList(Floor(config) for _ in range(config.floors))
        self.roof = nn.LayerNorm(config.width)
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def forward(self, input_ids=None, inputs_embeds=None, attention_mask=None, position_ids=None, **other):
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        places = torch.arange(x.shape[1], device=x.device)
        x = x + self.positions(places[None] if position_ids is None else position_ids)
        mask = places[:, None] >= places
        for floor in self.floors:
            x = floor(x, mask)
        return BaseModelOutput(last_hidden_state=self.roof(x))


class HouseForCausalLM(HousePreTrained, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        self.transformer = HouseModel(config)
        self.output_layer = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.transformer.word_embeddings

    def get_output_embeddings(self):
        return self.output_layer

    def prepare_inputs_for_generation(self, input_ids, **other):
        return {"input_ids": input_ids}

    def forward(self, input_ids=None, inputs_embeds=None, attention_mask=None, position_ids=None, **other):
        states = self.transformer(input_ids, inputs_embeds, attention_mask, position_ids)
        return CausalLMOutput(logits=self.output_layer(states.last_hidden_state))
