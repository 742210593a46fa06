"""DoRA adapters: trained by PEFT, in PEFT's format, with settings that are those of the paper's recipe."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from experiments.adapters.questions import Question
from experiments.adapters.scoring import rows
from experiments.extras import ADAPTERS

TARGETS = ("q_proj", "k_proj", "v_proj", "up_proj", "down_proj")
"""The layers of DoRA's recipe for LLaMA (Liu et al. 2024), which the paper follows."""


@dataclass(frozen=True)
class AdapterConfig:
    """Rank and scale of an adapter, and its training.

    Rates fall from `learning_rate` to `last_rate`, at which a last epoch passes: of that, evenly spaced, `checkpoints`
    are kept, as the paper keeps its 50.
    """

    rank: int = 4
    alpha: int = 8
    dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS
    dora: bool = True
    epochs: int = 6
    batch: int = 32
    learning_rate: float = 5e-3
    last_rate: float = 5e-4
    checkpoints: int = 10
    seed: int = 0


def adapted(model, config: AdapterConfig, seed: int = 0):
    """The model with a new adapter, whose random part is drawn by `seed`; only the adapter is trained."""
    peft = ADAPTERS.package("peft")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return peft.get_peft_model(
            model,
            peft.LoraConfig(
                r=config.rank,
                lora_alpha=config.alpha,
                lora_dropout=config.dropout,
                target_modules=list(config.targets),
                use_dora=config.dora,
                task_type="CAUSAL_LM",
            ),
        )


def state_of(model) -> dict[str, Tensor]:
    """The adapter of a model of PEFT, by the names of its files."""
    return {
        name: x.detach().cpu().clone() for name, x in ADAPTERS.package("peft").get_peft_model_state_dict(model).items()
    }


def put(model, adapter: Mapping[str, Tensor]) -> None:
    """Put another adapter into a model of PEFT."""
    ADAPTERS.package("peft").set_peft_model_state_dict(model, dict(adapter))


def train_adapter(
    model, tokenizer, questions: Sequence[Question], config: AdapterConfig, start: Mapping[str, Tensor]
) -> tuple[list[dict[str, Tensor]], dict]:
    """Train the adapter of a model of PEFT on right answers, from `start`; the base stays as it is.

    Returns the checkpoints of the last epoch, and the losses and seconds of a core.
    """
    put(model, start)
    pairs = [(q.prompt, f"{q.prompt} {q.choices[q.answer]}") for q in questions]
    tokens, own = rows(tokenizer, pairs)
    labels = tokens.masked_fill(~own, -100)
    learned = [x for x in model.parameters() if x.requires_grad]
    optimizer = torch.optim.AdamW(learned, config.learning_rate, weight_decay=0.0)
    draw = torch.Generator().manual_seed(config.seed)
    steps = len(questions) // config.batch
    began, kept, losses = time.process_time(), [], []
    model.train()
    for epoch in range(config.epochs):
        last = epoch == config.epochs - 1
        for k, chosen in enumerate(torch.randperm(len(questions), generator=draw).split(config.batch)[:steps]):
            done = (epoch * steps + k) / max(1, (config.epochs - 1) * steps)
            rate = (
                config.last_rate if last else config.last_rate + (config.learning_rate - config.last_rate) * (1 - done)
            )
            for group in optimizer.param_groups:
                group["lr"] = rate
            longest = int((labels[chosen] >= 0).nonzero()[:, 1].max()) + 1
            given, wanted = (x[chosen, :longest].to(model.device) for x in (tokens, labels))
            loss = model(input_ids=given, labels=wanted).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learned, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if last and (k + 1) * config.checkpoints // steps > k * config.checkpoints // steps:
                kept.append(state_of(model))
    model.eval()
    return kept, {"losses": losses, "cpu_seconds": time.process_time() - began}


def fresh(model, config: AdapterConfig) -> dict[str, Tensor]:
    """A new adapter for a model of PEFT, as PEFT begins: A at random by the config's seed, B at zero, so that the
    adapted model is the base."""
    found = state_of(model)
    draw = torch.Generator().manual_seed(config.seed)
    for name, x in found.items():
        if ".lora_A." in name:  # Kaiming's uniform with a = sqrt(5)
            found[name] = (2 * torch.rand(x.shape, generator=draw) - 1) / x.shape[1] ** 0.5
        elif ".lora_B." in name:
            found[name] = torch.zeros_like(x)
        elif name.endswith("lora_magnitude_vector"):
            found[name] = (
                model.get_submodule(name.removesuffix(".lora_magnitude_vector")).base_layer.weight.norm(dim=1).cpu()
            )
    return {name: x.detach() for name, x in found.items()}
