// Serves the page from an origin of its own, opens it in a real browser, and says what it saw.
//
//     drive.mjs <browser> <folder with page.js> <profile folder> <identity URL> <crm URL>

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const [browserPath, folder, profile, identityUrl, crmUrl] = process.argv.slice(2);
const { chromium } = createRequire(`${folder}/`)("playwright-core");

// A name that leads here, and that is on nobody's list of origins.
const STRANGER = "stranger.example";

const script = await readFile(`${folder}/page.js`);
const server = createServer((request, response) => {
  if (request.url === "/page.js") {
    response.setHeader("content-type", "text/javascript").end(script);
  } else {
    response.setHeader("content-type", "text/html").end('<!doctype html><script src="/page.js"></script>');
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address();

const context = await chromium.launchPersistentContext(profile, {
  executablePath: browserPath,
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--host-resolver-rules=MAP ${STRANGER} 127.0.0.1`,
  ],
});

let failed = 0;
function tell(name, flaw) {
  failed += flaw ? 1 : 0;
  console.log(flaw ? `FAIL  browser: ${name}\n      ${flaw}` : `ok    browser: ${name}`);
}

try {
  const page = await context.newPage();
  await page.goto(`http://localhost:${port}/`);
  const checks = await page.evaluate(([identity, crm]) => walk(identity, crm), [identityUrl, crmUrl]);
  for (const { name, flaw } of checks) tell(name, flaw);

  const stranger = await context.newPage();
  const said = [];
  stranger.on("console", (message) => said.push(message.text()));
  await stranger.goto(`http://${STRANGER}:${port}/`);
  const { reason, message } = await stranger.evaluate((crm) => knock(crm), crmUrl);
  const blocked = reason === null && said.some((line) => line.includes("blocked by CORS policy"));
  tell(
    "an origin that is not on the list learns nothing",
    blocked ? "" : `the page read ${reason}, ${message}; the browser said: ${said.join(" | ")}`,
  );
} catch (error) {
  tell("the page runs", String(error?.stack ?? error));
} finally {
  await context.close();
  server.close();
}
process.exitCode = failed ? 1 : 0;
