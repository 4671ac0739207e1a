// The first look: are the regions in step, how far behind is each link, what stopped and what to do.

import { linkButtons } from './actions.js';
import { charts, legend } from './charts.js';
import { h } from './dom.js';
import { ago, bytes, clock, count, many, percent, short, span } from './format.js';
import { picture } from './picture.js';
import { tone } from './words.js';

/** All that needs a person: links and relays with an error, conflicts that wait. */
export function troubles(state) {
  const links = state.links.filter((l) => l.last_error || tone(l.state) === 'bad').map((l) => ({
    kind: 'link', name: l.name, state: l.state, since: l.error?.since ?? l.since, message: l.error?.message ?? l.last_error ?? 'no reason is told', remedy: l.error?.remedy ?? lost(l.state, `applier -c ${state.file} --link ${l.name}`), again: l.error?.next_try_at, passes: l.error?.transient, link: l,
  }));
  const relays = state.regions.filter((r) => r.relay && (r.relay.last_error || tone(r.relay.state) === 'bad')).map(({ name, relay }) => {
    const [message, remedy] = halves(relay.last_error ?? 'no reason is told');
    return { kind: 'relay', name, state: relay.state, since: relay.since, message, remedy: remedy ?? lost(relay.state, `relay -c ${state.file} --region ${name}`) };
  });
  return [...links, ...relays];
}

/** What to do about a process that does not answer. */
const lost = (state, command) => (state === 'unreachable' ? `start it, twinlog ${command}, or open the way to its admin address` : null);

/** A line that ends in `(remedy: …)` in its two parts. */
function halves(text) {
  const found = /^(.*?) \(remedy: (.*)\)$/s.exec(text);
  return found ? [found[1], found[2]] : [text, null];
}

/** The sentence at the top, and its colour. */
export function verdict(state) {
  const stopped = state.links.filter((l) => tone(l.state) === 'bad');
  const relays = state.regions.filter((r) => r.relay && tone(r.relay.state) === 'bad');
  const held = state.links.filter((l) => ['paused', 'stopped', 'scheduled'].includes(l.state));
  const rest = state.links.filter((l) => tone(l.state) === 'warn');
  if (stopped.length) return ['bad', stopped.length === 1 ? `${stopped[0].name} is ${word(stopped[0].state)}` : `${many(stopped.length, 'link')} of ${state.links.length} do not flow`];
  if (relays.length) return ['bad', `relay ${relays[0].name} is ${word(relays[0].relay.state)}`];
  if (held.length) return ['warn', held.length === 1 ? `${held[0].name} is ${held[0].state}` : `${many(held.length, 'link')} are held`];
  if (rest.length) return ['warn', rest.length === 1 ? `${rest[0].name} is ${rest[0].state.replace('-', ' ')}` : `${many(rest.length, 'link')} are on their way`];
  if (!state.links.length) return ['', 'No links yet'];
  const lag = Math.max(...state.links.map((l) => l.lag_seconds ?? 0));
  return ['ok', lag < 5 ? 'All regions are in step' : `All links run, the slowest ${span(lag)} behind`];
}

const word = (state) => ({ failed: 'stopped by an error', unreachable: 'not reachable' })[state] ?? state;

/** The overview. */
export function overview(state, history, width, redraw) {
  const [how, text] = verdict(state);
  const rows = state.links.reduce((sum, l) => sum + (l.rows_per_second ?? 0), 0);
  const names = state.links.map((l) => l.name);
  const wide = width - (width < 720 ? 28 : 38);
  const columns = Math.max(1, Math.floor((wide + 38) / 330));
  return [
    h('div.verdict', null, h('h1', { id: 'verdict' }, h('span.dot', { class: how }), text),
      h('p', null, `${many(state.regions.length, 'region')}, ${many(state.links.length, 'link')}, ${short(rows)} rows a second`)),
    troubled(state),
    h('section.panel.picture', { 'aria-label': 'Regions and links' }, picture(state, wide)),
    links(state),
    h('section.panel.hour', { 'aria-labelledby': 'hour' }, h('header', null, h('h2', { id: 'hour' }, 'The last hour'), legend(names)),
      charts(history, names, (wide + 38) / columns - 38, redraw)),
    relays(state),
  ];
}

/** What stopped, and what to do. */
export function troubled(state, only = null) {
  const all = troubles(state).filter((t) => !only || (t.kind === 'link' ? t.name === only.name : t.name === only.from));
  if (!all.length) return null;
  const passing = all.every((t) => t.passes);
  return h('section.panel.trouble', { class: passing ? 'warn' : '', 'aria-label': 'What needs attention', 'data-key': 'trouble' }, h('ul', null, all.map((t) => h('li', { 'data-key': `${t.kind} ${t.name}` },
    h('div', null, h('b', null, `${t.kind} ${t.name} `), stateOf(t.state), h('span.muted.small', null, t.since ? `  since ${clock(t.since)}` : '')),
    h('p.message', null, t.message),
    t.remedy ? h('p.remedy', null, h('b', null, 'What to do'), h('span', null, t.remedy)) : null,
    t.again ? h('p.muted.small', null, `It tries again ${t.again > state.at ? `in ${span(t.again - state.at)}` : 'now'}.`) : null,
    t.link && !only && t.state === 'failed' ? linkButtons(t.link) : null))));
}

/** A state as a coloured word. */
export const stateOf = (state) => h('span.state', { class: tone(state) }, h('span.dot'), state.replace('-', ' '));

const cell = (label, content, kind = '') => h('td', { 'data-label': label, class: kind }, h('span', null, content));

function links(state) {
  const row = (l) => {
    const open = () => { location.hash = `#/link/${encodeURIComponent(l.name)}`; };
    return h('tr.go', { onclick: open, 'data-key': l.name },
      h('td.whole', null, h('div', null, h('a', { href: `#/link/${encodeURIComponent(l.name)}` }, h('b', null, l.name)), h('span.muted', null, `  ${l.from} → ${l.to}`))),
      h('td.whole', null, h('div', null, stateOf(l.state), l.load ? h('span.muted.small', null, `  ${percent(l.load.rows_done, l.load.rows_estimated).toFixed(0)}%`) : null), l.reason ? h('div.muted.small', null, l.reason) : null),
      cell('Behind', span(l.lag_seconds), 'num'), cell('Transactions behind', count(l.lag_transactions), 'num'),
      cell('Rows/s', short(l.rows_per_second), 'num'), cell('Applied', count(l.transactions_applied), 'num'),
      cell('Echo dropped', count(l.echo_dropped), 'num'), cell('Conflicts', count(l.conflicts), 'num'));
  };
  const head = ['Link', 'State', 'Behind', 'Transactions', 'Rows/s', 'Applied', 'Echo dropped', 'Conflicts'];
  return h('section.panel.flush', { 'aria-labelledby': 'links' }, h('header', null, h('h2', { id: 'links' }, 'Links')),
    h('div.scroll', null, h('table.cards', null, h('thead', null, h('tr', null, head.map((t, i) => h('th', { scope: 'col', class: i > 1 ? 'num' : '' }, t)))), h('tbody', null, state.links.map(row)))));
}

function relays(state) {
  const row = ({ name, relay }) => h('tr', { 'data-key': name },
    h('td.whole', null, h('b', null, name)), h('td.whole', null, h('div', null, stateOf(relay.state))),
    cell('Received/s', relay.state === 'unreachable' ? '–' : `${bytes(relay.bytes_per_second)}/s`, 'num'),
    h('td.wide', { 'data-label': 'Log' }, logSize(relay)), cell('Segments', count(relay.segments), 'num'),
    cell('Oldest', relay.oldest_segment_at ? ago(relay.oldest_segment_at, state.at) : '–', 'num'), cell('Kept at least', relay.retain_seconds ? span(relay.retain_seconds) : '–', 'num'),
    cell('Downstreams', count(relay.downstreams?.length), 'num'));
  const head = ['Relay', 'State', 'Received', 'Log', 'Segments', 'Oldest', 'Kept at least', 'Downstreams'];
  const all = state.regions.filter((r) => r.relay);
  if (!all.length) return null;
  return h('section.panel.flush', { 'aria-labelledby': 'relays' }, h('header', null, h('h2', { id: 'relays' }, 'Relays')),
    h('div.scroll', null, h('table.cards', null, h('thead', null, h('tr', null, head.map((t, i) => h('th', { scope: 'col', class: i > 1 && i !== 3 ? 'num' : '' }, t)))), h('tbody', null, all.map(row)))));
}

/** The log's size against its limit. */
export function logSize(relay) {
  if (relay.state === 'unreachable') return h('span', null, '–');
  const share = percent(relay.log_bytes, relay.log_max_bytes);
  const how = share > 90 ? 'bad' : share > 70 ? 'warn' : '';
  return h('div', null, h('span', null, bytes(relay.log_bytes), h('span.muted', null, relay.log_max_bytes ? ` of ${bytes(relay.log_max_bytes)}` : '')),
    relay.log_max_bytes ? h('span.meter', { class: how, role: 'meter', 'aria-label': 'share of the limit', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(share) }, bar(share)) : null);
}

/** The filled part of a meter: a width is a style, and styles go through the object model, as the page's policy asks. */
export function bar(share) {
  const part = h('i');
  part.style.width = `${share.toFixed(1)}%`;
  return part;
}
