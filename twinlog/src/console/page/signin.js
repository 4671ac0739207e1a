// The token, asked once: the console's process then knows this browser for a working day.

import { post } from './actions.js';
import { h } from './dom.js';

let fault = null;
let busy = false;

/** The page that asks for it. `done` is called when it was the right one. */
export function signInPage(redraw, done) {
  const send = async (event) => {
    event.preventDefault();
    const field = event.target.elements.token;
    busy = true;
    redraw();
    fault = await post('api/v1/login', { token: field.value }).then(() => null, (error) => error);
    busy = false;
    if (!fault) field.value = '';
    if (fault) redraw();
    else done();
  };
  return [
    h('div.verdict', null, h('h1', { id: 'verdict' }, 'Sign in'), h('p', null, 'This console is reached from other hosts: who looks shows its token.')),
    h('form.panel.signin', { onsubmit: send, 'aria-label': 'Sign in' },
      h('label.field', null, h('span', null, 'Token'), h('input', { type: 'password', name: 'token', autocomplete: 'current-password', required: true }), h('small', null, 'It stands in the file that console.token_file of the configuration names.')),
      fault ? h('p.fault', { role: 'alert' }, `${fault.message.charAt(0).toUpperCase()}${fault.message.slice(1)}.`) : null,
      h('div.buttons', null, h('button.main', { type: 'submit', disabled: busy }, busy ? 'Asking…' : 'Sign in'))),
  ];
}
