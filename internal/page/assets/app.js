// Keeps the page up to date by server-sent events: hello once, tick every second, and
// state whenever it has changed.

import * as plot from './plot.js';
import { bytes, clock, element, figures, fill, number, percent, seconds, shorten, sortable, utc } from './table.js';

const SILENCE = 10_000; // ms without a message, after which the connection counts as lost
const $ = (id) => document.getElementById(id);

let hello = null, tick = null, state = null, samples = [];
const narrow = matchMedia('(max-width: 30rem)'); // as in app.css
const natural = new Intl.Collator('en', { numeric: true }).compare; // team-2 comes before team-10
let order = { key: 'share', direction: -1 };

// --- the connection

// lastMessage is when the connection last showed life, heard when the server did.
let source = null, lastMessage = 0, heard = Date.now(), lost = false, tries = 0, retry = 0;

function connect() {
  clearTimeout(retry);
  retry = 0;
  source?.close();
  lastMessage = Date.now();
  source = new EventSource('page/events');
  const on = (name, take) => source.addEventListener(name, (e) => {
    lastMessage = heard = Date.now();
    take(JSON.parse(e.data));
  });
  on('hello', greet);
  on('state', (s) => { state = s; showState(); });
  on('tick', (t) => { tick = t; found(); take(t.sample); showTick(); });
  source.onerror = () => lose();
}

// lose shows that the connection is lost, and tries again: soon, and then less often.
function lose() {
  source?.close();
  showLost('');
  if (retry) return;
  const wait = Math.min(10_000, 500 * 2 ** Math.min(tries++, 5)) * (0.75 + Math.random() / 2);
  retry = setTimeout(async () => {
    retry = 0;
    try { // an EventSource does not show why it was refused
      const answer = await fetch('page/state', { cache: 'no-store' });
      if (answer.ok) return connect();
      showLost(answer.status === 401 || answer.status === 403
        ? 'The server does not let this browser in any more: reload the page to sign in.'
        : `It answers ${answer.status}.`);
    } catch { /* it is still away */ }
    lose();
  }, wait);
}

function found() {
  tries = 0;
  if (!lost) return;
  lost = false;
  $('conditions').dataset.shown = '';
  document.body.classList.remove('lost');
  $('now').classList.remove('lost');
}

function showLost(why) {
  const first = !lost;
  lost = true;
  document.body.classList.add('lost');
  $('now').classList.add('lost');
  const at = utc(tick?.now ?? heard, Date.now());
  $('headline').textContent = `The server can't be reached. It last answered at ${at}; the figures below are from then. ${why}`.trim();
  $('conditions').replaceChildren(element('li', 'level-critical',
    'Check whether clerkgate runs, and check the network to it. The page continues by itself once the server answers.'));
  document.title = '✕ clerkgate';
  showSilence();
  if (first && tick) drawPlots();
  speak('lost', "The server can't be reached.");
}

// showSilence counts the seconds since the server was last heard.
function showSilence() {
  $('link').textContent = `not connected, last heard ${seconds(Math.round((Date.now() - heard) / 1000))} ago`;
}
setInterval(() => { if (lost) showSilence(); }, 1000);

setInterval(() => {
  if (!document.hidden && !retry && Date.now() - lastMessage > SILENCE) lose();
}, 1000);

// A hidden page lets its connection go: a browser has few of them for each server. Its tab then
// shows no state, since that would be an old one.
document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    source?.close();
    clearTimeout(retry);
    retry = 0;
    document.title = 'clerkgate';
  } else connect();
});

// --- what comes

function greet(h) {
  if (h.build !== document.documentElement.dataset.build) { location.reload(); return; }
  hello = h;
  samples = h.history;
  $('version').textContent = h.version;
  fill('settings', (h.settings ?? []).map((s) => [s.name, s.value || '–', s.from]), 'Not shown to you.');
}

function take(sample) {
  if (samples.length && samples[samples.length - 1][0] >= sample[0]) return;
  samples.push(sample);
  while (samples.length && samples[0][0] < sample[0] - 600_000) samples.shift();
}

// speak has screen readers read a change of the state, not every number.
let spoken = '';
function speak(kind, text) {
  if (kind === spoken) return;
  spoken = kind;
  $('spoken').textContent = text;
}

// --- what is shown every second

function showTick() {
  const { headline, quota } = tick;
  $('now').className = `level-${headline.level}`;
  if ($('headline').textContent !== headline.text) $('headline').textContent = headline.text;
  document.title = `${{ ok: '✓', warning: '!', critical: '✕' }[headline.level]} clerkgate`;
  speak(headline.kind, headline.text);
  const shown = JSON.stringify(tick.conditions);
  if ($('conditions').dataset.shown !== shown) {
    $('conditions').dataset.shown = shown;
    $('conditions').replaceChildren(...tick.conditions.map((c) => {
      const item = element('li', `level-${c.severity}${c.over ? ' over' : ''}`);
      const what = element('p', '', `${c.do} `);
      what.append(element('span', 'name', c.name));
      if (c.summary) item.append(element('strong', '', c.summary));
      item.append(element('p', '', c.look), what);
      return item;
    }));
  }
  $('clock').textContent = utc(tick.now, tick.now);
  $('uptime').textContent = `up ${seconds(Math.max(0, Math.round((tick.now - hello.started) / 1000)))}`;
  $('link').textContent = 'live';

  const bucket = quota.burst > 0;
  $('held-key').textContent = bucket ? 'taken from the bucket' : 'held: under way, answered less than a window ago, or kept back';
  $('used-key').textContent = `requests in the last ${seconds(quota.window)}`;
  figures('quota', [
    ['left', number(quota.available), `of ${number(quota.capacity)}`, quota.available * 10 < quota.capacity],
    ...(bucket ? [['refill', number(quota.limit), `per ${seconds(quota.window)}`]] : [['held', number(quota.held)]]),
    ['quota', number(quota.limit), `per ${seconds(quota.window)}`],
    ...(quota.capacity < quota.limit ? [['usable now', number(quota.capacity)]] : []),
    ['on lease', number(quota.leased)],
    ['paused', quota.paused_until ? `until ${utc(quota.paused_until, tick.now)}` : 'no', '', !!quota.paused_until],
  ]);
  set('quota-note', tick.quota_note);
  drawPlots();
  fill('queue', tick.queue.map((q) => [
    q.priority, q.depth, { text: q.depth ? seconds(q.oldest) : '–', numeric: true }, q.served,
    { text: within(q, q.half), numeric: true }, { text: within(q, q.most), numeric: true },
  ]));
  if (state) showRequests();
}

function within(queue, bound) {
  if (!queue.served) return '–';
  return bound < 0 ? 'over 60 s' : seconds(bound);
}

function drawPlots() {
  const now = { at: tick.now, text: lost ? clock(tick.now, Date.now()) : 'now' }, { quota } = tick;
  const whole = plot.span(samples, tick.now) === plot.SPAN;
  set('quota-title', whole ? 'Quota, the last ten minutes' : 'Quota since the start');
  plot.draw($('quota-plot'), samples, now, { area: plot.HELD, line: plot.USED, limit: plot.LIMIT, marks: true });
  plot.draw($('queue-plot'), samples, now, { area: plot.WAITING });
  plot.draw($('flight-plot'), samples, now, { area: plot.FLIGHT, limit: plot.FLIGHT_LIMIT, near: true });
  const most = (key) => samples.reduce((m, s) => Math.max(m, s[key]), 0);
  const paused = plot.spans(samples, plot.PAUSED), outage = plot.spans(samples, plot.OUTAGE);
  const length = (all) => seconds(all.reduce((sum, [from, to]) => sum + (to - from) / 1000, 0));
  set('quota-text', `At most ${number(most(plot.HELD))} held at once, and ${number(most(plot.USED))} sent in any ${seconds(quota.window)}. `
    + (paused.length ? `Paused by a 429 ${times(paused.length)}, for ${length(paused)} in all. ` : 'Never paused. ')
    + (outage.length ? `Clerk failed ${times(outage.length)}, for ${length(outage)} in all.` : ''));
  const waiting = tick.queue.reduce((n, q) => n + q.depth, 0);
  set('queue-text', `${{ 0: 'Nobody waits', 1: '1 waits' }[waiting] ?? `${number(waiting)} wait`} now, ${number(most(plot.WAITING))} at most in the last ten minutes. A list that came now would ${listWould(tick.estimated_wait)}.`);
  set('flight-text', `${number(quota.in_flight)} under way now, ${number(most(plot.FLIGHT))} at most in the last ten minutes. Up to ${number(quota.in_flight_limit)} may be at once`
    + (quota.in_flight_limit < quota.max_in_flight ? `, fewer than the ${number(quota.max_in_flight)} of the settings, since Clerk accepts no more.` : '.'));
  showMinutes();
}

function listWould(wait) {
  if (wait < 0) return 'be refused at once';
  return wait < 0.01 ? 'not wait' : `wait for about ${seconds(wait)}`;
}

function times(n) { return n === 1 ? 'once' : n === 2 ? 'twice' : `${n} times`; }

// set changes a text only if it is another, so that a selection stays.
function set(id, text) { if ($(id).textContent !== text) $(id).textContent = text; }

function showMinutes() {
  if (!$('minutes').closest('details').open) return;
  const minutes = new Map();
  for (const s of samples) {
    const start = s[0] - s[0] % 60_000;
    const m = minutes.get(start) ?? { held: 0, used: 0, limit: 0, waiting: 0, paused: 0 };
    minutes.set(start, {
      held: Math.max(m.held, s[plot.HELD]), used: Math.max(m.used, s[plot.USED]), limit: s[plot.LIMIT],
      waiting: Math.max(m.waiting, s[plot.WAITING]), paused: m.paused + (s[plot.MARKS] & plot.PAUSED ? 1 : 0),
    });
  }
  fill('minutes', [...minutes].reverse().map(([start, m]) => [clock(start, tick.now).slice(-8, -3), m.held, m.used, m.limit, m.waiting, m.paused]));
}

// --- what is shown when it has changed

const both = (what, c) => [what, number(c.recent), `${number(c.total)} since the start`];

function showRequests() {
  const { requests } = state, { quota } = tick;
  figures('requests', [
    ['in flight', number(quota.in_flight), `of ${number(quota.in_flight_limit)}`],
    both('requests in ten minutes', requests.count),
    ['users per request', requests.users_per_request ? number(requests.users_per_request) : '–', requests.users_per_request_total ? `${number(requests.users_per_request_total)} since the start` : ''],
    both('429s', requests.rate_limited),
    both('tried again', requests.retries),
  ]);
}

function showState() {
  const now = tick?.now ?? Date.now();
  const { breaker, key } = state;
  figures('clerk', [
    ['breaker', breaker.state, breaker.outages ? `opened ${times(breaker.outages)}` : 'never opened', breaker.state !== 'closed'],
    ['key', key.state, `since ${utc(key.since, now)}`, key.state === 'refused'],
    ...(key.file_fails ? [["key's file", "can't be used", '', true]] : []),
    ...(state.upstream.limit ? [["Clerk's own count", `${number(state.upstream.remaining)} left`, `of ${number(state.upstream.limit)}, at ${utc(state.upstream.observed, now)}`]] : []),
  ]);
  fill('events', (state.events ?? []).map((e) => [clock(e.at, now), e.text]));

  const sum = (key_) => state.lookups.reduce((n, l) => n + l[key_], 0);
  const hits = (key_) => (sum(key_) ? percent(1 - state.lookups.find((l) => l.name === 'Clerk')[key_] / sum(key_)) : '–');
  const { cache, redis, shared, webhooks } = state;
  figures('hits', [
    ['ids in ten minutes', number(sum('recent')), `${number(sum('total'))} since the start`],
    ['hit rate', hits('recent'), sum('total') ? `${hits('total')} since the start` : ''],
    ['entries', number(cache.entries)],
    ['memory', bytes(cache.bytes), `of ${bytes(cache.max_bytes)}`, cache.bytes > 0.95 * cache.max_bytes],
    both('dropped', cache.evicted),
  ]);
  fill('lookups', [
    ...state.lookups.map((l) => [l.name, l.recent, l.total]),
    ...(state.stale.total ? [[`of these ${state.stale.text}`, state.stale.recent, state.stale.total]] : []),
  ]);

  const some = (prefix, list) => list.filter((f) => f.total).map((f) => [`${prefix} ${f.text}`, f.recent, f.total]);
  fill('failures', [...some('Request to Clerk:', state.failures), ...some('Refused:', state.refusals)], 'None since the start.');

  figures('replicas', [
    ...(redis ? [
      ['Redis', redis.connected && !redis.away_since ? 'connected' : redis.answers ? `answers ${redis.answers}` : 'does not answer', redis.away_since ? `since ${utc(redis.away_since, now)}` : '', !redis.connected || !!redis.away_since],
      both("Redis's errors", redis.errors)] : [['Redis', 'none']]),
    ...(shared ? [
      ['replicas', number(shared.replicas), shared.most > shared.replicas ? `${number(shared.most)} lately` : '', shared.most > shared.replicas],
      ['decides about the quota', shared.decider, shared.allowance ? `up to ${number(shared.allowance)}` : '', !redis?.connected && shared.allowance > 0]] : [['replicas', 'this one alone']]),
  ]);

  $('webhooks-note').textContent = !webhooks ? 'No webhooks are taken: --webhook-listen is not set.'
    : !webhooks.last && !webhooks.last_bad ? 'None has come since the start.'
      : (webhooks.last ? `The last good one came at ${utc(webhooks.last, now)}.` : 'No good one has come since the start.')
        + (webhooks.last_bad ? ` The last bad one (failed, forged, stale or misdirected) came at ${utc(webhooks.last_bad, now)}.` : '');
  $('webhooks').closest('.scroll').hidden = !webhooks;
  if (webhooks) fill('webhooks', webhooks.outcomes.filter((o) => o.total).map((o) => [`${o.name}: ${o.text}`, o.recent, o.total]), 'None.');
  showCallers();
  if (tick) showRequests();
}

function showCallers() {
  const { callers, others } = state;
  set('settings-note', hello.settings ? '' : callers ? 'This server lets everybody on the network see the page, so it shows no settings.'
    : 'You may not see the settings; sign in as for the callers.');
  $('callers').closest('.scroll').hidden = !callers;
  if (!callers) {
    set('callers-note', 'You may not see who calls. Open the page in a new private window, and sign in with the token of a caller '
      + 'that may call GetUsage: any user name, and the token as the password.');
    return;
  }
  const named = (c) => (c.name === 'clerkgate/refresh' ? 'clerkgate/refresh (the cache reads again)' : c.name || '(no name)');
  const value = (c) => (order.key === 'name' ? named(c) : c[order.key]);
  const sorted = callers.toSorted((a, b) => {
    const [x, y] = [value(a), value(b)];
    return order.direction * (typeof x === 'string' ? natural(x, y) : x - y) || natural(a.name, b.name);
  });
  const row = (name, c) => [
    { text: name, short: narrow.matches ? shorten(name, 13) : name }, { text: percent(c.share), numeric: true }, c.waiting, c.refused, c.lookups,
    { text: c.guaranteed ? percent(c.guaranteed / 100) : '', numeric: true }, c.cap || c.over_limit ? c.over_limit : { text: '', numeric: true }, c.cap,
  ];
  set('callers-note', others ? `The ${callers.length} that used most; all others are the last row.` : `${callers.length} in all.`);
  fill('callers', [...sorted.map((c) => row(named(c), c)), ...(others ? [row('(all others)', others)] : [])], 'Nobody has called yet.');
}

narrow.addEventListener('change', () => { if (state) showCallers(); });
sortable('callers', (key, direction) => { order = { key, direction }; if (state) showCallers(); });
$('minutes').closest('details').addEventListener('toggle', () => { if (tick) showMinutes(); });
new ResizeObserver(() => { if (tick) drawPlots(); }).observe(document.body);
connect();
