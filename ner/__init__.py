"""Named-entity recognition on a frozen encoder: data, features, BiLSTM-CRF, scores, the ner-eval story.

Meets `extend` at a checkpoint folder, so that it can judge any encoder.
"""
