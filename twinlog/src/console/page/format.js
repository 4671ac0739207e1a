// Numbers and times as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const DASH = '–';

/** `1,234,567`; a dash for what nobody could tell. */
export const count = (n) => (n === null || n === undefined ? DASH : whole.format(n));

/** `12.4k` from ten thousand on. */
export function short(n) {
  if (n === null || n === undefined) return DASH;
  if (n === 0) return '0';
  if (n < 10) return n.toFixed(1).replace(/\.0$/, '');
  if (n < 10_000) return whole.format(n);
  for (const [unit, size] of [['G', 1e9], ['M', 1e6], ['k', 1e3]]) if (n >= size) return (n / size).toFixed(n >= size * 100 ? 0 : 1) + unit;
}

/** `1.4 GiB` */
export function bytes(n) {
  if (n === null || n === undefined) return DASH;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (n >= 1024 && unit + 1 < units.length) {
    n /= 1024;
    unit += 1;
  }
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

/** `0.3 s`, `12 s`, `4 min`, `3 h 10 min`, `2 d 4 h` */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds < 0.05) return '0 s';
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** How long ago, in whole seconds. */
export function ago(then, now) {
  if (!then) return DASH;
  const seconds = Math.max(0, Math.round(now - then));
  if (seconds < 5) return 'just now';
  return `${seconds < 120 ? `${seconds} s` : span(seconds)} ago`;
}

/** `14:03:22`, with the day when it is another one. */
export function clock(seconds) {
  if (!seconds) return DASH;
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString('en-GB');
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString('en-GB')} ${time}`;
}

/** A share of something, 0 to 100. */
export const percent = (part, all) => (all > 0 ? Math.max(0, Math.min(100, (100 * part) / all)) : 0);

/** `3 tables` */
export const many = (n, word) => `${count(n)} ${word}${n === 1 ? '' : 's'}`;
