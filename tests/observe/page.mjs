// Drives a real browser over the status page. Reads {url, browser, driver, profile, shots} from standard
// input; obeys lines of JSON and answers each with one: {look: NAME} looks at the page.
import { createInterface } from 'node:readline';
import { launch } from '../support/chromium.mjs';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => { const { value, done } = await lines.next(); return done ? null : JSON.parse(value); };
const asked = await next();
const context = await launch(asked.driver, asked.browser, asked.profile);
const page = context.pages()[0] ?? await context.newPage();
const faults = [], foreign = [];
page.on('pageerror', e => faults.push(String(e)));
page.on('dialog', d => { faults.push('dialog ' + d.message()); d.dismiss(); });
page.on('console', m => { if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) faults.push(m.text()); });
page.on('request', r => { if (!r.url().startsWith(asked.url)) foreign.push(r.url()); });
page.setDefaultTimeout(45000);
await page.goto(asked.url + '/');

// Texts whose colour stands out too little from what is behind them.
const faint = () => page.evaluate(() => {
  const parts = c => c.match(/[\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parts(c).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((parts(c)[3] ?? 1) > 0) return c; } return 'rgb(255,255,255)'; };
  return [...document.body.querySelectorAll('*')].filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).flatMap(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    return ratio < 4.5 ? [e.textContent.slice(0, 40) + ' ' + ratio.toFixed(2)] : [];
  });
});

for (let order; (order = await next());) {
  const shows = async (id, text) => page.waitForFunction(([id, text]) => document.querySelector(id).innerText.includes(text), [id, text])
    .catch(async () => { throw new Error(`"${text}" does not appear:\n${await page.locator('body').innerText()}`); });
  if (order.wait) await shows('#verdict', order.wait);
  if (order.need) await shows('body', order.need);
  await page.setViewportSize(order.phone ? { width: 375, height: 812 } : { width: 1200, height: 900 });
  await page.emulateMedia({ colorScheme: order.dark ? 'dark' : 'light' });
  if (order.press) for (const key of order.press) await page.keyboard.press(key);
  await page.screenshot({ path: `${asked.shots}/${order.look}.png`, fullPage: !order.phone });
  if (order.phone) await page.screenshot({ path: `${asked.shots}/${order.look}-whole.png`, fullPage: true });
  console.log(JSON.stringify({
    verdict: await page.locator('#verdict').textContent(), title: await page.title(), text: await page.locator('body').innerText(),
    tree: await page.locator('body').ariaSnapshot(), faint: await faint(), faults, foreign,
    markup: await page.locator('main img, main script, main b[onmouseover]').count(),
    wide: await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
    focus: await page.evaluate(() => document.activeElement?.id), pressed: await page.locator('#pause').getAttribute('aria-pressed'),
    target: await page.locator('#pause').evaluate(e => e.getBoundingClientRect().height),
  }));
}
await context.close();
