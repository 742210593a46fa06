"""Accuracy as lm-eval measures it: the answer whose tokens are the likeliest after the prompt is the one given."""

from collections.abc import Sequence

import torch
from torch import Tensor

from experiments.adapters.questions import Question

AT_ONCE = 512
"""Answers that pass the model together."""


class Sheet:
    """Questions as a model reads them, prepared once and answered by many adapters."""

    def __init__(self, tokenizer, questions: Sequence[Question]):
        self.answers = torch.tensor([q.answer for q in questions])
        self.sizes = [len(q.choices) for q in questions]
        pairs = [(q.prompt, f"{q.prompt} {choice}") for q in questions for choice in q.choices]
        self.rows, self.own = rows(tokenizer, pairs)

    @torch.no_grad()
    def likelihoods(self, model) -> list[Tensor]:
        """Log-likelihoods of each question's answers, in nats."""
        found = []
        for tokens, own in zip(self.rows.split(AT_ONCE), self.own.split(AT_ONCE), strict=True):
            # Within a chunk texts are short, and what is padded stands on the right: no token sees it.
            longest = int((own.cumsum(1) > 0).sum(1).max()), int(own.nonzero()[:, 1].max()) + 1
            tokens, own = tokens[:, : longest[1]], own[:, : longest[1]]
            logits = model(input_ids=tokens).logits[:, :-1].float()
            nats = logits.gather(2, tokens[:, 1:, None])[..., 0] - logits.logsumexp(2)
            found.append((nats * own[:, 1:]).sum(1))
        return list(torch.cat(found).split(self.sizes))

    def right(self, model) -> Tensor:
        """Which questions are answered rightly (n,) bool."""
        given = torch.tensor([int(x.argmax()) for x in self.likelihoods(model)])
        return given == self.answers

    def accuracy(self, model) -> float:
        """Share of right answers in percent."""
        return 100 * self.right(model).double().mean().item()


def rows(tokenizer, pairs: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """Tokens (N, T) of whole texts, padded on the right, and which of them (N, T) are those of the answer.

    pairs: each prompt, and the prompt with its answer.
    """
    prompts = [len(x) for x in tokenizer([prompt for prompt, _ in pairs])["input_ids"]]
    texts = [torch.tensor(x) for x in tokenizer([text for _, text in pairs])["input_ids"]]
    tokens = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=tokenizer.pad_token_id or 0)
    place = torch.arange(tokens.shape[1])
    lengths = torch.tensor([len(x) for x in texts])
    own = (place >= torch.tensor(prompts)[:, None]) & (place < lengths[:, None])
    return tokens, own
