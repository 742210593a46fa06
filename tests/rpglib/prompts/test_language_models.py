"""Language models as back ends: against a server on this machine, and a tiny transformers model with random weights."""

import json
import socket
import sys
import time
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
import torch

from rpglib.errors import InputError
from rpglib.prompts.language_models import LOCAL_MODEL, ask_endpoint, ask_local, messages, read_answer
from rpglib.prompts.task import task_from_prompt

ODD = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]
NAMES = tuple("0123456789")
KEY = "sk-very-secret"


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    for name in ("URL", "MODEL", "KEY", "TIMEOUT"):
        monkeypatch.delenv(f"RPG_LLM_{name}", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def serve(monkeypatch):
    """A function that starts a server which answers every request with `reply(handler)`; it returns what was asked."""
    servers = []

    def start(reply):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append((self.path, self.headers, json.loads(body)))
                reply(self)

            def do_GET(self):
                asked.append((self.path, self.headers, None))
                send(self, chat(str(ODD)))

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        monkeypatch.setenv("RPG_LLM_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("RPG_LLM_MODEL", "small")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(handler, body, status=200, **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body.encode())


def chat(content):
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]})


def refused(words, ask=ask_endpoint):
    """Assert that the back end refuses in one line that matches `words` and does not hold the key; return the line."""
    with pytest.raises(InputError, match=words) as caught:
        task_from_prompt("odd digits", "digits", ask)
    line = str(caught.value)
    assert "\n" not in line and KEY not in line
    # Not in a traceback either.
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)
    return line


@pytest.mark.parametrize(
    "content",
    [
        str(ODD),
        f"Sure! Here it is:\n```json\n{ODD}\n```\nAnything else?",
        f"[1, 2] then [0,0,0,0,0,0,0,0,0,1], no: {ODD}",
    ],
)
def test_endpoint_answers(serve, content):
    asked = serve(lambda handler: send(handler, chat(content)))
    assert task_from_prompt("odd digits", "digits", "endpoint") == ODD
    ((path, headers, question),) = asked
    assert path == "/v1/chat/completions" and headers["Authorization"] is None
    assert question["model"] == "small" and question["temperature"] == 0 and question["stream"] is False
    assert question["messages"] == messages("odd digits", NAMES)


def test_the_question_names_the_classes_the_form_and_the_prompt():
    rules, request = (message["content"] for message in messages("fast ones", ("cat", "dog", "frog")))
    assert "cat, dog, frog" in rules and "JSON list of 3 numbers" in rules and "[1, 0, 0]" in rules
    assert request == "fast ones"


def test_the_key_is_sent_as_bearer(serve, monkeypatch):
    monkeypatch.setenv("RPG_LLM_KEY", f"{KEY}\n")
    asked = serve(lambda handler: send(handler, chat(str(ODD))))
    assert task_from_prompt("odd digits", backend="endpoint") == ODD
    assert asked[0][1]["Authorization"] == f"Bearer {KEY}"


def test_the_key_does_not_follow_to_another_address(serve, monkeypatch):
    monkeypatch.setenv("RPG_LLM_KEY", KEY)
    asked = serve(lambda handler: send(handler, "", 302, Location="/elsewhere"))
    task_from_prompt("odd digits", backend="endpoint")
    assert [(path, headers["Authorization"]) for path, headers, _ in asked] == [
        ("/v1/chat/completions", f"Bearer {KEY}"),
        ("/elsewhere", None),
    ]


def echo(handler):
    send(handler, chat(f"You sent {handler.headers['Authorization']}"))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (echo, r"small at http://127.0.0.1:\d+/v1 answered 'You sent Bearer \[key\]' instead of a list of 10"),
        (lambda h: send(h, chat("no idea")), "answered 'no idea' instead of a list of 10 zeros and ones"),
        (lambda h: send(h, chat("[0, 1]\n" * 99)), r"answered '\[0, 1\] .* \.\.\.' instead"),
        (lambda h: send(h, chat(str([2] * 10))), "instead of a list of 10"),
        (lambda h: send(h, chat(str(ODD) + str(list(range(10))))), "instead of a list of 10"),
        (lambda h: send(h, chat(str([0] * 10))), "prompt 'odd digits'"),
        (lambda h: send(h, chat(str([1] * 10))), "prompt 'odd digits'"),
        (lambda h: send(h, chat(None)), "did not answer with a chat completion; RPG_LLM_URL"),
        (lambda h: send(h, "<html>"), "did not answer with a chat completion"),
        (lambda h: send(h, '{"error": "x"}'), "did not answer with a chat completion"),
        (lambda h: send(h, "[]"), "did not answer with a chat completion"),
        (lambda h: send(h, "[" * 100_000), "did not answer with a chat completion"),
        (lambda h: send(h, "", 500), "answered with HTTP status 500; look into its log"),
        (lambda h: send(h, KEY, 401), "answered with HTTP status 401; check RPG_LLM_KEY"),
        (lambda h: send(h, "", 404), "answered with HTTP status 404; check RPG_LLM_URL and RPG_LLM_MODEL"),
        (lambda h: h.connection.shutdown(socket.SHUT_RDWR), r"cannot be reached \(RemoteDisconnected\); start"),
        (lambda h: h.wfile.write(b"nonsense\r\n\r\n"), r"cannot be reached \(BadStatusLine\)"),
    ],
)
def test_an_answer_that_is_none(serve, monkeypatch, reply, words):
    monkeypatch.setenv("RPG_LLM_KEY", KEY)
    serve(reply)
    refused(words)


@pytest.mark.parametrize("started", [False, True], ids=["before the headers", "within the body"])
def test_a_server_that_hangs(serve, monkeypatch, started):
    monkeypatch.setenv("RPG_LLM_TIMEOUT", "0.2")
    over = Event()

    def hang(handler):
        if started:
            send(handler, "{", **{"Content-Length": "100"})
        over.wait(10)

    serve(hang)
    start = time.perf_counter()
    line = refused("gave no answer within 0.2 seconds; try again, or allow more with RPG_LLM_TIMEOUT")
    over.set()
    assert "http://127.0.0.1:" in line and time.perf_counter() - start < 5


@pytest.mark.parametrize("part", ["headers", "body", "lookup"])
def test_a_server_that_sends_a_byte_now_and_then(serve, monkeypatch, part):
    monkeypatch.setenv("RPG_LLM_TIMEOUT", "0.5")
    over = Event()

    def drip(handler):
        if part == "body":
            send(handler, "")
        handler.wfile.write(b"HTTP/1.1 200 " if part == "headers" else b"")
        while not over.wait(0.1):
            handler.wfile.write(b" ")

    serve(drip)
    if part == "lookup":
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait(10))
    start = time.perf_counter()
    refused("gave no answer within 0.5 seconds")
    over.set()
    assert time.perf_counter() - start < 5


def test_an_answer_in_pieces_and_one_without_end(serve, monkeypatch):
    monkeypatch.setattr("rpglib.prompts.language_models.LARGEST_ANSWER", 1000)

    def pieces(handler):
        send(handler, "")
        for byte in chat(str(ODD)).encode():
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()

    serve(pieces)
    assert task_from_prompt("odd digits", "digits", "endpoint") == ODD
    serve(lambda handler: send(handler, " " * 2000))
    refused("did not answer with a chat completion")


def test_a_server_that_sends_us_where_nobody_can_be(serve):
    serve(lambda handler: send(handler, "", 302, Location="http://a..b/"))
    refused(r"cannot be reached \((Unicode|Location|UnicodeEncode)Error\)")


def test_no_server(monkeypatch):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    monkeypatch.setenv("RPG_LLM_URL", url)
    monkeypatch.setenv("RPG_LLM_MODEL", "small")
    refused(rf"{url} cannot be reached \(Connection refused\); start the server or correct RPG_LLM_URL")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MODEL", "", "RPG_LLM_MODEL is not set"),
        ("URL", "", "RPG_LLM_URL is not set"),
        ("URL", "localhost:11434", "RPG_LLM_URL is not set or not the base"),
        ("URL", "file:///etc/hosts", "RPG_LLM_URL is not set or not the base"),
        ("URL", f"http://me:{KEY}@localhost/v1", "RPG_LLM_URL is not set or not the base"),
        ("URL", f"http://localhost/v1?key={KEY}", "RPG_LLM_URL is not set or not the base"),
        ("URL", "http://localhost:port/v1", "RPG_LLM_URL is not set or not the base"),
        ("URL", "http://[::1/v1", "RPG_LLM_URL is not set or not the base"),
        ("URL", "http://a..b/v1", "RPG_LLM_URL is not set or not the base"),
        ("URL", f"http://{'a' * 64}.example/v1", "RPG_LLM_URL is not set or not the base"),
        ("URL", "http://:80/v1", "RPG_LLM_URL is not set or not the base"),
        ("URL", "http://é.example/v1", "RPG_LLM_URL is not set or not the base"),
        ("URL", "http://localhost:99999/v1", "RPG_LLM_URL is not set or not the base"),
        ("TIMEOUT", "soon", "RPG_LLM_TIMEOUT='soon' is not a number of seconds"),
        ("TIMEOUT", "-1", "RPG_LLM_TIMEOUT='-1'"),
        ("TIMEOUT", "nan", "RPG_LLM_TIMEOUT='nan'"),
        ("KEY", f"{KEY}\nHost: elsewhere", "RPG_LLM_KEY holds characters that cannot be sent"),
        ("KEY", f"{KEY}é", "RPG_LLM_KEY holds characters that cannot be sent"),
    ],
)
def test_settings_that_cannot_be_used(monkeypatch, name, value, words):
    settings = {"URL": "http://127.0.0.1:9/v1", "MODEL": "small", name: value}
    for setting, text in settings.items():
        monkeypatch.setenv(f"RPG_LLM_{setting}", text)
    refused(words)


def test_read_answer_takes_the_last_list_of_the_right_length():
    assert read_answer("[1] [1, 0] [0, 1] [0, 0, 0] [x, y]", 2, "it") == [0, 1]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder with a chat model of random weights, and one whose tokenizer has no chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    words = ["<unk>", "<end>", "[", "]", ",", "0", "1", "maybe", "odd", "digits"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = Qwen2Config(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        eos_token_id=1,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    folder = tmp_path_factory.mktemp("models")
    for name, template in (("chat", "{% for m in messages %}{{ m['content'] }} {% endfor %}"), ("plain", None)):
        model.save_pretrained(folder / name)
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>", chat_template=template
        ).save_pretrained(folder / name)
    return folder


def test_a_local_model_of_random_weights_answers_nonsense(tiny):
    refused("models.*/chat answered '.*' instead of a list of 10", partial(ask_local, model=str(tiny / "chat")))


def test_a_local_model_that_answers_well(tiny, monkeypatch):
    from transformers import Qwen2ForCausalLM

    asked = []

    def generate(self, input_ids, **settings):
        asked.append(settings)
        answer = [token for bit in ODD for token in (5 + bit, 4)]  # "0 ," and "1 ,"
        # The question itself holds a list, which is no answer.
        return torch.cat([input_ids, torch.tensor([[7, 2, *answer[:-1], 3, 1]])], dim=1)

    monkeypatch.setattr(Qwen2ForCausalLM, "generate", generate)
    monkeypatch.setenv("RPG_LLM_MODEL", str(tiny / "chat"))
    assert task_from_prompt("odd digits", "digits", "local") == ODD
    assert asked[0]["do_sample"] is False


def test_a_model_without_chat_template(tiny):
    refused("is not a chat model", partial(ask_local, model=str(tiny / "plain")))


def test_a_model_that_is_not_there(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    refused("cannot load the chat model 'nobody/none' .*; download it", partial(ask_local, model="nobody/none"))
    (tmp_path / "empty").mkdir()
    refused("cannot load the chat model .*empty", partial(ask_local, model=str(tmp_path / "empty")))


def test_the_default_is_the_papers_model_and_needs_transformers(monkeypatch):
    assert LOCAL_MODEL == "Qwen/Qwen2.5-3B-Instruct"
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused("needs transformers; pip install transformers", "local")
