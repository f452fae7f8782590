"""Chat templates of the shapes that well-known models have, written for the tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A template and where the prefix must come out in it, as the text before the prefix."""

    source: str
    without_system: str
    """Before the prefix, in a conversation that has no system message."""
    with_system: str
    noted: bool = False
    """Whether the place is a special one, so that `anchor_note` must say so."""


_TURNS = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
_HEAD = "<|im_start|>system\n"

SHAPES = {
    "default-system-turn": Shape(
        "{%- if messages[0]['role'] != 'system' -%}"
        "{{ '<|im_start|>system\nYou are a model made by Acme, \\'tiny\\' é.<|im_end|>\n' }}"
        "{%- endif -%}" + _TURNS,
        _HEAD,
        _HEAD,
    ),
    "another-default-with-tools": Shape(
        "{%- if messages[0]['role'] == 'system' -%}{%- set text = messages[0]['content'] -%}"
        "{%- set messages = messages[1:] -%}"
        "{%- elif tools -%}{%- set text = 'You call tools.' -%}"
        "{%- else -%}{%- set text = 'You are helpful.' -%}{%- endif -%}"
        "{{ '<|im_start|>system\n' + text }}"
        "{%- if tools -%}{{ '\n\n# Tools\n' + (tools | tojson) }}{%- endif -%}{{ '<|im_end|>\n' }}" + _TURNS,
        _HEAD,
        _HEAD,
    ),
    "no-default": Shape(_TURNS, _HEAD, _HEAD, noted=True),
    "trimmed-with-header-lines": Shape(
        "{%- if messages[0]['role'] == 'system' -%}{%- set text = messages[0]['content'] | trim -%}"
        "{%- set messages = messages[1:] -%}{%- else -%}{%- set text = '' -%}{%- endif -%}"
        "{%- if date_string is not defined -%}{%- set date_string = strftime_now('%d %b %Y') -%}{%- endif -%}"
        "{{ '<|im_start|>system\n' }}"
        "{%- if tools -%}{{ 'Environment: tools\n' }}{%- endif -%}"
        "{{ 'Today is ' + date_string + '\n\n' }}"
        "{%- if tools -%}{{ (tools | tojson) + '\n\n' }}{%- endif -%}"
        "{{ text + '<|im_end|>\n' }}" + _TURNS,
        "*\n\n",
        "*\n\n",
    ),
    "system-refused": Shape(
        "{%- if messages[0]['role'] == 'system' -%}{{ raise_exception('no system role') }}{%- endif -%}"
        "{%- for message in messages -%}"
        "{{ '<|im_start|>' + message['role'] + '\n' + (message['content'] | trim) + '<|im_end|>\n' }}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|im_start|>model\n' }}{%- endif -%}",
        "<|im_start|>user\n",
        "",
        noted=True,
    ),
    "system-ignored": Shape(
        "{%- for message in messages if message['role'] != 'system' -%}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
        "{%- endfor -%}",
        "<|im_start|>user\n",
        "<|im_start|>user\n",
        noted=True,
    ),
    "system-merged-into-the-user-turn": Shape(
        "{%- set before = '' -%}"
        "{%- if messages[0]['role'] == 'system' -%}"
        "{%- if messages[0]['content'] is string -%}{%- set before = messages[0]['content'] + '\n\n' -%}"
        "{%- else -%}{%- set before = messages[0]['content'][0]['text'] + '\n\n' -%}{%- endif -%}"
        "{%- set messages = messages[1:] -%}{%- endif -%}"
        "{%- for message in messages -%}"
        "{{ '<|im_start|>' + message['role'] + '\n' + (before if loop.first else '') }}"
        "{%- if message['content'] is string -%}{{ message['content'] | trim }}"
        "{%- else -%}{%- for part in message['content'] -%}{{ part['text'] | trim }}{%- endfor -%}{%- endif -%}"
        "{{ '<|im_end|>\n' }}"
        "{%- endfor -%}",
        "<|im_start|>user\n",
        "<|im_start|>user\n",
        noted=True,
    ),
    "macro-and-parts": Shape(
        "{%- macro text_of(content) -%}"
        "{%- if content is string -%}{{ content }}"
        "{%- else -%}{%- for part in content if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}"
        "{%- endif -%}{%- endmacro -%}"
        "{%- set turns = messages -%}"
        "{%- if messages[0]['role'] in ['system', 'developer'] -%}"
        "{{ '<|im_start|>system\n' + text_of(messages[0]['content']) + '<|im_end|>\n' }}"
        "{%- set turns = messages[1:] -%}"
        "{%- else -%}{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{%- endif -%}"
        "{%- for message in turns -%}"
        "{{ '<|im_start|>' + message['role'] + '\n' + text_of(message['content']) + '<|im_end|>\n' }}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}",
        _HEAD,
        _HEAD,
    ),
    "blocks-on-lines-of-their-own": Shape(
        "\n    {% for message in messages %}\n"
        "    {% if loop.first and message['role'] != 'system' %}\n"
        "<|im_start|>system\nYou are helpful<|im_end|>\n"
        "    {% endif %}\n"
        "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
        "    {% endfor %}\n",
        "\n" + _HEAD,
        "\n" + _HEAD,
    ),
}
