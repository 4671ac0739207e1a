// The picture of regions and links: two face each other, more stand in a circle. Drawn in real pixels, so that text stays
// readable on a phone, where two regions stand one above the other.

import { s } from './dom.js';
import { bytes, short, span } from './format.js';
import { tone } from './words.js';

const REGION = { width: 220, height: 92 };
/** How far a link bends from the straight line where there are more than two regions. */
const BOW = 62;

/** The picture, so many pixels wide. */
export function picture(state, width) {
  const regions = state.regions.map((r) => r.name);
  const narrow = width < 620;
  const { places, height } = regions.length === 2 ? facing(regions, width, narrow) : circle(regions, width);
  const links = state.links.map((link) => drawnLink(link, state, places, narrow, regions.length > 2));
  const boxes = state.regions.map((region) => drawnRegion(region, places.get(region.name)));
  const about = `${regions.length} regions and ${state.links.length} links`;
  return s('svg', { viewBox: `0 0 ${width} ${height}`, height, role: 'group', 'aria-label': about }, links, boxes);
}

function facing([left, right], width, narrow) {
  const { height } = REGION;
  if (narrow) {
    const middle = width / 2;
    return { places: new Map([[left, { x: middle, y: 54, w: REGION.width }], [right, { x: middle, y: 308, w: REGION.width }]]), height: 362 };
  }
  const y = height / 2 + 16;
  const inset = REGION.width / 2 + 6;
  return { places: new Map([[left, { x: inset, y, w: REGION.width }], [right, { x: width - inset, y, w: REGION.width }]]), height: height + 32 };
}

function circle(regions, width) {
  const narrow = width < 620;
  const w = narrow ? 128 : 200;
  const radius = { x: Math.min(360, width / 2 - w / 2 - 8), y: narrow ? 190 : 185 };
  const all = regions.map((name, i) => {
    const angle = -Math.PI / 2 + (2 * Math.PI * i) / regions.length;
    return [name, { x: width / 2 + radius.x * Math.cos(angle), y: radius.y * Math.sin(angle), w }];
  });
  // What the circle leaves free above and below is not drawn.
  const top = Math.min(...all.map(([, p]) => p.y)) - REGION.height / 2 - 10;
  for (const [, place] of all) place.y -= top;
  const low = Math.max(...all.map(([, p]) => p.y)) + REGION.height / 2;
  return { places: new Map(all), height: low + (regions.length > 2 ? 44 : 12) };
}

function drawnRegion(region, { x, y, w }) {
  const { height } = REGION;
  const left = x - w / 2 + 16;
  const top = y - height / 2;
  const relay = region.relay;
  const how = relay ? tone(relay.state) : '';
  const log = relay && relay.state !== 'unreachable' ? `, log ${bytes(relay.log_bytes)}` : '';
  const said = relay ? `relay ${relay.state}${log}` : 'no relay: read directly';
  const fits = Math.floor((w - 44) / 6.2);
  const cut = (text) => (text.length > fits ? `${text.slice(0, fits - 1)}…` : text);
  return s('g.region', { class: how === 'bad' ? 'bad' : '', role: 'img', 'aria-label': `Region ${region.name}, MySQL at ${region.mysql.join(', ')}, ${said}` },
    s('rect', { x: x - w / 2, y: top, width: w, height, rx: 12 }),
    s('text.name', { x: left, y: top + 31 }, region.name),
    s('text.line', { x: left, y: top + 52 }, cut(`MySQL ${region.mysql[0]}`)),
    s('circle', { class: how, cx: left + 4, cy: top + 69, r: 4 }),
    s('text.line', { x: left + 14, y: top + 73 }, cut(said)));
}

function drawnLink(link, state, places, narrow, curved) {
  const from = places.get(link.from);
  const to = places.get(link.to);
  const way = curved ? bend(from, to) : narrow ? down(from, to) : across(from, to);
  const how = tone(link.state);
  const moving = (link.rows_per_second ?? 0) > 0.05 && ['ok', 'warn'].includes(how);
  const lag = link.lag_seconds === null ? '' : `${span(link.lag_seconds)} behind`;
  const speed = link.rows_per_second === null ? '' : `${short(link.rows_per_second)} rows/s`;
  const soft = how === 'ok' || link.state === 'catching-up' || link.state === 'copying' ? [lag, speed] : [lag];
  const all = [link.state, ...soft].filter(Boolean).join(', ');
  const open = () => { location.hash = `#/link/${encodeURIComponent(link.name)}`; };
  const key = (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); open(); } };
  const below = curved && narrow ? [] : narrow ? soft.filter(Boolean) : [soft.filter(Boolean).join(' · ')];
  const lines = narrow || curved
    ? [s('tspan', { x: way.x, dy: 0 }, link.name, curved && narrow ? null : [' ', s('tspan.word', null, link.state)]), below.map((text) => s('tspan.soft', { x: way.x, dy: 17 }, text))]
    : [`${link.name}  `, s('tspan.word', null, link.state), s('tspan.soft', null, soft.filter(Boolean).map((t) => `  ·  ${t}`).join(''))];
  const wide = narrow ? 7 * link.name.length + 10 : 6.6 * Math.max(below[0]?.length ?? 0, link.name.length + link.state.length + 1) + 14;
  const plate = curved ? s('rect.plate', { x: way.x - wide / 2, y: way.y - 15, width: wide, height: narrow ? 21 : 38, rx: 8 }) : null;
  return s('g.link', { class: `${how} ${how ? '' : 'rests'}`, tabindex: 0, role: 'link', 'aria-label': `Link ${link.name}, from ${link.from} to ${link.to}: ${all}`, onclick: open, onkeydown: key },
    s('path.hit', { d: way.d }), s('path.wire', { d: way.d }),
    moving ? s('path.flow', { d: way.d }) : null,
    s('path.head', { d: 'M0 0 L-9 -4.5 L-9 4.5 Z', transform: `translate(${way.end.x} ${way.end.y}) rotate(${way.turn})` }),
    plate, s('text.label', { x: way.x, y: way.y, 'text-anchor': way.anchor ?? 'middle' }, lines));
}

/** Above from left to right, below back. */
function across(from, to) {
  const side = Math.sign(to.x - from.x);
  const y = from.y - side * 17;
  const start = from.x + side * (from.w / 2 + 10);
  const end = { x: to.x - side * (to.w / 2 + 8), y };
  return { d: `M${start} ${y} H${end.x - side * 7}`, end, turn: side > 0 ? 0 : 180, x: (start + end.x) / 2, y: side > 0 ? y - 11 : y + 22 };
}

/** On the left downwards, on the right upwards. */
function down(from, to) {
  const side = Math.sign(to.y - from.y);
  const x = from.x - side * 22;
  const start = from.y + side * (REGION.height / 2 + 8);
  const end = { x, y: to.y - side * (REGION.height / 2 + 8) };
  return { d: `M${x} ${start} V${end.y - side * 7}`, end, turn: side * 90, x: x - side * 14, y: (start + end.y) / 2 - 12, anchor: side > 0 ? 'end' : 'start' };
}

/** A bow to the right of the way one goes, so that both directions have their own; it begins and ends at the boxes. */
function bend(from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy);
  const middle = { x: (from.x + to.x) / 2 - (dy / length) * BOW, y: (from.y + to.y) / 2 + (dx / length) * BOW };
  const start = edge(from, middle);
  const end = edge(to, middle);
  const turn = (Math.atan2(end.y - middle.y, end.x - middle.x) * 180) / Math.PI;
  return { d: `M${start.x} ${start.y} Q${middle.x} ${middle.y} ${end.x} ${end.y}`, end, turn, ...on(start, middle, end, 0.62) };
}

/** A point of the bow. */
const on = (a, b, c, t) => ({ x: (1 - t) ** 2 * a.x + 2 * t * (1 - t) * b.x + t * t * c.x, y: (1 - t) ** 2 * a.y + 2 * t * (1 - t) * b.y + t * t * c.y });

/** Where the line from a box's middle to a point leaves the box. */
function edge(box, point) {
  const [dx, dy] = [point.x - box.x, point.y - box.y];
  const share = Math.min((box.w / 2 + 8) / Math.abs(dx || 1e-6), (REGION.height / 2 + 8) / Math.abs(dy || 1e-6));
  return { x: box.x + dx * share, y: box.y + dy * share };
}
