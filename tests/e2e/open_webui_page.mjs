// Open WebUI's page in a headless browser. Reads {url, chromium, shots, asks} from standard input; each ask is
// {name, model, said, width, height, expect}. Prints what the page showed by the name of the ask.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { open } from "../support/chromium.mjs";

const { url, chromium: executablePath, shots, asks } = JSON.parse(readFileSync(0, "utf8"));
const { context, close } = await open(executablePath);
const seen = {};
try {
  for (const { name, model, said, width, height, expect } of asks) {
    const page = await context.newPage();
    await page.setViewportSize({ width, height });
    const failed = [];
    page.on("pageerror", (error) => failed.push(String(error)));
    await page.goto(`${url}/?models=${encodeURIComponent(model)}`, { waitUntil: "load" });
    // The news of a release lies over the page if it comes all the same.
    await page.addLocatorHandler(page.getByRole("button", { name: /okay, let's go/i }), (button) => button.click());
    const input = page.locator("#chat-input");
    await input.waitFor({ timeout: 120000 });
    await input.click();
    await page.keyboard.type(said);
    await page.locator("#send-message-button").click();
    const arrived = await page.waitForFunction((words) => document.body.innerText.replace(/\s+/g, " ").includes(words), expect,
      { timeout: 90000 }).then(() => true, () => false);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    await page.screenshot({ path: join(shots, `${name}.png`) });
    const text = await page.evaluate(() => document.body.innerText);
    const line = text.split("\n").find((one) => one.replace(/\s+/g, " ").includes(expect)) ?? "";
    seen[name] = { arrived, line, text, overflow, failed };
    await page.close();
  }
} finally {
  await close();
}
console.log(JSON.stringify(seen));
