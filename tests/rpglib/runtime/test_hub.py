"""What is pushed to the hub is read from there again, by huggingface_hub's own client, from a stand-in of it."""

import io
import os
import subprocess
import sys
import threading

import pyarrow.parquet as pq
import pytest
from hub_stand_in import TOKEN, Hub

from rpglib.errors import InputError
from rpglib.runtime.hub import check_name

WORK = """
import os, torch
from rpglib import RPG, ParameterTokenizer, RPGConfig, Zoo
from rpglib.errors import InputError

def network(i):
    return {"a.weight": torch.randn(6, 5, generator=torch.Generator().manual_seed(i)), "b": torch.full((3,), 1.0 + i)}

rows = [{"accuracy": 90 + i, "run": i % 2, "task": "01", "lr": 0.1 * i} for i in range(3)]
zoo = Zoo.read([network(i) for i in range(3)], table=rows)
tokenizer = ParameterTokenizer.fit(zoo, 8)
model = RPG(RPGConfig(token_size=8, widths=(8,), headdim=8, d_state=4, channels=(1, 2, 1)), tokenizer).eval()

print("ADDRESS", model.push_to_hub("somebody/generator"))
again = RPG.from_pretrained("somebody/generator")
for a, b in zip(model.generate(2, steps=2), again.generate(2, steps=2), strict=True):
    assert a.keys() == b.keys() and all(x.equal(b[name]) for name, x in a.items())

print("ADDRESS", zoo.push_to_hub("somebody/zoo", licence="mit"))
for name in ("datasets/somebody/zoo", "somebody/zoo"):
    back = Zoo.read(name)
    assert back.runs.tolist() == [0, 1, 0] and back.accuracies.tolist() == [90, 91, 92]
    assert all(x.equal(zoo[2][name]) for name, x in back[2].items())

for make in (lambda: Zoo.read("somebody/absent"), lambda: RPG.from_pretrained("somebody/absent"),
             lambda: model.push_to_hub("somebody/generator", token="wrong"),
             lambda: zoo.push_to_hub("no name")):
    try:
        make()
    except InputError as error:
        assert "\\n" not in str(error)
        print("REFUSED", error)
"""


@pytest.fixture
def hub():
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_generators_and_zoos_go_to_the_hub_and_come_back(hub, tmp_path):
    own = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
           "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1"}  # fmt: skip
    others = {name: x for name, x in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE")}
    result = subprocess.run([sys.executable, "-c", WORK], env=others | own, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    refused = [line for line in result.stdout.splitlines() if line.startswith("REFUSED")]
    assert len(refused) == 4 and "HF_TOKEN" in refused[2], refused
    generator, zoo = hub.repositories["models", "somebody/generator"], hub.repositories["datasets", "somebody/zoo"]
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.safetensors"} <= generator.keys()
    card = generator["README.md"].decode()
    assert card.startswith("---\nlicense: mit\n") and 'RPG.from_pretrained("somebody/generator")' in card
    assert "33 values in 2 tensors" in card
    rows = pq.read_table(io.BytesIO(zoo["checkpoints.parquet"])).to_pylist()
    assert rows[1] == {
        "checkpoint": 1,
        "run": 1,
        "accuracy": 91.0,
        "task": "0 1",
        "file": "number 1 of the list",
        "lr": 0.1,
    }
    assert (
        "license: mit" in zoo["README.md"].decode() and "data_files: checkpoints.parquet" in zoo["README.md"].decode()
    )


@pytest.mark.parametrize("name", ["", "a", "a/b/c", "/b", "a/", "a b/c", "../a", "a/" + "b" * 99, None, 3])
def test_names_that_are_none(name):
    with pytest.raises(InputError, match="named 'owner/name'"):
        check_name(name)
