// The page: what the console's process tells by server-sent events, drawn anew whenever it changes.

import { attempt, get, post } from './actions.js';
import { conflictsPage, openConflicts, openWords, readConflicts } from './conflicts.js';
import { h, show } from './dom.js';
import { count, many } from './format.js';
import { formPage } from './form.js';
import { linkPage } from './link.js';
import { overview, troubles, verdict } from './overview.js';
import { signInPage } from './signin.js';
import { checkPage, verifyPage } from './verify.js';

const KEEP = 3600;
const place = document.getElementById('content');
let state = null;
let history = new Map();
let conflicts = null;
let report = null;
let lost = false;
/** The console's process does not know this browser: the token is asked for. */
let locked = false;
let due = false;
/** The address of what is drawn. */
let drawn = location.hash;

/** Draws once before the next frame, however often it is asked. */
function redraw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; draw(); });
}

function draw() {
  bar();
  if (locked) return show(place, ...signInPage(redraw, signedIn));
  if (!state) return show(place, h('p.empty', { role: 'status' }, lost ? 'The console does not answer. It is tried again.' : 'Asking every process…'));
  const [page, name] = route();
  const width = place.clientWidth - 2 * parseFloat(getComputedStyle(place).paddingLeft);
  place.dataset.page = page;
  show(place, ...[draws[page](name, width)].flat(Infinity));
  foot();
  if (drawn === location.hash) return;
  // Another page, whoever drew it first: one who goes on by keyboard goes on at its begin.
  drawn = location.hash;
  scrollTo(0, 0);
  place.focus({ preventScroll: true });
}

const draws = {
  overview: (_, width) => overview(state, history, width, redraw),
  link: (name, width) => linkPage(name, state, history, width, conflicts, redraw),
  conflicts: () => conflictsPage(state, conflicts, redraw),
  verify: () => verifyPage(state),
  check: () => checkPage(report, runCheck),
  new: () => formPage(state, redraw),
};

function route() {
  const [page, name] = location.hash.replace(/^#\/?/, '').split('/');
  return [draws[page] ? page : 'overview', name ? decodeURIComponent(name) : null];
}

function bar() {
  const [page] = route();
  const [how, text] = state ? verdict(state) : ['', ''];
  const open = openConflicts(conflicts);
  const stopped = state ? troubles(state).filter((t) => !t.passes).length : 0;
  const tab = (name, label, badge = 0, words = '') => h('a', { href: name === 'overview' ? '#/' : `#/${name}`, 'aria-current': page === name || (name === 'overview' && page === 'link') ? 'page' : null },
    label, badge ? h('span.badge', { 'aria-label': words }, count(badge)) : null);
  document.title = state ? `${lost ? '? ' : how === 'bad' ? '● ' : ''}${text} · ${state.sync}` : 'Twinlog';
  show(document.getElementById('bar'),
    h('a.brand', { href: '#/', 'aria-label': `Twinlog, sync ${state?.sync ?? ''}` }, 'Twinlog', h('span', null, state?.sync ?? '')),
    locked ? null : h('nav.tabs', { 'aria-label': 'Pages' }, tab('overview', 'Overview', stopped, `${stopped} need attention`), tab('conflicts', 'Conflicts', open, `${openWords(open)} wait`), tab('verify', 'Verify'), tab('check', 'Check'), tab('new', 'New link')),
    locked ? null : h('span.live', { role: 'status' }, h('span.dot', { class: lost ? 'bad' : state ? 'ok' : '' }), lost ? 'connection lost' : state ? 'live' : 'connecting'));
}

function foot() {
  show(document.getElementById('foot'), h('span', null, `Twinlog ${state.version}`), h('span', null, `in step: ${state.tables.join(', ')}`), h('span', null, state.file.split('/').at(-1)),
    h('span', null, `${many(state.regions.length, 'region')}, ${many(state.links.length, 'link')}`));
}

async function runCheck() {
  report = 'running';
  redraw();
  report = await attempt(null, () => post('api/v1/check'));
  redraw();
}

async function refreshConflicts() {
  const found = await readConflicts().catch((e) => ({ conflicts: conflicts?.conflicts ?? [], faults: [e] }));
  conflicts = found;
  redraw();
}

/** Notes points of the past; each is `{ link, at, lag, … }`. */
function note(points) {
  for (const point of points) {
    const line = history.get(point.link) ?? [];
    line.push(point);
    while (line.length && line[0].at < point.at - KEEP) line.shift();
    history.set(point.link, line);
  }
}

function listen() {
  const events = new EventSource('api/v1/events');
  events.addEventListener('history', (e) => { history = new Map(); note(JSON.parse(e.data)); redraw(); });
  events.addEventListener('points', (e) => { note(JSON.parse(e.data)); redraw(); });
  events.addEventListener('state', (e) => {
    const before = state;
    state = JSON.parse(e.data);
    lost = false;
    const met = (s) => s?.links.map((l) => `${l.conflicts}${l.state}`).join();
    if (met(before) !== met(state)) {
      refreshConflicts();
      // The console's process keeps an answer for a second: what was recorded meanwhile is in the next one.
      setTimeout(refreshConflicts, 1500);
    }
    redraw();
  });
  // It is connected again by the browser; after a refusal it is not, and is begun anew here.
  events.onerror = async () => {
    lost = true;
    redraw();
    if (events.readyState !== EventSource.CLOSED) return;
    locked = await get('api/v1/state').then(() => false, (error) => error.status === 401);
    if (locked) redraw();
    else setTimeout(listen, 2000);
  };
}

function signedIn() {
  [locked, lost] = [false, false];
  listen();
  refreshConflicts();
  redraw();
}

addEventListener('hashchange', () => {
  draw();
  if (['conflicts', 'link'].includes(route()[0])) refreshConflicts();
});
document.addEventListener('conflicts', refreshConflicts);
new ResizeObserver(redraw).observe(document.body);
setInterval(() => {
  const wanted = ['conflicts', 'link'].includes(route()[0]) || state?.links.some((l) => l.state === 'failed');
  if (wanted && !locked && !document.hidden) refreshConflicts();
}, 5000);
listen();
redraw();
