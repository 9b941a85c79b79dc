"""Languages: one resolution of every code and name, and the passport of what data and encoders call them.

`resolving` reads codes and names; `tables` holds the published lists as they are; `families` knows
macrolanguages and scripts; `catalogues` joins lists and languages; `passport` gathers it all.
"""

from extend.languages.catalogues import Catalogue as Catalogue
from extend.languages.catalogues import catalogue as catalogue
from extend.languages.catalogues import known_bases as known_bases
from extend.languages.catalogues import seen as seen
from extend.languages.passport import LanguageWarning as LanguageWarning
from extend.languages.passport import Passport as Passport
from extend.languages.passport import card_language as card_language
from extend.languages.passport import passport as passport
from extend.languages.resolving import Language as Language
from extend.languages.resolving import resolve as resolve
from extend.languages.tables import CATALOGUES as CATALOGUES
from extend.languages.tables import PRETRAINING as PRETRAINING
from extend.languages.tables import published as published
