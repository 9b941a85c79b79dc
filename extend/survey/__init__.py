"""What a text is before anything is learned from it: lines, scripts, faults of Unicode, language, a verdict.

The room knows words and lines alone. What a tokenizer makes of them is measured by the recipe.
"""

from extend.survey.characters import character_name as character_name
from extend.survey.duplicates import Duplicates as Duplicates
from extend.survey.duplicates import LineLengths as LineLengths
from extend.survey.duplicates import duplicates as duplicates
from extend.survey.duplicates import line_lengths as line_lengths
from extend.survey.identify import Identified as Identified
from extend.survey.identify import identify_lines as identify_lines
from extend.survey.lint import CHECKS as CHECKS
from extend.survey.lint import Check as Check
from extend.survey.lint import Finding as Finding
from extend.survey.lint import lint_words as lint_words
from extend.survey.lint import unicode_lint as unicode_lint
from extend.survey.sample import LineSample as LineSample
from extend.survey.sample import draw_lines as draw_lines
from extend.survey.scripts import script_of as script_of
from extend.survey.scripts import script_shares as script_shares
from extend.survey.verdict import Evidence as Evidence
from extend.survey.verdict import Verdict as Verdict
from extend.survey.verdict import judge as judge
