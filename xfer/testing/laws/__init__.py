"""The laws, by what they are about: models and prediction, training, running statistics, the optimizer."""
