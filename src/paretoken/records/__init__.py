"""The journal of calls and scores, and the ledger and cache that commit with it: one SQLite file by default."""

from paretoken.records.cache import SqlCache
from paretoken.records.database import Database, database_path, project_root
from paretoken.records.journal import SqlJournal
from paretoken.records.ledger import SqlLedger, book_orphans
from paretoken.records.recovery import Recovered, recover
from paretoken.records.runs import RunBook, ids_only
from paretoken.records.table_file import read_table, table_path
from paretoken.records.view import History, build_records, judges_usd, read_records, unanswered

__all__ = [
    "Database",
    "History",
    "Recovered",
    "RunBook",
    "SqlCache",
    "SqlJournal",
    "SqlLedger",
    "book_orphans",
    "build_records",
    "database_path",
    "ids_only",
    "judges_usd",
    "project_root",
    "read_records",
    "read_table",
    "recover",
    "table_path",
    "unanswered",
]
