"""The parts of the recurrent model against their definitions: PyTorch's own attention, the task by hand."""

import pytest
import torch

from rpglib.model.recurrent import CausalAttentionLayer, TaskToAll


@torch.no_grad()
def test_the_attention_layer_is_a_pre_norm_transformer_layer_and_a_projection():
    torch.manual_seed(0)
    ours = CausalAttentionLayer(16, 24, 10, headdim=4)
    for norm in (ours.norm1, ours.norm2):
        norm.weight.normal_()
        norm.bias.normal_()
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(
        {
            **{f"in_proj_{kind}": x for kind, x in ours.qkv.state_dict().items()},
            **{f"out_proj.{kind}": x for kind, x in ours.attended.state_dict().items()},
        }
    )

    def normed(x, norm):
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias

    x = torch.randn(3, 7, 16)
    y = normed(x, ours.norm1)
    attended = x + theirs(y, y, y, attn_mask=torch.ones(7, 7).triu(1).bool())[0]
    expected = ours.project(attended + ours.mlp(normed(attended, ours.norm2)))
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", [[[0, 1, 1]], [[1, 1, 1], [0, 0, 0]]])
@torch.no_grad()
def test_the_task_embedding_by_hand(task):
    """Bits as -1 and 1, two layers with a SiLU between them, mean 0 and variance 1, times the gate of each token."""
    torch.manual_seed(0)
    embedding, bits = TaskToAll(3, 5, length=4, out=6), torch.tensor(task, dtype=torch.float32)
    first, second = embedding.embed[0], embedding.embed[2]
    hidden = (2 * bits - 1) @ first.weight.T + first.bias
    embedded = hidden * hidden.sigmoid() @ second.weight.T + second.bias
    embedded = (embedded - embedded.mean(1, keepdim=True)) / (embedded.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
    expected = torch.stack([torch.stack([one * gate for gate in embedding.gate]) for one in embedded])
    torch.testing.assert_close(embedding(bits), expected)
