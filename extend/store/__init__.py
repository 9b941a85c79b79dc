"""The one file layer: everything the toolkit writes goes through here and appears whole or not at all.

Other modules never open a file for writing themselves (a test enforces it). Here, `operations` alone calls
the operating system to change something, so that a test can let any one change fail.
"""

from extend.store.files import Written as Written
from extend.store.files import append_bytes as append_bytes
from extend.store.files import append_line as append_line
from extend.store.files import as_extend_error as as_extend_error
from extend.store.files import as_json as as_json
from extend.store.files import copy_files as copy_files
from extend.store.files import make_directory as make_directory
from extend.store.files import read_json as read_json
from extend.store.files import require_space as require_space
from extend.store.files import sha256_file as sha256_file
from extend.store.files import sha256_files as sha256_files
from extend.store.files import write_bytes as write_bytes
from extend.store.files import write_chunks as write_chunks
from extend.store.files import write_json as write_json
from extend.store.files import write_text as write_text
from extend.store.folders import MANIFEST as MANIFEST
from extend.store.folders import Publication as Publication
from extend.store.folders import fingerprint as fingerprint
from extend.store.folders import is_published as is_published
from extend.store.folders import publish_checked as publish_checked
from extend.store.folders import publish_directory as publish_directory
from extend.store.folders import read_manifest as read_manifest
from extend.store.folders import recover as recover
from extend.store.folders import remove_directories as remove_directories
from extend.store.folders import set_aside as set_aside
from extend.store.folders import verify as verify
from extend.store.locking import locked as locked
