"""Prints the row changes that a server's binary log holds, a line each, with the place behind each.

follow.py PORT USER PASSWORD position FILE POSITION
follow.py PORT USER PASSWORD gtid SET

Reads to the end of the log.
"""

import sys

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent


def main():
    port, user, password, mode = int(sys.argv[1]), *sys.argv[2:5]
    begin = {
        "position": lambda: {"log_file": sys.argv[5], "log_pos": int(sys.argv[6]), "resume_stream": True},
        "gtid": lambda: {"auto_position": sys.argv[5]},
    }[mode]()
    stream = BinLogStreamReader(
        connection_settings={"host": "127.0.0.1", "port": port, "user": user, "password": password},
        server_id=901,
        slave_heartbeat=1,
        only_events=[DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent],
        verify_checksum=True,
        enable_logging=False,
        **begin,
    )
    for event in stream:
        # Rows, not transactions, are where this client can go on only between statements: the place is for people.
        place = f"{stream.log_file}:{stream.log_pos}"
        print(type(event).__name__, f"{event.schema}.{event.table}", place, event.rows)
    stream.close()


main()
