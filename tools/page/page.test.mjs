// Opens the page in Chromium, against live servers in the states that somebody may meet
// it in. Each state must show its first line, change its figures, pass axe-core, and ask
// nobody else for anything. With SHOTS=folder the screenshots are kept there, and those of
// docs/images as page-*.png; WARM is how many seconds of load come before them.

import assert from 'node:assert/strict';
import fs from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { seconds, shorten } from '../../internal/page/assets/table.js';
import { clerkgate, client, fault, freePort, load, redis, run, serve, simulator, until, userIDs } from './servers.mjs';

const axe = await fs.readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const shots = process.env.SHOTS;
const callers = ['billing', 'support-tool', 'search-index', 'mailer', 'checkout', 'crm-sync', 'audit', 'profile-page'];

let browser, temp;

before(async () => {
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  temp = await fs.mkdtemp(path.join(os.tmpdir(), 'clerkgate-page-'));
});
after(async () => {
  await browser.close();
  await fs.rm(temp, { recursive: true });
});

// look opens the page. faults are what must not happen on it. While away is true, the
// server is expected not to answer, or to answer 503 as it starts.
async function look(url, { width = 1280, height = 900, dark = false, token } = {}) {
  const context = await browser.newContext({
    viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce',
    ...(token ? { httpCredentials: { username: 'me', password: token } } : {}),
  });
  const page = await context.newPage();
  const faults = [], at = { page, faults, away: false, close: () => context.close() };
  const own = new URL(url).origin;
  page.on('request', (r) => { if (new URL(r.url()).origin !== own) faults.push(`a request to ${r.url()}`); });
  page.on('console', (m) => { if ((m.type() === 'error' || m.type() === 'warning') && !(at.away && /net::ERR_|status of 503/.test(m.text()))) faults.push(`the console: ${m.text()}`); });
  page.on('pageerror', (e) => faults.push(`an error: ${e.stack}`));
  const answer = await page.goto(url);
  assert.equal(answer.status(), 200);
  assert.match(answer.headers()['content-security-policy'], /^default-src 'none'/);
  await page.locator('#link', { hasText: 'live' }).waitFor();
  return at;
}

// says waits until the first line is what it should be.
async function says(page, pattern, ms = 20_000) {
  const read = () => page.locator('#headline').textContent();
  let last;
  await until(pattern, async () => pattern.test(last = await read()), ms).catch((e) => { throw new Error(`${e.message}; the page says: ${last}`); });
  return last;
}

// check looks for faults of accessibility and of layout, and keeps a screenshot. With docs, it
// also keeps the top of the page, as docs/images has it.
async function check(at, name, { docs = false } = {}) {
  if (shots) {
    await fs.mkdir(shots, { recursive: true });
    await at.page.screenshot({ path: path.join(shots, `${name}.png`), fullPage: true });
    const { width } = at.page.viewportSize();
    if (docs) await at.page.screenshot({ path: path.join(shots, `page-${name}.png`), fullPage: true, clip: { x: 0, y: 0, width, height: 720 } });
  }
  await at.page.evaluate(axe);
  const found = await at.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  assert.deepEqual(found.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).slice(0, 3)}`), []);
  const [scroll, client_] = await at.page.evaluate(() => [document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]);
  assert.ok(scroll <= client_, `the page is ${scroll} px wide in a window of ${client_}`);
  if (at.page.viewportSize().width >= 1280) { // there is room: no column may need scrolling
    const cut = await at.page.evaluate(() => [...document.querySelectorAll('.scroll')].filter((s) => s.scrollWidth > s.clientWidth).map((s) => s.getAttribute('aria-label')));
    assert.deepEqual(cut, [], 'tables that are cut off');
  }
  assert.deepEqual(at.faults, []);
}

// changes waits until a figure is another than it was.
async function changes(page, selector) {
  const was = await page.locator(selector).textContent();
  await until(`${selector} to change from ${was}`, async () => await page.locator(selector).textContent() !== was);
}

test('durations', () => {
  const texts = { 0: '0 s', 0.0005: '0.001 s', 0.0942: '0.094 s', 0.759: '0.76 s', 1.25: '1.3 s', 59: '59 s', 119.7: '2 min 0 s', 3599: '59 min 59 s', 7195: '2 h 0 min', 200000: '2 days' };
  for (const [s, text] of Object.entries(texts)) assert.equal(seconds(Number(s)), text);
});

test('names are shortened in the middle', () => {
  const texts = { billing: 'billing', 'exactly-13-ch': 'exactly-13-ch', 'support-tool/eu-west-1': 'suppor…west-1', '😀😀😀😀😀😀😀😀😀😀😀😀😀😀': '😀😀😀😀😀😀…😀😀😀😀😀😀' };
  for (const [name, text] of Object.entries(texts)) assert.equal(shorten(name, 13), text);
});

test('empty, idle, under load, 429, an outage, narrow, dark, restarted', async (t) => {
  let server = await serve(['--sim', '--quota', '100/10s', '--cache-ttl', '2s']);
  t.after(() => server.stop());
  const at = await look(server.page);
  t.after(() => at.close());

  await says(at.page, /^Serving\. Started \d+ s ago\. 100 of 100 requests left; nobody waits\. No call has come yet\.$/);
  await at.page.locator('#uptime', { hasText: /^up \d+ s$/ }).waitFor();
  await check(at, 'empty');

  const ids = await userIDs(server, 2000);
  const one = client(server);
  for (const id of ids.slice(0, 5)) assert.equal(await one.get(id, { caller: 'billing' }), 0);
  one.close();
  await says(at.page, /^Serving\. (Started \d+ s ago\. )?\d+ of 100 requests left; nobody waits\.$/);
  await at.page.locator('#callers tbody tr', { hasText: 'billing' }).waitFor();
  await check(at, 'idle');

  const stop = load(server, ids, callers, { fresh: true });
  t.after(stop);
  await says(at.page, /^Serving(, but|\.).* left; /);
  await new Promise((done) => setTimeout(done, 1000 * Number(process.env.WARM ?? 0)));
  await changes(at.page, '#requests');
  await until('the quota to be used', async () => /^left\d{1,2} of 100/.test(await at.page.locator('#quota').textContent()));
  await changes(at.page, '#lookups tbody');
  await until('plots', async () => await at.page.locator('#quota-plot path.held').count() > 0);
  const first = () => at.page.locator('#callers tbody th').first().textContent();
  await at.page.getByRole('button', { name: 'Caller' }).click();
  assert.equal(await first(), 'audit');
  await at.page.keyboard.press('Enter'); // the keyboard sorts, too
  assert.equal(await first(), 'support-tool');
  assert.equal(await at.page.locator('th[data-sort=name]').getAttribute('aria-sort'), 'descending');
  await at.page.getByRole('button', { name: 'Share' }).click();
  await at.page.getByText('The plot as a table').click();
  await at.page.locator('#minutes tbody tr').first().waitFor();
  await at.page.getByText('The plot as a table').click();
  // Its axis spans at least ten seconds.
  await until('the plot of a young server to be filled', () => at.page.locator('#quota-plot').evaluate((svg) => svg.querySelector('.limit').getBBox().x < svg.viewBox.baseVal.width / 10));
  await check(at, 'load', { docs: true });

  for (const [name, options] of [['narrow', { width: 320, height: 700 }], ['dark', { dark: true }], ['narrow-dark', { width: 390, height: 844, dark: true }]]) {
    const other = await look(server.page, options);
    await changes(other.page, '#requests');
    const wide = await other.page.locator('#queue').evaluate((t) => {
      t.rows[1].cells[3].textContent = '1,234,567'; // until the next second
      return t.scrollWidth - t.closest('.scroll').clientWidth;
    });
    assert.ok(wide <= 0, `${name}: ${wide} px of the table of waits need scrolling`);
    await check(other, name, { docs: name === 'narrow-dark' });
    await other.close();
  }

  // A tab that nobody sees lets go of the server, and shows no old state.
  const show = (hidden) => at.page.evaluate((h) => {
    Object.defineProperty(document, 'hidden', { value: h, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  }, hidden);
  assert.match(await at.page.title(), /^[✓!] clerkgate$/);
  await show(true);
  assert.equal(await at.page.title(), 'clerkgate');
  const frozen = await at.page.locator('#clock').textContent();
  await new Promise((done) => setTimeout(done, 2500));
  assert.equal(await at.page.locator('#clock').textContent(), frozen, 'a hidden page is kept up to date');
  await show(false);
  await until('the title of a page that is seen again', async () => /^[✓!] clerkgate$/.test(await at.page.title()));

  await fault(server.sim, { kind: 'status', status: 429, retry_after: '15' });
  await says(at.page, /^Clerk answered 429 at [\d:]+ UTC: nothing is sent to Clerk until [\d:]+ UTC, [\d.]+ s from now\./);
  await at.page.locator('#conditions', { hasText: 'Find out who else uses this key' }).waitFor();
  await changes(at.page, '#headline');
  await check(at, 'paused', { docs: true });
  await fault(server.sim, null);
  await says(at.page, /^Serving again\. Clerk answered 429 at /, 40_000);
  await at.page.locator('#quota-note', { hasText: /of 100 may be used: the 429 at .* all is back by / }).waitFor();

  await fault(server.sim, { kind: 'status', status: 503 });
  await says(at.page, /^Clerk has answered 5xx since [\d:]+ UTC \(\d+ times\): only users in the cache are served\. \d+ calls were refused\.$/);
  await at.page.locator('#conditions', { hasText: 'The network is not at fault' }).waitFor();
  await at.page.locator('#queue-text', { hasText: 'would be refused at once' }).waitFor();
  await at.page.locator('#clerk', { hasText: 'opened once' }).waitFor();
  assert.equal(await at.page.locator('#conditions li').first().locator('strong').count(), 0, 'the headline is repeated');
  assert.match(await at.page.locator('#conditions li.over').textContent(), /^Clerk answered 429 at [\d:]+ UTC\. The pause is over\./);
  await at.page.locator('#events', { hasText: 'the breaker opened' }).waitFor();
  await changes(at.page, '#failures tbody');
  await check(at, 'outage', { docs: true });
  await fault(server.sim, null);
  await at.page.locator('#events', { hasText: 'Clerk answered again' }).waitFor();
  await stop();

  assert.deepEqual(at.faults, []);
  const same = ['--grpc-listen', server.grpc, '--http-listen', server.http];
  at.away = true;
  await server.stop('SIGKILL');
  await says(at.page, /^The server can't be reached\. It last answered at [\d:]+ UTC; the figures below are from then\.$/);
  await at.page.locator('#link', { hasText: /^not connected, last heard \d+ s ago$/ }).waitFor();
  await changes(at.page, '#link');
  assert.equal(await at.page.locator('#quota-plot text', { hasText: 'now' }).count(), 0, 'the plot still ends now');
  await check(at, 'away');
  server = await serve(['--sim', '--quota', '100/10s', ...same]);
  await says(at.page, /^Serving\. Started \d+ s ago\. 100 of 100 requests left; nobody waits\. No call has come yet\.$/);
  at.away = false;
  await changes(at.page, '#clock');
  await check(at, 'restarted');
});

test('the key is refused, and accepted again', async (t) => {
  const sim = await simulator('sk_test_good');
  t.after(() => sim.stop());
  const file = path.join(temp, 'secret-key');
  await fs.writeFile(file, 'sk_test_bad');
  const server = await serve(['--clerk-api-url', sim.url, '--clerk-secret-key-file', file]);
  t.after(() => server.stop());
  const at = await look(server.page);
  t.after(() => at.close());
  const line = await says(at.page, /^Clerk refuses the secret key: put a valid one into .*\. Calls fail until then\.$/);
  assert.ok(line.includes(file));
  assert.ok(!(await at.page.content()).includes('sk_test_'));
  await check(at, 'key-refused');
  await fs.writeFile(`${file}.new`, 'sk_test_good');
  await fs.rename(`${file}.new`, file);
  await says(at.page, /^Serving\. /);
  await at.page.locator('#events', { hasText: 'Clerk accepted the secret key.' }).waitFor();
  await check(at, 'key-accepted');
});

test('Redis goes away, and comes back', async (t) => {
  let store = await redis();
  t.after(() => store.stop());
  const args = ['--sim', '--redis-url', store.url];
  const servers = [await serve(args), await serve(args)];
  t.after(() => Promise.all(servers.map((s) => s.stop())));
  const at = await look(servers[0].page);
  t.after(() => at.close());
  await until('two replicas', async () => /replicas2/.test(await at.page.locator('#replicas').textContent()));
  await check(at, 'replicas');
  await store.stop();
  await says(at.page, /^Redis has not answered since [\d:]+ UTC(: this replica serves within its share of the quota, \d+ of 100 requests per 10 s)?\. Nobody waits\.$/);
  await check(at, 'redis-gone');
  store = await redis(store.port);
  await says(at.page, /^Serving\. .* This replica may use \d+ of 100 requests per 10 s until about [\d:]+ UTC, while Redis learns what all replicas have sent\.$/);
  await at.page.locator('#quota-note', { hasText: 'of 100 may be used: the share of this replica, until Redis knows' }).waitFor();
  assert.equal(await at.page.locator('#replicas .bad').count(), 0, 'a figure is red while the headline is green');
  await at.page.locator('#events', { hasText: 'Redis is back after' }).waitFor();
  await until('two replicas', async () => /replicas2/.test(await at.page.locator('#replicas').textContent()));
  await check(at, 'redis-back');
  assert.match(await store.command('CONFIG SET maxmemory 1'), /OK/);
  await says(at.page, /^Redis has answered OOM since [\d:]+ UTC/);
  await at.page.locator('#conditions', { hasText: 'Raise maxmemory.' }).waitFor();
  await at.page.locator('#replicas .bad', { hasText: 'answers OOM' }).waitFor();
  await check(at, 'redis-full');
});

test('500 callers with long names', async (t) => {
  const server = await serve(['--sim', '--quota', '1000/10s']);
  t.after(() => server.stop());
  const ids = await userIDs(server, 500);
  const c = client(server);
  await Promise.all(ids.map((id, i) => c.get(id, { caller: `team-${i}/a-service-with-a-very-long-name-${'x'.repeat(64)}`.slice(0, 64) })));
  c.close();
  const at = await look(server.page);
  t.after(() => at.close());
  await at.page.locator('#callers tbody tr').nth(100).waitFor();
  assert.match(await at.page.locator('#callers tbody tr').last().textContent(), /all others/);
  await at.page.getByRole('button', { name: 'Caller' }).click();
  const names = (await at.page.locator('#callers tbody th').allTextContents()).map((n) => Number(/^team-(\d+)\//.exec(n)?.[1])).filter((n) => !Number.isNaN(n));
  assert.deepEqual(names, names.toSorted((a, b) => a - b), 'numbers in names are sorted as text');
  await check(at, 'callers');
  const narrow = await look(server.page, { width: 320, height: 700 });
  await narrow.page.locator('#callers tbody tr').nth(100).waitFor();
  await check(narrow, 'callers-narrow');
  const tall = await narrow.page.evaluate(() => [document.documentElement.scrollHeight, document.querySelector('main').getBoundingClientRect().bottom + scrollY]);
  assert.ok(tall[0] < tall[1] + 100, `the page is ${tall[0]} px high, its content ${tall[1]}`);
  assert.match(await narrow.page.locator('#callers tbody th', { hasText: 'team-1/' }).getAttribute('title'), /^team-1\/a-service-with-a-very-long-name-x+$/);
  for (const column of ['share', 'waiting', 'refused', 'lookups']) { // conditions ask to look at these
    const cut = await narrow.page.locator(`#callers th[data-sort=${column}]`).evaluate((th) => th.getBoundingClientRect().right - th.closest('.scroll').getBoundingClientRect().right);
    assert.ok(cut <= 0, `${cut} px of ${column} need scrolling`);
  }
  await narrow.close();
});

test('webhooks come, and forged ones', async (t) => {
  const port = await freePort();
  const server = await serve(['--sim', '--sim-webhook-forge', '0.5', '--webhook-listen', `127.0.0.1:${port}`]);
  t.after(() => server.stop());
  const ids = await userIDs(server, 20);
  for (const id of ids) await fetch(`${server.sim}/sim/users/${id}`, { method: 'PATCH', body: JSON.stringify({ first_name: 'Ada' }) });
  const at = await look(server.page);
  t.after(() => at.close());
  await says(at.page, /\d+ of \d+ webhooks in ten minutes were forged, so old copies of users who have changed may be served\.$/);
  await at.page.locator('#conditions', { hasText: 'somebody else posts to the endpoint' }).waitFor();
  await at.page.locator('#webhooks-note', { hasText: /The last bad one .* came at / }).waitFor();
  await at.page.locator('#webhooks', { hasText: 'the signature is wrong' }).waitFor();
  await check(at, 'webhooks');
});

test('a token as the password, and what a caller may not see', async (t) => {
  const made = async () => JSON.parse((await run(clerkgate, ['token', 'new', '-o', 'json'])).stdout);
  const [all, some] = [await made(), await made()];
  const file = path.join(temp, 'callers.yaml');
  await fs.writeFile(file, `callers:
  - name: operator
    identity: {tokens: [{sha256: ${all.sha256}}]}
    allow: {methods: [GetUser, GetQuota, GetUsage, CountUsers], guaranteed: 20%, max_lookups: 1000/10s, max_requests: 2/24h}
  - name: looker
    identity: {tokens: [{sha256: ${some.sha256}}]}
    allow: {methods: [GetQuota, CountUsers]}
`);
  const server = await serve(['--sim', '--callers-file', file]);
  t.after(() => server.stop());
  assert.equal((await fetch(server.page)).status, 401);
  assert.equal((await fetch(`${server.page}page/events`)).status, 401);
  const count = ({ token }) => run(clerkgate, ['count', '--address', server.grpc], { env: { CLERKGATE_TOKEN: token } });
  await count(all);
  await count(all);
  await count(some);
  await assert.rejects(count(all), /CALLER_OVER_QUOTA/);
  for (const [name, size] of Object.entries({ limits: {}, 'limits-narrow': { width: 390, height: 844 } })) {
    const operator = await look(server.page, { token: all.token, ...size });
    await operator.page.locator('#callers-note', { hasText: '2 in all.' }).waitFor();
    const rows = await operator.page.locator('#callers tbody tr').evaluateAll((all) => all.map((r) => [...r.cells].map((c) => c.textContent)));
    assert.deepEqual(rows, [
      ['operator', '66.7 %', '0', '0', '0', '20 %', '1', '1000 lookups per 10 s, 2 requests per day'], ['looker', '33.3 %', '0', '0', '0', '', '', ''],
    ]);
    assert.ok(!(await operator.page.content()).includes('cgt_'));
    await check(operator, name);
    await operator.close();
  }
  const looker = await look(server.page, { token: some.token });
  await looker.page.locator('#callers-note', { hasText: 'You may not see who calls.' }).waitFor();
  await check(looker, 'hidden');
  await looker.close();
});
