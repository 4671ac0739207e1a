// One link: state since when and why, what can be done, how far its copy is, what it has applied, what it met.

import { copyable, linkButtons } from './actions.js';
import { charts, legend } from './charts.js';
import { conflictList } from './conflicts.js';
import { h } from './dom.js';
import { ago, bytes, clock, count, many, percent, short, span } from './format.js';
import { bar, logSize, stateOf, troubled } from './overview.js';
import { POLICIES, STATES } from './words.js';

/** The page of a link. */
export function linkPage(name, state, history, width, conflicts, redraw) {
  const link = state.links.find((l) => l.name === name);
  if (!link) return h('p.panel', null, `There is no link ${name} in this sync. `, h('a', { href: '#/' }, 'To the overview'));
  const region = state.regions.find((r) => r.name === link.from);
  const wide = width - (width < 720 ? 28 : 38);
  const columns = Math.max(1, Math.floor((wide + 38) / 330));
  return [
    h('div.verdict', null, h('h1', { id: 'verdict' }, h('span', null, link.name), stateOf(link.state)),
      h('p', null, `${link.from} → ${link.to}`), h('div.live', null, linkButtons(link))),
    h('p.muted', null, sentence(link, state.at)),
    troubled(state, link),
    h('section.panel', { 'aria-label': 'Numbers' }, h('dl.facts', null, facts(link).map(([term, value, more]) => h('div', null, h('dt', null, term), h('dd', null, value, more ? h('small', null, ` ${more}`) : null))))),
    link.load ? load(link.load) : null,
    h('section.panel.hour', { 'aria-labelledby': 'hour' }, h('header', null, h('h2', { id: 'hour' }, 'The last hour'), legend([name])), charts(history, [name], (wide + 38) / columns - 38, redraw)),
    h('div.columns', null, h('div.stack', null, gtids(link), region?.relay ? relayLog(region, state) : null), options(link)),
    h('section.panel.flush', { 'aria-labelledby': 'conflicts' }, h('header', null, h('h2', { id: 'conflicts' }, 'Conflicts'), h('a.end', { href: '#/conflicts' }, 'All conflicts')),
      conflictList(conflicts, (c) => c.link_name === name, 'No conflict has been recorded on this link.')),
  ];
}

function sentence(link, now) {
  const since = link.since ? ` Since ${clock(link.since)}, ${ago(link.since, now)}.` : '';
  const told = link.reason ? `${link.reason}.` : `It ${STATES[link.state] ?? `is ${link.state}`}.`;
  return told.charAt(0).toUpperCase() + told.slice(1) + since;
}

function facts(link) {
  return [
    ['Behind', span(link.lag_seconds), link.lag_transactions === null ? '' : many(link.lag_transactions, 'transaction')],
    ['Rows a second', short(link.rows_per_second)],
    ['Rows applied', count(link.rows_applied)],
    ['Transactions applied', count(link.transactions_applied), link.groups_committed ? `in ${many(link.groups_committed, 'commit')}` : ''],
    ['DDL statements', count(link.ddl_applied)],
    ['Echo dropped', count(link.echo_dropped)],
    ['Not in step', count(link.filtered)],
    ['Conflicts', count(link.conflicts)],
  ];
}

function load(load) {
  const share = percent(load.rows_done, load.rows_estimated);
  const tables = [...load.tables].sort((a, b) => rank(a) - rank(b));
  return h('section.panel', { 'aria-labelledby': 'load' },
    h('header', null, h('h2', { id: 'load' }, 'Initial copy'), h('span.muted', null, `${count(load.rows_done)} of about ${count(load.rows_estimated)} rows, ${bytes(load.bytes_done)}, ${short(load.rows_per_second)} rows/s`),
      h('b.end', null, load.seconds_left === null || load.seconds_left === undefined ? '' : `${span(load.seconds_left)} left`)),
    h('span.meter', { role: 'progressbar', 'aria-label': 'Initial copy', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(share) }, bar(share)),
    h('p.muted.small', { class: load.in_doubt ? '' : 'hidden' }, load.in_doubt ? `${count(load.in_doubt)} keys are in doubt: both regions wrote them meanwhile. They are settled when the copy is complete.` : ' '),
    h('div.load', null, tables.map((t) => {
      const part = t.state === 'done' ? 100 : percent(t.rows_done, t.rows_estimated);
      const left = t.state === 'done' ? 'done' : t.state === 'waiting' ? 'waiting' : t.seconds_left ? `${span(t.seconds_left)} left` : `${part.toFixed(0)}%`;
      return h('div.one', { 'data-key': t.table }, h('span.mono', null, t.table),
        h('span.meter', { class: t.state === 'done' ? 'ok' : '', role: 'progressbar', 'aria-label': t.table, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(part) }, bar(part)),
        h('span.muted.small', null, `${short(t.rows_done)} of ${short(t.rows_estimated)} rows, ${left}`));
    })));
}

const rank = (table) => ['copying', 'waiting', 'done'].indexOf(table.state);

/** What is durable is applied; the source may have more than the link was sent. */
function missing(link) {
  if (link.gtid_missing !== '') return null;
  return link.lag_transactions > 0 ? `${many(link.lag_transactions, 'transaction')} of the source that did not come yet` : 'nothing';
}

function gtids(link) {
  const rows = [
    ['Received', link.gtid_received], ['Durable', link.gtid_durable], ['Applied', link.gtid_applied],
    ['Missing', link.gtid_missing || missing(link)], ['Last received', link.last_gtid],
  ];
  return h('section.panel', { 'aria-labelledby': 'gtids' }, h('header', null, h('h2', { id: 'gtids' }, 'GTID sets')),
    h('dl.rows', null, rows.map(([term, set]) => [h('dt', null, term), h('dd', null, h('div.gtid', { tabindex: set && set.length > 200 ? 0 : null }, set ?? '–'))])));
}

function options(link) {
  const { policy } = link;
  const rows = [
    ['Reads', link.source || '–'], ['Writes into', link.target || '–'],
    ['On a conflict', h('span', null, h('b', null, policy.on_conflict), h('span.muted', null, `: ${POLICIES[policy.on_conflict]}`))],
    ['Found by', policy.detect === 'row' ? 'row: also changes the other region had not seen' : 'key: only what the target refuses'],
    ['Initial copy', policy.initial], ['Operations', policy.operations.join(', ')], ['DDL', policy.ddl ? 'crosses' : 'does not cross'],
    ['Renames', Object.entries(policy.rename).map(([a, b]) => h('div.mono', null, `${a} → ${b}`))],
    ['Tables that differ', Object.entries(policy.tables).map(([t, p]) => h('div', null, h('span.mono', null, t), ` ${p}`))],
  ].filter(([, value]) => value.length !== 0);
  return h('section.panel', { 'aria-labelledby': 'options' }, h('header', null, h('h2', { id: 'options' }, 'Options')),
    h('dl.rows', null, rows.map(([term, value]) => [h('dt', null, term), h('dd', null, value)])));
}

function relayLog({ name, relay }, state) {
  const rows = [
    ['Relay', h('span', null, `${name} `, stateOf(relay.state))], ['Size', logSize(relay)], ['Segments', count(relay.segments)],
    ['Oldest segment', relay.oldest_segment_at ? `${clock(relay.oldest_segment_at)}, ${ago(relay.oldest_segment_at, state.at)}` : '–'],
    ['Kept at least', relay.retain_seconds ? `${span(relay.retain_seconds)}; longer what a link still needs` : '–'],
    ['Source last heard', relay.last_heard ? ago(relay.last_heard, state.at) : '–'],
    ['Purged', h('div.gtid', null, relay.gtid_purged || 'nothing')],
    ['Downstreams', (relay.downstreams ?? []).map((d) => h('div', { 'data-key': d.uuid + d.address }, h('span.mono', null, d.name), h('span.muted.small', null, ` ${bytes(d.bytes_sent)} sent${d.acknowledged ? `, acknowledged ${d.acknowledged}` : ''}`)))],
  ];
  return h('section.panel', { 'aria-labelledby': 'relaylog' }, h('header', null, h('h2', { id: 'relaylog' }, 'Relay log')),
    h('dl.rows', null, rows.map(([term, value]) => [h('dt', null, term), h('dd', null, value)])), copyable(`twinlog log list -c ${state.file} --region ${name}`, 'command'));
}
