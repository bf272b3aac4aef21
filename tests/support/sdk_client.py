"""The OpenAI Python SDK as people use it; prints what each call gave as JSON."""

import json
import os

import openai

client = openai.OpenAI(max_retries=int(os.environ.get("RETRIES", "0")), timeout=120)
MESSAGES = [{"role": "user", "content": "count to six"}]


def models():
    return ",".join(sorted(model.id for model in client.models.list()))


def chat():
    return client.chat.completions.create(model="openclaw", messages=MESSAGES).choices[0].message.content


def stream():
    pieces = client.chat.completions.create(model="openclaw", messages=MESSAGES, stream=True)
    return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


def responses():
    last, text = None, ""
    for event in client.responses.create(model="openclaw", input="count to six", stream=True):
        last = event.type
        if event.type == "response.output_text.delta":
            text += event.delta
    return f"{last}: {text}"


results = {}
for call in (models, chat, stream, responses):
    try:
        results[call.__name__] = call()
    except openai.APIStatusError as err:
        results[call.__name__] = f"error {err.status_code} {err.message}"
    except Exception as err:
        results[call.__name__] = f"error {type(err).__name__}: {err}"
print(json.dumps(results))
