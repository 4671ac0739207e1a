// Drives a headless Chromium: a step a line of JSON on standard input, its answer a line on standard output.
//
// drive.mjs PROGRAM ENVIRONMENT WIDTH HEIGHT SCHEME

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [program, environment, width, height, scheme] = process.argv.slice(2);
const WAIT = 30_000;
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

const complaints = [];
const browser = await chromium.launch({
  executablePath: program,
  args: ['--no-sandbox'],
  env: { ...process.env, ...JSON.parse(environment) },
}).catch((error) => {
  say({ ok: false, error: String(error) });
  process.exit(1);
});
const page = await browser.newPage({ viewport: { width: Number(width), height: Number(height) }, colorScheme: scheme, ignoreHTTPSErrors: true });
page.setDefaultTimeout(WAIT);
page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
page.on('pageerror', (error) => complaints.push(String(error.stack ?? error)));
page.on('request', (request) => new URL(request.url()).hostname === '127.0.0.1' || complaints.push(`asked ${request.url()}`));

const steps = {
  open: ({ url }) => page.goto(url, { waitUntil: 'load' }).then(() => null),
  wait: async ({ selector, text }) => {
    const found = page.locator(selector).filter({ hasText: text }).first();
    await found.waitFor({ state: 'visible' }).catch(async (error) => {
      const seen = await page.locator(selector).allInnerTexts();
      throw new Error(`${error.message.split('\n')[0]}; ${selector} holds ${JSON.stringify(seen)}; the page: ${(await page.innerText('body')).slice(0, 3000)}`);
    });
    return null;
  },
  gone: ({ selector }) => page.locator(selector).first().waitFor({ state: 'detached' }).then(() => null),
  click: ({ selector }) => page.locator(selector).first().click().then(() => null),
  fill: ({ selector, text }) => page.locator(selector).first().fill(text).then(() => null),
  choose: ({ selector, text }) => page.locator(selector).first().selectOption(text).then(() => null),
  press: ({ text }) => page.keyboard.press(text).then(() => null),
  // By single looks: what waits inside the page is made there from text, which the page's own policy refuses.
  until: async ({ text }) => {
    const end = Date.now() + WAIT;
    while (!(await page.evaluate(text))) {
      if (Date.now() > end) throw new Error(`it did not become true; the page: ${(await page.innerText('body')).slice(0, 3000)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return null;
  },
  eval: ({ text }) => page.evaluate(text),
  look: async (step) => {
    await page.setViewportSize({ width: step.width, height: step.height });
    await page.emulateMedia({ colorScheme: step.text });
    return null;
  },
  picture: ({ path }) => page.screenshot({ path, animations: 'disabled' }).then(() => null),
  complaints: async () => complaints,
};

say({ ok: true });
for await (const line of createInterface({ input: process.stdin })) {
  const step = JSON.parse(line);
  await steps[step.do](step).then((value) => say({ ok: true, value }), (error) => say({ ok: false, error: String(error.message ?? error) }));
}
await browser.close();
