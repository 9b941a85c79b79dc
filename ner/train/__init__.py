"""Train a tagger on word vectors and tag with it."""

from ner.train.loop import AVERAGED as AVERAGED
from ner.train.loop import LAST as LAST
from ner.train.loop import ORACLE as ORACLE
from ner.train.loop import SOURCE_DEV as SOURCE_DEV
from ner.train.loop import LabelledFeatures as LabelledFeatures
from ner.train.loop import TrainedHead as TrainedHead
from ner.train.loop import train_tagger as train_tagger
from ner.train.loop import training_batches as training_batches
from ner.train.prediction import Prediction as Prediction
from ner.train.prediction import predict as predict
from ner.train.prediction import predict_all as predict_all
from ner.train.settings import TrainSettings as TrainSettings
