// Fills tables and lists of figures. All text is set as text, never as markup.

export function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// fill replaces the rows of a table. A row is a list of cells; a cell is a text, a number
// (aligned right), or {text, className, numeric, short}. The first cell is the row's heading.
// If there is a short text, it is seen, and text is what screen readers read and a tooltip shows.
export function fill(id, rows, empty) {
  const body = document.querySelector(`#${id} tbody`);
  const columns = document.querySelectorAll(`#${id} thead th`).length;
  const made = rows.map((cells) => {
    const row = element('tr');
    cells.forEach((cell, i) => {
      const plain = typeof cell !== 'object' ? { text: cell } : cell;
      const numeric = typeof plain.text === 'number' || plain.numeric;
      const text = typeof plain.text === 'number' ? number(plain.text) : plain.text;
      const e = element(i === 0 ? 'th' : 'td', [numeric ? 'n' : '', plain.className ?? ''].join(' ').trim(), text);
      if (i === 0) e.scope = 'row';
      if (plain.short !== undefined && plain.short !== text) {
        const seen = element('span', '', plain.short);
        seen.ariaHidden = 'true';
        e.title = text;
        e.replaceChildren(seen, element('span', 'hidden', text));
      }
      row.append(e);
    });
    return row;
  });
  if (!made.length) {
    const row = element('tr'), cell = element('td', 'note', empty ?? 'Nothing.');
    cell.colSpan = columns;
    row.append(cell);
    made.push(row);
  }
  body.replaceChildren(...made);
}

// figures replaces a list of names with their figures: [name, text, more, bad].
export function figures(id, list) {
  document.getElementById(id).replaceChildren(...list.map(([name, text, more, bad]) => {
    const pair = element('div'), value = element('dd', bad ? 'bad' : '', text);
    if (more) value.append(' ', element('small', '', more));
    pair.append(element('dt', '', name), value);
    return pair;
  }));
}

// sortable has the headings of a table sort it, and calls changed with the key and the
// direction.
export function sortable(id, changed) {
  const headings = document.querySelectorAll(`#${id} th[data-sort]`);
  for (const heading of headings) {
    heading.querySelector('button').addEventListener('click', () => {
      const was = heading.getAttribute('aria-sort');
      const first = heading.classList.contains('n') ? 'descending' : 'ascending';
      const other = first === 'ascending' ? 'descending' : 'ascending';
      const now = was === first ? other : first;
      for (const h of headings) h.removeAttribute('aria-sort');
      heading.setAttribute('aria-sort', now);
      changed(heading.dataset.sort, now === 'ascending' ? 1 : -1);
    });
  }
}

// shorten leaves out the middle of a text that is longer than most characters.
export function shorten(text, most) {
  const all = [...text];
  if (all.length <= most) return text;
  const end = Math.floor((most - 1) / 2);
  return `${all.slice(0, most - 1 - end).join('')}…${all.slice(-end).join('')}`;
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export function number(n) { return whole.format(n); }

export function percent(share) {
  const p = 100 * share;
  return p > 0 && p < 0.1 ? '< 0.1 %' : `${whole.format(p)} %`;
}

export function bytes(n) {
  for (const [size, unit] of [[1 << 30, 'GiB'], [1 << 20, 'MiB'], [1 << 10, 'KiB']]) {
    if (n >= size) return `${whole.format(n / size)} ${unit}`;
  }
  return `${n} B`;
}

const parts = (n, unit, sixtieth) => `${Math.floor(n / 60)} ${unit} ${n % 60} ${sixtieth}`;

export function seconds(s) {
  if (s < 1) return `${+s.toFixed(s < 0.1 ? 3 : 2)} s`;
  if (s < 60) return `${whole.format(s)} s`;
  if (s < 3600) return parts(Math.round(s), 'min', 's');
  if (s < 172800) return parts(Math.round(s / 60), 'h', 'min');
  return `${Math.round(s / 86400)} days`;
}

// clock returns a time of day in UTC, with the date if it is not now's.
export function clock(ms, now) {
  const at = new Date(ms).toISOString();
  return at.slice(0, 10) === new Date(now).toISOString().slice(0, 10) ? at.slice(11, 19) : `${at.slice(0, 10)} ${at.slice(11, 19)}`;
}

// utc is clock with the name of the time zone, for where that is not said beside it.
export function utc(ms, now) { return `${clock(ms, now)} UTC`; }
