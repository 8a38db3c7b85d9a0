"""Templates of messages as models have them, in the forms of their families, and messages for them."""

HELLO = [{"role": "user", "content": "Hello"}]
TALK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hello\n"},
        {"role": "assistant", "content": "Hi <b>"}, {"role": "user", "content": "And é?"}]

# SmolLM2 and Qwen 2
CHATML = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
          "{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}"
          "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAMA_2 = ("{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
           "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
           "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
           "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
           "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
           "{% if loop.index0 == 0 and system_message != false %}"
           "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
           "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
           "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
           "{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}")
LLAMA_3 = ("{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = strftime_now('%Y') %}\n"
           "{%- endif %}\n{%- for message in messages %}\n"
           "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}\n"
           "    {{- message['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n{{- date_string }}\n"
           "{%- if add_generation_prompt %}\n"
           "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n")
MISTRAL = ("{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] %}"
           "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
           "{%- set ns = namespace(index=0) %}{{- bos_token }}{%- for message in loop_messages %}"
           "{%- if message.role == 'user' and (ns.index % 2 == 0) != true %}"
           "{{- raise_exception('roles must alternate') }}{%- endif %}{%- set ns.index = ns.index + 1 %}"
           "{%- if message.role == 'user' %}{%- if loop.last and system_message is defined %}"
           "{{- '[INST] ' + system_message + '\\n\\n' + message.content + '[/INST]' }}{%- else %}"
           "{{- '[INST] ' + message.content + '[/INST]' }}{%- endif %}{%- else %}"
           "{{- ' ' + message.content + eos_token }}{%- endif %}{%- endfor %}")
# Qwen 3: tools, thinking, macros, generation
QWEN_3 = ("{%- macro said(message) -%}{%- if message.content is string -%}{{ message.content.split('</think>')[-1] }}"
          "{%- else -%}{{ message.content | map(attribute='text') | join('') }}{%- endif -%}{%- endmacro -%}\n"
          "{%- if tools %}{{- tools | tojson }}{{ tools | tojson(indent=2) }}\n{%- endif %}\n"
          "{%- for message in messages | selectattr('role', 'ne', 'tool') %}\n"
          "    {%- if message.role == 'system' %}{% continue %}{% endif %}\n"
          "    {{- '<|im_start|>' ~ message.role ~ '\\n' }}\n"
          "    {% if message.role == 'assistant' %}{% generation %}{{ said(message) }}{% endgeneration %}"
          "{% else %}{{ said(message) }}{% endif %}{{ '<|im_end|>\\n' }}\n{%- endfor %}\n"
          "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
          "{%- if enable_thinking is defined and enable_thinking is false %}"
          "{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}")
TEMPLATES = {"chatml": CHATML, "llama2": LLAMA_2, "llama3": LLAMA_3, "mistral": MISTRAL, "qwen3": QWEN_3}
