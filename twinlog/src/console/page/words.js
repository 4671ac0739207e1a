// What states and options mean: their colour, and a sentence for people.

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
    label: 'Reset', title: (l) => `Reset ${l}?`, danger: true, does: 'The link forgets its checkpoint and begins anew, from its initial copy or from now.',
    loses: ['The checkpoint: what is applied is no longer known.', 'With initial = "none": every transaction between the old checkpoint and now is never applied here. Verify the regions afterwards.', 'Progress of an unfinished initial copy.'],
  },
  delete: {
    label: 'Delete', title: (l) => `Delete ${l}?`, danger: true, does: 'The link\'s checkpoint and metadata are removed from the target. Take it out of the file as well.',
    loses: ['The checkpoint and all progress: it can\'t be continued, only begun anew.', 'The relay no longer keeps its log for this link.'],
  },
};

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
