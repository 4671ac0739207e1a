// Prints the row changes that a server's binary log holds, a JSON line each, with the transaction they are of.
//
// follow.mjs PORT USER PASSWORD position FILE POSITION
// follow.mjs PORT USER PASSWORD gtid SET
// follow.mjs PORT USER PASSWORD end          from the end of the log on; says "ready" before
//
// Ends when a row holds the text "the end".

import ZongJi from '@vlasky/zongji';

const [port, user, password, mode, ...where] = process.argv.slice(2);
const begin = {
  position: () => ({ filename: where[0], position: Number(where[1]) }),
  gtid: () => ({ gtidSet: where[0] }),
  end: () => ({ startAtEnd: true }),
}[mode]();

const zongji = new ZongJi({ host: '127.0.0.1', port: Number(port), user, password });
const fail = (error) => {
  console.error(error);
  process.exit(1);
};
zongji.on('error', fail);
zongji.on('ready', () => mode === 'end' && console.log('ready'));
zongji.on('binlog', (event) => {
  if (!event.rows) return;
  const { parentSchema, tableName } = event.tableMap[event.tableId];
  const text = JSON.stringify({
    what: event.getTypeName(),
    table: `${parentSchema}.${tableName}`,
    gtid: event.gtid,
    place: event.nextPosition,
    rows: event.rows,
  });
  console.log(text);
  if (text.includes('the end')) {
    zongji.stop();
    process.exit(0);
  }
});
zongji.start({ serverId: 902, includeEvents: ['rotate', 'tablemap', 'writerows', 'updaterows', 'deleterows'], ...begin });
