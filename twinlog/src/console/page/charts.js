// Small charts of the last hour, one line a link: drawn in SVG, a point each few seconds, a gap where nobody answered.

import { h, s } from './dom.js';
import { bytes, clock, short, span } from './format.js';

const HOUR = 3600;
const HEIGHT = 92;
const FOOT = 14;

/** What is drawn, in this order. */
export const CHARTS = [
  { key: 'lag', title: 'Lag', unit: (v) => span(v), least: 1 },
  { key: 'transactions', title: 'Transactions a second', unit: (v) => short(v), least: 1 },
  { key: 'rows', title: 'Rows a second', unit: (v) => short(v), least: 1 },
  { key: 'bytes', title: 'Bytes a second', unit: (v) => `${bytes(v)}/s`, least: 1024, binary: true },
  { key: 'echo', title: 'Echo dropped a second', unit: (v) => short(v), least: 1 },
  { key: 'conflicts', title: 'Conflicts a minute', unit: (v) => short(v), least: 4 },
];

/** Where the pointer is, as a time; shared by all charts. */
let at = null;

/** All charts, of these links. `history` is name -> points `{ at, lag, … }`, oldest first. */
export function charts(history, links, width, redraw) {
  return h('div.charts', null, CHARTS.map((chart) => one(chart, history, links, width, redraw)));
}

/** The colours of the links. */
export const legend = (links) => h('div.legend', null, links.map((l, i) => h('span', null, h('i.key', { class: `c${i % 6}` }), l)));

function one(chart, history, links, width, redraw) {
  const newest = Math.max(0, ...links.map((l) => history.get(l)?.at(-1)?.at ?? 0));
  const from = newest - HOUR;
  const lines = links.map((l) => (history.get(l) ?? []).filter((p) => p.at >= from));
  const most = Math.max(chart.least, ...lines.flat().map((p) => p[chart.key] ?? 0));
  const top = chart.binary ? 2 ** Math.ceil(Math.log2(most)) : round(most);
  const x = (t) => ((t - from) / HOUR) * width;
  const y = (v) => 6 + (HEIGHT - FOOT - 6) * (1 - v / top);
  const shown = at !== null && at >= from ? at : newest;
  const values = lines.map((points) => near(points, shown)?.[chart.key] ?? null);
  const caption = h('figcaption', null, h('b', null, chart.title),
    h('span.now', { 'aria-live': 'off' }, values.map((v, i) => h('span.ink', { class: `c${i % 6}` }, v === null ? '–' : chart.unit(v)))));
  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    at = from + ((event.clientX - box.left) / box.width) * HOUR;
    redraw();
  };
  const leave = () => { at = null; redraw(); };
  const said = links.map((l, i) => `${l} ${values[i] === null ? 'unknown' : chart.unit(values[i])}`).join(', ');
  const peaks = links.map((l, i) => `${l} ${chart.unit(Math.max(0, ...lines[i].map((p) => p[chart.key] ?? 0)))}`).join(', ');
  const svg = s('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${chart.title} in the last hour. Now: ${said}. Highest: ${peaks}.`, onpointermove: move, onpointerleave: leave },
    s('line.grid', { x1: 0, x2: width, y1: y(0), y2: y(0) }), s('line.grid', { x1: 0, x2: width, y1: y(top), y2: y(top) }),
    lines.map((points, i) => drawn(points, chart.key, x, y, i)),
    at !== null && at >= from ? [s('line.cross', { x1: x(at), x2: x(at), y1: 2, y2: HEIGHT - FOOT }), values.map((v, i) => (v === null ? null : s('circle', { class: `c${i % 6}`, cx: x(shown), cy: y(v), r: 3.5 })))] : null,
    s('text.tick', { x: 0, y: HEIGHT - 2 }, at !== null && at >= from ? clock(at) : 'an hour ago'),
    s('text.tick', { x: width, y: HEIGHT - 2, 'text-anchor': 'end' }, 'now'),
    s('text.tick', { x: width, y: y(top) - 3, 'text-anchor': 'end' }, chart.unit(top)));
  return h('figure.chart', null, caption, svg);
}

function drawn(points, key, x, y, i) {
  const runs = [];
  let last = null;
  for (const point of points) {
    const value = point[key];
    // A gap where nobody answered, or where the console itself was not there.
    if (value === null || value === undefined) { last = null; continue; }
    if (last === null || point.at - last > 30) runs.push([]);
    runs.at(-1).push([x(point.at), y(value)]);
    last = point.at;
  }
  return runs.map((run) => {
    const line = run.map(([a, b], n) => `${n ? 'L' : 'M'}${a.toFixed(1)} ${b.toFixed(1)}`).join('');
    const under = `${line}L${run.at(-1)[0].toFixed(1)} ${y(0)}L${run[0][0].toFixed(1)} ${y(0)}Z`;
    return [s('path.under', { class: `c${i % 6}`, d: under }), s('path.series', { class: `c${i % 6}`, d: line })];
  });
}

/** The next of 1, 2, 5 and their tens. */
function round(value) {
  const size = 10 ** Math.floor(Math.log10(value));
  return size * ([1, 2, 5, 10].find((step) => step * size >= value) ?? 10);
}

/** The point at that time, within a few seconds of it. */
function near(points, time) {
  let best = null;
  for (const point of points) if (best === null || Math.abs(point.at - time) < Math.abs(best.at - time)) best = point;
  return best && Math.abs(best.at - time) <= 30 ? best : null;
}
