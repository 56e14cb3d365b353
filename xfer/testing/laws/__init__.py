"""The laws, by what they are about: models and prediction, training, statistics, the optimizer, changed networks."""
