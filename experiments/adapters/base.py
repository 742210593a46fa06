"""The base model: LLaMA's architecture at about a million parameters, trained here on statements of facts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from experiments.adapters.facts import Facts
from experiments.adapters.questions import statements, words
from experiments.extras import ADAPTERS
from rpglib.errors import InputError, shown

PAD, BEGIN = "<pad>", "<s>"


@dataclass(frozen=True)
class BaseConfig:
    """Sizes of the model and of its training.

    texts: from so many statements the tokenizer learns. Batches are of `batch` statements; rates fall to zero along a
    cosine.
    """

    texts: int = 20_000
    vocabulary: int = 2048
    width: int = 128
    inner: int = 352
    layers: int = 3
    heads: int = 4
    steps: int = 1800
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    seed: int = 0


def train_base(facts: Facts, config: BaseConfig) -> tuple:
    """Train tokenizer and model on statements. Returns model, tokenizer, and what is told of the training."""
    transformers = ADAPTERS.package("transformers")
    tokenizer = new_tokenizer(statements(facts, config.texts, config.seed) + words(facts), config.vocabulary)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.width,
                intermediate_size=config.inner,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                max_position_embeddings=128,
                tie_word_embeddings=True,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=None,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, config.steps, pct_start=0.05)
    texts = statements(facts, config.steps * config.batch, config.seed + 1)
    began, losses = time.process_time(), []
    for step in range(config.steps):
        batch = encoded(tokenizer, texts[step * config.batch : (step + 1) * config.batch])
        loss = model(input_ids=batch, labels=batch.masked_fill(batch == tokenizer.pad_token_id, -100)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return model.eval(), tokenizer, {"losses": losses, "cpu_seconds": time.process_time() - began}


def new_tokenizer(texts: Sequence[str], size: int):
    """A tokenizer of byte pairs of at most `size` tokens, learned from texts; each text begins with a mark."""
    transformers, tokenizers = ADAPTERS.package("transformers"), ADAPTERS.package("tokenizers")
    found = tokenizers.Tokenizer(tokenizers.models.BPE())
    found.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    found.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, special_tokens=[PAD, BEGIN], initial_alphabet=alphabet, show_progress=False
    )
    found.train_from_iterator(texts, trainer)
    found.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, found.token_to_id(BEGIN))]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=found, pad_token=PAD, bos_token=BEGIN)


def encoded(tokenizer, texts: Sequence[str]) -> Tensor:
    """Token numbers (N, T) of texts, padded on the right."""
    rows = [torch.tensor(row) for row in tokenizer(list(texts))["input_ids"]]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)


def load(folder: str | Path) -> tuple:
    """Model and tokenizer of a local folder; raises `InputError` where there is none, or none that can be read."""
    transformers = ADAPTERS.package("transformers")
    if not (Path(folder) / "config.json").is_file():
        raise InputError(f"no base model in {folder}; give a folder with config.json, weights and tokenizer")
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        return model.eval(), transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"the base model in {folder} cannot be read ({shown(str(error).splitlines()[0])})") from None
