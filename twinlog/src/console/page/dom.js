// Building the page, and changing it in place: what has the focus, is open or is typed in stays so while numbers change.
// Text only ever enters as text nodes, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An element: `h('p.note', { onclick }, 'text', child, [more])`. Nothing (null, false) is left out. */
export const h = (name, attributes, ...children) => make(document.createElement.bind(document), name, attributes, children);

/** The same in SVG. */
export const s = (name, attributes, ...children) => make((tag) => document.createElementNS(SVG, tag), name, attributes, children);

function make(create, name, attributes, children) {
  const [tag, ...classes] = name.split('.');
  const node = create(tag || 'div');
  if (classes.length) node.setAttribute('class', classes.join(' '));
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) node[key] = value;
    else if (key === 'class') node.setAttribute('class', [...classes, value].join(' ').trim());
    else if (key === 'value' || key === 'checked') node[key] = value;
    else node.setAttribute(key, value === true ? '' : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === '') continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

const HANDLERS = ['onclick', 'onchange', 'oninput', 'onsubmit', 'onkeydown', 'ontoggle', 'onpointermove', 'onpointerleave'];

/** What people change by hand and a new picture must not change back. */
const THEIRS = { DETAILS: ['open'], INPUT: ['value', 'checked'], SELECT: ['value'], TEXTAREA: ['value'] };

/** Makes the children of `place` what they are in `wanted`, keeping the nodes that fit. */
export function show(place, ...wanted) {
  const fresh = document.createElement('div');
  for (const child of wanted.flat(Infinity)) if (child) fresh.append(child);
  const had = place.contains(document.activeElement) ? document.activeElement : null;
  morphChildren(place, fresh);
  if (had && document.activeElement !== had) again(place, had)?.focus({ preventScroll: true });
}

/** What had the focus, or what has come in its place: a node that is moved or made anew loses it. */
function again(place, had) {
  if (place.contains(had)) return had;
  const says = (node) => ['href', 'name', 'data-action', 'aria-label'].map((a) => node.getAttribute(a)).join() + node.textContent;
  return [...place.querySelectorAll(had.nodeName)].find((node) => says(node) === says(had)) ?? place;
}

function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children ?? []) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const want of [...fresh.childNodes]) {
    const key = want.dataset?.key;
    let have = key ? keyed.get(key) : at && !at.dataset?.key ? at : null;
    if (have && !fits(have, want)) have = null;
    if (!have) {
      old.insertBefore(want, at);
      continue;
    }
    if (have === at) at = at.nextSibling;
    else old.insertBefore(have, at);
    morph(have, want);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const fits = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.dataset?.key === b.dataset?.key;

function morph(old, want) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== want.data) old.data = want.data;
    return;
  }
  const theirs = THEIRS[old.nodeName] ?? [];
  for (const { name } of [...old.attributes]) if (!want.hasAttribute(name) && !theirs.includes(name)) old.removeAttribute(name);
  for (const { name, value } of want.attributes) {
    if (!theirs.includes(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const handler of HANDLERS) if (old[handler] !== want[handler]) old[handler] = want[handler];
  morphChildren(old, want);
}
