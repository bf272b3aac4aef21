// A headless browser, by playwright-core.
import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// `driver` is the folder that holds playwright-core.
export function launch(driver, executablePath, profile) {
  const { chromium } = createRequire(`${driver}/`)("playwright-core");
  return chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync"],
  });
}

// With a profile of its own: gives the browser's context, and what closes it and removes the profile.
export async function open(executablePath) {
  const profile = mkdtempSync(join(tmpdir(), "scopeshim-chromium-"));
  const context = await launch(join(process.env.PLAYWRIGHT_FOLDER, "node_modules"), executablePath, profile);
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  return { context, close };
}
