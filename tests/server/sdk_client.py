"""Run by test_server_sdk in an environment that has the vendors' clients: asks, prints JSON."""

import json
import sys

import anthropic
import openai

url, prompts = sys.argv[1], json.loads(sys.argv[2])
found = {}
TEXTS = ("benign", "harmful", "input")

client = openai.OpenAI(base_url=url + "/v1", api_key="any", max_retries=0)


def asked(name):
    return [{"role": "user", "content": prompts[name]}]


def streamed(name):
    text, finish = "", None
    with client.chat.completions.create(model="m", messages=asked(name), stream=True) as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
    return [text, finish]


def whole(name):
    (choice,) = client.chat.completions.create(model="m", messages=asked(name)).choices
    return [choice.message.content, choice.finish_reason]


found["chat"] = {name: streamed(name) for name in TEXTS}
found["chat whole"] = {name: whole(name) for name in TEXTS}
reply = client.chat.completions.create(model="m", messages=asked("tool"))
found["chat tool"] = json.loads(reply.choices[0].message.tool_calls[0].function.arguments)
try:
    streamed("broken")
except openai.APIError as error:
    found["chat broken"] = type(error).__name__
found["completions"] = {}
for name in ("benign", "harmful"):
    (choice,) = client.completions.create(model="m", prompt=prompts[name]).choices
    found["completions"][name] = [choice.text, choice.finish_reason]
results = client.moderations.create(input=["hello", prompts["input"]]).results
found["moderations"] = [result.flagged for result in results]
assert results[1].category_scores.hate == 0
found["models"] = [model.id for model in client.models.list()]
try:
    client.chat.completions.create(model="m", messages=[])
except openai.APIError as error:
    found["unauthorized"] = type(error).__name__
(answer,) = client.decisions.create(
    model="custodes",
    input=prompts["input"],
    questions=[{"type": "predicate", "name": "cake", "instructions": "Is it of cake?"}],
).answers
found["decisions"] = [answer.type, answer.probability]

claude = anthropic.Anthropic(base_url=url, api_key="any", max_retries=0)


def message(name):
    with claude.messages.stream(model="m", max_tokens=50, messages=asked(name)) as stream:
        return stream.get_final_message()


def summary(reply):
    text = "".join(block.text for block in reply.content if block.type == "text")
    return [text, reply.stop_reason]


found["messages"] = {name: summary(message(name)) for name in TEXTS}
found["messages whole"] = {
    name: summary(claude.messages.create(model="m", max_tokens=50, messages=asked(name)))
    for name in TEXTS
}
found["messages details"] = message("harmful").stop_details.category
found["messages tool"] = message("tool").content[0].input
try:
    message("broken")
except anthropic.APIError as error:
    found["messages broken"] = type(error).__name__
print(json.dumps(found))
