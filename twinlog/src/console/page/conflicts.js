// Conflicts: both rows side by side, who won, and the ways to decide or turn it round.

import { attempt, confirm, get, post, waiting } from './actions.js';
import { h } from './dom.js';
import { many } from './format.js';
import { KINDS } from './words.js';

let filter = { open: false, link: '', table: '' };

/** Reads them; `{ conflicts, faults }`. */
export const readConflicts = () => get('api/v1/conflicts?limit=200');

/** The page of all conflicts. */
export function conflictsPage(state, conflicts, redraw) {
  const links = state.links.map((l) => l.name);
  const tables = [...new Set((conflicts?.conflicts ?? []).map((c) => c.table))].sort();
  const set = (key) => (event) => { filter = { ...filter, [key]: event.target.type === 'checkbox' ? event.target.checked : event.target.value }; redraw(); };
  const pick = (label, key, all) => h('label', null, label, h('select', { onchange: set(key), 'aria-label': label }, h('option', { value: '' }, 'all'), all.map((v) => h('option', { value: v }, v))));
  const fits = (c) => (!filter.open || isOpen(c)) && (!filter.link || c.link_name === filter.link) && (!filter.table || c.table === filter.table);
  return [
    h('div.verdict', null, h('h1', { id: 'verdict' }, 'Conflicts'), h('p', null, 'An incoming change met a row that changed unseen, or not the row it expected.')),
    (conflicts?.faults ?? []).map((f) => h('section.panel.trouble', null, h('p', null, f.message), f.remedy ? h('p.remedy', null, h('b', null, 'What to do'), h('span', null, f.remedy)) : null)),
    h('section.panel.flush', { 'aria-label': 'Recorded conflicts' },
      h('header', null, h('div.filters', null, pick('Link', 'link', links), pick('Table', 'table', tables), h('label', null, h('input', { type: 'checkbox', onchange: set('open') }), 'Only those that wait for a person'))),
      conflictList(conflicts, fits, 'No conflict has been recorded.')),
  ];
}

const isOpen = (c) => c.winner === 'nobody' && !c.resolved_at;

/** The conflicts that fit, newest first. */
export function conflictList(conflicts, fits, none) {
  if (!conflicts) return waiting('Reading the conflict tables…');
  const all = conflicts.conflicts.filter(fits).reverse();
  if (!all.length) return h('p.empty', null, none);
  return h('div', { 'data-key': 'list' }, all.map(one));
}

function one(c) {
  const open = isOpen(c);
  const outcome = open ? (c.resolution ? `answered: ${c.resolution}` : 'waits for you') : c.flipped_at ? `${c.winner} won, flipped` : c.winner === 'nobody' ? `settled: ${c.resolution ?? ''}` : `${c.winner} won`;
  return h('details.conflict', { 'data-key': c.id },
    h('summary', null, h('span.mono', null, c.id), h('span', null, h('b', null, c.kind), h('span.muted', null, ` ${c.operation}`)),
      h('span', null, h('span.mono', null, c.table), h('span.muted.mono', null, ` ${key(c.key)}`)), h('span', null, h('span.state', { class: open ? 'bad' : '' }, h('span.dot'), outcome))),
    h('div.inside', null,
      h('p', null, `${cap(KINDS[c.kind] ?? c.kind)}. `, h('span.muted', null, `Link ${c.link_name}, policy ${c.policy}; committed ${c.committed_at} UTC, met ${c.decided_at} UTC, transaction `), h('span.mono', null, c.gtid)),
      c.detail ? h('p.muted', null, c.detail) : null, sides(c), c.unseen ? h('p.small.muted', null, 'Unseen by the source: ', h('span.mono', null, c.unseen)) : null, buttons(c, open)));
}

/** Before, after and the local row, a line a column; what differs stands out. */
function sides(c) {
  const [before, after, local] = [c.incoming_before, c.incoming_after, c.local_row];
  const columns = [...new Set([before, after, local].flatMap((row) => (row && typeof row === 'object' ? Object.keys(row) : [])))];
  const won = (side) => (c.winner === side ? h('span.won', null, ' won') : '');
  const value = (row, column) => (row === null || row === undefined ? '—' : shown(row[column]));
  return h('div.sides', { role: 'region', 'aria-label': 'Both rows', tabindex: 0 }, h('table', null,
    h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Column'), h('th', { scope: 'col' }, 'Incoming, before'), h('th', { scope: 'col' }, 'Incoming, after', won('source')), h('th', { scope: 'col' }, 'Target\'s row', won('target')))),
    h('tbody', null, columns.length ? columns.map((column) => {
      const differs = value(after, column) !== value(local, column) ? 'differs' : '';
      return h('tr', null, h('td', null, column), h('td', null, value(before, column)), h('td', { class: differs }, value(after, column)), h('td', { class: differs }, value(local, column)));
    }) : h('tr', null, h('td', { colspan: 4 }, 'neither side has a row')))));
}

function buttons(c, open) {
  const act = (what, body, asked, done) => async () => {
    if (await confirm(asked)) if (await attempt(done, () => post(`api/v1/conflicts/${c.id}/${what}`, body))) document.dispatchEvent(new Event('conflicts'));
  };
  const take = (side, label, does, loses) => h('button', { type: 'button', class: side === 'skip' ? 'danger' : '', onclick: act('resolve', { take: side }, { title: `${label}?`, does, loses, label, danger: side === 'skip' }, `${c.id}: answered; the link goes on`) }, label);
  if (open) return h('div.buttons', null,
    take('source', 'Take the incoming row', 'The row here becomes the incoming one, and the link goes on.', ['The row that is in the target now.']),
    take('target', 'Keep the row here', 'The incoming change is passed over for this row, and the link goes on.', ['The incoming change of this row. The regions differ in it unless the way back carries the row here.']),
    take('skip', 'Skip the transaction', 'The whole incoming transaction is passed over.', ['Every row change of this transaction, on this link.']));
  if (['source', 'target'].includes(c.winner) && !c.flipped_at) return h('div.buttons', null, h('button', { type: 'button', 'data-action': 'flip', onclick: act('flip', {}, { title: `Flip ${c.id}?`, does: 'The loser\'s row is written in the winner\'s place as an ordinary change, which the links carry to the other regions.', loses: ['The winner\'s row, and what was written to it since.'], label: 'Flip' }, `${c.id} is flipped`) }, 'Flip: make the loser the winner'));
  return null;
}

const shown = (value) => (value === null ? 'NULL' : value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value));
const key = (value) => (value && typeof value === 'object' ? Object.values(value).map(shown).join(', ') : shown(value));
const cap = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** What the tab tells. */
export const openConflicts = (conflicts) => (conflicts?.conflicts ?? []).filter(isOpen).length;

/** For people who read it aloud. */
export const openWords = (n) => many(n, 'conflict');
