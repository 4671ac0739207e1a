// A form that makes a new link's configuration, and shows the text to save. The console's own process reads the
// drafted file as it will read the saved one, so what is wrong is said here.

import { attempt, copyable, get, post, waiting } from './actions.js';
import { h } from './dom.js';
import { bytes, short } from './format.js';
import { KINDS, POLICIES } from './words.js';

const draft = { from: '', to: '', name: '', both: true, tables: new Set(), all: true, initial: 'structure+data', existing: 'error', on_conflict: 'report', back_conflict: 'report', detect: '', ddl: false, insert: true, update: true, delete: true, workers: '', start_at: '' };
let known = { region: null, tables: null, fault: null };
let preview = { table: null, create: null, existing: null, fault: null };
let answer = null;
let asked = 0;

const INITIAL = {
  'structure+data': 'what is missing in the target is made, then the rows are copied while changes flow',
  structure: 'what is missing in the target is made; rows only from now on',
  data: 'the tables are there; their rows are copied while changes flow',
  none: 'both regions are equal already; only changes from now on',
};
const EXISTING = { error: 'stop, so that nobody\'s table is written into by mistake', keep: 'use it; rows that are there meet the conflict policy' };
const DETECT = { '': 'row where a way back and a relay at the target exist, else key', row: 'also finds changes the other region had not seen', key: 'only what the target refuses; cheaper' };

/** The page. */
export function formPage(state, redraw) {
  const regions = state.regions.map((r) => r.name);
  if (!draft.from && regions.length) [draft.from, draft.to] = [regions[0], regions[1] ?? ''];
  if (draft.from && known.region !== draft.from) readTables(draft.from, redraw);
  const set = (key) => (event) => {
    draft[key] = event.target.type === 'checkbox' ? event.target.checked : event.target.value;
    check(redraw);
    redraw();
  };
  if (!answer && asked === 0) check(redraw);
  const { field, choices } = parts(set);
  const form = h('form.fields', { onsubmit: (e) => e.preventDefault(), 'aria-label': 'New link' },
    h('fieldset.panel', null, h('legend', null, 'From where to where'), h('div.pairs', null,
      field('Source', 'from', 'The region whose changes are read.', regions), field('Target', 'to', 'The region they are written into.', regions),
      field('Name', 'name', `Left empty: ${draft.from || '…'}-${draft.to || '…'}`)),
      tick('both', 'Both ways', 'A second link carries the changes of the target back.', set)),
    h('fieldset.panel', null, h('legend', null, 'Tables'), tables(set, redraw)),
    preview.table ? h('section.panel', { 'aria-label': 'Structure in the target' }, h('header', null, h('h3', null, 'Structure in the target: ', h('span.mono', null, preview.table))), preview.fault ? h('p.fault', null, preview.fault) : preview.create ? [copyable(preview.create), existing()] : waiting('Reading…')) : null,
    h('fieldset.panel', null, h('legend', null, 'At the start'), choices('initial', INITIAL), draft.initial.startsWith('structure') || draft.initial === 'data' ? choices('existing', EXISTING, 'A table of that name exists in the target') : null,
      field('Not before', 'start_at', 'UTC, for example 2026-12-01T02:00:00Z. Left empty: at once.')),
    h('fieldset.panel', null, h('legend', null, 'Conflicts'), choices('on_conflict', POLICIES, `An incoming change meets a row that changed unseen in ${draft.to || 'the target'}`),
      draft.both ? field('On the way back', 'back_conflict', POLICIES[draft.back_conflict], Object.keys(POLICIES)) : null, choices('detect', DETECT, 'How they are found', { '': 'default' }),
      h('details', null, h('summary.muted.small', null, 'The kinds of conflicts'), h('dl.rows.small', null, Object.entries(KINDS).map(([k, t]) => [h('dt', null, k), h('dd', null, t)])))),
    h('fieldset.panel', null, h('legend', null, 'What crosses'), h('div.pairs', null, ['insert', 'update', 'delete'].map((op) => tick(op, op.toUpperCase(), null, set))),
      tick('ddl', 'DDL', 'ALTER TABLE and the like cross too, under their original GTIDs. On one link of a ring at most.', set), field('Workers', 'workers', 'Groups that are applied side by side. Left empty: the default.')));
  return [
    h('div.verdict', null, h('h1', { id: 'verdict' }, 'New link'), h('p', null, 'Makes the configuration; nothing is started or saved from here.')),
    h('div.form', null, form, h('div.result', null, result(state))),
  ];
}

function parts(set) {
  const field = (label, key, help, all = null) => h('label.field', null, h('span', null, label),
    all ? h('select', { onchange: set(key), name: key }, all.map((v) => h('option', { value: v, selected: draft[key] === v }, v))) : h('input', { type: 'text', oninput: set(key), name: key, value: draft[key], spellcheck: 'false', autocomplete: 'off' }), help ? h('small', null, help) : null);
  const choices = (key, all, title = null, names = {}) => h('div.field', { role: 'radiogroup', 'aria-label': title ?? key }, title ? h('span', null, title) : null, Object.entries(all).map(([value, means]) =>
    h('label.choice', null, h('input', { type: 'radio', name: key, value, checked: draft[key] === value, onchange: set(key) }), h('span', null, names[value] ?? value, h('small', null, means)))));
  return { field, choices };
}

const tick = (key, label, means, set) => h('label.choice', null, h('input', { type: 'checkbox', name: key, checked: draft[key], onchange: set(key) }), h('span', null, label, means ? h('small', null, means) : null));

function tables(set, redraw) {
  const choose = (name) => (event) => {
    if (event.target.checked) draft.tables.add(name);
    else draft.tables.delete(name);
    check(redraw);
    redraw();
  };
  return [
    tick('all', 'What the sync has in step already', 'The tables of [sync]; the same for every link. Take the tick away to add others.', set),
    draft.all ? null : known.fault ? h('p.fault', null, known.fault) : !known.tables ? waiting(`Reading the tables of ${draft.from}…`) : h('div.picker', { role: 'group', 'aria-label': `Tables of ${draft.from}` }, known.tables.map((t) => h('label', null,
      h('input', { type: 'checkbox', onchange: choose(t.table), checked: draft.tables.has(t.table) }), h('span.mono', null, t.table), t.in_step ? h('span.state.ok', null, 'in step') : null, h('span.muted.small.end', null, `${short(t.rows)} rows, ${bytes(t.bytes)}`),
      h('button.plain', { type: 'button', onclick: () => readStructure(t.table, redraw), 'aria-label': `Structure of ${t.table}` }, 'Structure')))),
    draft.all && known.tables?.length ? h('div.buttons', null, known.tables.filter((t) => t.in_step).slice(0, 12).map((t) => h('button.plain', { type: 'button', onclick: () => readStructure(t.table, redraw) }, t.table))) : null,
  ];
}

/** What the target has under that name. */
function existing() {
  if (!preview.existing) return h('p.muted.small', null, `${draft.to || 'The target'} has no table of that name: it is made.`);
  return h('details', null, h('summary.muted.small', null, `${draft.to} has a table of that name already`), copyable(preview.existing));
}

async function readTables(region, redraw) {
  known = { region, tables: null, fault: null };
  const found = await get(`api/v1/tables?region=${encodeURIComponent(region)}`).catch((e) => ({ fault: [e.message, e.remedy].filter(Boolean).join(' — ') }));
  if (known.region === region) known = { region, tables: found.tables ?? null, fault: found.fault ?? null };
  redraw();
}

async function readStructure(table, redraw) {
  preview = { table, create: null, existing: null, fault: null };
  redraw();
  const found = await get(`api/v1/structure?from=${encodeURIComponent(draft.from)}&to=${encodeURIComponent(draft.to)}&table=${encodeURIComponent(table)}`).catch((e) => ({ fault: e.message }));
  preview = { table, create: found.create ?? null, existing: found.existing ?? null, fault: found.fault ?? null };
  redraw();
}

async function check(redraw) {
  const mine = ++asked;
  const body = { ...draft, tables: draft.all ? [] : [...draft.tables], operations: ['insert', 'update', 'delete'].filter((op) => draft[op]) };
  const said = await attempt(null, () => post('api/v1/draft', body));
  if (mine === asked && said) {
    answer = said;
    redraw();
  }
}

function result(state) {
  if (!answer) return h('section.panel', null, waiting('Reading the draft…'));
  return [
    h('section.panel', { 'aria-label': 'The configuration' }, h('header', null, h('h2', null, 'To save'), h('span.state.end', { class: answer.faults.length ? 'bad' : 'ok' }, h('span.dot'), answer.faults.length ? 'not yet right' : 'reads well')),
      h('p.muted.small', null, `Add it to ${state.file}${answer.replaces ? '; the line of [sync] replaces the one that is there' : ''}, then: twinlog check -c ${state.file}`), copyable(answer.toml, 'toml')),
    answer.faults.length ? h('section.panel.trouble', { 'aria-label': 'What is wrong' }, h('ul', null, answer.faults.map((f) => h('li', null, h('p', null, f.key ? h('code', null, f.key) : null, ` ${f.message}`))))) : null,
    answer.warnings.length ? h('section.panel.trouble.warn', { 'aria-label': 'Warnings' }, h('ul', null, answer.warnings.map((f) => h('li', null, h('p', null, f.key ? h('code', null, f.key) : null, ` ${f.message}`))))) : null,
  ];
}
