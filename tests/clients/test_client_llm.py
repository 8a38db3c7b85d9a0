"""The `llm` command: a base model and a chat model out of extra-openai-models.yaml."""

import subprocess

import pytest
from spawned import command, environment, needs

needs("llm")

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def llm(address, tmp_path_factory):
    folder = tmp_path_factory.mktemp("llm")
    (folder / "extra-openai-models.yaml").write_text(
        f"- {{model_id: nw, model_name: demo, api_base: '{address}/v1', completion: true}}\n"
        f"- {{model_id: nw-chat, model_name: demo, api_base: '{address}/v1'}}\n", encoding="utf-8")

    def run(*arguments):
        found = subprocess.run([command("llm"), *arguments], capture_output=True, text=True, check=False, timeout=120,
                               stdin=subprocess.DEVNULL,
                               env=environment(LLM_USER_PATH=str(folder), OPENAI_API_KEY="none"))
        return found.returncode, found.stdout, found.stderr

    return run


@pytest.mark.parametrize("whole", [(), ("--no-stream",)])
@pytest.mark.parametrize(("model", "prompt", "stop"), [
    ("nw", PROMPT, []), ("nw-chat", f"User: {PROMPT}\nAssistant:", ["\nUser:", "\nSystem:"])])
def test_a_prompt(llm, lm, model, prompt, stop, whole):
    options = ("-o", "temperature", "0", "-o", "max_tokens", "12")
    code, out, err = llm("-m", model, PROMPT, *options, *whole)
    assert (code, err) == (0, "")
    assert out.rstrip("\n") == lm.generate(prompt, max_new_tokens=12, stop=stop).text.rstrip("\n")


def test_usage_is_told(llm, lm):
    right = lm.generate(f"User: {PROMPT}\nAssistant:", max_new_tokens=5, stop=["\nUser:", "\nSystem:"])
    code, _, err = llm("-m", "nw-chat", PROMPT, "-o", "max_tokens", "5", "-o", "temperature", "0", "--usage")
    assert code == 0
    assert f"{len(right.prompt_tokens)} input, {len(right.tokens)} output" in err


def test_an_error_is_told(llm):
    code, _, err = llm("-m", "nw", PROMPT, "-o", "max_tokens", "100000")
    assert code == 1
    assert "the context window is 512 tokens" in err
