// The OpenAI JavaScript SDK as people use it; prints what each call gave as JSON.
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.OPENAI_FOLDER, "package.json"));
const { OpenAI } = require("openai");
const client = new OpenAI({ maxRetries: Number(process.env.RETRIES ?? 0), timeout: 120_000 });
const messages = [{ role: "user", content: "count to six" }];

const calls = {
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return ids.sort().join(",");
  },
  async chat() {
    const answer = await client.chat.completions.create({ model: "openclaw", messages });
    return answer.choices[0].message.content;
  },
  async stream() {
    let text = "";
    for await (const piece of await client.chat.completions.create({ model: "openclaw", messages, stream: true })) {
      text += piece.choices[0]?.delta?.content ?? "";
    }
    return text;
  },
  async responses() {
    let last = null, text = "";
    for await (const event of await client.responses.create({ model: "openclaw", input: "count to six", stream: true })) {
      last = event.type;
      if (event.type === "response.output_text.delta") text += event.delta;
    }
    return `${last}: ${text}`;
  },
};

const results = {};
for (const [name, call] of Object.entries(calls)) {
  try {
    results[name] = await call();
  } catch (err) {
    results[name] = `error ${err.status ?? err.name} ${err.message}`;
  }
}
console.log(JSON.stringify(results));
