"""text/chat_template.py, chat_process.py and chat_sandbox.py: messages as prompts, and templates that take too much."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chat_templates import CHATML, HELLO
from nextword.text import chat_process, chat_sandbox
from nextword.text.chat_template import ChatTemplate, TemplateError

pytest.importorskip("jinja2", reason='needs jinja2: pip install "nextword[chat]"')


def test_the_plain_template_is_roles_and_texts():
    parts = [{"type": "text", "text": " a"}, {"type": "text", "text": "b\n"}]
    told = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts},
            {"role": "assistant", "content": " c"}]
    plain = ChatTemplate(None)
    assert plain.render(told, False) == "System: Be brief.\nUser: ab\nAssistant: c\n"
    assert plain.render(told) == plain.render(told, False) + "Assistant:"
    assert (plain.plain, plain.stops) == (True, ("\nUser:", "\nSystem:"))
    assert ChatTemplate(CHATML).stops == ()


@pytest.mark.parametrize(("messages", "said"), [
    ([], "messages must be a list of"), ("hello", "messages must be a list of"), (None, "messages must be a list of"),
    ([{"content": "a"}], "among them"), ([{"role": 1, "content": "a"}], "among them"), (["a"], "among them"),
])  # fmt: skip
@pytest.mark.parametrize("source", [None, CHATML])
def test_what_are_no_messages_is_said_so(source, messages, said):
    with pytest.raises(TypeError, match=f"^chat: .*{said}"):
        ChatTemplate(source).render(messages)


def test_the_plain_template_has_its_roles_and_texts_alone():
    with pytest.raises(ValueError, match=r"^chat: role must be one of system, developer, user, assistant, got 'tool'"):
        ChatTemplate(None).render([{"role": "tool", "content": "a"}])
    for wrong in (1, [{"type": "image"}], [None], {"a": 1}):
        with pytest.raises(ValueError, match=r"^chat: content must be a text or a list of texts"):
            ChatTemplate(None).render([{"role": "user", "content": wrong}])
    with pytest.raises(TypeError, match=r"^chat: messages and variables must hold what JSON has"):
        ChatTemplate(CHATML).render([{"role": "user", "content": {1, 2}}])


@pytest.mark.parametrize(("source", "said"), [
    ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "it takes more than 1 s"),
    ("{% set n = namespace(a=[1], b=[1]) %}{% for i in range(99) %}{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}"
     "{% endfor %}{{ n.a == n.b }}", "it takes more than 1 s"),
    ("{% for i in range(99999) %}{% for j in range(99999) %}{{ 'abcdefgh' * 99 }}{% endfor %}{% endfor %}",
     "it writes more than 16,777,216 characters"),
    ("{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
     "it takes more than 768 MiB of memory"),
    ("{{ 'a' * 10 ** 10 }}", "it takes more than 768 MiB of memory"),
    ("{{ '%9999999999d' % 1 }}", "it takes more than 768 MiB of memory"),
    ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "it calls itself too deeply"),
    ("{% for i in range(999999) %}{% endfor %}", "Range too big"),
    ("{% for m in messages %}{{ m.role", "unexpected end of template"),
    ("{{ nothing.there }}", "'nothing' is undefined"),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{% include '/etc/passwd' %}", "no loader"),
    ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
    ("{{ messages.append(1) }}", "unsafe"),
    ("{{ 1 / 0 }}", "division by zero"),
])  # fmt: skip
def test_a_template_that_goes_wrong_is_one_error_and_soon(source, said):
    template = ChatTemplate(source)
    started = time.thread_time(), time.monotonic()
    with pytest.raises(TemplateError, match=f"^chat: the model's template refuses the messages: .*{said}"):
        template.render(HELLO)
    assert time.thread_time() - started[0] < 0.5  # of this process; the other's is what the test is of
    assert time.monotonic() - started[1] < chat_process.WAIT


def test_after_one_that_was_ended_the_next_is_answered():
    loops = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    template = ChatTemplate("{% if messages[0].content == 'loop' %}" + loops + "{% endif %}{{ messages[0].content }}")
    assert template.render([{"role": "user", "content": "a"}]) == "a"
    with pytest.raises(TemplateError, match="it takes more than"):
        template.render([{"role": "user", "content": "loop"}])
    assert template.render([{"role": "user", "content": "b"}]) == "b"


def test_a_process_that_is_stopped_is_ended_in_time(monkeypatch):
    template = ChatTemplate(CHATML)
    template.render(HELLO)
    monkeypatch.setattr(chat_process, "WAIT", 0.2)
    os.kill(template._renderer._process.pid, 19)  # SIGSTOP
    with pytest.raises(TemplateError, match=r"it was ended, after 0\.2 s"):
        template.render(HELLO)
    monkeypatch.undo()
    assert "Hello" in template.render(HELLO)


def test_an_interrupt_leaves_no_answer_for_the_next_question(monkeypatch):
    template = ChatTemplate("{{ messages[0].content }}")
    template.render(HELLO)
    process = template._renderer._process

    class Interrupted:
        def write(self, line):
            pipe.write(line)
            pipe.flush()
            raise KeyboardInterrupt

        def __getattr__(self, name):
            return getattr(pipe, name)

    pipe, process.stdin = process.stdin, Interrupted()
    with pytest.raises(KeyboardInterrupt):
        template.render([{"role": "user", "content": "first"}])
    assert process.returncode is not None
    assert template.render([{"role": "user", "content": "second"}]) == "second"


def test_it_opens_no_file_and_starts_no_process():
    """What the operating system keeps from it, whatever a template finds in Jinja."""
    code = ("import sys, os; sys.path.insert(0, sys.argv[1]); import chat_sandbox; chat_sandbox.bounded()\n"
            "for does in (lambda: open('/etc/hostname'), os.fork):\n"
            "    try:\n        does()\n    except OSError:\n        print('kept')\n")
    import subprocess
    import sys

    found = subprocess.run([sys.executable, "-I", "-c", code, os.path.dirname(chat_sandbox.__file__)],
                           capture_output=True, text=True)
    kept = 1 if os.geteuid() == 0 else 2  # a superuser's processes are not counted
    assert found.stdout.count("kept") >= kept, found.stderr


def test_threads_share_one_process():
    template = ChatTemplate("{{ messages[0].content }}")
    with ThreadPoolExecutor(4) as pool:
        texts = [str(i) for i in range(100)]
        assert list(pool.map(lambda text: template.render([{"role": "user", "content": text}]), texts)) == texts


def test_it_goes_with_the_template():
    template = ChatTemplate(CHATML)
    template.render(HELLO)
    process = template._renderer._process
    del template
    assert process.wait(10) is not None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_its_own():
    template = ChatTemplate(CHATML)
    right = template.render(HELLO)
    ours = template._renderer._process
    context = multiprocessing.get_context("fork")
    heard, told = context.Pipe(False)

    def child():
        told.send(template.render(HELLO))

    process = context.Process(target=child)
    process.start()
    assert heard.poll(30)
    assert heard.recv() == right
    process.join(30)
    assert ours.poll() is None
    assert template.render(HELLO) == right


def test_copies_write_the_same():
    template = ChatTemplate("{{ eos_token }}{{ messages[0].content }}", {"eos_token": "</s>"})
    for other in (pickle.loads(pickle.dumps(template)), copy.deepcopy(template)):
        assert other.render(HELLO) == template.render(HELLO) == "</s>Hello"


def test_without_jinja_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(chat_process, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'^chat: .*needs jinja2: run `pip install "nextword\[chat\]"`$'):
        ChatTemplate(CHATML).render(HELLO)
    assert ChatTemplate(None).render(HELLO)  # needs none


def test_lone_surrogates_and_all_else_come_through():
    text = "\ud800 \u2028 \x00 é 😀 \\n {{ messages }}"
    assert ChatTemplate("{{ messages[0].content }}").render([{"role": "user", "content": text}]) == text


def test_an_answer_reads_in_the_plain_template_as_it_was_written():
    plain = ChatTemplate(None)
    for answer in (" Hello", "\nHello\n", "Hello", " "):
        told = plain.render([*HELLO, {"role": "assistant", "content": answer}], False)
        begun = plain.render(HELLO) + ("" if answer[0].isspace() else " ")
        assert told == (begun + answer).removesuffix("\n") + "\n"


def test_a_timer_is_left_by_no_call():
    template = ChatTemplate(CHATML)
    template.render(HELLO)
    before = threading.active_count()
    for _ in range(20):
        template.render(HELLO)
    assert threading.active_count() <= before + 1
