"""LlamaIndex's OpenAI class against a web process over loopback, unchanged but for its base URL.

Its package wants an older official client than ours, and so an environment of its own.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from accounts.tests.factories import principal_of
from doors.tests.conftest import publish
from llm.models import Model
from magnet.tests.platform import clean_environment
from magnet.tests.scripted_answers import ANSWER
from magnet.tests.scripted_tools import ARGUMENTS

pytestmark = [pytest.mark.django_db, pytest.mark.exhaustive]

PACKAGE = "llama-index-llms-openai==0.8.3"
INSTALL_SECONDS = 240


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an environment with the package; a machine without a package index cannot have it."""
    folder = tmp_path_factory.mktemp("llamaindex")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{PACKAGE} was not installed within {INSTALL_SECONDS} s.")
    if done.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed here: {done.stderr.strip()[-200:]}")
    return folder / "bin" / "python"


@pytest.mark.timeout(500)
def test_it_chats_streams_calls_tools_and_keeps_to_a_schema(python, door):
    for name, identifier in (("gpt-4o-mini", "ok"), ("gpt-4", "calls-tool"), ("gpt-4o", "echo")):
        door.add_model(name, identifier=identifier)
    said = [{"role": "system", "content": "Be kind."}]
    model = Model._unscoped.get(slug="gpt-4o-mini")
    door.commit(lambda: publish(principal_of(door.world.member), "gpt-4-turbo", model, messages=said))
    script = Path(__file__).with_name("llamaindex_client.py")

    done = subprocess.run(
        [python, script, door.url, door.key()],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environment(),
        check=False,
    )

    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert heard.pop("usage") > 0
    assert heard.pop("pieces") > 3
    assert "NotFoundError" in heard["refused"]
    assert "model_not_found" in heard.pop("refused")
    assert heard == {
        "complete": ANSWER,
        "chat": ANSWER,
        "streamed": ANSWER,
        "prompted": ANSWER,
        "tools": [["delete", json.loads(ARGUMENTS)]],
        "structured": 3,
    }
    assert [one["content"] for one in door.provider.calls_of("ok")[-1].body["messages"]][-1:] == ["Hello"]
