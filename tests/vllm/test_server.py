# SPDX-License-Identifier: Apache-2.0
"""`vllm serve` answers a chat request over loopback, by Octavo's kernels."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time

from folders import coded_model

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
LONGEST = 180  # seconds until a server is up


def give_tokenizer(folder):
    """A tokenizer of 512 words."""
    import tokenizers
    import transformers

    words = {"<end>": 0, "<unknown>": 1} | {f"w{number}": number for number in range(2, 512)}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unknown>"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=model, unk_token="<unknown>", eos_token="<end>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def ask(port, server, body):
    """The answer's status and object, once the server is up."""
    for _ in range(LONGEST):
        assert server.poll() is None, "vllm serve must run; it ended"
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except ConnectionRefusedError:
            time.sleep(1)
        finally:
            connection.close()
    raise AssertionError(f"vllm serve must answer within {LONGEST} s")


def test_a_chat_is_answered(models, tmp_path):
    folder, port = coded_model(models, "llama-int8"), free_port()
    give_tokenizer(folder)
    log = tmp_path / "log"
    with log.open("w") as said:
        server = subprocess.Popen([sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--host", "127.0.0.1", "--port", str(port),
                                   "--dtype", "bfloat16", "--enforce-eager", "--max-model-len", "128"], stdout=said, stderr=said,
                                  env=os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"})
    try:
        status, answer = ask(port, server, {"model": str(folder), "max_tokens": 5, "temperature": 0, "ignore_eos": True,
                                            "messages": [{"role": "user", "content": "w5 w9 w20"}]})
    finally:
        server.terminate()
        server.wait(60)
    assert status == 200, answer
    assert answer["usage"]["completion_tokens"] == 5 and answer["choices"][0]["message"]["content"]
    assert "Octavo" in log.read_text()
