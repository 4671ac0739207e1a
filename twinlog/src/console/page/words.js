// What states and options mean: their colour, and a sentence for people.

import { count, many } from './format.js';

/** The colour of a state: ok, warn, bad, or none for what rests. */
export function tone(state) {
  if (state === 'running') return 'ok';
  if (['failed', 'unreachable', 'diverged', 'full'].includes(state)) return 'bad';
  if (['paused', 'stopped', 'scheduled'].includes(state)) return '';
  return 'warn';
}

/** A sentence about a link's state. */
export const STATES = {
  scheduled: 'waits for the time it was given',
  checking: 'connects, and looks whether everything fits',
  structure: 'makes what is missing in the target',
  copying: 'copies the rows that were there before',
  'catching-up': 'applies what has gathered at the source',
  running: 'applies what the source commits as it comes',
  paused: 'held by a person; it keeps its place',
  stopped: 'stopped by a person; it keeps its place',
  failed: 'stopped by an error that does not pass by itself',
  unreachable: 'its process does not answer',
};

/** What can be done with a link. `loses` is what the confirmation names. */
export const ACTIONS = {
  start: { label: 'Start', title: (l) => `Start ${l}?`, does: 'The link attaches at its checkpoint and goes on from there.', loses: ['Nothing is lost.'] },
  resume: { label: 'Resume', title: (l) => `Resume ${l}?`, does: 'The link goes on exactly where it was paused.', loses: ['Nothing is lost.'] },
  pause: {
    label: 'Pause', title: (l) => `Pause ${l}?`, does: 'The group in hand is committed, then the link holds. It stays attached to its relay.',
    loses: ['Nothing is lost.', 'The target falls behind until you resume.', 'The relay keeps its log for this link meanwhile: it grows.'],
  },
  stop: {
    label: 'Stop', title: (l) => `Stop ${l}?`, does: 'The group in hand is committed, then the link lets go of its relay. It stays stopped over restarts.',
    loses: ['Nothing is lost while the relay has room.', 'The target falls behind until you start it again.', 'The relay keeps its log for this link up to its size limit; at the limit it stops pulling.'],
  },
  reset: {
    label: 'Reset', title: (l) => `Reset ${l}?`, danger: true, does: 'The link forgets its checkpoint and begins anew, from its initial copy or from now. Verify the regions afterwards.',
    loses: ['Progress of an unfinished initial copy.'],
  },
  delete: {
    label: 'Delete', title: (l) => `Delete ${l}?`, danger: true, does: 'The link\'s checkpoint and metadata are removed from the target. Take it out of the file as well.',
    loses: ['All progress: it can\'t be continued, only begun anew.', 'The relay no longer keeps its log for this link.'],
  },
};

/** What a reset or a deletion would lose now, as the link's process tells. */
export function atStake(action, stake) {
  if (!stake.born) return ['Nothing that was applied: the link has not begun.'];
  const open = stake.open_conflicts;
  const waiting = `${many(open, 'conflict')} that ${open === 1 ? 'waits' : 'wait'} for a person`;
  const to_come = stake.transactions_to_come;
  return [
    `What it has applied: ${cut(stake.gtid_applied) || 'nothing'}.`,
    to_come === 0 ? 'Nothing of its source is still to come.'
      : `${to_come === null ? 'Its source does not answer: what is still to come' : `${many(to_come, 'transaction')} of its source still to come`} will never be applied, unless the initial copy brings the rows.`,
    action === 'delete' ? `Its ${many(stake.conflicts, 'recorded conflict')}${open ? `, ${waiting} among them` : ''}.`
      : open ? `${waiting}: closed undecided. All ${count(stake.conflicts)} stay recorded.` : null,
  ].filter(Boolean);
}

const cut = (set) => (set.length > 200 ? `${set.slice(0, 200)}…` : set);

/** The policies a link can have for conflicts. */
export const POLICIES = {
  report: 'the link stops and shows both rows; a person decides',
  ignore: 'the row in the target stays',
  overwrite: 'the incoming row wins',
  newest: 'the later write wins, by hybrid clock; on both links of a pair alike',
};

/** The kinds of conflicts. */
export const KINDS = {
  exists: 'a row with this key is there already', missing: 'the row to change is not there', changed: 'the row was changed here, unseen by the other region',
  unique: 'another row holds a unique key', parent: 'a foreign key refuses it', json: 'a partial JSON update does not fit', other: 'the server refuses it',
};
