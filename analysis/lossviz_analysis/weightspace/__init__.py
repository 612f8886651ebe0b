"""Moving through weight space: functions of a model's parameters, in torch.

`vector` makes all trainable parameters one vector, `normalise` and `directions` say where to
go, `grid` where to stop, `evaluation` what to measure there, `batchnorm` what happens to
running statistics, `scan` drives it.
"""
