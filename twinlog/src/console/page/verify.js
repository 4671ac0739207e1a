// Comparing the regions, and the prechecks.

import { attempt, confirm, copyable, post, waiting } from './actions.js';
import { h } from './dom.js';
import { count, many, percent, span } from './format.js';
import { bar } from './overview.js';

/** The page of the comparison. */
export function verifyPage(state) {
  const { running, last, failed } = state.verify;
  const start = async () => {
    const asked = { title: 'Compare the regions?', does: 'Every row in step is read in every region, gently: it steps back under load. Links go on meanwhile.', loses: ['Nothing is changed. Reading takes time and buffer pool.'], label: 'Compare' };
    if (await confirm(asked)) attempt('The comparison has begun', () => post('api/v1/verify'));
  };
  const stop = () => attempt('The comparison is told to stop', () => post('api/v1/verify/cancel'));
  return [
    h('div.verdict', null, h('h1', { id: 'verdict' }, 'Verify'), h('p', null, 'Are the regions equal, row by row?'),
      h('div.live', null, running ? h('button', { type: 'button', onclick: stop }, 'Stop') : h('button.main', { type: 'button', onclick: start, 'data-action': 'verify' }, 'Compare now'))),
    running ? progress(running, state.at) : null,
    failed ? h('section.panel.trouble', null, h('p', null, failed)) : null,
    last ? outcome(last) : running ? null : h('p.panel.empty', null, 'The regions have not been compared yet.'),
  ];
}

function progress(running, now) {
  const share = percent(running.rows, running.expected);
  const left = share > 2 && running.table_since ? (now - running.table_since) * (100 / share - 1) : null;
  return h('section.panel', { 'aria-label': 'The comparison under way' },
    h('header', null, h('h2', null, running.table || 'Beginning'), h('span.muted', null, running.regions.join(' and ')), h('b.end', null, left === null ? '' : `about ${span(left)} left for this table`)),
    h('span.meter', { role: 'progressbar', 'aria-label': 'This table', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(share) }, bar(share)),
    h('p.muted.small', null, `${count(running.rows)} of about ${count(running.expected)} rows; ${many(running.tables_done, 'table')} done, ${many(running.differences, 'row')} named as different${running.doing ? `; ${running.doing}` : ''}`));
}

function outcome(last) {
  const how = last.result === 'equal' ? 'ok' : last.result === 'different' ? 'bad' : 'warn';
  const row = (t) => h('tr', null, h('td.mono', { 'data-label': 'Table' }, h('span', null, t.table)), h('td', { 'data-label': 'Between' }, h('span', null, t.regions.join(' and '))),
    h('td', { 'data-label': 'Result' }, h('span.state', { class: t.result === 'equal' ? 'ok' : t.result === 'different' ? 'bad' : 'warn' }, h('span.dot'), t.result)), h('td.num', { 'data-label': 'Rows that differ' }, h('span', null, count(t.differences))));
  return h('section.panel.flush', { 'aria-label': 'The last comparison', id: 'verified' },
    h('header', null, h('h2', null, 'The last comparison'), h('span.state', { class: how }, h('span.dot'), last.result), h('span.muted.end', null, `${last.at}, ${count(last.rows)} rows in ${span(last.seconds)}`)),
    last.tables.length ? h('div.scroll', null, h('table.cards', null, h('thead', null, h('tr', null, ['Table', 'Between', 'Result', 'Rows that differ'].map((t, i) => h('th', { scope: 'col', class: i === 3 ? 'num' : '' }, t)))), h('tbody', null, last.tables.map(row)))) : null,
    how === 'bad' ? h('div.finding', null, h('p', null, 'Every row with its values, and a repair on request:'), copyable('twinlog verify -c FILE --repair REGION --dry-run', 'command')) : null);
}

/** The page of the prechecks. `report` is null before the first run, `'running'` while it runs. */
export function checkPage(report, run) {
  const counts = report?.counts;
  const shown = report?.items?.filter((f) => f.status !== 'pass') ?? [];
  const passed = report?.items?.filter((f) => f.status === 'pass') ?? [];
  return [
    h('div.verdict', null, h('h1', { id: 'verdict' }, 'Check'), h('p', null, 'Is everything as it must be for this sync to work, and for long? It changes nothing.'),
      h('div.live', null, h('button.main', { type: 'button', onclick: run, disabled: report === 'running', 'data-action': 'check' }, report === 'running' ? 'Checking…' : 'Run the check'))),
    report === 'running' ? h('div.panel', null, waiting('Asking every server and relay…')) : null,
    counts ? h('section.panel', { 'aria-label': 'Result' }, h('dl.facts', null, [['Failed', counts.fail], ['Warnings', counts.warn], ['Skipped', counts.skipped], ['Passed', counts.pass]].map(([t, n]) => h('div', null, h('dt', null, t), h('dd', null, count(n)))))) : null,
    shown.length ? h('section.panel.flush', { 'aria-label': 'Findings' }, shown.map(finding)) : null,
    passed.length ? h('details.panel.flush', null, h('summary.finding', null, `${many(passed.length, 'item')} passed`), passed.map(finding)) : null,
  ];
}

function finding(f) {
  const how = { fail: 'bad', warn: 'warn', pass: 'ok' }[f.status] ?? '';
  const where = [f.region && `region ${f.region}`, f.other_region, f.server].filter(Boolean).join(', ') || 'file';
  return h('article.finding', null,
    h('div.head', null, h('span.state', { class: how }, h('span.dot'), f.status), h('b', null, [f.item, f.subject].filter(Boolean).join(' ')), h('span.muted.small', null, where)),
    h('p', null, f.found, f.wanted && f.status !== 'pass' ? h('span.muted', null, `  (wanted: ${f.wanted})`) : null),
    f.why && f.status !== 'pass' ? h('p.muted.small', null, f.why) : null,
    f.status === 'pass' ? null : (f.fix ?? []).map((fix) => (fix.kind === 'advice' ? h('p.remedy', null, h('b', null, 'What to do'), h('span', null, fix.text)) : [h('p.small.muted', null, FIXES[fix.kind], fix.region ? ` Region ${fix.region}.` : ''), copyable(fix.text)])));
}

const FIXES = { sql: 'Run this statement.', option: 'Under [mysqld], then a restart.', setting: 'In the configuration.', command: 'Run this command.' };
