// Asking the console's process, confirming what changes something, and saying how it went.

import { h } from './dom.js';
import { ACTIONS, atStake } from './words.js';

/** GET; throws `{ message, remedy, status }`. */
export const get = (path) => request(path, { headers: { accept: 'application/json' } });

/** POST; throws the same. */
export const post = (path, body = {}) =>
  request(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw { message: 'the console does not answer', remedy: 'start it again: twinlog console -c FILE' };
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw { message: `the console answers ${response.status}`, remedy: null, ...answer.error, status: response.status };
  return answer;
}

/** A word at the foot of the page, for a while. */
export function say(text, bad = false) {
  const toast = h('p.toast', { class: bad ? 'bad' : '' }, text);
  const said = document.getElementById('said');
  said.append(toast);
  // More than two would stand in front of what they are about.
  while (said.children.length > 2) said.firstElementChild.remove();
  setTimeout(() => toast.remove(), bad ? 12_000 : 5_000);
}

/** Does it, and says how it went; the answer, or null. */
export async function attempt(done, what) {
  try {
    const answer = await what();
    if (done) say(done);
    return answer;
  } catch (error) {
    say([error.message ?? String(error), error.remedy].filter(Boolean).join(' — '), true);
    return null;
  }
}

/** Asks before something is changed. `loses` is a list; `danger` needs the name typed. True when confirmed. */
export function confirm({ title, does, loses = [], label, danger = false, name = null, reason = false }) {
  const dialog = document.getElementById('dialog');
  return new Promise((resolve) => {
    const typed = h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', 'aria-label': `Type ${name} to confirm` });
    const why = h('input', { type: 'text', maxlength: 200, placeholder: 'for those who look later', 'aria-label': 'Why' });
    const yes = h('button.main', { type: 'submit', class: danger ? 'danger' : '', disabled: danger && name }, label);
    typed.oninput = () => { yes.disabled = typed.value !== name; };
    const form = h('form', { method: 'dialog' },
      h('h2', { id: 'dialog-title' }, title), h('p', null, does),
      loses.length ? [h('p.muted.small', null, 'What this means:'), h('ul', null, loses.map((l) => h('li', null, l)))] : null,
      danger && name ? h('label.why', null, h('span', null, 'Type ', h('code', null, name), ' to confirm'), typed) : null,
      reason ? h('label.why', null, h('span.muted', null, 'Why (kept with the link)'), why) : null,
      h('div.buttons', null, h('button', { type: 'button', onclick: () => dialog.close('no') }, 'Cancel'), yes));
    form.onsubmit = () => { dialog.returnValue = 'yes'; };
    dialog.replaceChildren(form);
    dialog.returnValue = 'no';
    dialog.onclose = () => {
      dialog.replaceChildren();
      resolve(dialog.returnValue === 'yes' ? { reason: why.value.trim() || null } : null);
    };
    form.addEventListener('submit', (event) => { event.preventDefault(); dialog.close('yes'); });
    dialog.showModal();
    (danger && name ? typed : yes).focus();
  });
}

/** The buttons for what can be done with a link now. */
export function linkButtons(link) {
  return h('div.buttons', { role: 'group', 'aria-label': `What can be done with ${link.name}` }, link.actions.map((action) => {
    const about = ACTIONS[action];
    const act = async () => {
      const loses = about.danger ? [...await stakes(link.name, action), ...about.loses] : about.loses;
      const asked = { title: about.title(link.name), does: about.does, loses, label: about.label, danger: about.danger, name: link.name, reason: true };
      const confirmed = await confirm(asked);
      if (confirmed) await attempt(`${about.label}: ${link.name} is told`, () => post(`api/v1/links/${encodeURIComponent(link.name)}/${action}`, confirmed.reason ? { reason: confirmed.reason } : {}));
    };
    return h('button', { type: 'button', class: about.danger ? 'danger' : '', onclick: act, 'data-action': action }, about.label);
  }));
}

/** What is lost, in words; also when that can't be told. */
const stakes = (link, action) => get(`api/v1/links/${encodeURIComponent(link)}/at-stake`)
  .then((stake) => atStake(action, stake), (error) => [`What it has applied. More can't be told: ${error.message}`]);

/** A text with a button that copies it. */
export function copyable(text, kind = 'sql') {
  const copy = async () => {
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    say(done ? 'Copied' : 'The browser does not let this page copy: select the text');
  };
  return h('div.copy', null, h(`pre.sql`, { class: kind, tabindex: 0 }, text), h('button.plain', { type: 'button', onclick: copy }, 'Copy'));
}

/** Something that is on its way. */
export const waiting = (text) => h('p.empty', { role: 'status' }, text);
