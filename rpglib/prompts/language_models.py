"""Language models that say which classes a prompt asks for: a chat-completions server, or a local transformers model.

Both get the same two messages and answer with a JSON list of zeros and ones; the code released with the RPG paper asks
yes or no, class by class. Settings come from the environment: RPG_LLM_URL (base of an OpenAI-compatible server, such as
http://localhost:11434/v1), RPG_LLM_MODEL, RPG_LLM_KEY (only where the server wants one) and RPG_LLM_TIMEOUT (seconds
that an answer may take as a whole, default 30).
"""

import json
import os
import re
import textwrap
import time
from functools import lru_cache
from http.client import HTTPException, IncompleteRead
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch

from rpglib.errors import InputError

LOCAL_MODEL = "Qwen/Qwen2.5-3B-Instruct"  # the chat version of the Qwen2.5-3B that the paper names (v2, figure 7)

# More than any model's answer, so that a server that never stops cannot fill the memory.
LARGEST_ANSWER = 10_000_000


def messages(prompt: str, class_names: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the chat that asks for the classes of `prompt`: what the answer must look like, then the prompt."""
    first = json.dumps([int(i == 0) for i in range(len(class_names))])
    rules = (
        f"An image classifier knows {len(class_names)} classes, in this order: {', '.join(class_names)}. "
        "The user describes the images that it must select. Decide for each class whether it fits the description. "
        f"Answer with nothing but a JSON list of {len(class_names)} numbers in the order of the classes, "
        f"1 where the class fits and 0 where it does not. For {class_names[0]!r} alone the answer is {first}."
    )
    return [{"role": "system", "content": rules}, {"role": "user", "content": prompt}]


def read_answer(answer: str, bits: int, source: str) -> list[int]:
    """Return the last JSON list of `bits` entries in the answer of `source`, which may think aloud before it.

    Raises `InputError` that quotes the answer where there is no such list, or where it holds more than 0 and 1.
    """
    found = []
    for text in re.findall(r"\[[^\[\]]*\]", answer):
        try:
            values = json.loads(text)
        except ValueError:
            continue
        found = values if len(values) == bits else found
    if not found or any(value not in (0, 1) for value in found):
        raise InputError(
            f"{source} answered {textwrap.shorten(answer, 80, placeholder=' ...')!r} instead of a list of {bits} zeros "
            "and ones; ask in other words or a larger model"
        )
    return [int(value) for value in found]


def ask_endpoint(prompt: str, class_names: tuple[str, ...]) -> list[int]:
    """Return one bit per class for the prompt, as an OpenAI-compatible server answers it; settings as said above.

    Raises `InputError` for missing or unusable settings, and with the server's address and what happened where it
    cannot be reached, takes too long, or answers with an error or nonsense. No message holds the key.
    """
    model = os.environ.get("RPG_LLM_MODEL", "").strip()
    if not model:
        raise InputError("RPG_LLM_MODEL is not set; set it to the name of a model that the server offers")
    url, timeout, key = _base_url(), _timeout(), os.environ.get("RPG_LLM_KEY", "").strip()
    question = {"model": model, "messages": messages(prompt, class_names), "temperature": 0, "stream": False}
    request = Request(f"{url}/chat/completions", json.dumps(question).encode(), {"Content-Type": "application/json"})
    if key:
        if not (key.isascii() and key.isprintable()):
            raise InputError("RPG_LLM_KEY holds characters that cannot be sent; copy it again")
        # Unredirected: where a server sends us elsewhere, the key does not come along.
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    body = _send(request, url, timeout)
    try:
        answer = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        answer = None
    if not isinstance(answer, str):
        raise InputError(f"{url} did not answer with a chat completion; RPG_LLM_URL is the base that ends in /v1")
    # A server could echo what it was sent, and the answer is quoted where it is nonsense.
    return read_answer(answer.replace(key, "[key]") if key else answer, len(class_names), f"{model} at {url}")


def _base_url() -> str:
    url = os.environ.get("RPG_LLM_URL", "").strip().rstrip("/")
    try:
        parts = urlsplit(url)
        # As it is asked for: an empty or overlong part between two dots has no such form.
        host = (parts.hostname or "").encode("idna")
        usable = url.isascii() and re.fullmatch(r"https?://[^\s@?#]+", url) and parts.port != 0 and host
    except ValueError:
        usable = False
    if not usable:
        # Not quoted: an address that is refused may hold a password.
        raise InputError(
            "RPG_LLM_URL is not set or not the base of a server; set it like http://localhost:11434/v1, and the key, "
            "if there is one, as RPG_LLM_KEY"
        )
    return url


def _timeout() -> float:
    text = os.environ.get("RPG_LLM_TIMEOUT", "30")
    try:
        timeout = float(text)
    except ValueError:
        timeout = 0
    if not 0 < timeout < 1e6:
        raise InputError(f"RPG_LLM_TIMEOUT={text!r} is not a number of seconds; set it like 30")
    return timeout


def _send(request: Request, url: str, timeout: float) -> bytes:
    """Return the body of the server's answer; every way in which there is none is an `InputError`."""
    found: SimpleQueue = SimpleQueue()
    # In a thread, which can be left behind: a socket's time-out begins anew with every byte, and names are looked up
    # without any.
    Thread(target=_fetch, args=(request, timeout, found), name="answer", daemon=True).start()
    try:
        answer = found.get(timeout=timeout)
        if isinstance(answer, bytes):
            return answer
        raise answer
    except HTTPError as error:
        remedy = {401: "check RPG_LLM_KEY", 403: "check RPG_LLM_KEY", 404: "check RPG_LLM_URL and RPG_LLM_MODEL"}
        raise InputError(
            f"{url} answered with HTTP status {error.code}; {remedy.get(error.code, 'look into its log or try later')}"
        ) from None
    # ValueError: a host that the server sends us to, or a proxy, has no address that can be asked for.
    except (OSError, HTTPException, ValueError, Empty) as error:
        cause = error.reason if isinstance(error, URLError) else error
        if isinstance(cause, TimeoutError | Empty):
            raise InputError(
                f"{url} gave no answer within {timeout:g} seconds; try again, or allow more with RPG_LLM_TIMEOUT"
            ) from None
        what = getattr(cause, "strerror", None) or type(cause).__name__
        raise InputError(f"{url} cannot be reached ({what}); start the server or correct RPG_LLM_URL") from None


def _fetch(request: Request, timeout: float, found: SimpleQueue) -> None:
    """Put the body of the answer, or what went wrong, into `found`."""
    try:
        ends, body = time.monotonic() + timeout, bytearray()
        with urlopen(request, timeout=timeout) as response:
            while len(body) < LARGEST_ANSWER and (part := response.read1(LARGEST_ANSWER - len(body))):
                body += part
                if time.monotonic() > ends:
                    raise TimeoutError
        if response.length:
            raise IncompleteRead(bytes(body), response.length)
        found.put(bytes(body))
    except Exception as error:
        found.put(error)


def ask_local(prompt: str, class_names: tuple[str, ...], model: str | None = None) -> list[int]:
    """Return one bit per class for the prompt, as a chat model on this machine answers it, decoded greedily.

    `model` is a name on the Hugging Face hub or a folder (default: RPG_LLM_MODEL, else `LOCAL_MODEL`); it stays
    loaded for the next prompt. Raises `InputError` where transformers or the model is not there, where it is no
    chat model, and for an answer that is nonsense.
    """
    name = model or os.environ.get("RPG_LLM_MODEL", "").strip() or LOCAL_MODEL
    tokenizer, network = _load(name)
    chat = tokenizer.apply_chat_template(
        messages(prompt, class_names), add_generation_prompt=True, return_dict=True, return_tensors="pt"
    ).to(network.device)
    # A list of bits repeats itself by nature: the penalty in some models' own settings would bend the answer.
    answer = network.generate(**chat, do_sample=False, repetition_penalty=1.0, max_new_tokens=256)
    text = tokenizer.decode(answer[0, chat["input_ids"].shape[1] :], skip_special_tokens=True)
    return read_answer(text, len(class_names), name)


@lru_cache(maxsize=1)
def _load(name: str):
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError:
        raise InputError("the local back end needs transformers; pip install transformers") from None
    try:
        network = AutoModelForCausalLM.from_pretrained(name, dtype="auto").eval()
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (ImportError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"cannot load the chat model {name!r} ({reason}); download it while online, or name a folder that holds one"
        ) from None
    if tokenizer.chat_template is None:
        raise InputError(f"{name!r} is not a chat model (its tokenizer has no chat template); name one that is")
    return tokenizer, network.to("cuda" if torch.cuda.is_available() else "cpu")
