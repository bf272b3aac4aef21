// A page of another origin in a headless browser. Reads {port, url, chromium, token, html} from standard input, prints
// what the page showed and what its scripts were given. PLAYWRIGHT_FOLDER and OPENAI_FOLDER say where the packages are.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "../support/chromium.mjs";

const { port, url, chromium: executablePath, token, html } = JSON.parse(readFileSync(0, "utf8"));
const sdk = join(process.env.OPENAI_FOLDER, "node_modules/openai");

// The SDK's own files come from the registry's package. Not by interception: where requests are intercepted, Playwright
// answers every preflight itself.
const served = html.replace(/https:\/\/unpkg\.com\/openai@[^/]*\//, "/openai/");
const server = createServer(({ url: path }, answer) => {
  const file = path.startsWith("/openai/") && join(sdk, path.slice("/openai/".length));
  answer.writeHead(200, { "content-type": file ? "text/javascript" : "text/html" }).end(file ? readFileSync(file) : served);
});
await new Promise((listening) => server.listen(port, "127.0.0.1", listening));
const { context, close } = await open(executablePath);
const seen = { console: [] };
try {
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && seen.console.push(message.text()));
  page.on("pageerror", (error) => seen.console.push(String(error)));
  await page.goto(`http://localhost:${port}/`, { waitUntil: "load" });
  await page.waitForFunction(() => document.body.dataset.done, null, { timeout: 150000 })
    .catch(() => seen.console.push("the page is not done"));
  seen.text = await page.locator("body").innerText();

  seen.calls = await page.evaluate(async ({ url, token }) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", "x-client-s-own": "1" };
    const body = JSON.stringify({ model: "openclaw", messages: [{ role: "user", content: "count to six" }], stream: true });
    const attempt = async (work) => { try { return await work(); } catch (error) { return { failed: String(error) }; } };
    return {
      wrong: await attempt(async () => {
        const answer = await fetch(`${url}/v1/models`, { headers: { authorization: "Bearer wrong" } });
        const { error } = await answer.json();
        return { status: answer.status, code: error.code, id: answer.headers.get("x-request-id") };
      }),
      included: await attempt(async () => (await fetch(`${url}/v1/models`, { headers, credentials: "include" })).status),
      pieces: await attempt(async () => {
        const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        const times = [];
        for (let text; !(text = await reader.read()).done;) if (text.value.includes("content")) times.push(performance.now());
        return { status: answer.status, count: times.length, span: times.at(-1) - times[0] };
      }),
      socket: await attempt(() => new Promise((resolve, reject) => {
        const coded = btoa(token).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
        const socket = new WebSocket(url.replace("http", "ws"), ["openclaw", `base64url.bearer.scopeshim.${coded}`]);
        socket.onerror = () => reject(new Error("no WebSocket"));
        socket.onclose = ({ code, reason }) => reject(new Error(`closed ${code} ${reason}`));
        socket.onmessage = ({ data }) => {
          const frame = JSON.parse(data);
          if (frame.event === "connect.challenge") {
            socket.send(JSON.stringify({ type: "req", id: "1", method: "connect", params: { minProtocol: 3, maxProtocol: 4,
              role: "operator", scopes: ["operator.read"], caps: [],
              client: { id: "gateway-client", version: "1.0.0", platform: "test", mode: "ui" } } }));
          } else if (frame.type === "res") {
            if (frame.ok) resolve({ ok: true, protocol: socket.protocol });
            else reject(new Error(frame.error.message));
          }
        };
      })),
    };
  }, { url, token });
} finally {
  await close();
  server.close();
}
console.log(JSON.stringify(seen));
