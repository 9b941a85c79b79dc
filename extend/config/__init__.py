"""TOML to frozen settings, strictly: every unknown key and bad value is told at once, with its place.

The resolved settings are saved as `run.toml` in the run folder. TOML, because in YAML the language code
`no` is a boolean. Paths may hold `$NAME` environment variables, which are expanded when they are used.
"""

from extend.config.files import MAX_CONFIG_BYTES as MAX_CONFIG_BYTES
from extend.config.files import dump_toml as dump_toml
from extend.config.files import expand as expand
from extend.config.files import load_settings as load_settings
from extend.config.files import parse_overrides as parse_overrides
from extend.config.tables import GrowSettings as GrowSettings
from extend.config.tables import NerData as NerData
from extend.config.tables import NerSettings as NerSettings
from extend.config.tables import PretrainSettings as PretrainSettings
from extend.config.tables import ReadingSettings as ReadingSettings
from extend.config.tables import RunSettings as RunSettings
from extend.config.tables import ScratchSettings as ScratchSettings
from extend.config.tables import Settings as Settings
from extend.config.tables import VocabSettings as VocabSettings
