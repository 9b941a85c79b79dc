"""A linear-chain CRF over words: parameters of pytorch-crf, likelihood, marginals and decoding of our own.

Lafferty, McCallum, Pereira (2001). Around pytorch-crf's parameters: lengths instead of masks (a mask with
holes runs there and gives wrong results), transitions that the tag scheme forbids at a score of -10,000,
exact gradients in closed form (observed minus expected counts) instead of a graph over the steps, marginals,
and Viterbi on the whole batch with one copy from the device.
"""

from ner.crf.layers import FORBIDDEN as FORBIDDEN
from ner.crf.layers import IndependentTags as IndependentTags
from ner.crf.layers import LinearChainCRF as LinearChainCRF
from ner.crf.layers import Start as Start
