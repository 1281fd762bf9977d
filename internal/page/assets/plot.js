// Draws the last ten minutes as SVG. A sample is [time in ms, used, held, limit, waiting,
// in flight, limit in flight, marks], as report.go makes it.

export const USED = 1, HELD = 2, LIMIT = 3, WAITING = 4, FLIGHT = 5, FLIGHT_LIMIT = 6, MARKS = 7;
export const PAUSED = 1, OUTAGE = 2, KEY = 4, LIMITED = 8;
export const SPAN = 600_000; // ms
const LEAST = 10_000; // ms, however short the time since the start
const GAP = 2_500; // ms without a sample, from which on a line is broken

const NS = 'http://www.w3.org/2000/svg';

function node(name, attributes, text) {
  const n = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) n.setAttribute(key, value);
  if (text !== undefined) n.textContent = text;
  return n;
}

// ceiling returns a round number that is at least n.
function ceiling(n) {
  if (n <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].map((m) => m * power).find((m) => m >= n);
}

// pieces returns runs of samples without a gap.
function pieces(samples) {
  const all = [];
  samples.forEach((s, i) => {
    if (i === 0 || s[0] - samples[i - 1][0] > GAP) all.push([]);
    all[all.length - 1].push(s);
  });
  return all;
}

// spans returns the [from, to] in which a mark is set.
export function spans(samples, mark) {
  const all = [];
  for (const piece of pieces(samples)) {
    let from = null;
    for (const s of piece) {
      if (s[MARKS] & mark) from ??= s[0] - 1000;
      else if (from !== null) { all.push([from, s[0] - 1000]); from = null; }
    }
    if (from !== null) all.push([from, piece[piece.length - 1][0]]);
  }
  return all;
}

// span returns how many ms a plot shows: the time since the first sample, ten minutes at most.
export function span(samples, now) {
  return Math.min(SPAN, Math.max(LEAST, samples.length ? now - samples[0][0] : 0));
}

// marksOf returns the ages in ms that the axis is marked with, the oldest first.
function marksOf(shown, most) {
  const step = [5_000, 15_000, 30_000, 60_000, 120_000, 300_000].find((s) => shown / s <= most);
  return Array.from({ length: Math.floor(shown / step) + 1 }, (_, i) => i * step).reverse();
}

function ago(ms) { return ms % 60_000 ? `${ms / 1000} s ago` : `${ms / 60_000} min ago`; }

// draw replaces what svg shows. now is {at, text}, the newest time and its name. area, line and limit are series; each may be null. With near, a limit
// that is far above the others is off the plot, which would show nothing else.
export function draw(svg, samples, now, { area = null, line = null, limit = null, near = false, marks = false }) {
  const box = svg.getBoundingClientRect();
  const width = Math.max(200, Math.round(box.width)), height = Math.max(60, Math.round(box.height));
  const left = 38, right = 6, top = 8, bottom = 18;
  const shown = span(samples, now.at);
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const values = (k) => (k === null ? [] : samples.map((s) => s[k]));
  const reach = Math.max(...values(area), ...values(line), 1);
  const highest = Math.max(reach, ...values(limit).filter((v) => !near || v <= 4 * reach));
  const most = ceiling(highest * 1.02);
  const x = (t) => left + (width - left - right) * Math.min(1, Math.max(0, 1 - (now.at - t) / shown));
  const y = (v) => top + (height - top - bottom) * (1 - v / most);
  const drawn = [];

  for (const v of [0, most / 2, most]) {
    drawn.push(node('line', { class: 'grid', x1: left, x2: width - right, y1: y(v), y2: y(v) }));
    drawn.push(node('text', { x: left - 6, y: y(v) + 4, 'text-anchor': 'end' }, compact(v)));
  }
  for (const m of marksOf(shown, width < 420 ? 2 : 5)) {
    const at = x(now.at - m), anchor = at < left + 30 ? 'start' : m === 0 ? 'end' : 'middle';
    drawn.push(node('text', { x: at, y: height - 4, 'text-anchor': anchor }, m ? ago(m) : now.text));
  }
  if (marks) {
    for (const [mark, name] of [[PAUSED, 'paused'], [OUTAGE | KEY, 'outage']]) {
      for (const [from, to] of spans(samples, mark)) {
        drawn.push(node('rect', { class: name, x: x(from), width: Math.max(2, x(to) - x(from)), y: top, height: height - top - bottom }));
      }
    }
    for (const s of samples) {
      if (s[MARKS] & LIMITED) drawn.push(node('path', { class: 'tick429', d: `M${(x(s[0]) - 4).toFixed(1)} ${top - 8}h8l-4 8z` }));
    }
  }
  const path = (points) => points.map(([px, py], i) => `${i ? 'L' : 'M'}${px.toFixed(1)} ${py.toFixed(1)}`).join('');
  for (const piece of pieces(samples)) {
    const points = (key) => piece.map((s) => [x(s[0]), y(s[key])]);
    if (area !== null) {
      const p = points(area);
      drawn.push(node('path', { class: 'held', d: path([[p[0][0], y(0)], ...p, [p[p.length - 1][0], y(0)]]) + 'Z' }));
    }
    if (limit !== null) drawn.push(node('path', { class: 'limit', d: path(points(limit)) }));
    if (line !== null) drawn.push(node('path', { class: 'used', d: path(points(line)) }));
  }
  svg.replaceChildren(...drawn);
}

// compact returns a number in few characters.
function compact(n) {
  if (n >= 1e6) return `${+(n / 1e6).toFixed(1)}M`;
  if (n >= 10_000) return `${+(n / 1e3).toFixed(1)}k`;
  return String(+n.toFixed(1));
}
