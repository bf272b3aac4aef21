// The gateway's own web page in a headless browser: node control_ui.mjs URL TOKEN CHROMIUM
// Prints what was seen as JSON. PLAYWRIGHT_FOLDER is where playwright-core is installed.
import { open } from "./chromium.mjs";

const [url, token, executablePath] = process.argv.slice(2);
const { context, close } = await open(executablePath);
const seen = { sent: [], answers: {}, hello: null, refused: null, status: null, failed: [], text: "" };
try {
  const page = await context.newPage();
  // The page's own sockets, so that a request can be sent over the one it uses.
  await page.addInitScript(() => {
    const Own = window.WebSocket;
    window.seenSockets = [];
    window.WebSocket = class extends Own {
      constructor(...args) {
        super(...args);
        window.seenSockets.push(this);
      }
    };
  });
  page.on("response", (answer) => {
    if (answer.status() >= 400) seen.failed.push(`${answer.status()} ${new URL(answer.url()).pathname}`);
  });
  page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => {
      const frame = JSON.parse(payload);
      seen.sent.push(frame.method);
      socket.methods = { ...socket.methods, [frame.id]: frame.method };
    });
    socket.on("framereceived", ({ payload }) => {
      const frame = JSON.parse(payload);
      if (frame.type !== "res") return;
      const method = socket.methods?.[frame.id] ?? frame.id;
      seen.answers[method] = frame.ok ? "ok" : frame.error.message;
      if (method === "connect") {
        if (frame.ok) seen.hello = frame.payload.auth ?? {};
        else seen.refused = frame.error;
      }
    });
  });
  const answer = await page.goto(`${url}/chat#token=${encodeURIComponent(token)}`, { waitUntil: "load", timeout: 60000 });
  seen.status = answer.status();
  const until = Date.now() + 40000;
  const button = page.locator('button:has-text("Connect")').first();
  while (!seen.hello && !seen.refused && Date.now() < until) {
    await page.waitForTimeout(250);
    if (await button.isVisible().catch(() => false)) await button.click({ timeout: 1000 }).catch(() => {});
  }
  if (seen.hello) {
    for (let i = 0; i < 80 && !seen.answers["sessions.list"]; i++) await page.waitForTimeout(250);
    await page.evaluate(() => {
      const live = window.seenSockets.filter((s) => s.readyState === 1).at(-1);
      live.send(JSON.stringify({ type: "req", id: "admin-action", method: "config.patch", params: { raw: "{}" } }));
      live.send(JSON.stringify({ type: "req", id: "list", method: "sessions.list", params: {} }));
    });
    for (let i = 0; i < 40 && !seen.answers["sessions.list"]; i++) await page.waitForTimeout(250);
    for (let i = 0; i < 40 && !seen.answers["config.patch"]; i++) await page.waitForTimeout(250);
  }
  seen.text = (await page.locator("body").innerText().catch(() => "")).slice(0, 600);
} finally {
  await close();
}
seen.sent = [...new Set(seen.sent)];
console.log(JSON.stringify(seen));
